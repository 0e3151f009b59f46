//! `cargo xtask lines`: the crates with their lines of Rust, tests apart.

use std::{fs, path::Path};

use anyhow::Result;

use crate::run::root;

const CRATES: [&str; 17] = [
    "host/core",
    "host/store",
    "host/egress",
    "host/sandbox",
    "host/engine",
    "host/web",
    "host/cli",
    "host",
    "sdk/macros",
    "sdk/rust",
    "handlers/pages",
    "tests",
    "tests/sim",
    "tests/bench",
    "tests/fuzz",
    "tests/handlers/outcomes",
    "xtask",
];

pub(crate) fn lines() -> Result<()> {
    println!("{:<24} {:>7} {:>7}", "crate", "lines", "tests");
    let (mut all, mut all_tests) = (0, 0);
    for name in CRATES {
        let folder = root().join(name);
        let (mut own, mut tests) = (0, 0);
        count(&folder.join("src"), &mut own, &mut tests)?;
        let mut ignored = 0;
        for of_tests in ["tests", "integration"] {
            let mut all = 0;
            count(&folder.join(of_tests), &mut all, &mut ignored)?;
            tests += all;
        }
        println!("{name:<24} {own:>7} {:>7}", tests + ignored);
        all += own;
        all_tests += tests + ignored;
    }
    println!("{:<24} {all:>7} {all_tests:>7}", "all");
    Ok(())
}

/// Lines that aren't blank; those from a file's `#[cfg(test)]` on are tests.
fn count(folder: &Path, own: &mut usize, tests: &mut usize) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            count(&path, own, tests)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            let of_code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let filled = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
            *own += filled(of_code);
            *tests += filled(&text) - filled(of_code);
        }
    }
    Ok(())
}
