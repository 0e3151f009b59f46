//! The peers: other queues, each in a program of its own under `tests/peers`, built and run beside Tollgate.

use std::{
    env,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Peers in Rust, by the name of their folder; the program is called `peer-` and that.
const RUST: [&str; 2] = ["honker", "apalis"];
/// The peer in Python.
const HUEY: &str = "huey";

/// One figure of one peer. All are durable: each commit is on the disk before it is answered.
#[derive(Debug)]
pub(crate) struct PeerFigure {
    pub(crate) peer: &'static str,
    /// `single`, `bulk`, `drain`, `drain-batch`, `pickup p50`, `pickup p99`; what a peer hasn't is left out.
    pub(crate) figure: String,
    /// A second, or milliseconds of a pick-up.
    pub(crate) value: f64,
}

/// Builds the peers and runs one after another. A peer in a language that isn't there is left out, aloud.
pub(crate) fn measure() -> Result<Vec<PeerFigure>> {
    let target = target()?.join("peers");
    let mut figures = Vec::new();
    for peer in RUST {
        figures.extend(run(peer, &mut Command::new(build(peer, &target)?))?);
    }
    if let Some(python) = python(&target.join("venv"))? {
        // Isolated, since the program is named like the package that it imports.
        figures.extend(run(HUEY, Command::new(python).arg("-I").arg(folder().join("huey.py")))?);
    }
    Ok(figures)
}

/// Where the peers' sources are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("peers")
}

/// Where cargo built this program: two folders above it.
fn target() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.ancestors().nth(2).with_context(|| format!("{} is in no target folder", program.display()))?;
    Ok(target.to_owned())
}

/// Builds a peer in Rust, from its own lock file; gives its program.
fn build(peer: &str, target: &Path) -> Result<PathBuf> {
    eprintln!("── {peer}: building (minutes, the first time)");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--locked", "--manifest-path"]);
    cargo.arg(folder().join(peer).join("Cargo.toml")).arg("--target-dir").arg(target);
    output(&mut cargo, &format!("the build of {peer}"))?;
    Ok(target.join("release").join(format!("peer-{peer}")))
}

/// Makes a virtual environment with what Huey needs; gives its Python, or nothing where there is none.
fn python(venv: &Path) -> Result<Option<PathBuf>> {
    let mut probe = Command::new("python3");
    probe.args(["-c", "import ensurepip, venv"]).stdin(Stdio::null());
    match probe.output() {
        Ok(probe) if probe.status.success() => {}
        Ok(_) => {
            eprintln!("── {HUEY} is left out: Python's venv or pip isn't there (Debian: python3-venv)");
            return Ok(None);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("── {HUEY} is left out: python3 isn't there");
            return Ok(None);
        }
        Err(error) => return Err(error).context("python3 can't be run"),
    }
    eprintln!("── {HUEY}: installing");
    output(Command::new("python3").args(["-m", "venv"]).arg(venv), "python3 -m venv")?;
    let python = venv.join("bin").join("python");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    output(pip.arg(folder().join("requirements.txt")), "pip install")?;
    Ok(Some(python))
}

/// Runs a peer's program in a fresh folder; gives its figures.
fn run(peer: &'static str, program: &mut Command) -> Result<Vec<PeerFigure>> {
    eprintln!("── {peer}: measuring");
    let scratch = tempfile::Builder::new().prefix("tollgate-peer-").tempdir()?;
    let lines = output(program.arg(scratch.path()), peer)?;
    let mut figures = Vec::new();
    for line in lines.lines() {
        figures.extend(parse(peer, line).with_context(|| format!("{peer} printed {line}"))?);
    }
    ensure!(!figures.is_empty(), "{peer} printed no figure");
    Ok(figures)
}

/// Runs a command to its end; gives what it printed. One that fails is an error, with what it said.
fn output(command: &mut Command, name: &str) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{name} can't be run"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} ended with {}: {said}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed what isn't text"))
}

/// The figures of one line.
fn parse(peer: &'static str, line: &str) -> Result<Vec<PeerFigure>> {
    let row: Value = serde_json::from_str(line)?;
    let name = row["figure"].as_str().context("no name of a figure")?;
    ensure!(row["durable"] == true, "only what is durable is compared");
    let figure = |figure: String, value: f64| PeerFigure { peer, figure, value };
    let number = |key: &str| row[key].as_f64();
    match (number("per_second"), number("p50_ms"), number("p99_ms")) {
        (Some(rate), None, None) => Ok(vec![figure(name.to_owned(), rate)]),
        (None, Some(p50), Some(p99)) => {
            Ok(vec![figure(format!("{name} p50"), p50), figure(format!("{name} p99"), p99)])
        }
        _ => bail!("neither a rate nor a pick-up"),
    }
}
