//! Source hashes: one a stage, over all that the stage may depend on, stable over comments and formatting.
//!
//! Sound before fine. A stage's hash covers every item of its crate, but for the other stages' own functions and what
//! only they name; the files that the crate includes; and the closure of its dependencies. An item too many costs a
//! re-run; an item too few would leave stale results standing.

mod closure;
mod items;
mod reach;

use std::path::{Path, PathBuf};

/// The hashes of a crate's stages.
pub(crate) struct Hashes {
    /// One for each stage, in the order asked for.
    pub(crate) stages: Vec<String>,
    /// Files whose change must compute them anew, as absolute paths.
    pub(crate) files: Vec<String>,
}

/// Computes the hashes of the crate that is being compiled.
pub(crate) fn hashes(stages: &[String], discovery: Option<&str>) -> Result<Hashes, String> {
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo didn't say where the crate is")?;
    let folder = PathBuf::from(folder);
    let told = |name: &str| std::env::var(name).map_err(|_| format!("cargo didn't set {name}"));
    let dependencies = closure::of(&folder, &told("CARGO_PKG_NAME")?, &told("CARGO_PKG_VERSION")?)?;
    of_crate(&folder, &dependencies, stages, discovery)
}

/// Computes the hashes of a crate in `folder`.
fn of_crate(
    folder: &Path,
    dependencies: &str,
    stages: &[String],
    discovery: Option<&str>,
) -> Result<Hashes, String> {
    let sources = items::read(&folder.join("src").join("lib.rs"))?;
    let entry_points: Vec<&str> = stages.iter().map(String::as_str).chain(discovery).collect();
    for name in &entry_points {
        if !sources.items.iter().any(|item| item.name.as_deref() == Some(name)) {
            return Err(format!("no function {name:?} stands in src/; write it in a file, not in a macro"));
        }
    }
    let hash = |stage: &String| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(dependencies.as_bytes());
        for item in reach::covered(&sources.items, stage, &entry_points) {
            // The length before the text: no two lists of items run together to the same bytes.
            hasher.update(&(item.tokens.len() as u64).to_le_bytes());
            hasher.update(item.tokens.as_bytes());
        }
        for (name, bytes) in &sources.included {
            hasher.update(name.as_bytes());
            hasher.update(blake3::hash(bytes).as_bytes());
        }
        format!("blake3:{}", hasher.finalize().to_hex())
    };
    let files = sources.files.iter().map(|file| file.display().to_string()).collect();
    Ok(Hashes { stages: stages.iter().map(hash).collect(), files })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CRATE: &str = "
        use std::fmt;
        pub struct Page { size: u64 }
        pub struct Thesis { text: String }
        impl Thesis { fn words(&self) -> usize { self.text.len() } }
        fn shared() -> u64 { 1 }
        fn only_extract() -> u64 { 2 }
        fn fetch() -> Page { Page { size: shared() } }
        fn extract(_page: Page) -> Thesis { only_extract(); Thesis { text: shared().to_string() } }
        handler!(\"x\", stages: [fetch, extract]);
    ";

    fn hashes_of(source: &str, dependencies: &str) -> (String, String) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/lib.rs"), source).unwrap();
        let stages = ["fetch".to_owned(), "extract".to_owned()];
        let mut hashes = of_crate(folder.path(), dependencies, &stages, None).unwrap().stages;
        let extract = hashes.pop().unwrap();
        (hashes.pop().unwrap(), extract)
    }

    #[test]
    fn trap28_comments_and_formatting_leave_the_hash() {
        let commented = CRATE.replace("fn shared() -> u64 { 1 }", "/// Why.\n// So.\nfn shared()\n -> u64 {\n 1 }");
        assert_ne!(CRATE, commented);
        assert_eq!(hashes_of(CRATE, ""), hashes_of(&commented, ""));
    }

    #[test]
    fn a06_a_change_counts_for_the_stages_that_may_see_it() {
        let (fetch, extract) = hashes_of(CRATE, "");
        let own = hashes_of(&CRATE.replace("only_extract();", "only_extract(); only_extract();"), "");
        assert_eq!(own.0, fetch);
        assert_ne!(own.1, extract);
        let helper = hashes_of(&CRATE.replace("{ 2 }", "{ 3 }"), "");
        assert_eq!(helper.0, fetch);
        assert_ne!(helper.1, extract);
        let shared = hashes_of(&CRATE.replace("{ 1 }", "{ 4 }"), "");
        assert_ne!(shared.0, fetch);
        assert_ne!(shared.1, extract);
        let method = hashes_of(&CRATE.replace("self.text.len()", "self.text.len() + 1"), "");
        assert_eq!(method.0, fetch);
        assert_ne!(method.1, extract);
    }

    #[test]
    fn a06_a_dependency_counts_for_all() {
        let (before, after) = (hashes_of(CRATE, "scraper 0.29.0"), hashes_of(CRATE, "scraper 0.30.0"));
        assert_ne!(before.0, after.0);
        assert_ne!(before.1, after.1);
    }

    #[test]
    fn an_item_that_nobody_names_counts_for_all() {
        let more = format!("{CRATE}\nimpl fmt::Debug for Foreign {{ fn fmt(&self) {{}} }}");
        let (before, after) = (hashes_of(CRATE, ""), hashes_of(&more, ""));
        assert_ne!(before.0, after.0);
        assert_ne!(before.1, after.1);
    }

    #[test]
    fn tests_of_the_crate_count_for_none() {
        let more = format!("{CRATE}\n#[cfg(test)] mod tests {{ fn t() {{}} }}");
        assert_eq!(hashes_of(CRATE, ""), hashes_of(&more, ""));
    }

    #[test]
    fn modules_and_included_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let src = folder.path().join("src");
        fs::create_dir(&src).unwrap();
        fs::write(src.join("lib.rs"), "mod page; fn fetch() { page::keep(); include_str!(\"rules.txt\"); }").unwrap();
        fs::write(src.join("page.rs"), "pub fn keep() {}").unwrap();
        fs::write(src.join("rules.txt"), "one").unwrap();
        let hash = || of_crate(folder.path(), "", &["fetch".to_owned()], None).unwrap();
        let before = hash();
        assert_eq!(before.files.len(), 3);
        fs::write(src.join("rules.txt"), "two").unwrap();
        let rules = hash();
        assert_ne!(before.stages, rules.stages);
        fs::write(src.join("page.rs"), "pub fn keep() { 1 }").unwrap();
        assert_ne!(hash().stages, rules.stages);
    }
}
