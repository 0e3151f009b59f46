//! What a handler says of itself, as the rest of the host sees it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    artifact::Digest,
    graph::Need,
    ids::{HandlerName, StageName},
};

/// What `describe` gave, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandlerInfo {
    /// Its name in its own words; jobs.toml names a handler by its file's stem.
    pub name: HandlerName,
    /// Its version, as its author numbers it.
    pub version: String,
    /// One line.
    pub summary: String,
    /// Its stages, in the author's order.
    pub stages: Vec<StageInfo>,
    /// JSON Schema of a job's `params`, stages' ones included.
    pub params: Value,
    /// Whether it exports a discovery of its own.
    pub discovers: bool,
}

impl HandlerInfo {
    /// The stage of that name.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&StageInfo> {
        self.stages.iter().find(|stage| stage.name.as_str() == name)
    }
}

/// What a handler says of one of its stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageInfo {
    /// Its name.
    pub name: StageName,
    /// One line.
    pub summary: String,
    /// Whose outputs it reads, where jobs.toml names none. Absent: the stage before it in the list (P01).
    pub needs: Option<Vec<Need>>,
    /// Artifacts that it reads, as (stage, name).
    pub reads: Vec<(StageName, String)>,
    /// JSON Schema of its output.
    pub produces: Value,
    /// Digest of the sources that it is made of, in the SDK's words. Absent: the component's code counts.
    pub source_hash: Option<String>,
}

/// Digests of a handler's artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HandlerDigests {
    /// Of the file.
    pub artifact: Digest,
    /// Of all its non-custom sections, so that names and metadata don't count.
    pub code: Digest,
}

/// A capability: an interface of the host that a handler may import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Requests through the gate.
    Http,
    /// Blobs of the item.
    Artifacts,
    /// Key-value state of the job.
    State,
    /// Language models.
    Llm,
    /// Web search.
    Search,
    /// Speech to text.
    Speech,
    /// Programs run by the host.
    Tools,
    /// Structured events. Always granted.
    Log,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Http, Self::Artifacts, Self::State, Self::Llm, Self::Search, Self::Speech, Self::Tools, Self::Log];

    /// The interface's name in the WIT package, and the word in a `grant`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Artifacts => "artifacts",
            Self::State => "state",
            Self::Llm => "llm",
            Self::Search => "search",
            Self::Speech => "speech",
            Self::Tools => "tools",
            Self::Log => "log",
        }
    }

    /// The capability of that name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == word)
    }
}

/// One entry of a job's `grant`: `http ideas.example`, `artifacts`, `llm cheap`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// What is granted.
    pub capability: Capability,
    /// Which host-name patterns, models or tools; empty: all that the policies allow.
    pub names: Vec<String>,
}

/// As it stands in jobs.toml.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.capability.as_str())?;
        self.names.iter().try_for_each(|name| write!(f, " {name}"))
    }
}
