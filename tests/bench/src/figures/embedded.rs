//! A host within this process, over a jobs.toml of the bench's.

use std::{fs, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tollgate::Host;
use tollgate_core::{ItemKey, item::NewItem};

use crate::world::test_handlers;

/// The job's name in all figures.
pub(crate) const JOB: &str = "bench";
/// Tasks of a lane side by side: enough to share commits, as a busy user would set it.
pub(crate) const CONCURRENCY: usize = 64;

/// A jobs.toml with one job: a handler, what of it runs, and how many tasks a lane.
pub(crate) fn jobs(handler: &str, stages: &[&str]) -> Result<String> {
    let mut text = format!(
        "[host]\nhandlers = {:?}\nlisten = \"127.0.0.1:0\"\n\n[job.{JOB}]\nkind = \"backfill\"\n\
         handler = \"{handler}\"\n\
         grant = {}\nstages = {stages:?}\n",
        test_handlers()?.display().to_string(),
        if handler == "steps" { "[]" } else { "[\"http\", \"artifacts\", \"state\"]" },
    );
    for stage in stages {
        text.push_str(&format!("[job.{JOB}.stage.{stage}]\nconcurrency = {CONCURRENCY}\n"));
    }
    Ok(text)
}

/// A running host and its folder.
pub(crate) struct Embedded {
    pub(crate) host: Host,
    _folder: TempDir,
}

impl Embedded {
    pub(crate) async fn start(jobs: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tollgate-bench-").tempdir()?;
        let file = folder.path().join("jobs.toml");
        fs::write(&file, jobs)?;
        let host = Host::builder(&file).data(folder.path().join("data")).listen(SocketAddr::from(([127, 0, 0, 1], 0)));
        let host = host.start().await.context("the host can't start")?;
        let job = host.operations().job(JOB).await?.job;
        ensure!(job.pause.is_none(), "the job can't run: {:?}", job.pause);
        Ok(Self { host, _folder: folder })
    }

    /// Waits until so many tasks have been settled since the start.
    pub(crate) async fn settled(&self, tasks: u64) -> Result<()> {
        let mut progress = self.host.progress();
        progress.wait_for(|so_far| so_far.settled >= tasks).await.context("the host ended before that")?;
        Ok(())
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.host.stop().await;
        self.host.wait().await?;
        Ok(())
    }
}

/// An item with that data.
pub(crate) fn item(key: &str, data: &Value) -> Result<NewItem> {
    let data = data.as_object().cloned().context("an item's data is a JSON object")?;
    Ok(NewItem { key: ItemKey::new(key)?, data, priority: 0, revision: None })
}
