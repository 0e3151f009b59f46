//! Source hashes: one a stage, over all that the stage may depend on, stable over comments and formatting.
//!
//! Sound before fine. A stage's hash covers every item of its crate, but for the other stages' own functions and what
//! only they name; the files that the crate includes; and the closure of its dependencies. An item too many costs a
//! re-run; an item too few would leave stale results standing.

mod closure;
mod includes;
mod items;
mod manifest;
mod path_crate;
mod reach;
mod tokens;
mod uses;

use std::path::{Path, PathBuf};

/// The hashes of a crate's stages.
pub(crate) struct Hashes {
    /// One for each stage, in the order asked for.
    pub(crate) stages: Vec<String>,
    /// Files whose change must compute them anew, as absolute paths.
    pub(crate) files: Vec<String>,
}

/// Computes the hashes of the crate that is being compiled. `called_in` is the file in which `handler!` stands.
pub(crate) fn hashes(stages: &[String], discovery: Option<&str>, called_in: Option<PathBuf>) -> Result<Hashes, String> {
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo didn't say where the crate is")?;
    let folder = PathBuf::from(folder);
    let told = |name: &str| std::env::var(name).map_err(|_| format!("cargo didn't set {name}"));
    let dependencies = closure::of(&folder, &told("CARGO_PKG_NAME")?, &told("CARGO_PKG_VERSION")?)?;
    let root = root(&folder, called_in)?;
    let mut hashes = of_crate(&folder, &root, &dependencies, stages, discovery)?;
    hashes.files.push(folder.join("Cargo.toml").display().to_string());
    Ok(hashes)
}

/// The crate's root file: the library's, or that of an example or a test which is a handler itself.
fn root(folder: &Path, called_in: Option<PathBuf>) -> Result<PathBuf, String> {
    let library = manifest::library_root(folder)?;
    let (Some(called_in), Ok(folder)) = (called_in.and_then(|file| file.canonicalize().ok()), folder.canonicalize())
    else {
        return Ok(library);
    };
    let is_apart = ["examples", "tests"].iter().any(|name| called_in.starts_with(folder.join(name)));
    Ok(if is_apart { called_in } else { library })
}

/// Computes the hashes of a crate in `folder`, whose root file is `root`.
fn of_crate(
    folder: &Path,
    root: &Path,
    dependencies: &str,
    stages: &[String],
    discovery: Option<&str>,
) -> Result<Hashes, String> {
    let sources = items::read(root, folder)?;
    let entry_points: Vec<&str> = stages.iter().map(String::as_str).chain(discovery).collect();
    for name in &entry_points {
        if !sources.items.iter().any(|item| item.name.as_deref() == Some(name)) {
            return Err(format!("no function {name:?} stands in the crate's sources; write it out, not by a macro"));
        }
    }
    let hash = |stage: &String| {
        let (ordered, mut free): (Vec<_>, Vec<_>) =
            reach::covered(&sources.items, stage, &entry_points).into_iter().partition(|item| item.is_ordered);
        free.sort_by(|one, other| one.text.cmp(&other.text));
        let mut hasher = blake3::Hasher::new();
        hasher.update(dependencies.as_bytes());
        for item in free.into_iter().chain(ordered) {
            // The length before the text: no two lists of items run together to the same bytes.
            hasher.update(&(item.text.len() as u64).to_le_bytes());
            hasher.update(item.text.as_bytes());
        }
        // Two stages that are made of the same items are two stages still.
        hasher.update(stage.as_bytes());
        format!("blake3:{}", hasher.finalize().to_hex())
    };
    let files = sources.files.iter().map(|file| file.display().to_string()).collect();
    Ok(Hashes { stages: stages.iter().map(hash).collect(), files })
}

#[cfg(test)]
mod tests;
