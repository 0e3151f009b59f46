//! The surroundings of a run: the small internet in a process of its own, a jobs.toml, the program.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::docs;

/// The host name under which the documentation stands.
pub(crate) const HOST: &str = "docs.example";
/// Requests side by side, for the program and for the bare loop alike.
pub(crate) const CONCURRENCY: usize = 32;
/// Tasks that one instance of the handler serves.
pub(crate) const REUSE: u32 = 1_000;
const START_TIME: Duration = Duration::from_secs(20);

/// The first page.
pub(crate) fn seed() -> String {
    format!("http://{HOST}/std/index.html")
}

/// What every page must begin with.
pub(crate) fn bound() -> String {
    format!("http://{HOST}/std/")
}

/// The small internet in a process of its own, so that its time isn't counted as ours. Dropped, it is ended.
pub(crate) struct SmallInternet {
    sim: Child,
    /// Where everything is, as it says itself.
    facts: Value,
}

impl SmallInternet {
    /// Starts it with these arguments, and waits until it listens. It writes into `scratch`.
    pub(crate) fn start(scratch: &Path, args: &[&str]) -> Result<Self> {
        let ready = scratch.join("ready.json");
        let mut command = Command::new(program("sim")?);
        command.arg("--ready").arg(&ready).args(args).stdin(Stdio::null()).stdout(Stdio::null());
        let sim = command.spawn().context("the small internet can't be started")?;
        let mut internet = Self { sim, facts: Value::Null };
        let deadline = Instant::now() + START_TIME;
        while !ready.is_file() {
            if let Some(status) = internet.sim.try_wait()? {
                bail!("the small internet ended with {status}");
            }
            ensure!(Instant::now() < deadline, "the small internet did not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        internet.facts = serde_json::from_str(&fs::read_to_string(&ready)?)?;
        Ok(internet)
    }

    /// A text of its facts, by its JSON pointer.
    pub(crate) fn fact(&self, pointer: &str) -> Result<String> {
        self.facts
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
            .with_context(|| format!("no {pointer}"))
    }
}

impl Drop for SmallInternet {
    fn drop(&mut self) {
        if let Err(error) = self.sim.kill().and_then(|()| self.sim.wait().map(drop)) {
            eprintln!("the small internet, process {}, could not be ended: {error}", self.sim.id());
        }
    }
}

/// A scratch folder with a jobs.toml, and the small internet.
pub(crate) struct World {
    /// Ended before the folder is removed.
    _sim: SmallInternet,
    scratch: TempDir,
    pub(crate) proxy: String,
    admin: String,
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// A program that was built beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    ensure!(program.is_file(), "{} isn't built; run `cargo xtask bench`", program.display());
    Ok(program)
}

/// Where `cargo xtask build-handlers` puts the tests' handlers.
pub(crate) fn test_handlers() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program lies in no target folder")?;
    Ok(target.join("handlers"))
}

impl World {
    pub(crate) fn new(max_depth: u32) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("tollgate-bench-").tempdir()?;
        let folder = format!("{HOST}={}", docs::folder()?.display());
        let sim = SmallInternet::start(scratch.path(), &["--folder", &folder])?;
        let world = Self { proxy: sim.fact("/proxy")?, admin: sim.fact("/admin")?, scratch, _sim: sim };
        fs::write(world.file(), jobs(max_depth))?;
        Ok(world)
    }

    fn file(&self) -> PathBuf {
        self.scratch.path().join("jobs.toml")
    }

    /// The program over a data folder of that name.
    pub(crate) fn tollgate(&self, data: &str, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(program("tollgate")?);
        command.arg("--file").arg(self.file()).arg("--data").arg(self.scratch.path().join(data)).args(args);
        command.env("TOLLGATE_PROXY", &self.proxy).env("TOLLGATE_LOG", "error").stdin(Stdio::null());
        Ok(command)
    }

    /// Runs the program to its end; gives its output.
    pub(crate) fn run(&self, data: &str, args: &[&str]) -> Result<String> {
        let output = self.tollgate(data, args)?.stderr(Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tollgate {} ended with {}: {said}", args.join(" "), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Removes a data folder.
    pub(crate) fn forget(&self, data: &str) -> Result<()> {
        fs::remove_dir_all(self.scratch.path().join(data)).context("a run's data can't be removed")
    }

    /// Rows of the export by key; a key that stands twice is an error.
    pub(crate) fn exported(&self, data: &str) -> Result<BTreeMap<String, Value>> {
        let lines = self.run(data, &["export", "docs", "--stage", "extract", "-o", "jsonl"])?;
        let mut rows = BTreeMap::new();
        for line in lines.lines() {
            let row: Value = serde_json::from_str(line)?;
            let key = row["key"].as_str().context("a row without a key")?.to_owned();
            ensure!(rows.insert(key.clone(), row).is_none(), "{key} stands twice in the export");
        }
        Ok(rows)
    }

    /// Requests by path, as the small internet counted them.
    pub(crate) async fn requests(&self) -> Result<BTreeMap<String, u64>> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let counts = client.get(format!("{}/_sim/counts", self.admin)).send().await?.bytes().await?;
        let counts: Value = serde_json::from_slice(&counts)?;
        ensure!(counts["direct"] == 0, "requests went past the proxy");
        let paths = counts["hosts"][HOST]["paths"].as_object().context("no requests were counted")?;
        Ok(paths.iter().map(|(path, count)| (path.clone(), count["via_proxy"].as_u64().unwrap_or(0))).collect())
    }

    /// Forgets the counts.
    pub(crate) async fn reset(&self) -> Result<()> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        client.post(format!("{}/_sim/reset", self.admin)).send().await?.error_for_status()?;
        Ok(())
    }
}

fn jobs(max_depth: u32) -> String {
    format!(
        r#"[host]
handlers = {handlers:?}
listen = "127.0.0.1:0"

[proxy.main]
url = {{ env = "TOLLGATE_PROXY" }}

[site."{HOST}"]
concurrency = {CONCURRENCY}
timeout = "60s"

[job.docs]
kind = "backfill"
handler = "pages"
grant = ["http {HOST}", "artifacts"]
reuse = {REUSE}
discover = "once"
params = {{ seeds = ["{seed}"], follow = true, within = ["{bound}"], max-depth = {max_depth} }}

[job.docs.stage.fetch]
concurrency = {CONCURRENCY}

[job.docs.stage.extract]
concurrency = 16

[job.docs.stage.extract.params.fields]
title = "title"
headings = {{ select = "h1, h2, h3", all = true }}
links = {{ select = "a", attr = "href", all = true }}
"#,
        handlers = root().join("handlers").display().to_string(),
        seed = seed(),
        bound = bound(),
    )
}
