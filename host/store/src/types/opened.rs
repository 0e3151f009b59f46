//! What people open again: which tasks, and what items have kept.

use tollgate_core::{Digest, ItemId, ItemKey, StageIx, pause::Pause};

use super::{StoredArtifact, TaskRef};

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
