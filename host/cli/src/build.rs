//! `tollgate build`: compiles handler crates into the handlers folder, and takes none that a host wouldn't.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tollgate_core::ids::HandlerName;

use crate::{CliError, Program, args::Global, handler_profile::HANDLER_PROFILE};

const TARGET: &str = "wasm32-wasip2";

pub(crate) async fn build(program: &dyn Program, global: &Global, crates: &[PathBuf]) -> Result<(), CliError> {
    let folder = program.handlers_folder(&global.file)?;
    fs::create_dir_all(&folder)?;
    let data = match &global.data {
        Some(data) => data.clone(),
        None => program.data_folder(&global.file)?,
    };
    for path in crates {
        let (name, wasm) = compile(path)?;
        let handler = HandlerName::new(&name);
        let handler = handler.map_err(|error| CliError::configuration(format!("the name {name:?}: {error}")))?;
        let target = folder.join(format!("{name}.wasm"));
        // Beside and renamed: a running host never sees half a handler.
        let beside = folder.join(format!(".{name}.wasm.new"));
        fs::copy(&wasm, &beside)?;
        if let Err(error) = program.load(&handler, &beside, &data).await {
            fs::remove_file(&beside)?;
            let text = format!("{} builds, but no host would take it: {error}", path.display());
            return Err(CliError::configuration(text));
        }
        fs::rename(&beside, &target)?;
        println!("{}", target.display());
    }
    Ok(())
}

/// Whether the compiler has the target's standard library. Where it can't be asked, the target may be what is missing.
fn has_target() -> bool {
    let asked = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(answer) = asked else {
        return false;
    };
    answer.status.success() && Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_dir()
}

/// Compiles a crate; gives its name and the component's path.
fn compile(path: &Path) -> Result<(String, PathBuf), CliError> {
    let manifest = path.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(CliError::configuration(format!(
            "{} has no Cargo.toml; name the folder of a handler crate",
            path.display()
        )));
    }
    eprintln!("compiling {} for {TARGET}", path.display());
    let output = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics", "--manifest-path"])
        .arg(&manifest)
        .args(HANDLER_PROFILE.into_iter().flat_map(|setting| ["--config", setting]))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| CliError::failed(format!("cargo can't be run: {error}; install Rust with rustup")))?;
    if !output.status.success() {
        let advice = if has_target() { String::new() } else { format!("; run `rustup target add {TARGET}`") };
        return Err(CliError::failed(format!("{} doesn't build{advice}", path.display())));
    }
    let manifest = fs::canonicalize(&manifest)?;
    let artifacts = String::from_utf8_lossy(&output.stdout);
    let messages = artifacts.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut own = messages.filter(|message| {
        message["reason"] == "compiler-artifact" && message["manifest_path"].as_str().map(Path::new) == Some(&manifest)
    });
    let found = own.find_map(|message| {
        let files = message["filenames"].as_array()?.clone();
        let wasm = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"))?.to_owned();
        Some(PathBuf::from(wasm))
    });
    let wasm = found.ok_or_else(|| {
        CliError::configuration(format!(
            "{} makes no component; it needs [lib] crate-type = [\"cdylib\"]",
            path.display()
        ))
    })?;
    Ok((package_name(&manifest)?, wasm))
}

/// The package's name, which the handler and its file bear. A target's name has lost the difference of `-` and `_`.
fn package_name(manifest: &Path) -> Result<String, CliError> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let own = packages.find(|package| package["manifest_path"].as_str().map(Path::new) == Some(manifest));
    let name = own.and_then(|package| package["name"].as_str());
    name.map(ToOwned::to_owned).ok_or_else(|| CliError::failed(format!("{} names no package", manifest.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handlers_file_bears_the_name_of_its_package() {
        for name in ["my_books", "my-books"] {
            let folder = tempfile::tempdir().unwrap();
            let manifest = fs::canonicalize(folder.path()).unwrap().join("Cargo.toml");
            let text = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n");
            fs::write(&manifest, text).unwrap();
            fs::create_dir(folder.path().join("src")).unwrap();
            fs::write(folder.path().join("src/lib.rs"), "").unwrap();
            assert_eq!(package_name(&manifest).unwrap(), name);
        }
    }
}
