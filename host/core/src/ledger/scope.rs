//! Scopes: whose money a budget bounds, and where that budget stands.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::PaidKind;
use crate::ids::JobId;

/// The scope of all calls, as people know it.
pub const EVERYTHING: &str = "everything that is paid";

/// Whose money a budget bounds. A call is of three scopes: everything, its job's, that of what is paid.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All calls, and what priced proxies cost.
    Everything,
    /// Calls of one job.
    Job(JobId),
    /// Calls by one alias, whoever makes them.
    Paid(PaidKind, String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Job(job) => write!(f, "job {}", job.0),
            Self::Paid(kind, alias) => write!(f, "{} {alias}", kind.as_str()),
        }
    }
}

impl Scope {
    /// As people know it. `job`: the name of its job, if it is one's.
    #[must_use]
    pub fn called(&self, job: &str) -> String {
        match self {
            Self::Everything => EVERYTHING.to_owned(),
            Self::Job(_) => format!("job {job}"),
            Self::Paid(kind, alias) => format!("{} {alias}", kind.as_str()),
        }
    }

    /// Where its budget stands in jobs.toml. `job`: as above.
    #[must_use]
    pub fn section(&self, job: &str) -> String {
        match self {
            Self::Everything => "[budget]".to_owned(),
            Self::Job(_) => format!("`budget` of [job.{job}]"),
            Self::Paid(kind, alias) => format!("`budget` of [{}.{alias}]", kind.as_str()),
        }
    }
}

/// A text that [`Scope`] doesn't show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is the scope of no budget")]
pub struct ScopeError(pub String);

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let refuse = || ScopeError(text.to_owned());
        match text.split_once(' ') {
            None if text == "everything" => Ok(Self::Everything),
            Some(("job", id)) => id.parse().map(|id| Self::Job(JobId(id))).map_err(|_| refuse()),
            Some((kind, alias)) => {
                let kind = PaidKind::ALL.into_iter().find(|known| known.as_str() == kind);
                kind.map(|kind| Self::Paid(kind, alias.to_owned())).ok_or_else(refuse)
            }
            None => Err(refuse()),
        }
    }
}
