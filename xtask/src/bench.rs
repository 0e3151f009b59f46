//! `cargo xtask bench` and `soak kills`: optimised builds, figures beside their reference.

use anyhow::Result;

use crate::{
    handlers,
    run::{cargo, step},
    setup,
};

/// Runs the bench program with `args`; all of them where none is named.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    let what: Vec<String> = if args.is_empty() { vec!["crawl".to_owned()] } else { args.to_vec() };
    program(&what)
}

/// Kills the program during a crawl, again and again.
pub(crate) fn kills(args: &[String]) -> Result<()> {
    let what: Vec<String> = std::iter::once("kills".to_owned()).chain(args.iter().cloned()).collect();
    program(&what)
}

fn program(args: &[String]) -> Result<()> {
    eprintln!("a first optimised build takes some 10 minutes on two cores");
    setup::wasm_target()?;
    handlers::build()?;
    let builds =
        ["build", "--release", "--package", "tollgate", "--package", "tollgate-sim", "--package", "tollgate-bench"];
    step("optimised programs", cargo().args(builds), "Read the compiler's message above.")?;
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--release", "--package", "tollgate-bench", "--"]).args(args);
    step(&format!("bench {}", args.join(" ")), &mut bench, "The message above says why.")
}
