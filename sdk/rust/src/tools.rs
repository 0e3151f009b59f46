//! Programs that the host runs for the handler, each declared in jobs.toml.

use std::time::Duration;

use crate::{
    artifacts::{Artifact, Saved},
    backend,
    error::ToolError,
};

/// A run in the making, and as the host gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "nothing runs before `.call()`"]
pub struct Run {
    pub(crate) tool: String,
    pub(crate) args: Vec<String>,
    pub(crate) url: Option<String>,
    pub(crate) files: Vec<Artifact>,
    pub(crate) stdin: Option<Vec<u8>>,
    pub(crate) timeout: Option<Duration>,
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Its exit code.
    pub exit_code: i32,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: String,
    /// Warnings that the tool's rules let pass.
    pub warnings: Vec<String>,
    /// The argument profile that served.
    pub profile: String,
    /// Files that it left, now artifacts of this stage.
    pub files: Vec<Saved>,
}

/// Begins a run of a tool, by its name in jobs.toml. Its fixed arguments stand there.
pub fn run(tool: &str) -> Run {
    Run { tool: tool.to_owned(), args: Vec::new(), url: None, files: Vec::new(), stdin: None, timeout: None }
}

impl Run {
    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Names the address that it will reach: decides proxy, session and rate.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Lays an artifact into its scratch folder.
    pub fn file(mut self, artifact: &Artifact) -> Self {
        self.files.push(artifact.clone());
        self
    }

    /// Gives it something to read.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Shortens the tool's time limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// The host refused, or the tool's rules read its output as an error.
    pub fn call(self) -> Result<Output, ToolError> {
        backend::tools_run(self)
    }
}
