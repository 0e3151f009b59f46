//! What changes a stage's hash, and what doesn't.

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

/// Hashes of `fetch` and `extract` in a crate of these files; the first is `src/lib.rs`.
fn hashes_of_files(files: &[(&str, &str)], dependencies: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let stages = ["fetch".to_owned(), "extract".to_owned()];
    let root = folder.path().join("src/lib.rs");
    let mut hashes = of_crate(folder.path(), &root, dependencies, &stages, None).unwrap().stages;
    let extract = hashes.pop().unwrap();
    (hashes.pop().unwrap(), extract)
}

fn hashes_of(source: &str) -> (String, String) {
    hashes_of_files(&[("src/lib.rs", source)], "")
}

/// Whether a change of the crate changes the hashes of `fetch` and `extract`.
fn changes(before: &str, from: &str, to: &str) -> (bool, bool) {
    assert!(before.contains(from), "{from:?} isn't in the crate");
    let (before, after) = (hashes_of(before), hashes_of(&before.replace(from, to)));
    (before.0 != after.0, before.1 != after.1)
}

const NONE: (bool, bool) = (false, false);
const EXTRACT: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);

#[test]
fn trap28_comments_and_formatting_leave_the_hash() {
    assert_eq!(changes(CRATE, "fn shared() -> u64 { 1 }", "/// Why.\n// So.\nfn shared()\n -> u64 {\n 1 }"), NONE);
    assert_eq!(changes(CRATE, "size: u64 }", "/** Bytes. */ size: u64,\n}"), NONE);
    assert_eq!(changes(CRATE, "use std::fmt;", "//! A crate.\n use std::{fmt,};"), NONE);
}

#[test]
fn the_order_of_items_leaves_the_hash() {
    assert_eq!(changes(CRATE, "fn shared() -> u64 { 1 }", ""), BOTH);
    let moved = CRATE.replace("fn shared() -> u64 { 1 }", "").replace("handler!", "fn shared() -> u64 { 1 }\nhandler!");
    assert_eq!(hashes_of(CRATE), hashes_of(&moved));
}

#[test]
fn a06_a_change_counts_for_the_stages_that_may_see_it() {
    assert_eq!(changes(CRATE, "only_extract();", "only_extract(); only_extract();"), EXTRACT, "its own function");
    assert_eq!(changes(CRATE, "{ 2 }", "{ 3 }"), EXTRACT, "a helper of one");
    assert_eq!(changes(CRATE, "{ 1 }", "{ 4 }"), BOTH, "a helper of both");
    assert_eq!(changes(CRATE, "self.text.len()", "self.text.len() + 1"), EXTRACT, "a method of its type");
    assert_eq!(changes(CRATE, "size: u64 }", "size: u32 }"), BOTH, "an output that the other takes");
}

#[test]
fn a06_a_dependency_counts_for_all() {
    let files = [("src/lib.rs", CRATE)];
    let (before, after) = (hashes_of_files(&files, "scraper 0.29.0"), hashes_of_files(&files, "scraper 0.30.0"));
    assert_ne!(before.0, after.0);
    assert_ne!(before.1, after.1);
}

#[test]
fn what_names_do_not_show_counts_for_all() {
    let more = |item: &str| changes(CRATE, "handler!", &format!("{item}\nhandler!"));
    assert_eq!(more("impl fmt::Debug for Foreign { fn fmt(&self) {} }"), BOTH);
    assert_eq!(more("impl Words for str { fn words(&self) {} }"), BOTH, "its methods need no name");
    assert_eq!(more("trait Words { fn words(&self) {} }"), BOTH);
    assert_eq!(more("macro_rules! m { () => {} }"), BOTH);
    assert_eq!(more("fn nobody_names_it() {}"), BOTH);
    assert_eq!(more("use other::Words;"), BOTH);
    assert_eq!(more("#[cfg(test)] mod tests { fn t() {} }"), NONE, "tests are none of it");
}

#[test]
fn a_stage_that_calls_another_is_made_of_both() {
    let crate_ = CRATE.replace("only_extract();", "fetch();");
    assert_eq!(changes(&crate_, "Page { size: shared() }", "Page { size: 7 }"), BOTH);
}

#[test]
fn names_in_attributes_and_format_strings_count() {
    let crate_ = CRATE
        .replace("{ size: u64 }", "{ #[serde(default = \"ten\")] size: u64 }")
        .replace("only_extract();", "only_extract(); ten(); format!(\"{LIMIT}\");")
        .replace("handler!", "fn ten() -> u64 { 10 }\nconst LIMIT: u64 = 5;\nhandler!");
    assert_eq!(changes(&crate_, "{ 10 }", "{ 11 }"), BOTH, "fetch's output names it in an attribute");
    assert_eq!(changes(&crate_, "= 5", "= 6"), EXTRACT);
    let silent = crate_
        .replace("only_extract(); ten(); format!(\"{LIMIT}\");", "format!(\"{LIMIT}\");")
        .replace("Page { size: shared() }", "LIMIT; Page { size: 0 }");
    assert_eq!(changes(&silent, "= 5", "= 6"), BOTH);
}

#[test]
fn comments_count_where_a_model_reads_them() {
    let crate_ = CRATE.replace("pub struct Thesis {", "#[output] pub struct Thesis { /** Said. */");
    assert_eq!(changes(&crate_, "Said.", "Meant."), NONE);
    let asks = crate_.replace("only_extract();", "llm::extract(\"…\"); only_extract();");
    assert_eq!(changes(&asks, "Said.", "Meant."), EXTRACT);
}

#[test]
fn modules_count_like_items_and_a_use_brings_no_more_than_a_name() {
    let lib = "mod a; mod b; use a::fetch; use b::extract;";
    let a = "use crate::b::{tools, used}; pub fn fetch() { used() }";
    let b = "pub fn extract() { tools() } pub fn used() {} pub fn tools() { 1 }";
    let of = |a: &str, b: &str| hashes_of_files(&[("src/lib.rs", lib), ("src/a.rs", a), ("src/b.rs", b)], "");
    let before = of(a, b);
    let after = of(a, &b.replace("{ 1 }", "{ 2 }"));
    assert_eq!(before.0, after.0, "fetch's module brings it in, and doesn't use it");
    assert_ne!(before.1, after.1);
    let renamed = of(&a.replace("used}", "tools as used}"), b);
    assert_ne!(before.0, renamed.0, "another function by the same name");
    assert_eq!(before, of(&a.replace("{tools, used}", "{used, tools}"), b));
}

#[test]
fn included_files_count_for_who_includes_them() {
    let lib = CRATE.replace("only_extract();", "include_str!(\"rules.txt\"); only_extract();");
    let of = |rules: &str| hashes_of_files(&[("src/lib.rs", &lib), ("src/rules.txt", rules)], "");
    let (before, after) = (of("one"), of("two"));
    assert_eq!(before.0, after.0);
    assert_ne!(before.1, after.1);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lib.rs");
    fs::write(&root, "fn fetch() { include_str!(concat!(\"a\", name!())) }").unwrap();
    let refused = of_crate(folder.path(), &root, "", &["fetch".to_owned()], None).err().unwrap();
    assert!(refused.contains("as a string"), "{refused}");
}

#[test]
fn where_the_crate_lies_does_not_count() {
    // Each call makes a folder of its own.
    assert_eq!(hashes_of(CRATE), hashes_of(CRATE));
}

#[test]
fn a_stage_that_no_source_holds_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lib.rs");
    fs::write(&root, "fn fetch() {}").unwrap();
    let refused = of_crate(folder.path(), &root, "", &["extract".to_owned()], None).err().unwrap();
    assert!(refused.contains("\"extract\""), "{refused}");
}
