//! The closure of a crate's dependencies: registry crates by name, version and checksum; path crates by their sources.
//!
//! Read from Cargo.lock, which holds exactly what is built. It names dependencies of tests and of other platforms too:
//! some too many, none too few.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

/// A text that differs when anything in the closure does. No path of this machine stands in it.
pub(super) fn of(folder: &Path, name: &str, version: &str) -> Result<String, String> {
    let lock = find_lock(folder)?;
    let packages = packages(&table(&lock)?)?;
    let folders = path_crates(folder, lock.parent().unwrap_or(folder))?;
    let root = packages.iter().position(|package| package.name == name && package.version == version);
    let root = root.ok_or_else(|| format!("{} doesn't know {name} {version}; build without --locked once", lock.display()))?;
    let mut seen = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(place) = open.pop() {
        for dependency in &packages[place].dependencies {
            let next = packages.iter().enumerate().filter(|(_, package)| package.is_named_by(dependency));
            for (next, _) in next {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
    }
    let mut lines = BTreeSet::new();
    for place in seen {
        let Package { name, version, source, checksum, .. } = &packages[place];
        let what = match (source, checksum) {
            (Some(source), checksum) => format!("{source} {}", checksum.as_deref().unwrap_or_default()),
            (None, _) if place == root => String::new(),
            (None, _) => {
                let folder = folders.get(name).ok_or_else(|| format!("no Cargo.toml says where {name} is"))?;
                sources(&folder.join("src"))?
            }
        };
        lines.insert(format!("{name} {version} {what}"));
    }
    Ok(lines.into_iter().collect::<Vec<_>>().join("\n"))
}

struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    /// `name`, `name version` or `name version (source)`, as short as it is unique.
    dependencies: Vec<String>,
}

impl Package {
    fn is_named_by(&self, dependency: &str) -> bool {
        let mut words = dependency.split(' ');
        words.next() == Some(&self.name) && words.next().is_none_or(|version| version == self.version)
    }
}

fn find_lock(folder: &Path) -> Result<PathBuf, String> {
    let mut candidates = folder.ancestors().map(|ancestor| ancestor.join("Cargo.lock"));
    candidates.find(|lock| lock.is_file()).ok_or_else(|| "no Cargo.lock stands in the crate's folder or above it".to_owned())
}

fn table(path: &Path) -> Result<Table, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.parse().map_err(|error| format!("{}: {error}", path.display()))
}

fn packages(lock: &Table) -> Result<Vec<Package>, String> {
    let packages = lock.get("package").and_then(Value::as_array).ok_or("Cargo.lock names no packages")?;
    let text = |package: &Value, key: &str| package.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    let package = |package: &Value| Package {
        name: text(package, "name").unwrap_or_default(),
        version: text(package, "version").unwrap_or_default(),
        source: text(package, "source"),
        checksum: text(package, "checksum"),
        dependencies: package.get("dependencies").and_then(Value::as_array).map_or_else(Vec::new, |dependencies| {
            dependencies.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
        }),
    };
    Ok(packages.iter().map(package).collect())
}

/// Folders of path crates by name: those that the crate, its workspace, or one of them names by `path`.
fn path_crates(folder: &Path, workspace: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned(), workspace.to_owned()];
    let mut read = BTreeSet::new();
    while let Some(folder) = open.pop() {
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() || !read.insert(folder.clone()) {
            continue;
        }
        let mut paths = Vec::new();
        collect_paths(&Value::Table(table(&manifest)?), &mut paths);
        for path in paths {
            let folder = folder.join(path);
            if let Ok(manifest) = table(&folder.join("Cargo.toml"))
                && let Some(name) = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str)
            {
                found.insert(name.to_owned(), folder.clone());
                open.push(folder);
            }
        }
    }
    Ok(found)
}

/// Every `path = "…"` of a manifest, wherever it stands: targets have some too, and lead to no manifest.
fn collect_paths(value: &Value, paths: &mut Vec<String>) {
    match value {
        Value::Table(table) => {
            paths.extend(table.get("path").and_then(Value::as_str).map(ToOwned::to_owned));
            table.values().for_each(|value| collect_paths(value, paths));
        }
        Value::Array(list) => list.iter().for_each(|value| collect_paths(value, paths)),
        _ => {}
    }
}

/// Digest of a path crate's sources, stable over comments and formatting.
fn sources(folder: &Path) -> Result<String, String> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let relative = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
        let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        hasher.update(relative.as_bytes());
        match text.parse::<proc_macro2::TokenStream>() {
            Ok(tokens) if relative.ends_with(".rs") => {
                hasher.update(super::items::without_docs(tokens).to_string().as_bytes());
            }
            _ => {
                hasher.update(&bytes);
            }
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate `a` that needs `b` by path and `c` of a registry; `d` is somebody else's.
    fn closure(c_version: &str, d_version: &str, b_source: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace]\nmembers = [\"a\"]\n[workspace.dependencies]\nb = { path = \"libs/b\" }\n");
        write("a/Cargo.toml", "[package]\nname = \"a\"\nversion = \"1.0.0\"\n[dependencies]\nb.workspace = true\nc = \"1\"\n");
        write("libs/b/Cargo.toml", "[package]\nname = \"b\"\nversion = \"0.1.0\"\n");
        write("libs/b/src/lib.rs", b_source);
        write(
            "Cargo.lock",
            &format!(
                "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\ndependencies = [\"b\", \"c\"]\n\
                 [[package]]\nname = \"b\"\nversion = \"0.1.0\"\n\
                 [[package]]\nname = \"c\"\nversion = \"{c_version}\"\nsource = \"registry\"\nchecksum = \"1\"\n\
                 [[package]]\nname = \"d\"\nversion = \"{d_version}\"\nsource = \"registry\"\nchecksum = \"2\"\n"
            ),
        );
        of(&folder.path().join("a"), "a", "1.0.0").unwrap()
    }

    #[test]
    fn a06_only_the_own_closure_counts() {
        let before = closure("1.0.0", "1.0.0", "fn b() {}");
        assert_eq!(before, closure("1.0.0", "2.0.0", "fn b() {}"), "another crate's dependency");
        assert_eq!(before, closure("1.0.0", "1.0.0", "// why\nfn b()\n{}"), "comments of a path crate");
        assert_ne!(before, closure("1.0.1", "1.0.0", "fn b() {}"), "a registry crate's version");
        assert_ne!(before, closure("1.0.0", "1.0.0", "fn b() { 1 }"), "a path crate's code");
    }

    #[test]
    fn no_path_of_the_machine_counts() {
        let closure = closure("1.0.0", "1.0.0", "fn b() {}");
        assert!(!closure.contains('/'), "{closure}");
    }
}
