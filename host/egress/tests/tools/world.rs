//! A gate with tools, over a small internet.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use tempfile::TempDir;
use tollgate_core::{
    Clock, JobName, Timestamp,
    spec::{Deployment, parse},
    tool::ToolRequest,
};
use tollgate_egress::{Caller, Gate, GateOptions, Held, NoMemory, SiteStatus, ToolOutput, ToolRefused};

/// A clock that stands still: what cools down stays so.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(1_800_000_000_000)
    }

    fn sleep_until(&self, _until: Timestamp) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}

/// A gate and its folder.
pub(crate) struct World {
    pub(crate) gate: Arc<Gate>,
    pub(crate) folder: TempDir,
}

/// jobs.toml as it ships.
pub(crate) const SHIPPED: &str = include_str!("../../../../jobs.toml");

/// The stand-in for yt-dlp.
pub(crate) fn stand_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tools/yt-dlp-stand-in")
}

/// The shipped entry of a tool, with other lines in place of some.
pub(crate) fn shipped(name: &str, command: &Path) -> String {
    let begins = SHIPPED.find(&format!("[tool.{name}]\n")).unwrap();
    let entry = &SHIPPED[begins..];
    let ends = entry[1..].find("\n[").map_or(entry.len(), |at| at + 2);
    let own = format!("command = \"{name}\"");
    assert!(entry[..ends].contains(&own));
    entry[..ends].replace(&own, &format!("command = {:?}", command.display().to_string()))
}

/// A tool that is a few lines of shell. It takes any plain argument, and gives text.
pub(crate) fn shell(name: &str, script: &str, more: &str) -> String {
    format!(
        "[tool.{name}]\ncommand = \"/bin/sh\"\nargs = [\"-c\", {script:?}, \"{name}\"]\noutput = \"text\"\n\
         accepts = [\"{{text}}\"]\n{more}\n"
    )
}

impl World {
    /// A world of this jobs.toml.
    pub(crate) fn new(jobs: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let deployment = deployment(jobs);
        let options = GateOptions {
            spool: folder.path().join("spool"),
            sessions: folder.path().join("sessions"),
            clock: Arc::new(Still),
            base: folder.path().into(),
            memory: Arc::new(NoMemory),
            remembered: Vec::new(),
        };
        let gate = Gate::new(&deployment, options).unwrap();
        Self { gate, folder }
    }

    /// Runs a tool for a job that may use every tool and every site.
    pub(crate) async fn run(&self, request: ToolRequest) -> Result<ToolOutput, ToolRefused> {
        self.gate.run_tool(&caller(), request, &|_| ()).await
    }

    /// How a site stands.
    pub(crate) fn site(&self, authority: &str) -> Option<SiteStatus> {
        self.gate.status().sites.into_iter().find(|site| site.site == authority)
    }

    /// Scratch folders of tools that are there.
    pub(crate) fn scratch_folders(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join("spool")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

pub(crate) fn deployment(jobs: &str) -> Deployment {
    parse(jobs, "jobs.toml").unwrap_or_else(|found| {
        panic!("{}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    })
}

/// A job that may use everything.
pub(crate) fn caller() -> Caller {
    Caller { job: JobName::new("talks").unwrap(), allowed: Vec::new(), tools: Some(Vec::new()), held: Held::default() }
}

/// A run without anything.
pub(crate) fn request(tool: &str, args: &[&str]) -> ToolRequest {
    ToolRequest {
        tool: tool.to_owned(),
        args: args.iter().map(ToString::to_string).collect(),
        url: None,
        files: Vec::new(),
        stdin: None,
        timeout: Some(Duration::from_secs(60)),
    }
}

/// A run for an address.
pub(crate) fn request_for(tool: &str, args: &[&str], url: &str) -> ToolRequest {
    ToolRequest { url: Some(url.to_owned()), ..request(tool, args) }
}
