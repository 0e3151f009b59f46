//! `cargo xtask test netns`: the host in a network namespace with no way but to the proxy, and a capture of all it
//! sends.
//!
//! Namespaces of a process group are made (network, mounts, processes), by root or by the user that one is within them.
//! This program is run again in there, as [`within`]. What is made there has no name outside, and goes with the last
//! process, however that ends; nothing of the machine's own network is changed.

mod capture;
mod jobs;
mod leak;
mod packet;
mod runs;
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::leak::leak;
use crate::{
    run::{cargo, root, step, target},
    setup,
};

/// The chore that this program is within the namespaces.
pub(crate) const WITHIN: &str = "netns-within";
/// The chore by which the host's namespace leaks on purpose.
pub(crate) const LEAK: &str = "netns-leak";
/// What is to be done there, in the scratch folder.
const PLAN: &str = "plan.json";
/// What must be possible there.
const PROBE: &str = "ip link add probe0 type veth peer name probe1 && mount -t tmpfs tmpfs /run && touch /run/n \
                     && unshare --net=/run/n true && nsenter --net=/run/n true";

/// What was built before, since nothing can be fetched within.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// The programs of the gate's tests.
    tests: Vec<PathBuf>,
    /// Whether the real tools are there.
    has_real_tools: bool,
}

/// How it came out.
pub(crate) enum Checked {
    /// All was run and captured.
    All,
    /// This system lets nobody make such namespaces; says so.
    Not(String),
}

/// Said where its programs can't be had.
const LACKS: &str = "all else is well, but that no packet goes past the proxy was not tested";

/// The test that has proxies of its own, which look names up by themselves: it is no matter of ours what they send.
const HAS_PROXIES: &str = "real_proxies";

/// Builds what is needed, and runs it. `features` are cargo's arguments for tests of real programs.
pub(crate) fn netns(features: &[&str], has_real_tools: bool) -> Result<Checked> {
    setup::capture().context(LACKS)?;
    let flags = match namespaces() {
        Ok(flags) => flags,
        Err(why) => return Ok(Checked::Not(why)),
    };
    let plan = Plan { tests: programs(features)?, has_real_tools };
    let scratch = tempfile::Builder::new().prefix("tollgate-netns-").tempdir()?;
    fs::write(scratch.path().join(PLAN), serde_json::to_string(&plan)?)?;
    let mut within = Command::new("unshare");
    within.args(flags).arg(target().join("debug/xtask")).arg(WITHIN).arg(scratch.path()).current_dir(root());
    step("in a network namespace", &mut within, "What was sent past the proxy, or failed there, stands above.")?;
    Ok(Checked::All)
}

/// How the namespaces can be made here.
fn namespaces() -> Result<Vec<&'static str>, String> {
    let flags = vec!["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    // Who is root may be kept from making a user's, and the other way round.
    let by_user: Vec<_> = flags.iter().copied().chain(["--user", "--map-root-user"]).collect();
    let mut why = String::new();
    for flags in [flags, by_user] {
        match Command::new("unshare").args(&flags).args(["sh", "-c", PROBE]).output() {
            Ok(output) if output.status.success() => return Ok(flags),
            Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
            Err(error) => why = format!("unshare: {error}"),
        }
    }
    Err(why)
}

/// The programs of the gate's tests, built with the rest of the workspace so that what all stand on is built once.
fn programs(features: &[&str]) -> Result<Vec<PathBuf>> {
    let build = ["build", "--workspace", "--all-targets"];
    step("programs and tests", cargo().args(build).args(features), "Read the compiler's message above.")?;
    let mut list = cargo();
    list.args(["test", "--workspace", "--no-run", "--message-format=json"]).args(features);
    let output = list.stderr(std::process::Stdio::inherit()).output().context("cargo")?;
    ensure!(output.status.success(), "the gate's tests can't be built");
    let manifest = root().join("host/egress/Cargo.toml");
    let mut tests = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let said: Value = serde_json::from_str(line).with_context(|| format!("cargo says {line}"))?;
        if said["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest)
            && said["profile"]["test"] == true
            && said["target"]["name"] != HAS_PROXIES
            && let Some(program) = said["executable"].as_str()
        {
            tests.push(PathBuf::from(program));
        }
    }
    ensure!(tests.len() >= 3, "the gate has more tests than {tests:?}");
    Ok(tests)
}

/// What is done within the namespaces.
///
/// # Errors
/// A run failed, or something went past the proxy.
pub(crate) fn within(args: &[String]) -> Result<()> {
    let [scratch] = args else {
        anyhow::bail!("this is a part of `cargo xtask test netns`: it wants the scratch folder");
    };
    let scratch = Path::new(scratch);
    let plan: Plan = serde_json::from_str(&fs::read_to_string(scratch.join(PLAN))?)?;
    world::make(scratch)?;
    runs::all(&plan, scratch)
}
