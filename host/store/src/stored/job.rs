//! Jobs on disk: what was declared, and beside it what changes while they run.

use serde::{Deserialize, Serialize};
use tollgate_core::{
    Digest, StageName, Timestamp,
    pause::{Pause, PauseReason},
    spec::JobKind,
    task::TaskError,
};

use super::{corrupt, task::StoredTaskError, twin};
use crate::{DiscoveryState, StoreError};

twin!(StoredJobKind = JobKind { Monitor, Backfill });

/// A job as last declared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredJob {
    /// From schema 1.
    V1(StoredJobV1),
}

/// See [`StoredJob`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredJobV1 {
    pub(crate) name: String,
    pub(crate) kind: StoredJobKind,
    /// Every stage that the job ever had; its place is its number.
    pub(crate) stages: Vec<String>,
    /// The stages of the last declaration, in the handler's order.
    pub(crate) declared: Vec<StoredDeclaredStage>,
    pub(crate) keep_attempts: u32,
    pub(crate) breaker: u32,
}

/// A stage of a declaration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredDeclaredStage {
    pub(crate) stage: u16,
    /// As written: `captions|whisper`.
    pub(crate) needs: Vec<String>,
    pub(crate) brings: Vec<u16>,
}

/// What is counted of a lane.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredLane {
    /// From schema 1.
    V1(StoredLaneV1),
    /// With the time since when there was nothing but another try.
    V2(StoredLaneV1, Option<u64>),
}

impl StoredLane {
    /// Its figures, and since when there was nothing but another try.
    pub(crate) fn newest(self) -> (StoredLaneV1, Option<u64>) {
        match self {
            Self::V1(row) => (row, None),
            Self::V2(row, later_since_ms) => (row, later_since_ms),
        }
    }
}

/// See [`StoredLane`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredLaneV1 {
    /// By `TaskKind`, in the order of `TaskKind::ALL`.
    pub(crate) tasks: Vec<u64>,
    /// Distinct items that failed in a row.
    pub(crate) breaker: Vec<u64>,
    pub(crate) last_progress_at_ms: Option<u64>,
    pub(crate) last_attempt_at_ms: Option<u64>,
}

/// What is counted of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredTotals {
    /// From schema 1.
    V1(StoredTotalsV1),
}

/// See [`StoredTotals`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredTotalsV1 {
    /// By `ItemStatus`, in the order of `ItemStatus::ALL`.
    pub(crate) items: Vec<u64>,
    /// Number of the next row of its errors.
    pub(crate) next_error: u64,
    /// Version of the next write of its state.
    pub(crate) next_state_version: u64,
}

/// A pause.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredPause {
    /// From schema 1.
    V1 { reason: StoredPauseReason, by: String, at_ms: u64, evidence: String, until_ms: Option<u64> },
}

/// Twin of [`PauseReason`]; append only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredPauseReason {
    Manual,
    Breaker { stage: String, failures: u32 },
    Budget,
    Handler,
    Circuit { site: String },
    Shutdown,
    Discovery,
    Host,
}

/// Where a discovery stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredDiscovery {
    /// From schema 1.
    V1(StoredDiscoveryV1),
    /// From schema 2: with the digest of what it depends on.
    V2(StoredDiscoveryV1, Option<[u8; 32]>),
}

/// See [`StoredDiscovery`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredDiscoveryV1 {
    cursor: Option<String>,
    rounds: u64,
    found_in_round: u64,
    empty_rounds: u32,
    due_ms: Option<u64>,
    finished: bool,
    errors: u32,
    last_error: Option<StoredTaskError>,
    last_page_at_ms: Option<u64>,
}

impl From<&Pause> for StoredPause {
    fn from(pause: &Pause) -> Self {
        let reason = match &pause.reason {
            PauseReason::Manual => StoredPauseReason::Manual,
            PauseReason::Breaker { stage, failures } => {
                StoredPauseReason::Breaker { stage: stage.to_string(), failures: *failures }
            }
            PauseReason::Budget => StoredPauseReason::Budget,
            PauseReason::Handler => StoredPauseReason::Handler,
            PauseReason::Circuit { site } => StoredPauseReason::Circuit { site: site.clone() },
            PauseReason::Shutdown => StoredPauseReason::Shutdown,
            PauseReason::Discovery => StoredPauseReason::Discovery,
            PauseReason::Host => StoredPauseReason::Host,
        };
        Self::V1 {
            reason,
            by: pause.by.clone(),
            at_ms: pause.at.0,
            evidence: pause.evidence.clone(),
            until_ms: pause.until.map(|at| at.0),
        }
    }
}

impl TryFrom<StoredPause> for Pause {
    type Error = StoreError;

    fn try_from(pause: StoredPause) -> Result<Self, StoreError> {
        let StoredPause::V1 { reason, by, at_ms, evidence, until_ms } = pause;
        let reason = match reason {
            StoredPauseReason::Manual => PauseReason::Manual,
            StoredPauseReason::Breaker { stage, failures } => {
                PauseReason::Breaker { stage: StageName::new(&stage).map_err(corrupt)?, failures }
            }
            StoredPauseReason::Budget => PauseReason::Budget,
            StoredPauseReason::Handler => PauseReason::Handler,
            StoredPauseReason::Circuit { site } => PauseReason::Circuit { site },
            StoredPauseReason::Shutdown => PauseReason::Shutdown,
            StoredPauseReason::Discovery => PauseReason::Discovery,
            StoredPauseReason::Host => PauseReason::Host,
        };
        Ok(Self { reason, by, at: Timestamp(at_ms), evidence, until: until_ms.map(Timestamp) })
    }
}

impl From<&DiscoveryState> for StoredDiscovery {
    fn from(state: &DiscoveryState) -> Self {
        let row = StoredDiscoveryV1 {
            cursor: state.cursor.clone(),
            rounds: state.rounds,
            found_in_round: state.found_in_round,
            empty_rounds: state.empty_rounds,
            due_ms: state.due.map(|at| at.0),
            finished: state.finished,
            errors: state.errors,
            last_error: state.last_error.as_ref().map(Into::into),
            last_page_at_ms: state.last_page_at.map(|at| at.0),
        };
        Self::V2(row, state.basis.map(|digest| digest.0))
    }
}

impl From<StoredDiscovery> for DiscoveryState {
    fn from(stored: StoredDiscovery) -> Self {
        let (row, basis) = match stored {
            StoredDiscovery::V1(row) => (row, None),
            StoredDiscovery::V2(row, basis) => (row, basis),
        };
        Self {
            cursor: row.cursor,
            rounds: row.rounds,
            found_in_round: row.found_in_round,
            empty_rounds: row.empty_rounds,
            due: row.due_ms.map(Timestamp),
            finished: row.finished,
            errors: row.errors,
            last_error: row.last_error.map(TaskError::from),
            last_page_at: row.last_page_at_ms.map(Timestamp),
            basis: basis.map(Digest),
        }
    }
}
