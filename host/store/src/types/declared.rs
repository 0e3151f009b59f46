//! Jobs as they are declared, and what their discovery brings.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_core::{
    ClaimToken, Digest, JobId, JobName, StageIx, StageName, Timestamp,
    graph::{Need, StageGraph},
    item::NewItem,
    pause::Pause,
    spec::JobKind,
    task::TaskError,
};

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
