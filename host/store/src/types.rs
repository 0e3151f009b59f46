//! What goes in and out of the [`Store`](crate::Store): plain data, no type of any database.

mod ledger;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_core::{
    ClaimToken, Digest, ItemId, ItemKey, JobId, JobName, JsonObject, StageIx, StageName, Timestamp,
    graph::{Need, StageGraph},
    handler::HandlerDigests,
    item::{ItemStatus, NewItem},
    outcome::{BreakerEffect, Verdict},
    pause::Pause,
    spec::JobKind,
    task::{LaterKind, LaterReason, Tally, TaskError, TaskKind, TaskState},
};

pub use ledger::{
    AccountView, AnswerKey, CallSettled, CostGroup, CostKey, CostQuery, CostView, EntryView, KeptAnswer, LedgerQuery,
    Reserved,
};

/// A task: one stage of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskRef {
    /// Its item.
    pub item: ItemId,
    /// Its stage.
    pub stage: StageIx,
}

/// A job as the store has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDeclaration {
    /// Its name.
    pub name: JobName,
    /// What it is.
    pub kind: JobKind,
    /// Its stages, in the handler's order.
    pub stages: Vec<DeclaredStage>,
    /// Attempts kept for each task, and as many beside them that only had to wait; older ones are dropped.
    pub keep_attempts: u32,
    /// Failures over distinct items after which the job pauses.
    pub breaker: u32,
    /// Its discovery, where it has one.
    pub discovery: Option<DeclaredDiscovery>,
}

/// The discovery of a declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredDiscovery {
    /// Of all that its results depend on. When it is another, a new round begins at once; known items stay known.
    pub basis: Digest,
    /// From the end of a round to the beginning of the next; absent: one round.
    pub every: Option<Duration>,
}

/// A stage of a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredStage {
    /// Its name.
    pub name: StageName,
    /// What must be done before.
    pub needs: Vec<Need>,
    /// Stages whose outputs a claim brings along where they are done: its needs, and what its condition names.
    pub brings: Vec<StageName>,
}

/// A declared job with its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredJob {
    /// Its number.
    pub id: JobId,
    /// Its stages with theirs.
    pub graph: StageGraph,
}

/// What a submission came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Submitted {
    /// Items that are new.
    pub new: u64,
    /// Known items with another revision, opened again.
    pub reopened: u64,
    /// Known items, left alone; one that a person left out stays so, whatever its revision.
    pub known: u64,
    /// Stages whose lanes got ready work.
    pub opened: Vec<StageIx>,
}

/// A page of discovery, to be settled.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoveryPage {
    /// The job.
    pub job: JobId,
    /// Proof of the claim.
    pub token: ClaimToken,
    /// What became of the page.
    pub result: DiscoveryResult,
    /// When.
    pub now: Timestamp,
}

/// What became of a page of discovery.
#[derive(Debug, Clone, PartialEq)]
pub enum DiscoveryResult {
    /// Items, and where to go on; no cursor: the round is complete.
    Page {
        /// In the handler's order.
        items: Vec<NewItem>,
        /// Where the next page begins.
        cursor: Option<String>,
        /// When the next round begins, if the round is complete and there is to be one.
        next_round: Option<Timestamp>,
    },
    /// An error; tried again from the same cursor.
    Error {
        /// What went wrong.
        error: TaskError,
        /// Whether it counts towards the bound.
        counted: bool,
        /// When to try again.
        retry_at: Timestamp,
        /// Pauses the job in the same transaction: the bound is reached, or a person is needed.
        pause: Option<Pause>,
    },
}

/// Where a job's discovery stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiscoveryState {
    /// Where the next page begins; absent: at the start of a round.
    pub cursor: Option<String>,
    /// Rounds completed.
    pub rounds: u64,
    /// Items found in the round under way.
    pub found_in_round: u64,
    /// Complete rounds in a row that found nothing at all, not even known items (Q07).
    pub empty_rounds: u32,
    /// Not before this; absent: at once, or never again if `finished`.
    pub due: Option<Timestamp>,
    /// The last round is complete and no other is to come.
    pub finished: bool,
    /// Counted errors in a row; a resume starts over.
    pub errors: u32,
    /// The last error, until a page succeeds.
    pub last_error: Option<TaskError>,
    /// When the last page ended.
    pub last_page_at: Option<Timestamp>,
    /// What it depended on when it was last declared. Nobody's business but the store's.
    #[serde(skip)]
    pub basis: Option<Digest>,
}

/// A job's discovery, claimed: one page may be settled with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryClaim {
    /// To be presented when settling.
    pub token: ClaimToken,
    /// Where it stands: where the page begins.
    pub state: DiscoveryState,
}

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
    pub passing: std::sync::Arc<[Passing]>,
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
    /// Other stages that declare to read what it leaves.
    pub readers: Vec<StageIx>,
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

/// Where a blob's bytes come from.
#[derive(Debug, Clone)]
pub enum BlobSource {
    /// Memory.
    Bytes(bytes::Bytes),
    /// A scratch file, which is left where it is.
    File(PathBuf),
}

/// A blob that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBlob {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its bytes, unpacked.
    pub size: u64,
}

/// A part of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobPart {
    /// First byte.
    pub offset: u64,
    /// How many; the end of the blob ends it sooner.
    pub length: u64,
}

/// An artifact as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredArtifact {
    /// The stage that made it.
    pub stage: StageIx,
    /// What the handler knows of it.
    pub artifact: tollgate_core::ArtifactRef,
    /// Left by an attempt that made no output; seen by the stage itself alone.
    pub pending: bool,
}

/// An entry of a job's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    /// Its value.
    pub value: Vec<u8>,
    /// Rises with each write; from 1.
    pub version: u64,
}

/// One change of a job's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// Which entry.
    pub key: String,
    /// Its new value; absent: it goes.
    pub value: Option<Vec<u8>>,
    /// Only if the entry is at that version; 0: only if there is none.
    pub expect: Option<u64>,
}

/// A page of a longer list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T, C> {
    /// What stands on it.
    pub entries: Vec<T>,
    /// What to ask the next page with; absent: this was the last.
    pub next: Option<C>,
}

/// Which tasks to open again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Tasks of these items that failed, wait to be tried again or were left out; all their tasks where there are none
    /// and all have ended. An item with work to do already is left to it.
    Items(Vec<ItemKey>),
    /// Every failed task of the job.
    Failed,
    /// The tasks of these items in one stage, done ones too, and no other: from what is stored, nothing before it runs
    /// (P07). A task that has yet to run, or whose item a person left out, stays as it is.
    Stage(StageIx, Vec<ItemKey>),
}

/// What an item has kept, for another look at its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemPages {
    /// Its number.
    pub item: ItemId,
    /// Its key.
    pub key: ItemKey,
    /// Its artifacts.
    pub pages: Vec<PageView>,
}

/// An artifact that may be a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageView {
    /// The artifact.
    pub stored: StoredArtifact,
    /// The address and the status code with which it came, where that was kept: not of what a handler made.
    pub came: Option<(String, u16)>,
}

/// A task whose pages are judged otherwise by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rechecked {
    /// Pages that its output stands on are no content: each with the name under which it is kept apart.
    Caught {
        /// Which task.
        task: TaskRef,
        /// By their blobs.
        pages: Vec<(Digest, String)>,
    },
    /// A page that was kept apart is content.
    Passes {
        /// Which task.
        task: TaskRef,
        /// The page.
        blob: Digest,
    },
}

impl Rechecked {
    /// Which task.
    #[must_use]
    pub fn task(&self) -> TaskRef {
        match self {
            Self::Caught { task, .. } | Self::Passes { task, .. } => *task,
        }
    }
}

/// What an action touched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reopened {
    /// Items touched.
    pub items: u64,
    /// Tasks opened or skipped.
    pub tasks: u64,
    /// Stages whose lanes got ready work.
    pub opened: Vec<StageIx>,
    /// The pause that ended with it.
    pub resumed: Option<Pause>,
    /// Keys that the job doesn't have.
    pub unknown: Vec<ItemKey>,
    /// Items that have work to do already, and were left to it.
    pub in_progress: Vec<ItemKey>,
}

/// A job with its counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Its number.
    pub id: JobId,
    /// Its name.
    pub name: JobName,
    /// What it is.
    pub kind: JobKind,
    /// Its stages, in order.
    pub stages: Vec<StageView>,
    /// Items by status.
    pub items: BTreeMap<ItemStatus, u64>,
    /// Its pause.
    pub pause: Option<Pause>,
    /// Its discovery.
    pub discovery: DiscoveryState,
}

/// A stage with its counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageView {
    /// Its number.
    pub ix: StageIx,
    /// Its name.
    pub name: StageName,
    /// Its needs, as written.
    pub needs: Vec<String>,
    /// Tasks by kind.
    pub tasks: BTreeMap<TaskKind, u64>,
    /// Distinct items that failed in a row.
    pub breaker: u32,
    /// When a task of it last ended with an output, nothing-here or a rejection.
    pub last_progress_at: Option<Timestamp>,
    /// When an attempt of it last ended at all.
    pub last_attempt_at: Option<Timestamp>,
    /// Since when every attempt of it ended in another try; absent: the last one didn't.
    #[serde(default)]
    pub later_since: Option<Timestamp>,
}

/// Which items to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ItemQuery {
    /// Only these.
    pub status: Option<ItemStatus>,
    /// Only after this one.
    pub after: Option<ItemId>,
    /// At most so many.
    pub limit: usize,
    /// With the outputs of done stages.
    pub outputs: bool,
}

/// An item in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemView {
    /// Its number.
    pub id: ItemId,
    /// Its key.
    pub key: ItemKey,
    /// Derived from its tasks.
    pub status: ItemStatus,
    /// What discovery said of it.
    pub data: Map<String, Value>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// Its tasks, in the order of the stages.
    pub tasks: Vec<TaskView>,
    /// Outputs of done stages, where asked for.
    pub outputs: BTreeMap<StageName, Map<String, Value>>,
}

/// A task of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// Its stage.
    pub stage: StageName,
    /// Where it stands.
    pub state: TaskState,
    /// What is counted of it.
    pub tally: Tally,
}

/// All that is known of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemDetail {
    /// As in a list, with outputs.
    pub item: ItemView,
    /// Doubts by stage.
    pub quality_flags: BTreeMap<StageName, Vec<String>>,
    /// What each output depended on.
    pub fingerprints: BTreeMap<StageName, Fingerprint>,
    /// Its artifacts.
    pub artifacts: Vec<StoredArtifact>,
    /// Attempts of each stage, oldest first.
    pub attempts: BTreeMap<StageName, Vec<AttemptRecord>>,
}

/// A failed attempt in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorView {
    /// The item's key.
    pub key: ItemKey,
    /// The stage.
    pub stage: StageName,
    /// When.
    pub at: Timestamp,
    /// What went wrong.
    pub error: TaskError,
}
