//! Cargo.toml: which dependencies a crate has but for its tests, and with which features.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

/// What a path crate's manifest says of its build.
pub(super) struct Manifest {
    /// Dependencies by the names of their packages: what is asked of them.
    dependencies: BTreeMap<String, Vec<String>>,
    features: String,
}

/// Reads a TOML file.
pub(super) fn table(path: &Path) -> Result<Table, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.parse().map_err(|error| format!("{}: {error}", path.display()))
}

/// The workspace that a crate stands in: the nearest folder, its own or one above, whose manifest has one.
pub(super) fn workspace_of(folder: &Path) -> Option<PathBuf> {
    let has_one =
        |folder: &&Path| table(&folder.join("Cargo.toml")).is_ok_and(|manifest| manifest.contains_key("workspace"));
    folder.ancestors().find(has_one).map(Path::to_owned)
}

/// The root file of the library in `folder`.
pub(super) fn library_root(folder: &Path) -> Result<PathBuf, String> {
    let manifest = table(&folder.join("Cargo.toml"))?;
    let named = manifest.get("lib").and_then(|library| library.get("path")).and_then(Value::as_str);
    Ok(folder.join(named.unwrap_or("src/lib.rs")))
}

impl Manifest {
    /// Reads the manifest in `folder`, and what it inherits of the one in `workspace`.
    pub(super) fn read(folder: &Path, workspace: &Path) -> Result<Self, String> {
        let manifest = table(&folder.join("Cargo.toml"))?;
        let workspace = workspace.join("Cargo.toml");
        let workspace = if workspace.is_file() { table(&workspace)? } else { Table::new() };
        let inherited = workspace.get("workspace").and_then(|workspace| workspace.get("dependencies"));
        let mut dependencies: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
        let targets = targets.filter_map(|(name, target)| Some((name.as_str(), target.as_table()?)));
        for (target, table) in std::iter::once(("", &manifest)).chain(targets) {
            for kind in ["dependencies", "build-dependencies"] {
                for (key, wish) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                    let base = match wish.get("workspace") {
                        Some(_) => inherited.and_then(|inherited| inherited.get(key)),
                        None => None,
                    };
                    let renamed = [Some(wish), base].into_iter().flatten().find_map(|wish| wish.get("package"));
                    let package = renamed.and_then(Value::as_str).unwrap_or(key);
                    let asked = format!("{target} {kind} {key} {} {}", ask(wish), base.map(ask).unwrap_or_default());
                    dependencies.entry(package.to_owned()).or_default().push(asked);
                }
            }
        }
        let features = manifest.get("features").map(ToString::to_string).unwrap_or_default();
        Ok(Self { dependencies, features })
    }

    /// Whether the crate depends on that package, tests aside.
    pub(super) fn uses(&self, package: &str) -> bool {
        self.dependencies.contains_key(package)
    }

    /// Features, its own and those that it asks of others. Versions stand in Cargo.lock.
    pub(super) fn settings(&self) -> String {
        format!("{:?} {}", self.dependencies, self.features)
    }
}

/// What a manifest asks of a dependency, but for its version and place.
fn ask(wish: &Value) -> String {
    let Some(table) = wish.as_table() else {
        return String::new();
    };
    let is_place = |key: &str| matches!(key, "version" | "path" | "git" | "rev" | "branch" | "tag" | "registry");
    let asked = table.iter().filter(|(key, _)| !is_place(key));
    asked.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}
