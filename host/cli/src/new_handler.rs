//! `tollgate new handler`: a crate that builds and runs as it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use include_dir::{Dir, include_dir};
use tollgate_core::ids::HandlerName;

use crate::CliError;

const TEMPLATE_LIB: &str = include_str!("new_handler/lib.rs.template");
const TEMPLATE_JOBS: &str = include_str!("new_handler/jobs.toml.template");

static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/rust");
static MACROS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/macros");
static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../wit");
const WORKSPACE: &str = include_str!("../../../Cargo.toml");

pub(crate) fn new_handler(name: &str, sdk: Option<&Path>) -> Result<(), CliError> {
    let name =
        HandlerName::new(name).map_err(|error| CliError::configuration(format!("the name {name:?}: {error}")))?;
    let folder = PathBuf::from(name.as_str());
    if folder.exists() {
        return Err(CliError::configuration(format!(
            "{} is there already; take another name, or remove it",
            folder.display()
        )));
    }
    fs::create_dir_all(folder.join("src"))?;
    let sdk = match sdk {
        Some(sdk) => {
            fs::canonicalize(sdk).map_err(|error| CliError::configuration(format!("{}: {error}", sdk.display())))?
        }
        None => match checkout()? {
            Some(sdk) => sdk,
            None => {
                unpack(&folder.join("sdk"))?;
                PathBuf::from("sdk/sdk/rust")
            }
        },
    };
    fs::write(folder.join("Cargo.toml"), manifest(&name, &sdk))?;
    fs::write(folder.join("src/lib.rs"), library(&name))?;
    fs::write(folder.join("jobs.toml"), TEMPLATE_JOBS.replace("HANDLER", name.as_str()))?;
    fs::write(folder.join(".gitignore"), "/target\n/data\n/handlers\n")?;
    println!(
        "{name}/src/lib.rs is the handler, {name}/jobs.toml a job for it. Next:\n  cd {name}\n  cargo test\n  tollgate \
         build\n  tollgate check\n  tollgate run --until-idle"
    );
    Ok(())
}

/// The SDK of the checkout that the current folder is in.
fn checkout() -> Result<Option<PathBuf>, CliError> {
    let here = std::env::current_dir()?;
    let found = here.ancestors().map(|folder| folder.join("sdk/rust")).find(|sdk| sdk.join("Cargo.toml").is_file());
    Ok(found)
}

/// The handler's source, with a type for its items that bears its name.
fn library(name: &HandlerName) -> String {
    let words = name.as_str().split(['-', '_']).filter(|word| !word.is_empty());
    let mut item: String = words
        .flat_map(|word| word.chars().take(1).map(|first| first.to_ascii_uppercase()).chain(word.chars().skip(1)))
        .collect();
    // Types that the template has already.
    if [
        "Page", "Title", "Settings", "Address", "Result", "Found", "Artifact", "String", "Vec", "Option", "Some",
        "None", "Self",
    ]
    .contains(&item.as_str())
    {
        item.insert_str(0, "Item");
    }
    TEMPLATE_LIB.replace("HANDLER", name.as_str()).replace("ITEM", &item).replace("FIELD", "item")
}

/// A crate and a workspace of its own, whatever workspace it is made in.
fn manifest(name: &HandlerName, sdk: &Path) -> String {
    format!(
        "[package]\nname = \"{name}\"\ndescription = \"Keeps pages and takes their titles.\"\nversion = \"0.1.0\"\n\
         edition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n\
         [dependencies]\ntollgate-sdk = {{ path = {:?} }}\n\n\
         [profile.release]\ncodegen-units = 1\nlto = true\npanic = \"abort\"\n\n\
         [workspace]\nexclude = [\"sdk\"]\n",
        sdk.display().to_string()
    )
}

/// Lays the SDK's sources, which this program carries, into `folder`: it isn't in a registry yet.
fn unpack(folder: &Path) -> Result<(), CliError> {
    for (dir, path) in [(&SDK, "sdk/rust"), (&MACROS, "sdk/macros"), (&WIT, "wit")] {
        let target = folder.join(path);
        fs::create_dir_all(&target)?;
        dir.extract(&target)?;
    }
    Ok(fs::write(folder.join("Cargo.toml"), sdk_workspace())?)
}

/// This workspace's manifest, with the SDK's crates as its members and without what only the host depends on.
fn sdk_workspace() -> String {
    let shared = WORKSPACE.find("[workspace.package]").map_or("", |at| &WORKSPACE[at..]);
    let rest = shared.lines().filter(|line| !line.contains("path = \"") || line.starts_with("tollgate-sdk"));
    let rest = rest.collect::<Vec<_>>().join("\n");
    format!("[workspace]\nresolver = \"3\"\nmembers = [\"sdk/rust\", \"sdk/macros\"]\n{rest}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_item_s_type_bears_the_handler_s_name() {
        let library = |name| library(&HandlerName::new(name).unwrap());
        assert!(
            library("book-shops").contains("fn fetch(item: &BookShops) -> Result<Page>"),
            "{}",
            library("book-shops")
        );
        assert!(library("page").contains("struct ItemPage {"));
        assert!(!library("books").contains("HANDLER"));
    }

    #[test]
    fn the_sdk_s_workspace_names_its_own_crates_alone() {
        let workspace = sdk_workspace();
        assert!(workspace.contains("tollgate-sdk-macros = { path = \"sdk/macros\" }"), "{workspace}");
        assert!(workspace.contains("edition = \"2024\""), "{workspace}");
        assert!(!workspace.contains("path = \"host"), "{workspace}");
        assert!(!workspace.contains("\"handlers/*\""), "{workspace}");
    }
}
