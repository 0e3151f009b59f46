//! What people open again: which tasks, and what items have kept.

use serde::{Deserialize, Serialize};
use tollgate_core::{Digest, ItemId, ItemKey, StageIx, StageName, pause::Pause};

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
    /// So does one of which something has gone that the stage reads: that has to be made anew first (P06).
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
    /// Items that were left alone, as what the stage reads has gone.
    pub lacking: Vec<Lacking>,
}

/// Items of which one stage would be opened, a page of them, and which of their large binaries have gone (P06).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StageItems {
    /// These.
    pub entries: Vec<ItemKey>,
    /// What to ask the next page with; absent: this was the last.
    pub next: Option<ItemId>,
    /// What the stage itself has left for these, and makes or fetches anew.
    #[serde(default)]
    pub gone: Gone,
    /// Items that would be left alone, as what the stage reads has gone.
    #[serde(default)]
    pub lacking: Vec<Lacking>,
}

/// Large binaries that were removed, as no stage needed them any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gone {
    /// Items that had them.
    pub items: u64,
    /// How many they were.
    pub binaries: u64,
    /// Their bytes together.
    pub bytes: u64,
}

impl Gone {
    /// Together with some of other items.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            items: self.items.saturating_add(other.items),
            binaries: self.binaries.saturating_add(other.binaries),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// An item that a stage can't run again for: what it reads has gone. One that lacks what several stages
/// made is named once for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    /// Which item.
    pub key: ItemKey,
    /// The stage that has to run again first.
    pub maker: StageName,
    /// What that had left.
    pub gone: Gone,
}
