//! Pauses: why a job or a lane stands still, since when, by whom, and when it goes on by itself.

use serde::{Deserialize, Serialize};

use crate::{ids::StageName, time::Timestamp};

/// Why a job stands still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PauseReason {
    /// A person or a program asked for it.
    Manual,
    /// The breaker of a stage opened.
    Breaker {
        /// That stage.
        stage: StageName,
        /// Distinct items that failed in a row.
        failures: u32,
    },
    /// A budget is spent.
    Budget,
    /// The handler can't be loaded, or doesn't fit jobs.toml.
    Handler,
    /// A site needs a person: it wants a session that the host can't make.
    Circuit {
        /// That site.
        site: String,
    },
    /// The host is stopping.
    Shutdown,
    /// Discovery gave up: it said that it can never succeed, or failed too often in a row.
    Discovery,
    /// The host can't do its part: a row that can't be read, a fault of its own.
    Host,
}

impl PauseReason {
    /// The word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Breaker { .. } => "breaker",
            Self::Budget => "budget",
            Self::Handler => "handler",
            Self::Circuit { .. } => "circuit",
            Self::Shutdown => "shutdown",
            Self::Discovery => "discovery",
            Self::Host => "host",
        }
    }
}

/// A pause, with what a person needs to judge it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Why.
    pub reason: PauseReason,
    /// Who: `host`, `cli`, `api`, or a name.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
    /// What led to it: the last error, a person's note.
    pub evidence: String,
    /// When it ends by itself; absent: when a person resumes it.
    pub until: Option<Timestamp>,
}

impl Pause {
    /// One that the host makes by itself, until a person ends it.
    #[must_use]
    pub fn by_host(reason: PauseReason, at: Timestamp, evidence: String) -> Self {
        Self { reason, by: "host".to_owned(), at, evidence, until: None }
    }

    /// One sentence for tables and logs.
    #[must_use]
    pub fn sentence(&self) -> String {
        let what = match &self.reason {
            PauseReason::Breaker { stage, failures } => {
                format!("{failures} items in a row failed in stage {stage}")
            }
            PauseReason::Circuit { site } => format!("{site} needs a person"),
            PauseReason::Manual => format!("paused by {}", self.by),
            PauseReason::Budget => "its budget is spent".to_owned(),
            PauseReason::Handler => "its handler can't be used".to_owned(),
            PauseReason::Shutdown => "the host is stopping".to_owned(),
            PauseReason::Discovery => "its discovery gave up".to_owned(),
            PauseReason::Host => "the host can't go on with it".to_owned(),
        };
        if self.evidence.is_empty() { what } else { format!("{what}: {}", self.evidence) }
    }
}
