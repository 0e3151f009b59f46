//! The program as a process of its own: a folder with a jobs.toml, its commands, and what it logs.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::program;

/// What the program says once it runs.
const RUNNING: &str = "running;";
/// What a task's good end says in the log.
const TASK_ENDED: &str = "\"message\":\"task ended\"";

/// A folder with a jobs.toml.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new(jobs: &str) -> Result<Self> {
        let place = Self { folder: tempfile::Builder::new().prefix("tollgate-bench-").tempdir()? };
        fs::write(place.path("jobs.toml"), jobs)?;
        // Compiles the handler, so that no figure holds that.
        place.ok(&["check"])?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tollgate(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(program("tollgate")?);
        command.arg("--file").arg(self.path("jobs.toml")).arg("--data").arg(self.path("data")).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Runs a command to its end; gives what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> Result<String> {
        let output = self.tollgate(args)?.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tollgate {} ended with {}: {said}", args.join(" "), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts the program, and waits until it runs.
    pub(crate) fn start(&self, args: &[&str]) -> Result<Running> {
        let mut command = self.tollgate(args)?;
        command.env("TOLLGATE_LOG", "error,tollgate_engine=debug").stdout(Stdio::null());
        let mut child = command.spawn()?;
        let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
        let (sender, said) = mpsc::channel();
        // Read to its end by a thread of its own: a host whose log nobody takes stands still.
        thread::spawn(move || {
            let lines = stderr.lines().map_while(Result::ok);
            let told = lines.filter(|line| line.contains(TASK_ENDED) || line.starts_with(RUNNING));
            told.map(|line| sender.send(line)).take_while(Result::is_ok).count()
        });
        let mut running = Running { child, said };
        running.until(|line| line.starts_with(RUNNING))?;
        Ok(running)
    }

    /// Adds items to a job with the program's own command.
    pub(crate) fn add(&self, job: &str, items: impl Iterator<Item = (String, Value)>) -> Result<()> {
        let file = self.path("items.jsonl");
        let mut out = std::io::BufWriter::new(fs::File::create(&file)?);
        for (key, data) in items {
            writeln!(out, "{}", json!({"key": key, "data": data}))?;
        }
        out.flush()?;
        drop(out);
        self.ok(&["item", "add", job, "--from", text(&file)?]).map(drop)
    }
}

impl Place {
    /// Items of a job that have not ended.
    pub(crate) fn open_items(&self, job: &str) -> Result<u64> {
        let output = self.tollgate(&["status", "-o", "json"])?.output()?;
        let status: Value = serde_json::from_slice(&output.stdout).context("what `status` printed is no JSON")?;
        let jobs = status["jobs"].as_array().context("no jobs")?;
        let found = jobs.iter().find(|found| found["name"] == job).context("no such job")?;
        let count = |status: &str| found["items"][status].as_u64().unwrap_or(0);
        Ok(count("queued") + count("retrying"))
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

/// The running program.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// Lines of its log that matter here.
    said: mpsc::Receiver<String>,
}

impl Running {
    fn until(&mut self, mut is: impl FnMut(&str) -> bool) -> Result<()> {
        loop {
            let line = self.said.recv().context("the program ended before that")?;
            if is(&line) {
                return Ok(());
            }
        }
    }

    /// Waits until so many tasks of a job more have ended well.
    pub(crate) fn tasks(&mut self, job: &str, count: u64) -> Result<()> {
        let (of_job, mut left) = (format!("\"job\":\"{job}\""), count);
        self.until(|line| {
            left -= u64::from(line.contains(TASK_ENDED) && line.contains(&of_job));
            left == 0
        })
    }

    /// The most memory that it has had, in MiB.
    pub(crate) fn most_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: f64 = most.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1_024.0)
    }

    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After an error; one that has ended already can't be killed, which is no trouble.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
