//! `cargo xtask bench`, `soak kills` and `soak paid`: optimised builds, figures beside their reference.

use std::process::Command;

use anyhow::Result;

use crate::{
    handlers,
    run::{cargo, root, step, target},
    setup,
};

/// What is measured, what measures it, and what both ask.
const PROGRAMS: [&str; 3] = ["tollgate", "tollgate-bench", "tollgate-sim"];

/// Runs the bench program with `args`; figures and crawl where nothing is named.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    if args.first().is_some_and(|what| what == "small") {
        let mut small = cargo();
        small.args(["bench", "--package", "tollgate-bench", "--workspace", "--bench", "small", "--"]).args(&args[1..]);
        return step("small figures", &mut small, "The message above says why.");
    }
    build()?;
    if !args.is_empty() {
        return program(args);
    }
    // All are measured, whatever the first ones come to.
    let results = [program(&["figures".to_owned()]), program(&["crawl".to_owned()])];
    results.into_iter().collect()
}

/// Kills the program again and again: `kills` during a crawl, `paid` at each step of a paid call.
pub(crate) fn campaign(name: &str, args: &[String]) -> Result<()> {
    let what: Vec<String> = std::iter::once(name.to_owned()).chain(args.iter().cloned()).collect();
    build()?;
    program(&what)
}

fn build() -> Result<()> {
    eprintln!("a first optimised build takes some 20 minutes on two cores");
    setup::wasm_target()?;
    handlers::build()?;
    let mut builds = cargo();
    builds.args(["build", "--release", "--bins"]);
    builds.args(PROGRAMS.into_iter().flat_map(|package| ["--package", package]));
    step("optimised programs", &mut builds, "Read the compiler's message above.")
}

fn program(args: &[String]) -> Result<()> {
    let mut bench = Command::new(target().join("release/tollgate-bench"));
    bench.args(args).current_dir(root());
    step(&format!("bench {}", args.join(" ")), &mut bench, "The message above says why.")
}
