//! One call of a handler: what goes in, its limits, and the report that comes out.

use std::time::Duration;

use serde_json::{Map, Value};
use tollgate_core::{
    ItemKey, JobName, JsonObject, StageName,
    item::NewItem,
    outcome::{StageError, StageOutput},
};

/// Bytes that one call of the host may lift out of the guest: the largest body, or answer, a few times over.
const HOST_CALL_BYTES_MAX: u64 = 128 << 20;

/// A stage call: one task.
#[derive(Debug, Clone, PartialEq)]
pub struct StageCall {
    /// The job.
    pub job: JobName,
    /// The stage.
    pub stage: StageName,
    /// The item.
    pub key: ItemKey,
    /// What discovery said of it.
    pub data: JsonObject,
    /// Outputs of the stages that this one needs, keyed by stage.
    pub inputs: JsonObject,
    /// The job's params with the stage's laid over them.
    pub params: JsonObject,
    /// From 1.
    pub attempt: u32,
}

/// A discovery call: one page.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoverCall {
    /// The job.
    pub job: JobName,
    /// Its params.
    pub params: Map<String, Value>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// What a page of discovery gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovered {
    /// In the handler's order.
    pub items: Vec<NewItem>,
    /// Where to go on; absent: the round is complete.
    pub cursor: Option<String>,
}

/// Limits of one call. Each has a default with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// From the call to its answer, host waits included.
    pub wall_time: Duration,
    /// Processor time of the guest.
    pub guest_time: Duration,
    /// Bytes over all memories of the instance.
    pub memory_bytes: u64,
    /// Bytes of all log events, stdout and stderr.
    pub log_bytes: u64,
    /// Bytes over the border in one call's lists and strings, both ways together.
    pub transfer_bytes: u64,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            // As jobs.toml's own default for a task.
            wall_time: Duration::from_mins(5),
            // A large page parses in well under a second; what takes this long has lost its way.
            guest_time: Duration::from_secs(30),
            // A DOM takes some 20 times its text, and a body 20 MiB at most by default.
            memory_bytes: 512 << 20,
            // A thousand events with their fields.
            log_bytes: 1 << 20,
            // The largest body a few times over.
            transfer_bytes: 256 << 20,
        }
    }
}

/// Bytes of one transfer out of the guest.
pub(crate) fn host_call_bytes(limits: &CallLimits) -> u64 {
    limits.transfer_bytes.min(HOST_CALL_BYTES_MAX)
}

/// Why a call made neither an output nor a stage error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// The guest trapped: a panic (with its message where there was one), unreachable code, a stack overflow.
    #[error("{0}")]
    Trap(String),
    /// A clock ran out; says which, and its limit.
    #[error("{0}")]
    Timeout(String),
    /// A limit was reached; says which, and its figure.
    #[error("{0}")]
    Limit(String),
    /// The output is no JSON object, an item's key is empty, and the like: names the field.
    #[error("{0}")]
    Invalid(String),
    /// The sandbox could not do its part.
    #[error("{0}")]
    Host(String),
}

/// How a call ended.
pub type CallResult<T> = Result<Result<T, StageError>, CallFailure>;

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Report<T> {
    /// How it ended.
    pub result: CallResult<T>,
    /// Processor time of the guest, in microseconds.
    pub guest_us: u64,
    /// Most bytes of memory that the guest had.
    pub memory_peak_bytes: u64,
}

/// A report of a stage.
pub type StageReport = Report<StageOutput>;
/// A report of a page of discovery.
pub type DiscoverReport = Report<Discovered>;
