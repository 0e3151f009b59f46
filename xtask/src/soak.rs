//! `cargo xtask soak`: long campaigns, bounded and seeded.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    bench,
    run::{cargo, root, runs, step, target},
};

/// The fuzz targets, as `tests/fuzz` has them.
const TARGETS: [&str; 4] = ["jobs_toml", "stored_rows", "http_responses", "handler_outputs"];
/// How each is limited: seconds an input, MiB of memory, bytes of an input.
const LIMITS: [&str; 3] = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=8192"];
/// What the target's program and its own libraries are compiled with: quick, and with every check of arithmetic.
const PROFILE: [&str; 2] = ["--config", "profile.dev.opt-level=2"];

/// Runs what is named: `kills`, `paid`, `fuzz`, or all of them. Options alone are those of `kills`.
pub(crate) fn soak(args: &[String]) -> Result<()> {
    match args.split_first() {
        None => {
            bench::campaign("kills", &[])?;
            bench::campaign("paid", &[])?;
            fuzz(&[])
        }
        Some((what, rest)) if ["kills", "paid"].contains(&what.as_str()) => bench::campaign(what, rest),
        Some((what, rest)) if what == "fuzz" => fuzz(rest),
        Some((what, _)) if what.starts_with("--") => bench::campaign("kills", args),
        Some((what, _)) => bail!("there is no campaign {what:?}: kills, paid, fuzz"),
    }
}

/// What a fuzz campaign is asked for.
struct Campaign {
    /// For each target.
    seconds: u64,
    /// Where chance begins. libFuzzer takes 0 for the clock's.
    seed: u32,
    targets: Vec<&'static str>,
}

impl Campaign {
    fn read(args: &[String]) -> Result<Self> {
        let mut campaign = Self { seconds: 60, seed: 1, targets: TARGETS.to_vec() };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            let value = args.next().with_context(|| format!("{option} wants a value"))?;
            match option.as_str() {
                "--seconds" => campaign.seconds = value.parse().context("--seconds wants a number")?,
                "--seed" => campaign.seed = value.parse().context("--seed wants a number")?,
                "--target" => {
                    let known = TARGETS.into_iter().find(|name| name == value);
                    campaign.targets = vec![known.with_context(|| format!("the targets are {}", TARGETS.join(", ")))?];
                }
                _ => bail!("there is no option {option}: --seconds N, --seed N, --target NAME"),
            }
        }
        // 0 would be no limit, and no seed.
        ensure!(campaign.seconds > 0 && campaign.seed > 0, "--seconds and --seed begin at 1");
        Ok(campaign)
    }
}

fn fuzz(args: &[String]) -> Result<()> {
    let campaign = Campaign::read(args)?;
    let Campaign { seconds, seed, targets } = &campaign;
    println!("seed {seed}, {seconds} s each of {}", targets.join(", "));
    build()?;
    let mut failed = Vec::new();
    for name in targets {
        if let Err(error) = run(name, &campaign) {
            eprintln!("── {error:#}");
            failed.push(*name);
        }
    }
    ensure!(failed.is_empty(), "these targets found something, see above: {}", failed.join(", "));
    println!("no target found anything. Seed {seed}; what their corpora grew to lies in {}", folder().display());
    Ok(())
}

fn folder() -> PathBuf {
    target().join("fuzz")
}

/// With the workspace, so that what the targets stand on is shared with the tests' builds.
fn build() -> Result<()> {
    let compilers = std::env::var("CXX").ok();
    if !compilers.iter().map(String::as_str).chain(["c++", "g++", "clang++"]).any(|name| runs(name, &["--version"])) {
        bail!("libFuzzer wants a compiler of C++. Install one (Debian: `apt-get install g++`), or name yours in CXX.");
    }
    let mut build = cargo();
    build.args(["build", "--workspace", "--features", "tollgate-fuzz/campaign"]).args(PROFILE);
    for name in TARGETS {
        build.arg("--bin").arg(format!("fuzz_{name}"));
    }
    build.env("RUSTC_WORKSPACE_WRAPPER", root().join("tests/fuzz/rustc.sh")).env("CARGO_INCREMENTAL", "0");
    step("fuzz targets", &mut build, "Read the compiler's message above.")
}

/// Runs one target. New inputs that reach further are kept in the target folder, beside the seeds of the repository.
fn run(name: &str, campaign: &Campaign) -> Result<()> {
    let (folder, repository) = (folder(), root().join("tests/fuzz"));
    let (corpus, found, scratch) = (folder.join("corpus").join(name), folder.join("found"), folder.join("scratch"));
    for folder in [&corpus, &found, &scratch] {
        fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    }
    let program = target().join("debug").join(format!("fuzz_{name}"));
    let mut fuzz = Command::new(&program);
    fuzz.args(LIMITS).args([
        format!("-seed={}", campaign.seed),
        format!("-max_total_time={}", campaign.seconds),
        "-print_final_stats=1".to_owned(),
    ]);
    fuzz.arg(option("-artifact_prefix=", &found.join(format!("{name}-"))));
    let dictionary = repository.join("dictionaries").join(format!("{name}.dict"));
    if dictionary.is_file() {
        fuzz.arg(option("-dict=", &dictionary));
    }
    // A process that libFuzzer ends removes nothing.
    fuzz.arg(&corpus).arg(repository.join("corpus").join(name)).env("TMPDIR", &scratch);
    let again = format!("The input lies where it says above; run it again: {} FILE", program.display());
    let ran = step(&format!("fuzz {name}"), &mut fuzz, &again);
    fs::remove_dir_all(&scratch).with_context(|| format!("{} can't be removed", scratch.display()))?;
    ran
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}
