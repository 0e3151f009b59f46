//! The program as a process of its own: its folder, its jobs.toml, its commands, and its end by SIGKILL.

use std::{
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_core::money::NanoUsd;

use crate::internet::{LOOK, MODEL, PAGES, SEARCH_PRICE};

/// The job.
pub(crate) const JOB: &str = "payer";
/// The most that all of it may cost in a month: far more than it will, and held against the accounts after each kill.
pub(crate) const LIMIT: NanoUsd = NanoUsd(500_000_000_000);
/// A command that takes longer stands still.
const COMMAND_TIME: Duration = Duration::from_secs(60);

/// What a campaign is made with.
#[derive(Debug, Clone)]
pub struct Means {
    /// The program `tollgate`.
    pub program: PathBuf,
    /// Where the test handlers are, compiled.
    pub handlers: PathBuf,
}

/// A folder with a jobs.toml, and the program over it.
pub(crate) struct Place {
    means: Means,
    folder: TempDir,
    proxy: SocketAddr,
}

impl Place {
    /// `proxy`: where the program finds it. `ca`: the small internet's authority, as PEM.
    pub(crate) fn new(means: Means, proxy: SocketAddr, ca: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tollgate-kills-").tempdir()?;
        let place = Self { means, folder, proxy };
        fs::write(place.path("ca.pem"), ca)?;
        fs::write(place.path("key"), "sk-a-key-of-nobody")?;
        place.write_jobs(1, LIMIT)?;
        Ok(place)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the jobs.toml: so many items at once, and a budget a month of everything, of the model and of the job.
    pub(crate) fn write_jobs(&self, concurrency: usize, limit: NanoUsd) -> Result<()> {
        let jobs = format!(
            r#"[host]
handlers = {handlers:?}
listen = "127.0.0.1:0"

[proxy.main]
url = "http://{proxy}"
ca = "ca.pem"

[site."{PAGES}"]
concurrency = 16

[budget]
month = "{limit}"

[model.one]
provider = "openai"
name = "{MODEL}"
key = {{ file = "key" }}
price = {{ input = "0.40 USD", cache-read = "0.10 USD", output = "1.60 USD" }}
budget = {{ month = "{limit}" }}

[search.web]
provider = "serper"
key = {{ file = "key" }}
price = "{SEARCH_PRICE}"

[job.{JOB}]
kind = "backfill"
handler = "payer"
grant = ["http {PAGES}", "llm", "search"]
budget = {{ month = "{limit}" }}

[job.{JOB}.stage.pay]
concurrency = {concurrency}
"#,
            handlers = self.means.handlers.display().to_string(),
            proxy = self.proxy,
        );
        fs::write(self.path("jobs.toml"), jobs).context("jobs.toml can't be written")
    }

    fn tollgate(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.means.program);
        command.arg("--file").arg(self.path("jobs.toml")).arg("--data").arg(self.path("data")).args(args);
        command.env("TOLLGATE_LOG", "warn").stdin(Stdio::null());
        command
    }

    /// Starts the program. What it says goes to a file.
    pub(crate) fn start(&self) -> Result<Running> {
        let said = File::options().create(true).append(true).open(self.path("said"))?;
        let mut command = self.tollgate(&["run", "--until-idle"]);
        let child = command.stdout(Stdio::null()).stderr(said).spawn().context("the program can't be started")?;
        Ok(Running { child })
    }

    /// The end of what the program said so far.
    pub(crate) fn said(&self) -> String {
        let said = fs::read(self.path("said")).unwrap_or_default();
        String::from_utf8_lossy(&said[said.len().saturating_sub(4_000)..]).into_owned()
    }

    /// Runs a command to its end; gives what it printed. `Err`: what it said.
    pub(crate) async fn ok(&self, args: &[&str]) -> Result<String> {
        let mut command = self.tollgate(args);
        let of = args.join(" ");
        let ran = tokio::task::spawn_blocking(move || command.output());
        let output =
            tokio::time::timeout(COMMAND_TIME, ran).await.with_context(|| format!("{of} stands still"))???;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tollgate {of} ended with {}: {said}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(crate) async fn json(&self, args: &[&str]) -> Result<Value> {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
        Ok(serde_json::from_str(&self.ok(&args).await?)?)
    }

    /// Adds items of those numbers. Each asks twice, the second time with a search, and fetches a page
    /// before, between and after.
    pub(crate) async fn add(&self, items: Range<u32>) -> Result<()> {
        let file = self.path("items.jsonl");
        let mut out = std::io::BufWriter::new(File::create(&file)?);
        for number in items {
            let page = |part: &str| format!("fetch http://{PAGES}/{part}/{number}");
            // Each of its own length: its cost tells it from others.
            let words = "anvils ".repeat(usize::try_from(number)? % 97);
            let ask = format!("ask Is {number} one? It has {words}");
            let search = format!("search Is {number} one? {LOOK} for {words}");
            let steps = [page("before"), ask, page("between"), search, page("after")];
            writeln!(out, "{}", json!({"key": format!("item-{number}"), "data": {"steps": steps}}))?;
        }
        out.flush()?;
        drop(out);
        self.ok(&["item", "add", JOB, "--from", text(&file)?]).await.map(drop)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

/// The running program.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// SIGKILL. An error if it had ended by itself.
    pub(crate) fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the program ended by itself, with {status}");
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Has it stand still: it takes nothing from its sockets, and writes nothing. What it gets lies in the kernel.
    pub(crate) fn stop(&self) -> Result<()> {
        let id = self.child.id().to_string();
        ensure!(Command::new("kill").args(["-STOP", &id]).status()?.success(), "the program can't be stopped");
        let begun = std::time::Instant::now();
        // A signal is taken at once, by each of its threads at its next step.
        while !fs::read_to_string(format!("/proc/{id}/stat"))?
            .rsplit_once(')')
            .is_some_and(|(_, of)| of.starts_with(" T"))
        {
            ensure!(begun.elapsed() < COMMAND_TIME, "the program isn't stopped by SIGSTOP");
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Waits until it ends by itself, within a time.
    pub(crate) async fn ended(mut self, within: Duration) -> Result<ExitStatus> {
        let begun = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(begun.elapsed() < within, "the program doesn't come to its end");
            // Nothing waits for this: it is how often a process that has no event is looked at.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After an error; one that has ended already can't be killed, which is no trouble.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
