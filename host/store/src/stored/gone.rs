//! What has gone of a stage's large binaries, on disk.

use serde::{Deserialize, Serialize};

/// What is noted of those that a stage left for an item, and that were removed once nobody needed them any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StoredGone {
    /// From schema 4. `readers`: the stages that declared to read one of those that its output stood on.
    V1 { binaries: u64, bytes: u64, readers: Vec<u16> },
}
