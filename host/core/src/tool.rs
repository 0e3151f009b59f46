//! A run of a tool and its refusals, as the sandbox asks and the gate answers.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;

/// A run as a guest asked for it; nothing of it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRequest {
    /// Its name in jobs.toml.
    pub tool: String,
    /// Arguments beside those of its entry.
    pub args: Vec<String>,
    /// The address that it will reach: decides proxy and rate.
    pub url: Option<String>,
    /// Files laid into its scratch folder.
    pub files: Vec<ToolInput>,
    /// What it reads; absent: nothing.
    pub stdin: Option<Vec<u8>>,
    /// Absent: the tool's own limit. Never longer than that.
    pub timeout: Option<Duration>,
}

/// A file for a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolInput {
    /// Its name in the scratch folder: the artifact's.
    pub name: String,
    /// What is in it.
    pub content: ToolContent,
}

/// What is in a file for a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolContent {
    /// These bytes.
    Bytes(Bytes),
    /// What this file of the host has; it is copied.
    File(PathBuf),
}

/// Why a tool gave nothing: the interface's `tool-error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// No policy lets this job run it, or so, or there; the text names the missing line.
    #[error("denied: {0}")]
    Denied(String),
    /// It was killed at its deadline.
    #[error("timed out: {0}")]
    Timeout(String),
    /// It, or the proxy for it, could not connect.
    #[error("connection failed: {0}")]
    Connection(String),
    /// The site cools down for every job.
    #[error("rate limited{}", after.map_or(String::new(), |after| format!(" for {after:?}")))]
    RateLimited {
        /// How long, where known.
        after: Option<Duration>,
    },
    /// The site refuses us, or is left alone since it did.
    #[error("blocked: {0}")]
    Blocked(String),
    /// The site wants a session.
    #[error("login required: {0}")]
    LoginRequired(String),
    /// The program isn't installed; the text says how to.
    #[error("missing: {0}")]
    Missing(String),
    /// Anything else.
    #[error("failed: {0}")]
    Failed(String),
}
