//! A task under way: what its claim bears, and what is settled of its attempt.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use tollgate_core::{
    ClaimToken, Digest, ItemKey, JsonObject, StageIx, StageName, Timestamp,
    handler::HandlerDigests,
    outcome::{BreakerEffect, Verdict},
    pause::Pause,
    task::{LaterKind, LaterReason, Tally, TaskError, TaskState},
};

use super::{StoredBlob, Submitted, TaskRef};

/// A claimed task with all that running it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Which task.
    pub task: TaskRef,
    /// To be presented when settling.
    pub token: ClaimToken,
    /// Its item's key.
    pub key: ItemKey,
    /// What discovery said of the item, as stored.
    pub data: JsonObject,
    /// Outputs of the stages that the declaration names, as far as they are done.
    pub inputs: BTreeMap<StageName, InputOutput>,
    /// What is counted of the task so far.
    pub tally: Tally,
}

/// An output that a task reads.
#[derive(Debug, Clone, PartialEq)]
pub struct InputOutput {
    /// The output, as stored.
    pub fields: JsonObject,
    /// Its digest, for fingerprints.
    pub digest: Digest,
}

/// An attempt to be settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// Which task.
    pub task: TaskRef,
    /// Proof of the claim.
    pub token: ClaimToken,
    /// What becomes of the task.
    pub verdict: Verdict,
    /// Its tally from now on.
    pub tally: Tally,
    /// What it does to the lane's breaker.
    pub breaker: BreakerEffect,
    /// Its history. Absent for a task that wasn't run, such as one whose condition was false.
    pub attempt: Option<AttemptRecord>,
    /// What an output depended on; present with [`Verdict::Done`].
    pub fingerprint: Option<Fingerprint>,
    /// Blobs that the attempt kept, durable already. With an output they replace the stage's artifacts; without
    /// one they wait for the stage's next attempt, and the last good ones go on serving.
    pub artifacts: Vec<NewArtifact>,
    /// What is known of those of its artifacts that are pages. With an output, the task holds them from now on.
    pub pages: Vec<KeptPage>,
    /// The attempt's page is one that too many items were served: all who hold it are queued again.
    pub take_back: Option<TakeBack>,
    /// The attempt is a check's, which refused a page: the task that brought it is taken back, with what stands on it.
    pub refused: Option<RefusedPage>,
    /// What the item's stages leave in large binaries goes once its last need has ended, by this settlement or another.
    pub passing: Arc<[Passing]>,
    /// Pauses the job in the same transaction, where the attempt showed that a person is needed.
    pub pause: Option<Pause>,
    /// When.
    pub now: Timestamp,
}

/// A stage whose large binaries are kept only while they are needed (P06).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passing {
    /// The stage.
    pub maker: StageIx,
    /// Other stages that declare to read what it leaves, each with the name of what it reads.
    pub readers: Vec<(StageIx, String)>,
    /// Stages that come after it, and may read it without a word.
    pub after: Vec<StageIx>,
}

/// What followed from a settlement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// Stages whose lanes got ready work.
    pub opened: Vec<StageIx>,
    /// When the task itself is due again.
    pub due: Option<Timestamp>,
    /// The job was paused by this very settlement.
    pub paused: Option<Pause>,
    /// What became of the items found.
    pub found: Submitted,
}

/// What an output depended on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Source hash of the stage where the handler gives one, else the digest of its code.
    pub source: String,
    /// Of the stage's params, canonical JSON.
    pub params: Digest,
    /// Of its contract.
    pub contract: Digest,
    /// Of the item's data.
    pub data: Digest,
    /// Of each output that it read.
    pub inputs: Vec<(StageName, Digest)>,
}

/// One execution of a task, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// From 1 within the task.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The handler that ran (trap 27).
    pub handler: HandlerDigests,
    /// How it ended.
    pub ended: AttemptEnd,
    /// What went wrong, if anything did.
    pub error: Option<TaskError>,
    /// Why it ended without an output and without an error: not now, nothing here, rejected (S14).
    pub reason: Option<String>,
    /// Processor time of the guest, in microseconds.
    pub guest_us: u64,
    /// Requests that left the gate for it.
    pub requests: u32,
    /// Bytes received for it.
    pub bytes_received: u64,
    /// Tools that ran for it to a good end, each with the argument profile that served, once (R05).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolServed>,
}

/// A tool that ran to a good end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolServed {
    /// Its name in jobs.toml.
    pub tool: String,
    /// The argument profile that served.
    pub profile: String,
}

/// Most tools with their profiles that are kept of one attempt.
pub const TOOLS_PER_ATTEMPT_MAX: usize = 16;

impl AttemptRecord {
    /// Whether it is held against the task; one that isn't had to wait, and evicts none that is.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        !matches!(self.ended, AttemptEnd::Later(kind) if !kind.is_counted())
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptEnd {
    /// With an output.
    Done,
    /// The stage has nothing of its kind.
    Nothing,
    /// The stage rejected the item.
    Rejected,
    /// To be tried again.
    Later(LaterKind),
    /// Failed for good.
    Failed,
}

/// A blob as an attempt names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArtifact {
    /// Its name within the stage.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// The blob.
    pub blob: StoredBlob,
}

/// A page as it came, kept as an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPage {
    /// The artifact's blob.
    pub blob: Digest,
    /// The address that it came from.
    pub url: String,
    /// Its status code.
    pub status: u16,
    /// By what a copy of it is known; absent: nobody looks for copies, or it shows too little.
    pub copy: Option<PageCopy>,
}

/// By what copies of a page are known (S11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCopy {
    /// What the page shows, without what varies.
    pub signature: Digest,
    /// What was asked for. The same page at the same address is no copy.
    pub asked: Digest,
    /// Most items that may hold it.
    pub items_max: u32,
}

/// A page that too many items were served is taken back from all who hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeBack {
    /// Which.
    pub signature: Digest,
    /// Under which name it is kept apart.
    pub name: String,
    /// When its holders are tried again.
    pub due: Timestamp,
    /// Why.
    pub reason: LaterReason,
}

/// A page that a check refused, and what becomes of the task of the same item that brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedPage {
    /// Whose output stands on it.
    pub stage: StageIx,
    /// The page.
    pub blob: Digest,
    /// Under which name it is kept apart.
    pub name: String,
    /// Where that task stands from now on: it is tried again, or has failed.
    pub state: TaskState,
    /// Its tally from now on: it goes on from before, so that what is refused again and again ends.
    pub tally: Tally,
    /// What went wrong, for the job's latest errors; absent: it isn't held against the task.
    pub error: Option<TaskError>,
}

/// A page that an attempt brought is one that too many items were served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Which.
    pub signature: Digest,
    /// Items that were served it, the attempt's own among them.
    pub items: u64,
    /// A few of the others.
    pub others: Vec<ItemKey>,
}
