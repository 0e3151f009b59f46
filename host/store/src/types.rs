//! What goes in and out of the [`Store`](crate::Store): plain data, no type of any database.

mod declared;
mod ledger;
mod opened;
mod settled;
mod views;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tollgate_core::{Digest, ItemId, StageIx};

pub use declared::{
    DeclaredDiscovery, DeclaredJob, DeclaredStage, DiscoveryClaim, DiscoveryPage, DiscoveryResult, DiscoveryState,
    JobDeclaration, Submitted,
};
pub use ledger::{
    AccountView, AnswerKey, CallSettled, CostGroup, CostKey, CostQuery, CostView, EntryView, KeptAnswer, LedgerQuery,
    Reserved,
};
pub use opened::{Gone, ItemPages, Lacking, PageView, Rechecked, Reopened, Selection, StageItems};
pub use settled::{
    AttemptEnd, AttemptRecord, Claim, Duplicate, Fingerprint, InputOutput, KeptPage, NewArtifact, PageCopy, Passing,
    RefusedPage, Settled, Settlement, TOOLS_PER_ATTEMPT_MAX, TakeBack, ToolServed,
};
pub use views::{ErrorView, ItemDetail, ItemQuery, ItemView, JobView, StageView, TaskView};

/// A task: one stage of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskRef {
    /// Its item.
    pub item: ItemId,
    /// Its stage.
    pub stage: StageIx,
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
