//! Rows as they lie on disk: versioned, packed with postcard, and apart from `core`'s types, which may change freely.
//!
//! Each row is an enum whose variant is its version (`V1`), so an old row is read by an old variant. Never change a
//! variant that has been released: add one, and a step in `migrations` where every row has to follow.

mod circuit;
mod gone;
mod item;
mod job;
mod ledger;
mod output;
mod page;
mod spending;
mod task;

use serde::{Deserialize, Serialize};

pub(crate) use circuit::StoredCircuit;
pub(crate) use gone::StoredGone;
pub(crate) use item::{StoredItem, StoredItemV1};
pub(crate) use job::{
    StoredDeclaredStage, StoredDiscovery, StoredJob, StoredJobV1, StoredLane, StoredLaneV1, StoredPause, StoredTotals,
    StoredTotalsV1,
};
pub(crate) use ledger::{
    StoredAccount, StoredAnswer, StoredAnswerBody, StoredAnswerV1, StoredCall, StoredCosts, StoredFrame,
    StoredFrameCall, StoredFrameV1, StoredPaid,
};
pub(crate) use output::{
    StoredArtifactRow, StoredArtifactV1, StoredAttempt, StoredErrorRow, StoredErrorV1, StoredOutput, StoredOutputV1,
    StoredStateEntry, StoredStateV1,
};
pub(crate) use page::{StoredHolder, StoredHolders, StoredPage, StoredPages, half};
pub(crate) use spending::StoredSpending;
pub(crate) use task::{StoredTask, StoredTasks};

use crate::StoreError;

/// Packs a row.
pub(crate) fn encode<T: Serialize>(row: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(row).map_err(|error| StoreError::Corrupt(format!("a row can't be packed: {error}")))
}

/// Unpacks a row of the table `table`.
pub(crate) fn decode<'a, T: Deserialize<'a>>(table: &str, bytes: &'a [u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|error| StoreError::Corrupt(format!("{table}: {error}")))
}

/// Writes bytes in one piece; serde's own way for a slice is byte by byte, the same on disk.
pub(crate) fn as_bytes<S: serde::Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// What is stored doesn't make a value of `core`.
pub(crate) fn corrupt(what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(what.to_string())
}

/// A stored twin of one of `core`'s plain enums, with both conversions. Append only.
macro_rules! twin {
    ($stored:ident = $core:ty { $($variant:ident),+ $(,)? }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub(crate) enum $stored { $($variant),+ }

        impl From<$core> for $stored {
            fn from(value: $core) -> Self {
                match value { $(<$core>::$variant => Self::$variant),+ }
            }
        }

        impl From<$stored> for $core {
            fn from(value: $stored) -> Self {
                match value { $($stored::$variant => Self::$variant),+ }
            }
        }
    };
}
use twin;
