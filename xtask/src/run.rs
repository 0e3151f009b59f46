//! Runs commands: says which, how long each took, and what to do when it fails.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a step with its output shown.
pub(crate) fn step(name: &str, command: &mut Command, on_failure: &str) -> Result<()> {
    eprintln!("── {name}");
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("{name}: {command:?} can't be run"))?;
    let seconds = start.elapsed().as_secs();
    if !status.success() {
        bail!("{name} failed after {seconds} s ({status}). {on_failure}");
    }
    eprintln!("── {name}: {seconds} s");
    Ok(())
}

/// What a command prints; absent if it can't be run or fails.
pub(crate) fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).current_dir(root()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program is there and runs.
pub(crate) fn runs(program: impl AsRef<OsStr>, args: &[&str]) -> bool {
    let command =
        Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    command.is_ok_and(|status| status.success())
}
