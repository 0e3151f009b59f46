//! What policy let not pass, counted by why. No address is kept: which it was stands with the attempt that asked.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// Why policy let something not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denial {
    /// No entry of jobs.toml covers it, or says how it is reached.
    NoPolicy,
    /// The job's grants don't name the address.
    NotGranted,
    /// Its policy is for other jobs.
    OtherJobs,
    /// It is on this machine or its own network, and no entry opens it.
    Local,
    /// A page redirected to where none may send us: inside, to what is reached directly, to an endpoint or out of one.
    Redirect,
    /// A tool that the job may not run, or not so.
    Tool,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPolicy => "without a policy",
            Self::NotGranted => "not granted",
            Self::OtherJobs => "for other jobs",
            Self::Local => "to this machine or its network",
            Self::Redirect => "redirected to where no page may send us",
            Self::Tool => "tools",
        })
    }
}

/// How often something was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenialCount {
    /// Why.
    pub why: Denial,
    /// Requests and runs of tools.
    pub times: u64,
}

/// The counts of a gate.
#[derive(Default)]
pub(crate) struct Denials(Mutex<BTreeMap<Denial, u64>>);

impl Denials {
    /// Counts what came of a call, if it was denied.
    pub(crate) fn count(&self, denial: Option<Denial>) {
        if let Some(denial) = denial {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(denial).or_default() += 1;
        }
    }

    /// Those that there were since the start.
    pub(crate) fn status(&self) -> Vec<DenialCount> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(why, times)| DenialCount { why: *why, times: *times }).collect()
    }
}
