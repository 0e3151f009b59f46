//! The tasks of an item on disk: their states and tallies, in one row.

use serde::{Deserialize, Serialize};
use tollgate_core::{
    StageIx, StageName, Timestamp,
    task::{ErrorKind, LaterKind, LaterReason, SkipReason, Tally, TaskError, TaskState},
};

use super::{corrupt, twin};
use crate::StoreError;

/// The tasks of an item. An absent row stands for the graph's initial states.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredTasks {
    /// From schema 1.
    V1(Vec<StoredTask>),
    /// From schema 4: with the stages that take kept answers again, each with the attempt up to which. Where none does,
    /// the row is written as before.
    V2(Vec<StoredTask>, Vec<(u16, u32)>),
}

/// One task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredTask {
    pub(crate) stage: u16,
    pub(crate) state: StoredState,
    pub(crate) tally: StoredTally,
}

/// Twin of [`TaskState`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredState {
    Waiting { on: Vec<String> },
    Ready { due_ms: u64 },
    RetryLater { due_ms: u64, kind: StoredLaterKind, message: String },
    Done,
    Nothing { reason: String },
    Skipped { reason: StoredSkip },
    Failed { error: StoredTaskError },
    Unreachable { needs: Vec<String> },
}

/// Twin of [`SkipReason`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredSkip {
    Condition { when: String },
    Rejected { by: String, reason: String },
    Alternative { served_by: String },
    Excluded { reason: String },
}

/// Twin of [`TaskError`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredTaskError {
    kind: StoredErrorKind,
    message: String,
}

/// Twin of [`Tally`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct StoredTally {
    attempts: u32,
    counted: u32,
    crashes: u32,
    first_at_ms: Option<u64>,
}

twin!(StoredLaterKind = LaterKind { Asked, RateLimited, Down, Blocked, LoginRequired, Transport, Failed, Budget });
twin!(
    StoredErrorKind = ErrorKind { Failed, Permanent, Contract, Trap, Timeout, Limit, Transport, Poison, Expired, Host }
);

impl StoredTasks {
    pub(crate) fn new(rows: Vec<StoredTask>, reuses: Vec<(u16, u32)>) -> Self {
        if reuses.is_empty() { Self::V1(rows) } else { Self::V2(rows, reuses) }
    }

    /// As the newest version has it.
    pub(crate) fn newest(self) -> (Vec<StoredTask>, Vec<(u16, u32)>) {
        match self {
            Self::V1(rows) => (rows, Vec::new()),
            Self::V2(rows, reuses) => (rows, reuses),
        }
    }
}

impl StoredTask {
    pub(crate) fn new(stage: StageIx, state: &TaskState, tally: Tally) -> Self {
        Self { stage: stage.0, state: state.into(), tally: tally.into() }
    }
}

impl From<&TaskError> for StoredTaskError {
    fn from(error: &TaskError) -> Self {
        Self { kind: error.kind.into(), message: error.message.clone() }
    }
}

impl From<StoredTaskError> for TaskError {
    fn from(error: StoredTaskError) -> Self {
        Self { kind: error.kind.into(), message: error.message }
    }
}

impl From<Tally> for StoredTally {
    fn from(tally: Tally) -> Self {
        // What it takes again stands beside the tasks: few do.
        let Tally { attempts, counted, crashes, first_at, reuses: _ } = tally;
        Self { attempts, counted, crashes, first_at_ms: first_at.map(|at| at.0) }
    }
}

impl From<StoredTally> for Tally {
    fn from(tally: StoredTally) -> Self {
        let StoredTally { attempts, counted, crashes, first_at_ms } = tally;
        Self { attempts, counted, crashes, first_at: first_at_ms.map(Timestamp), reuses: None }
    }
}

impl From<&TaskState> for StoredState {
    fn from(state: &TaskState) -> Self {
        match state {
            TaskState::Waiting { on } => Self::Waiting { on: on.clone() },
            TaskState::Ready { due } => Self::Ready { due_ms: due.0 },
            TaskState::RetryLater { due, reason } => {
                Self::RetryLater { due_ms: due.0, kind: reason.kind.into(), message: reason.message.clone() }
            }
            TaskState::Done => Self::Done,
            TaskState::Nothing { reason } => Self::Nothing { reason: reason.clone() },
            TaskState::Skipped { reason } => Self::Skipped { reason: reason.into() },
            TaskState::Failed { error } => Self::Failed { error: error.into() },
            TaskState::Unreachable { needs } => Self::Unreachable { needs: needs.clone() },
        }
    }
}

impl TryFrom<StoredState> for TaskState {
    type Error = StoreError;

    fn try_from(state: StoredState) -> Result<Self, StoreError> {
        Ok(match state {
            StoredState::Waiting { on } => Self::Waiting { on },
            StoredState::Ready { due_ms } => Self::Ready { due: Timestamp(due_ms) },
            StoredState::RetryLater { due_ms, kind, message } => {
                Self::RetryLater { due: Timestamp(due_ms), reason: LaterReason { kind: kind.into(), message } }
            }
            StoredState::Done => Self::Done,
            StoredState::Nothing { reason } => Self::Nothing { reason },
            StoredState::Skipped { reason } => Self::Skipped { reason: reason.try_into()? },
            StoredState::Failed { error } => Self::Failed { error: error.into() },
            StoredState::Unreachable { needs } => Self::Unreachable { needs },
        })
    }
}

impl From<&SkipReason> for StoredSkip {
    fn from(reason: &SkipReason) -> Self {
        match reason {
            SkipReason::Condition { when } => Self::Condition { when: when.clone() },
            SkipReason::Rejected { by, reason } => Self::Rejected { by: by.to_string(), reason: reason.clone() },
            SkipReason::Alternative { served_by } => Self::Alternative { served_by: served_by.to_string() },
            SkipReason::Excluded { reason } => Self::Excluded { reason: reason.clone() },
        }
    }
}

impl TryFrom<StoredSkip> for SkipReason {
    type Error = StoreError;

    fn try_from(reason: StoredSkip) -> Result<Self, StoreError> {
        let stage = |name: String| StageName::new(&name).map_err(|error| corrupt(format!("stage {name:?}: {error}")));
        Ok(match reason {
            StoredSkip::Condition { when } => Self::Condition { when },
            StoredSkip::Rejected { by, reason } => Self::Rejected { by: stage(by)?, reason },
            StoredSkip::Alternative { served_by } => Self::Alternative { served_by: stage(served_by)? },
            StoredSkip::Excluded { reason } => Self::Excluded { reason },
        })
    }
}
