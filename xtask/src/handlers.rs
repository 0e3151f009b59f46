//! Compiles the handlers: the reference ones into the drop folder, those of the tests into the target folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use self::handler_profile::HANDLER_PROFILE;
use crate::{
    run::{cargo, root, step, target},
    setup::TARGET,
};

#[path = "../../host/cli/src/handler_profile.rs"]
mod handler_profile;

/// Compiles all of them.
pub(crate) fn build() -> Result<()> {
    let reference = crates(&root().join("handlers"))?;
    let of_tests = crates(&root().join("tests/handlers"))?;
    // One at a time: built together, the features that one asks of a dependency would be in the others' code too.
    for name in reference.iter().chain(&of_tests) {
        let mut command = cargo();
        command.args(["build", "--release", "--target", TARGET, "--package", name]);
        command.args(HANDLER_PROFILE.into_iter().flat_map(|setting| ["--config", setting]));
        step(&format!("compile handler {name}"), &mut command, "Read the compiler's message above.")?;
    }
    let drop_folder = root().join("handlers");
    let test_folder = target().join("handlers");
    for (names, folder) in [(&reference, &drop_folder), (&of_tests, &test_folder), (&reference, &test_folder)] {
        fs::create_dir_all(folder)?;
        for name in names {
            copy(name, folder)?;
        }
    }
    Ok(())
}

/// Copies a component beside its place, then renames: nobody sees half of it.
fn copy(name: &str, folder: &Path) -> Result<()> {
    let built = target().join(TARGET).join("release").join(format!("{}.wasm", name.replace('-', "_")));
    let (beside, place) = (folder.join(format!(".{name}.wasm.new")), folder.join(format!("{name}.wasm")));
    fs::copy(&built, &beside).with_context(|| format!("{} can't be copied", built.display()))?;
    fs::rename(&beside, &place).with_context(|| format!("{} can't be written", place.display()))
}

/// Folders with a manifest are crates; their names are the folders'.
fn crates(folder: &PathBuf) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file()
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
