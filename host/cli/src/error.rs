//! What goes wrong, and the exit code for it.

use std::process::ExitCode;

/// An error with its exit code; `docs/cli.md` lists them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    message: String,
    code: u8,
}

impl CliError {
    /// Something failed: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// jobs.toml or the arguments are wrong: exit code 2, as for clap's own.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// Another process has the data folder: exit code 3.
    pub fn in_use(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 3 }
    }

    /// No job or item of that name: exit code 4.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 4 }
    }

    /// The run ended, and a job stands still: exit code 5.
    pub fn standing(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 5 }
    }

    pub(crate) fn tell(&self) -> ExitCode {
        eprintln!("error: {}", self.message);
        ExitCode::from(self.code)
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self::failed(format!("JSON: {error}"))
    }
}
