//! What a fresh machine lacks: the wasm target, cargo-deny, a browser, Python, proxies, the tools themselves, a packet
//! capturer.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::run::{cargo, output, root, runs, step};

/// What handlers are compiled for.
pub(crate) const TARGET: &str = "wasm32-wasip2";
/// The version that holds the rules of deny.toml.
const DENY_VERSION: &str = "0.20.2";

/// Adds the wasm target to the toolchain.
pub(crate) fn wasm_target() -> Result<()> {
    let Some(installed) = output("rustup", &["target", "list", "--installed"]) else {
        bail!("rustup can't be run; install it as rust-lang.org says, then try again");
    };
    if installed.lines().any(|line| line.trim() == TARGET) {
        return Ok(());
    }
    eprintln!("the target {TARGET} is missing: adding it to this repository's toolchain (some 25 MB)");
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]).current_dir(crate::run::root());
    step(
        "rustup target add",
        &mut command,
        &format!("Run `rustup target add {TARGET}` where the network can be reached."),
    )
}

/// Installs cargo-deny.
pub(crate) fn cargo_deny() -> Result<()> {
    if runs("cargo", &["deny", "--version"]) {
        return Ok(());
    }
    eprintln!("cargo-deny is missing: installing it takes some 5 minutes on two cores");
    let mut command = cargo();
    command.args(["install", "cargo-deny", "--locked", "--debug", "--version", DENY_VERSION]);
    step("cargo install cargo-deny", &mut command, "Run `cargo install cargo-deny --locked`.")
}

/// Names under which Chromium is installed, and the variable that names another; `tests/integration/page.rs` looks
/// there too.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const BROWSER_VARIABLE: &str = "CHROME";

/// Finds the browser that the page is tested in, or installs it where that can be done without asking.
pub(crate) fn browser() -> Result<()> {
    let named = std::env::var(BROWSER_VARIABLE).ok();
    if named.iter().map(String::as_str).chain(BROWSERS).any(|name| runs(name, &["--version"])) {
        return Ok(());
    }
    let by_hand = "Install Chromium (Debian: `apt-get install chromium`), or name a browser of its kind in CHROME.";
    debian_package("chromium", "the page's tests need a browser", "some 100 MB", by_hand)
}

/// Finds Python, in which the stand-in for yt-dlp is written, or installs it where that can be done without asking.
pub(crate) fn python() -> Result<()> {
    if runs("python3", &["--version"]) {
        return Ok(());
    }
    let by_hand = "Install Python 3 (Debian: `apt-get install python3-minimal`).";
    debian_package("python3-minimal", "the tests of tools need python3", "some 20 MB", by_hand)
}

/// The version of yt-dlp that is tested.
const TOOLS: &str = "tests/tools/requirements.txt";

/// Where `host/egress/tests/real_tools` looks for yt-dlp.
pub(crate) fn yt_dlp() -> PathBuf {
    root().join("target/tools/bin/yt-dlp")
}

/// Finds the real yt-dlp, of the version that is written down, and ffmpeg, or installs them: the one in a folder of its
/// own under `target`, the other where that can be done without asking.
pub(crate) fn real_tools() -> Result<()> {
    if !runs("ffmpeg", &["-version"]) {
        let by_hand = "Install ffmpeg (Debian: `apt-get install ffmpeg`).";
        debian_package("ffmpeg", "the tests of real tools need ffmpeg", "some 150 MB with what it needs", by_hand)?;
    }
    let wanted = fs::read_to_string(root().join(TOOLS)).with_context(|| format!("{TOOLS} can't be read"))?;
    let version = wanted.lines().find_map(|line| line.strip_prefix("yt-dlp==")).context("no yt-dlp==VERSION there")?;
    let installed = output(&yt_dlp().display().to_string(), &["--version"]);
    if installed.is_some_and(|found| is_same_version(&found, version)) {
        return Ok(());
    }
    let folder = root().join("target/tools");
    let by_hand = format!(
        "By hand: `python3 -m venv {0}`, then `{0}/bin/pip install -r {TOOLS}`, where the network can be reached.",
        folder.display()
    );
    eprintln!("yt-dlp {version} is missing: installing it into {} (some 20 MB)", folder.display());
    venv("yt-dlp", &folder, TOOLS, &by_hand)
}

/// Makes a venv with what a list names.
fn venv(what: &str, folder: &Path, list: &str, by_hand: &str) -> Result<()> {
    // Debian leaves what a venv needs out of its Python.
    if !runs("python3", &["-c", "import ensurepip"]) {
        debian_package("python3-venv", &format!("{what} is installed in a venv"), "some 10 MB", by_hand)?;
    }
    let mut venv = Command::new("python3");
    step("python3 -m venv", venv.args(["-m", "venv", "--clear"]).arg(folder), by_hand)?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement", list]).current_dir(root());
    step(&format!("pip install {what}"), &mut pip, by_hand)
}

/// The version of the litellm proxy that is tested, and what it needs.
const LITELLM: &str = "tests/tools/litellm/requirements.txt";

/// Finds the real litellm proxy of the list as it is written down, or installs it into a folder of its own under
/// `target`, where `tests/lessons/money/litellm.rs` looks for it.
pub(crate) fn litellm() -> Result<()> {
    let folder = root().join("target/litellm");
    let wanted = fs::read_to_string(root().join(LITELLM)).with_context(|| format!("{LITELLM} can't be read"))?;
    // Kept when all of it is there: to ask the program for its version takes seconds.
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let by_hand = format!(
        "By hand: `python3 -m venv {0}`, then `{0}/bin/pip install -r {LITELLM}`, where the network can be reached.",
        folder.display()
    );
    eprintln!("the litellm proxy is missing: installing it into {} (some 480 MB, a minute)", folder.display());
    venv("litellm", &folder, LITELLM, &by_hand)?;
    fs::write(&installed, wanted).with_context(|| installed.display().to_string())
}

/// Versions are dates: 2026.01.05 here is 2026.1.5 there.
fn is_same_version(one: &str, other: &str) -> bool {
    let parts =
        |text: &str| text.trim().split('.').map(|part| part.trim_start_matches('0').to_owned()).collect::<Vec<_>>();
    parts(one) == parts(other)
}

/// Finds what `cargo xtask test netns` makes its network with, or installs it where that can be done without asking.
pub(crate) fn capture() -> Result<()> {
    let parts = [("ip", "-V", "iproute2", "some 3 MB"), ("tcpdump", "--version", "tcpdump", "some 2 MB")];
    for (program, version, package, size) in parts {
        if !runs(program, &[version]) {
            let by_hand = format!("Install {package} (Debian: `apt-get install {package}`).");
            debian_package(package, "the run in a namespace is captured", size, &by_hand)?;
        }
    }
    Ok(())
}

/// What Debian's packages of proxies install, and the package that does; `tests/sim/src/real_proxy.rs` looks there too.
const PROXIES: [(&str, &str); 3] = [
    ("/usr/sbin/squid", "squid"),
    ("/usr/lib/squid/basic_ncsa_auth", "squid"),
    ("/usr/bin/tinyproxy", "tinyproxy-bin"),
];

/// Finds squid and tinyproxy, or installs them where that can be done without asking. Tests start their own; of the
/// system's services none is started, now or when the machine starts.
pub(crate) fn real_proxies() -> Result<()> {
    let by_hand = "Install squid and tinyproxy (Debian: `apt-get install squid tinyproxy-bin`).";
    for (program, package) in PROXIES {
        if Path::new(program).exists() {
            continue;
        }
        let _quiet = NoServices::begin()?;
        debian_package(package, "the tests of real proxies need squid and tinyproxy", "some 15 MB", by_hand)?;
        if package == "squid" && runs("systemctl", &["--version"]) {
            let mut disable = Command::new("systemctl");
            step("systemctl disable squid", disable.args(["disable", "squid"]), "Run `systemctl disable squid`.")?;
        }
    }
    Ok(())
}

/// Debian asks this program before a package that is installed starts its service.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// As long as it lives, no package starts a service. A policy that the machine has of its own is left as it is.
struct NoServices {
    is_ours: bool,
}

impl NoServices {
    fn begin() -> Result<Self> {
        let is_root = output("id", &["-u"]).is_some_and(|id| id.trim() == "0");
        if !is_root {
            return Ok(Self { is_ours: false });
        }
        // 101: it isn't allowed.
        let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(SERVICE_POLICY);
        match written {
            Ok(mut file) => {
                let quiet = Self { is_ours: true };
                std::io::Write::write_all(&mut file, b"#!/bin/sh\nexit 101\n").context(SERVICE_POLICY)?;
                fs::set_permissions(SERVICE_POLICY, fs::Permissions::from_mode(0o755)).context(SERVICE_POLICY)?;
                Ok(quiet)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self { is_ours: false }),
            Err(error) => Err(error).context(SERVICE_POLICY),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = fs::remove_file(SERVICE_POLICY)
        {
            eprintln!("── {SERVICE_POLICY} can't be removed, so no package starts a service: {error}");
        }
    }
}

fn debian_package(package: &str, why: &str, size: &str, by_hand: &str) -> Result<()> {
    let is_root = output("id", &["-u"]).is_some_and(|id| id.trim() == "0");
    if !is_root || !runs("apt-get", &["--version"]) {
        bail!("{why}. {by_hand}");
    }
    eprintln!("{package} is missing: installing Debian's package ({size})");
    step("apt-get update", Command::new("apt-get").args(["update", "-qq"]), by_hand)?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends", package]).env("DEBIAN_FRONTEND", "noninteractive");
    step(&format!("apt-get install {package}"), &mut install, by_hand)
}
