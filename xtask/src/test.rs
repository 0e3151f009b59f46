//! `cargo xtask test`: everything that must hold, in the order of how soon it fails.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{
    handlers, netns,
    run::{cargo, step},
    setup,
};

/// How the names of tests begin that need a browser.
const IN_A_BROWSER: &str = "in_a_browser_";

/// The features by which tests of real programs are built and run.
const REAL_TOOLS: [&str; 2] = ["tollgate-egress/real-tools", "tollgate-tests/real-tools"];
const REAL_PROXIES: [&str; 2] = ["tollgate-egress/real-proxies", "tollgate-tests/real-proxies"];
const REAL_LITELLM: [&str; 1] = ["tollgate-tests/real-litellm"];

/// Runs everything, or the part that is named.
pub(crate) fn test(args: &[String]) -> Result<()> {
    match args {
        [] => everything(),
        [part] if part == "netns" => only_netns(),
        _ => bail!("the part of the tests that runs by itself is `netns`"),
    }
}

/// What of the real programs could be had.
struct Real {
    /// Cargo's arguments for their tests.
    features: Vec<&'static str>,
    /// Why not all of those that must be there.
    lacking: Vec<anyhow::Error>,
}

impl Real {
    /// Finds them, or installs them where that can be done without asking.
    fn set_up() -> Self {
        let mut real = Self { features: Vec::new(), lacking: Vec::new() };
        real.take(setup::real_tools(), &REAL_TOOLS, "the real yt-dlp and ffmpeg");
        real.take(setup::real_proxies(), &REAL_PROXIES, "a real squid and tinyproxy");
        real
    }

    /// The litellm proxy comes from PyPI with a hundred packages: where it can't be had, that is said, and no more.
    fn with_litellm(mut self) -> Self {
        match setup::litellm() {
            Ok(()) => self.add(&REAL_LITELLM),
            Err(error) => {
                eprintln!(
                    "── NOT CHECKED: that calls pass through a real litellm proxy. It can't be installed: {error:#}"
                );
            }
        }
        self
    }

    fn add(&mut self, features: &[&'static str]) {
        self.features.extend(features.iter().flat_map(|feature| ["--features", feature]));
    }

    fn take(&mut self, found: Result<()>, features: &[&'static str], what: &str) {
        match found {
            Ok(()) => self.add(features),
            Err(error) => {
                eprintln!("── NOT CHECKED: {what}, and this will fail at its end: {error:#}");
                self.lacking.push(error.context(format!("all else is well, but {what} were not tested")));
            }
        }
    }

    /// An error, if any was missing.
    fn judge(self) -> Result<()> {
        self.lacking.into_iter().next().map_or(Ok(()), Err)
    }
}

fn only_netns() -> Result<()> {
    setup::wasm_target()?;
    setup::python()?;
    let real = Real::set_up();
    handlers::build()?;
    in_namespace(&real)?;
    real.judge()
}

/// No packet past the proxy, where that can be seen.
fn in_namespace(real: &Real) -> Result<()> {
    let has_real_tools = real.features.contains(&REAL_TOOLS[0]);
    if let netns::Checked::Not(why) = netns::netns(&real.features, has_real_tools)? {
        eprintln!(
            "── NOT CHECKED: that no packet goes past the proxy. This system lets nobody make a network namespace: {why}"
        );
    }
    Ok(())
}

fn everything() -> Result<()> {
    let start = Instant::now();
    eprintln!("a first run from a clean clone takes some 25 minutes on two cores, most of it building");
    setup::wasm_target()?;
    setup::python()?;
    let real = Real::set_up().with_litellm();
    let features = &real.features;
    step("format", cargo().args(["fmt", "--all", "--check"]), "Run `cargo fmt --all`.")?;
    handlers::build()?;
    let mut lints = cargo();
    lints.args(["clippy", "--workspace", "--all-targets"]).args(features).args(["--", "--deny", "warnings"]);
    step("lints", &mut lints, "Read clippy's message above.")?;
    // With the tests, so that what both stand on is built once: by themselves the programs ask for other features of
    // it.
    step(
        "programs and tests",
        cargo().args(["build", "--workspace", "--all-targets"]).args(features),
        "Read the compiler's message above.",
    )?;
    let browser = setup::browser();
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]).args(features);
    if let Err(error) = &browser {
        eprintln!("── the tests named {IN_A_BROWSER}… are left out, and this will fail at its end: {error:#}");
        tests.args(["--", "--skip", IN_A_BROWSER]);
    }
    step("tests", &mut tests, "Read the failures above; each test runs alone with `cargo test NAME`.")?;
    in_namespace(&real)?;
    let mut docs = cargo();
    docs.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings");
    step("documentation", &mut docs, "Read rustdoc's message above.")?;
    dependencies()?;
    if !std::process::Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!(
            "── NOT CHECKED: full and read-only disks. This system lets nobody make a namespace (`unshare -rm true`)."
        );
    }
    real.judge()?;
    browser.context("all else is well, but the page was not tested")?;
    eprintln!("all is well, after {} s", start.elapsed().as_secs());
    Ok(())
}

/// Licences, bans and sources are judged offline. Advisories want a database from outside: where it can't be had, that
/// is said aloud, and nothing is claimed of them.
fn dependencies() -> Result<()> {
    setup::cargo_deny()?;
    let rules = ["deny", "--all-features", "check", "bans", "licenses", "sources"];
    step("dependency rules", cargo().args(rules), "deny.toml holds the rules, each with its reason.")?;
    let fetched = cargo().args(["deny", "fetch", "db"]).status().is_ok_and(|status| status.success());
    if fetched {
        return step("advisories", cargo().args(["deny", "check", "advisories"]), "Update or replace the crate named.");
    }
    eprintln!(
        "── NOT CHECKED: advisories. Their database can't be fetched from here; run `cargo deny check advisories` where it can."
    );
    Ok(())
}
