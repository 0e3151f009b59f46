//! `cargo xtask test`: everything that must hold, in the order of how soon it fails.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::{
    handlers,
    run::{cargo, step},
    setup,
};

/// How the names of tests begin that need a browser.
const IN_A_BROWSER: &str = "in_a_browser_";

pub(crate) fn test() -> Result<()> {
    let start = Instant::now();
    eprintln!("a first run from a clean clone takes some 25 minutes on two cores, most of it building");
    setup::wasm_target()?;
    setup::python()?;
    step("format", cargo().args(["fmt", "--all", "--check"]), "Run `cargo fmt --all`.")?;
    handlers::build()?;
    let lints = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    step("lints", cargo().args(lints), "Read clippy's message above.")?;
    // With the tests, so that what both stand on is built once: by themselves the programs ask for other features of it.
    step(
        "programs and tests",
        cargo().args(["build", "--workspace", "--all-targets"]),
        "Read the compiler's message above.",
    )?;
    let browser = setup::browser();
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    if let Err(error) = &browser {
        eprintln!("── the tests named {IN_A_BROWSER}… are left out, and this will fail at its end: {error:#}");
        tests.args(["--", "--skip", IN_A_BROWSER]);
    }
    step("tests", &mut tests, "Read the failures above; each test runs alone with `cargo test NAME`.")?;
    let proxies = real_proxies();
    let mut docs = cargo();
    docs.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings");
    step("documentation", &mut docs, "Read rustdoc's message above.")?;
    dependencies()?;
    if !std::process::Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!(
            "── NOT CHECKED: full and read-only disks. This system lets nobody make a namespace (`unshare -rm true`)."
        );
    }
    proxies?;
    browser.context("all else is well, but the page was not tested")?;
    eprintln!("all is well, after {} s", start.elapsed().as_secs());
    Ok(())
}

/// The gate behind a real squid and a real tinyproxy. What keeps them from being there fails all at its end.
fn real_proxies() -> Result<()> {
    if let Err(error) = setup::real_proxies() {
        eprintln!("── NOT CHECKED: real proxies, and this will fail at its end: {error:#}");
        return Err(error).context("all else is well, but real proxies were not tested");
    }
    let mut tests = cargo();
    tests.args(["test", "-p", "tollgate-egress", "--features", "real-proxies", "--test", "real_proxies"]);
    step("real proxies", &mut tests, "Read the failures above; each test runs alone with `cargo test NAME`.")
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
