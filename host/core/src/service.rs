//! Calls of paid services, as handlers ask for them and hosts answer: models, search, speech.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{model::Tokens, money::NanoUsd};

/// Most hits of one search: what the providers give on one page.
pub const SEARCH_HITS_MAX: u32 = 20;

/// A question to a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelCall {
    /// An alias of jobs.toml; absent: the stage's or the job's own.
    pub model: Option<String>,
    /// What it reads.
    pub documents: Vec<CallDocument>,
    /// What to do with them.
    pub instruction: String,
    /// JSON Schema of the answer.
    pub schema: Option<Value>,
    /// The model may search the web, through the host.
    pub web_search: bool,
    /// Absent: 0 with a schema, the provider's own without.
    pub temperature: Option<f64>,
    /// Absent: the model's own limit. Never longer than that.
    pub timeout: Option<Duration>,
}

/// What a model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallDocument {
    /// By which the instruction may speak of it.
    pub name: String,
    /// What is in it.
    pub content: CallContent,
    /// More than one call will read it.
    pub shared: bool,
}

/// What a document holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallContent {
    /// Text.
    Text(String),
    /// An image or a PDF of the item.
    Artifact {
        /// The stage that made it.
        stage: String,
        /// Its name.
        name: String,
    },
}

/// A whole answer of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// JSON that satisfies the schema where one was given.
    pub text: String,
    /// Who answered, in the provider's words.
    pub model: String,
    /// What it took.
    pub tokens: Tokens,
    /// What it cost; absent: nobody has said what the model costs.
    pub cost: Option<NanoUsd>,
    /// Names of documents that were cut to the size limit (Q09).
    pub cut_documents: Vec<String>,
    /// Pages that its searches came upon.
    pub sources: Vec<String>,
}

/// A page that a search came upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchHit {
    /// Its title.
    pub title: String,
    /// Its address.
    pub url: String,
    /// What it says of the query.
    pub snippet: String,
}

/// Speech to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeechCall {
    /// The stage whose artifact it is.
    pub stage: String,
    /// The artifact's name.
    pub artifact: String,
    /// An alias of jobs.toml; absent: the stage's or the job's own.
    pub model: Option<String>,
    /// BCP 47; absent: detected.
    pub language: Option<String>,
    /// Tell speakers apart.
    pub speakers: bool,
}

/// What was said in a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its beginning, from that of the audio.
    pub start_ms: u64,
    /// Its end.
    pub end_ms: u64,
    /// What was said.
    pub text: String,
    /// Who said it, if the service tells speakers apart.
    pub speaker: Option<String>,
}

/// Speech, written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// All of it.
    pub text: String,
    /// In its stretches, by rising time.
    pub segments: Vec<Segment>,
    /// How long it is.
    pub seconds: f64,
    /// Who wrote it down, in the provider's words.
    pub model: String,
    /// What it cost; absent: nobody has said what the model costs.
    pub cost: Option<NanoUsd>,
}

/// Why a paid service gave no answer: the interface's `service-error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The job may not use it, or names none; the text names the missing line.
    #[error("denied: {0}")]
    Denied(String),
    /// A budget refuses the call; nothing was sent.
    #[error("budget: {0}")]
    Budget(String),
    /// It cools down for every job.
    #[error("rate limited{}", after.map_or(String::new(), |after| format!(" for {after:?}")))]
    RateLimited {
        /// How long, where known.
        after: Option<Duration>,
    },
    /// No answer in time.
    #[error("timed out: {0}")]
    Timeout(String),
    /// It is down, or overloaded, or can't be reached.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The answer stopped at a limit: never parsed (M01).
    #[error("truncated: {0}")]
    Truncated(String),
    /// The answer isn't what the schema says.
    #[error("invalid answer: {0}")]
    InvalidAnswer(String),
    /// The model or its provider doesn't want to.
    #[error("refused: {0}")]
    Refused(String),
    /// The call itself can't be made.
    #[error("invalid request: {0}")]
    InvalidRequest(String),
    /// The ledger, or an artifact, can't be read or written.
    #[error("storage: {0}")]
    Storage(String),
    /// Anything else.
    #[error("failed: {0}")]
    Other(String),
}
