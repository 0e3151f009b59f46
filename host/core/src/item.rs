//! Items as they are submitted, and an item's status, derived from its tasks (S05).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    ids::ItemKey,
    task::{SkipReason, TaskState},
};

/// An item as discovery, a stage or a person submits it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewItem {
    /// Unique in its job.
    pub key: ItemKey,
    /// What is known of it.
    #[serde(default)]
    pub data: Map<String, Value>,
    /// Higher goes first; 0 is usual.
    #[serde(default)]
    pub priority: i32,
    /// A known key with another revision reopens the item with the new data; the first one, for an item that had
    /// none, is taken down and reopens nothing.
    #[serde(default)]
    pub revision: Option<String>,
}

/// Where an item stands. Never stored: derived from its tasks, so that the two can't disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemStatus {
    /// Some task is ready.
    Queued,
    /// No task is ready, and some wait to be tried again.
    Retrying,
    /// Every task has ended, none failed.
    Done,
    /// Every task has ended, and one failed.
    Failed,
    /// Every task has ended without an output, because the item was rejected, excluded or conditions were false.
    Skipped,
}

impl ItemStatus {
    /// All of them, in the order in which pages show them.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Retrying, Self::Done, Self::Failed, Self::Skipped];

    /// Derives the status from the item's tasks.
    #[must_use]
    pub fn of<'a>(tasks: impl IntoIterator<Item = &'a TaskState>) -> Self {
        let (mut ready, mut retrying, mut failed, mut rejected, mut done) = (false, false, false, false, false);
        for task in tasks {
            match task {
                TaskState::Ready { .. } => ready = true,
                TaskState::RetryLater { .. } => retrying = true,
                TaskState::Failed { .. } => failed = true,
                TaskState::Skipped { reason: SkipReason::Rejected { .. } | SkipReason::Excluded { .. } } => {
                    rejected = true
                }
                TaskState::Done | TaskState::Nothing { .. } => done = true,
                TaskState::Waiting { .. } | TaskState::Skipped { .. } | TaskState::Unreachable { .. } => {}
            }
        }
        if ready {
            Self::Queued
        } else if retrying {
            Self::Retrying
        } else if failed {
            Self::Failed
        } else if rejected || !done {
            Self::Skipped
        } else {
            Self::Done
        }
    }

    /// The word for it on pages and in the program's options.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// The status that bears this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}
