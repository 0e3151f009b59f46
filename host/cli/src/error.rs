//! What goes wrong, and the exit code for it.

use std::process::ExitCode;

/// Exit code where another process has the data folder.
const IN_USE: u8 = 3;

/// An error with its exit code; `docs/cli.md` lists them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    message: String,
    code: u8,
    passing: bool,
}

impl CliError {
    /// Something failed: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1, passing: false }
    }

    /// jobs.toml or the arguments are wrong: exit code 2, as for clap's own.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2, passing: false }
    }

    /// Another process has the data folder: exit code 3.
    pub fn in_use(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: IN_USE, passing: false }
    }

    /// No job, item or session of that name: exit code 4.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 4, passing: false }
    }

    /// The run ended, and a job stands still: exit code 5.
    pub fn standing(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 5, passing: false }
    }

    /// A site takes no session of that name, and a person has to log in: exit code 6.
    pub fn no_session(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 6, passing: false }
    }

    /// The host went away in the middle of an answer: exit code 1.
    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self { passing: true, ..Self::failed(message) }
    }

    /// The same error, with what had been done before it.
    pub(crate) fn after(self, done: &str) -> Self {
        Self { message: format!("{}; {done}", self.message), ..self }
    }

    /// Whether another process has the data folder.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.code == IN_USE
    }

    /// Whether it may be over by itself in a moment: a host starts or stops.
    pub(crate) fn is_passing(&self) -> bool {
        self.passing || self.is_in_use()
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
