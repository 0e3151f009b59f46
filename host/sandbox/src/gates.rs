//! What the sandbox needs from the gates: one trait a capability. An absent gate is a capability not granted.

mod services;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tollgate_core::{
    ArtifactRef, StageName,
    http::{HttpError, HttpRequest},
    tool::ToolError,
};

pub use services::{ModelGate, SearchGate, SpeechGate};

/// The gates of one task. Log is always there.
#[derive(Clone)]
pub struct Gates {
    /// Requests; absent: not granted.
    pub http: Option<Arc<dyn HttpGate>>,
    /// Blobs of the item; absent: not granted, or no item (discovery).
    pub artifacts: Option<Arc<dyn ArtifactGate>>,
    /// State of the job; absent: not granted.
    pub state: Option<Arc<dyn StateGate>>,
    /// Programs of jobs.toml; absent: not granted.
    pub tools: Option<Arc<dyn ToolGate>>,
    /// Language models; absent: not granted.
    pub models: Option<Arc<dyn ModelGate>>,
    /// Web search; absent: not granted.
    pub search: Option<Arc<dyn SearchGate>>,
    /// Speech to text; absent: not granted.
    pub speech: Option<Arc<dyn SpeechGate>>,
    /// Where events go.
    pub log: Arc<dyn LogGate>,
    /// Whether the call ended for want of time.
    pub late: Late,
}

/// Says that a call has reached its wall-clock limit, before anything of it is dropped: what is under way at the gates
/// then is what it waited for. What is dropped before is what the guest let go of. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Late(Arc<AtomicBool>);

impl Gates {
    /// A log, and nothing granted.
    #[must_use]
    pub fn none(log: Arc<dyn LogGate>) -> Self {
        Self {
            http: None,
            artifacts: None,
            state: None,
            tools: None,
            models: None,
            search: None,
            speech: None,
            log,
            late: Late::default(),
        }
    }
}

impl Late {
    /// Whether it has.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Relaxed);
    }
}

/// A run of a tool, as a guest asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Its name in jobs.toml.
    pub tool: String,
    /// Arguments beside those of its entry.
    pub args: Vec<String>,
    /// The address that it will reach.
    pub url: Option<String>,
    /// Artifacts laid into its scratch folder, by stage and name.
    pub files: Vec<(String, String)>,
    /// What it reads.
    pub stdin: Option<Vec<u8>>,
    /// Absent: the tool's own limit.
    pub timeout: Option<Duration>,
}

/// What a run gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRun {
    /// Its exit status.
    pub exit_code: i32,
    /// All of stdout.
    pub stdout: Vec<u8>,
    /// The end of stderr.
    pub stderr: String,
    /// What it complained of, though its output can be used.
    pub warnings: Vec<String>,
    /// The argument profile that served.
    pub profile: String,
    /// Files that it left, as artifacts.
    pub files: Vec<ArtifactRef>,
}

/// Programs that the host runs.
pub trait ToolGate: Send + Sync {
    /// Runs one to its end.
    fn run(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolRun, ToolError>>;
}

/// Requests through the gate.
pub trait HttpGate: Send + Sync {
    /// Sends one request, within the site's policy; the body is complete, guarded and spooled when it answers.
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<Arc<dyn Fetched>, HttpError>>;
    /// Names of the members of a remote ZIP archive.
    fn zip_members(&self, url: String) -> BoxFuture<'_, Result<Vec<String>, HttpError>>;
    /// One member of it, unpacked.
    fn zip_member(&self, url: String, member: String) -> BoxFuture<'_, Result<Arc<dyn Fetched>, HttpError>>;
}

/// A complete answer. Dropping it frees the spooled body.
pub trait Fetched: Send + Sync {
    /// The status code.
    fn status(&self) -> u16;
    /// The address after redirects.
    fn url(&self) -> &str;
    /// Headers but Set-Cookie; names in lower case.
    fn headers(&self) -> &[(String, String)];
    /// Bytes of the body, unpacked.
    fn size(&self) -> u64;
    /// The whole body. Keeps it as the stage's raw artifact first, unless it is kept already (M05).
    fn bytes(&self) -> BoxFuture<'_, Result<bytes::Bytes, HttpError>>;
    /// Keeps the body as an artifact of the current stage.
    fn save(&self, name: String) -> BoxFuture<'_, Result<ArtifactRef, HttpError>>;
}

/// Why an artifact can't be had: the interface's `artifact-error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// A missing artifact is an error, never an empty one (S06).
    #[error("{0} is missing")]
    Missing(String),
    /// Larger than the guest may take, in bytes.
    #[error("{0} bytes are too many")]
    TooLarge(u64),
    /// The store refused.
    #[error("storage: {0}")]
    Storage(String),
}

/// Blobs of the current item.
pub trait ArtifactGate: Send + Sync {
    /// Keeps a blob under a name of the current stage.
    fn put(
        &self,
        name: String,
        content_type: String,
        body: bytes::Bytes,
    ) -> BoxFuture<'_, Result<ArtifactRef, ArtifactError>>;
    /// Reads a blob, or `part` = (offset, length) of it.
    fn get(
        &self,
        stage: StageName,
        name: String,
        part: Option<(u64, u64)>,
    ) -> BoxFuture<'_, Result<bytes::Bytes, ArtifactError>>;
    /// What there is.
    fn list(&self) -> BoxFuture<'_, Result<Vec<ArtifactRef>, ArtifactError>>;
}

/// Why the job's state can't be read or written: the interface's `state-error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another writer came first; names the key.
    #[error("{0:?} was changed by another writer")]
    Conflict(String),
    /// Larger than the store takes, in bytes.
    #[error("{0} bytes are too many")]
    TooLarge(u64),
    /// The store refused.
    #[error("storage: {0}")]
    Storage(String),
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// Which entry.
    pub key: String,
    /// Its new value; absent: it goes.
    pub value: Option<Vec<u8>>,
    /// Only if the entry is at that version; 0: only if there is none.
    pub expect: Option<u64>,
}

/// An entry's value and version.
pub type StateEntry = (Vec<u8>, u64);

/// A page of keys, and the cursor of the next.
pub type StateKeys = (Vec<String>, Option<String>);

/// Key-value state of the job.
pub trait StateGate: Send + Sync {
    /// An entry's value and version.
    fn get(&self, key: String) -> BoxFuture<'_, Result<Option<StateEntry>, StateError>>;
    /// All of the batch, or none.
    fn apply(&self, changes: Vec<StateWrite>) -> BoxFuture<'_, Result<(), StateError>>;
    /// Keys that begin with `prefix`, after `cursor`.
    fn keys(&self, prefix: String, cursor: Option<String>) -> BoxFuture<'_, Result<StateKeys, StateError>>;
}

/// Levels of a handler's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Finest.
    Trace,
    /// For the handler's author.
    Debug,
    /// For whoever runs the job.
    Info,
    /// Worth a look.
    Warn,
    /// Something is wrong.
    Error,
}

/// A structured event of a handler. Texts are cleaned of control characters already (trap 23).
#[derive(Debug, Clone, PartialEq)]
pub struct LogEvent {
    /// Its level.
    pub level: LogLevel,
    /// What happened.
    pub message: String,
    /// Key-value fields; values that were no JSON stand as text.
    pub fields: Vec<(String, serde_json::Value)>,
}

/// Where a handler's events go. The gate adds job, item, stage, attempt and handler.
pub trait LogGate: Send + Sync {
    /// Takes one event. Must not block.
    fn event(&self, event: LogEvent);
}
