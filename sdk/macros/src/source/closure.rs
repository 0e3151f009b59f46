//! The closure of a crate's dependencies: registry crates by name, version and checksum; path crates by their sources.
//!
//! Versions are read from Cargo.lock, which holds exactly what is built, and features from the manifests. Cargo.lock
//! names dependencies for other platforms too: some too many, none too few. `cargo metadata` would tell them apart, but
//! it wants the manifest of every crate of the workspace at hand, which a first build of one crate doesn't fetch.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{
    manifest::{self, Manifest},
    path_crate,
};

/// A text that differs when anything in the closure does. No path of this machine stands in it.
pub(super) fn of(folder: &Path, name: &str, version: &str) -> Result<String, String> {
    let lock = find_lock(folder)?;
    let packages = packages(&manifest::table(&lock)?)?;
    let workspace = lock.parent().unwrap_or(folder);
    let folders = path_crates(folder, workspace)?;
    let root = packages.iter().position(|package| package.name == name && package.version == version);
    let root = root.ok_or_else(|| {
        format!("{} doesn't know {name} {version}; run `cargo update --workspace` once", file_name(&lock))
    })?;
    let (mut seen, mut open, mut lines) = (BTreeSet::from([root]), vec![root], BTreeSet::new());
    while let Some(place) = open.pop() {
        let package = &packages[place];
        let mut used = package.dependencies.clone();
        let what = match &package.source {
            Some(source) => format!("{source} {}", package.checksum.as_deref().unwrap_or_default()),
            None => {
                let folder =
                    if place == root { Some(folder) } else { folders.get(&package.name).map(PathBuf::as_path) };
                let folder = folder.ok_or_else(|| format!("no Cargo.toml says by `path` where {} is", package.name))?;
                let own = manifest::workspace_of(folder);
                let manifest = Manifest::read(folder, own.as_deref().unwrap_or(workspace))?;
                // Its own tests' dependencies stand in Cargo.lock as well; those of registry crates don't.
                used.retain(|dependency| manifest.uses(dependency.split(' ').next().unwrap_or_default()));
                // The root's own sources are read item by item.
                let sources = if place == root { path_crate::script(folder)? } else { path_crate::sources(folder)? };
                format!("{} {sources}", manifest.settings())
            }
        };
        lines.insert(format!("{} {} {what}", package.name, package.version));
        for dependency in &used {
            let next = packages.iter().enumerate().filter(|(_, package)| package.is_named_by(dependency));
            for (next, _) in next {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
    }
    Ok(lines.into_iter().collect::<Vec<_>>().join("\n"))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
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
    candidates
        .find(|lock| lock.is_file())
        .ok_or_else(|| "no Cargo.lock stands in the crate's folder or above it".to_owned())
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
        let file = folder.join("Cargo.toml");
        if !file.is_file() || !read.insert(folder.clone()) {
            continue;
        }
        let mut paths = Vec::new();
        collect_paths(&Value::Table(manifest::table(&file)?), &mut paths);
        for path in paths {
            let folder = folder.join(path);
            if let Ok(manifest) = manifest::table(&folder.join("Cargo.toml"))
                && let Some(name) =
                    manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str)
            {
                found.insert(name.to_owned(), folder.clone());
                // A crate of another checkout inherits from the workspace that it stands in there.
                open.extend(manifest::workspace_of(&folder));
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const A: &str = "[package]\nname = \"a\"\nversion = \"1.0.0\"\n[dependencies]\nb.workspace = true\nc = \"1\"\n\
                     [dev-dependencies]\nd = \"1\"\n";

    /// A crate `a` that needs `b` by path and `c` of a registry; `d` is its tests' only.
    fn closure(manifest: &str, c_version: &str, d_version: &str, b_source: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace]\nmembers = [\"a\"]\n[workspace.dependencies]\nb = { path = \"libs/b\" }\n");
        write("a/Cargo.toml", manifest);
        write("libs/b/Cargo.toml", "[package]\nname = \"b\"\nversion = \"0.1.0\"\n");
        write("libs/b/src/lib.rs", b_source);
        write("libs/b/rules.txt", "one");
        write(
            "Cargo.lock",
            &format!(
                "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\ndependencies = [\"b\", \"c\", \"d\"]\n\
                 [[package]]\nname = \"b\"\nversion = \"0.1.0\"\n\
                 [[package]]\nname = \"c\"\nversion = \"{c_version}\"\nsource = \"registry\"\nchecksum = \"1\"\n\
                 [[package]]\nname = \"d\"\nversion = \"{d_version}\"\nsource = \"registry\"\nchecksum = \"2\"\n"
            ),
        );
        of(&folder.path().join("a"), "a", "1.0.0").unwrap()
    }

    #[test]
    fn a06_only_the_own_closure_counts() {
        let before = closure(A, "1.0.0", "1.0.0", "fn b() {}");
        assert_eq!(before, closure(A, "1.0.0", "2.0.0", "fn b() {}"), "a dependency of tests");
        assert_eq!(before, closure(A, "1.0.0", "1.0.0", "// why\n/// so\nfn b()\n{}"), "comments of a path crate");
        assert_ne!(before, closure(A, "1.0.1", "1.0.0", "fn b() {}"), "a registry crate's version");
        assert_ne!(before, closure(A, "1.0.0", "1.0.0", "fn b() { 1 }"), "a path crate's code");
        assert_ne!(
            closure(A, "1.0.0", "1.0.0", "const A: &str = include_str!(\"../rules.txt\");"),
            closure(A, "1.0.0", "1.0.0", "const A: &str = \"one\";"),
        );
    }

    #[test]
    fn a06_features_count_and_version_requirements_do_not() {
        let before = closure(A, "1.0.0", "1.0.0", "fn b() {}");
        let with = |manifest: String| closure(&manifest, "1.0.0", "1.0.0", "fn b() {}");
        assert_eq!(before, with(A.replace("c = \"1\"", "c = \"1.0\"")));
        assert_ne!(before, with(A.replace("c = \"1\"", "c = { version = \"1\", features = [\"fast\"] }")));
        assert_ne!(before, with(format!("{A}\n[features]\ndefault = [\"x\"]\nx = []\n")));
    }

    #[test]
    fn no_path_of_the_machine_counts() {
        let closure = closure(A, "1.0.0", "1.0.0", "fn b() {}");
        assert!(!closure.contains('/'), "{closure}");
    }
}
