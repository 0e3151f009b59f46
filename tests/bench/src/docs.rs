//! Real input: the documentation that comes with the toolchain.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

/// The folder `share/doc/rust/html` of this toolchain, or of another one that is installed and has it.
pub(crate) fn folder() -> Result<PathBuf> {
    let output = Command::new("rustup").args(["toolchain", "list"]).output().context("rustup can't be run")?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let toolchains = listed.lines().filter_map(|line| line.split_whitespace().next());
    for toolchain in std::iter::once("").chain(toolchains) {
        let mut command = Command::new("rustc");
        if !toolchain.is_empty() {
            command.env("RUSTUP_TOOLCHAIN", toolchain);
        }
        let output = command.args(["--print", "sysroot"]).output().context("rustc can't be run")?;
        let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let html = PathBuf::from(sysroot).join("share/doc/rust/html");
        if html.join("std/index.html").is_file() {
            return Ok(html);
        }
    }
    bail!("no installed toolchain has its documentation; add it with `rustup component add rust-docs`")
}
