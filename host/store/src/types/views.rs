//! Jobs and items as they are looked at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_core::{
    ItemId, ItemKey, JobId, JobName, StageIx, StageName, Timestamp,
    item::ItemStatus,
    pause::Pause,
    spec::JobKind,
    task::{Tally, TaskError, TaskKind, TaskState},
};

use super::{AttemptRecord, DiscoveryState, Fingerprint, StoredArtifact};

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
