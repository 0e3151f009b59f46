//! Sources of a crate that is named by path: digests that are stable over comments and formatting.

use std::{
    fs,
    path::{Path, PathBuf},
};

use quote::ToTokens;

use super::{includes, tokens};

/// Digest of a path crate's sources, with the files that they include; of all its files, if it has a build script.
pub(super) fn sources(folder: &Path) -> Result<String, String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(script(folder)?.as_bytes());
    add(folder, &folder.join("src"), &mut hasher)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Digest of all files of a crate with a build script, which may read any of them; empty without one.
pub(super) fn script(folder: &Path) -> Result<String, String> {
    if !folder.join("build.rs").is_file() {
        return Ok(String::new());
    }
    let mut hasher = blake3::Hasher::new();
    add(folder, folder, &mut hasher)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn add(package: &Path, folder: &Path, hasher: &mut blake3::Hasher) -> Result<(), String> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    for file in files {
        let relative = file.strip_prefix(package).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        let content = content(package, &file)?;
        for part in [relative, content] {
            // The length before the text: no two lists of files run together to the same bytes.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    Ok(())
}

/// What counts of a file: the tokens of Rust sources and what they include, the digest of others.
fn content(package: &Path, file: &Path) -> Result<String, String> {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let parsed = match std::str::from_utf8(&bytes) {
        Ok(text) if file.extension().is_some_and(|extension| extension == "rs") => syn::parse_file(text).ok(),
        _ => None,
    };
    let Some(parsed) = parsed else {
        return Ok(blake3::hash(&bytes).to_hex().to_string());
    };
    let stream = parsed.into_token_stream();
    let here = file.parent().unwrap_or(package);
    let mut text = tokens::text(stream.clone(), false);
    for include in tokens::named(stream, &|_| true).includes {
        // Sources may hold such a call as an example, or as a macro's pattern: only a file that is there counts.
        if let Ok(Some(included)) = includes::read(&include, here, package) {
            text.push_str(&included.digest);
        }
    }
    Ok(text)
}

/// All files of a folder, but for hidden ones and what cargo builds.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
