//! Outputs, attempts, errors, artifacts and state entries on disk.

use serde::{Deserialize, Serialize};
use tollgate_core::{Digest, StageName, Timestamp, handler::HandlerDigests, task::LaterKind};

use super::{
    corrupt,
    task::{StoredLaterKind, StoredTaskError},
};
use crate::{AttemptEnd, AttemptRecord, Fingerprint, StoreError, StoredBlob, ToolServed};

/// An output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredOutput<'a> {
    /// From schema 1.
    #[serde(borrow)]
    V1(StoredOutputV1<'a>),
}

/// See [`StoredOutput`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredOutputV1<'a> {
    pub(crate) made_at_ms: u64,
    /// Of `fields`.
    pub(crate) digest: [u8; 32],
    /// The handler that made it, not the one that serves today (trap 27): its artifact and its code.
    pub(crate) handler: Option<([u8; 32], [u8; 32])>,
    pub(crate) fingerprint: Option<StoredFingerprint>,
    pub(crate) quality_flags: Vec<String>,
    /// A JSON object, canonical.
    #[serde(serialize_with = "super::as_bytes")]
    pub(crate) fields: &'a [u8],
}

/// Twin of [`Fingerprint`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredFingerprint {
    source: String,
    params: [u8; 32],
    contract: [u8; 32],
    data: [u8; 32],
    inputs: Vec<(String, [u8; 32])>,
}

/// An attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredAttempt {
    /// From schema 1.
    V1(StoredAttemptV1),
    /// From schema 2: with the reason of an end without an error.
    V2(StoredAttemptV1, Option<String>),
    /// From schema 3: with the tools that ran and their profiles. One that ran none is written as before.
    V3(StoredAttemptV1, Option<String>, Vec<(String, String)>),
}

/// See [`StoredAttempt`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredAttemptV1 {
    number: u32,
    started_at_ms: u64,
    ended_at_ms: u64,
    handler: ([u8; 32], [u8; 32]),
    ended: StoredAttemptEnd,
    error: Option<StoredTaskError>,
    guest_us: u64,
    requests: u32,
    bytes_received: u64,
}

/// Twin of [`AttemptEnd`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum StoredAttemptEnd {
    Done,
    Nothing,
    Rejected,
    Later(StoredLaterKind),
    Failed,
}

/// A failed attempt in the list of a job's errors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredErrorRow {
    /// From schema 1.
    V1(StoredErrorV1),
}

/// See [`StoredErrorRow`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredErrorV1 {
    pub(crate) item: u64,
    pub(crate) stage: u16,
    pub(crate) at_ms: u64,
    pub(crate) error: StoredTaskError,
}

/// An artifact; item, stage and name are its row's key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredArtifactRow {
    /// From schema 1.
    V1(StoredArtifactV1),
}

/// See [`StoredArtifactRow`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredArtifactV1 {
    pub(crate) content_type: String,
    pub(crate) size: u64,
    pub(crate) digest: [u8; 32],
}

impl StoredArtifactRow {
    /// The blob that it names.
    pub(crate) fn blob(&self) -> StoredBlob {
        let Self::V1(row) = self;
        StoredBlob { digest: Digest(row.digest), size: row.size }
    }
}

/// An entry of a job's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredStateEntry<'a> {
    /// From schema 1.
    #[serde(borrow)]
    V1(StoredStateV1<'a>),
}

/// See [`StoredStateEntry`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredStateV1<'a> {
    pub(crate) version: u64,
    #[serde(serialize_with = "super::as_bytes")]
    pub(crate) value: &'a [u8],
}

impl From<&Fingerprint> for StoredFingerprint {
    fn from(print: &Fingerprint) -> Self {
        Self {
            source: print.source.clone(),
            params: print.params.0,
            contract: print.contract.0,
            data: print.data.0,
            inputs: print.inputs.iter().map(|(stage, digest)| (stage.to_string(), digest.0)).collect(),
        }
    }
}

impl TryFrom<StoredFingerprint> for Fingerprint {
    type Error = StoreError;

    fn try_from(print: StoredFingerprint) -> Result<Self, StoreError> {
        let input = |(stage, digest): (String, [u8; 32])| {
            StageName::new(&stage).map(|stage| (stage, Digest(digest))).map_err(corrupt)
        };
        Ok(Self {
            source: print.source,
            params: Digest(print.params),
            contract: Digest(print.contract),
            data: Digest(print.data),
            inputs: print.inputs.into_iter().map(input).collect::<Result<_, _>>()?,
        })
    }
}

impl From<AttemptEnd> for StoredAttemptEnd {
    fn from(end: AttemptEnd) -> Self {
        match end {
            AttemptEnd::Done => Self::Done,
            AttemptEnd::Nothing => Self::Nothing,
            AttemptEnd::Rejected => Self::Rejected,
            AttemptEnd::Later(kind) => Self::Later(kind.into()),
            AttemptEnd::Failed => Self::Failed,
        }
    }
}

impl From<StoredAttemptEnd> for AttemptEnd {
    fn from(end: StoredAttemptEnd) -> Self {
        match end {
            StoredAttemptEnd::Done => Self::Done,
            StoredAttemptEnd::Nothing => Self::Nothing,
            StoredAttemptEnd::Rejected => Self::Rejected,
            StoredAttemptEnd::Later(kind) => Self::Later(LaterKind::from(kind)),
            StoredAttemptEnd::Failed => Self::Failed,
        }
    }
}

impl From<&AttemptRecord> for StoredAttempt {
    fn from(attempt: &AttemptRecord) -> Self {
        let row = StoredAttemptV1 {
            number: attempt.number,
            started_at_ms: attempt.started_at.0,
            ended_at_ms: attempt.ended_at.0,
            handler: (attempt.handler.artifact.0, attempt.handler.code.0),
            ended: attempt.ended.into(),
            error: attempt.error.as_ref().map(Into::into),
            guest_us: attempt.guest_us,
            requests: attempt.requests,
            bytes_received: attempt.bytes_received,
        };
        if attempt.tools.is_empty() {
            return Self::V2(row, attempt.reason.clone());
        }
        let tools = attempt.tools.iter().map(|served| (served.tool.clone(), served.profile.clone())).collect();
        Self::V3(row, attempt.reason.clone(), tools)
    }
}

impl From<StoredAttempt> for AttemptRecord {
    fn from(stored: StoredAttempt) -> Self {
        let (row, reason, tools) = match stored {
            StoredAttempt::V1(row) => (row, None, Vec::new()),
            StoredAttempt::V2(row, reason) => (row, reason, Vec::new()),
            StoredAttempt::V3(row, reason, tools) => (row, reason, tools),
        };
        let (artifact, code) = row.handler;
        Self {
            number: row.number,
            started_at: Timestamp(row.started_at_ms),
            ended_at: Timestamp(row.ended_at_ms),
            handler: HandlerDigests { artifact: Digest(artifact), code: Digest(code) },
            ended: row.ended.into(),
            error: row.error.map(Into::into),
            reason,
            guest_us: row.guest_us,
            requests: row.requests,
            bytes_received: row.bytes_received,
            tools: tools.into_iter().map(|(tool, profile)| ToolServed { tool, profile }).collect(),
        }
    }
}
