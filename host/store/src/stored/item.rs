//! Items on disk. Borrowed, so that reading an item's head doesn't copy its data.

use serde::{Deserialize, Serialize};

/// An item.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredItem<'a> {
    /// From schema 1.
    #[serde(borrow)]
    V1(StoredItemV1<'a>),
}

/// See [`StoredItem`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredItemV1<'a> {
    pub(crate) job: u32,
    pub(crate) created_ms: u64,
    pub(crate) priority: i32,
    pub(crate) key: &'a str,
    pub(crate) revision: Option<&'a str>,
    /// A JSON object.
    #[serde(serialize_with = "super::as_bytes")]
    pub(crate) data: &'a [u8],
}

impl<'a> StoredItem<'a> {
    /// The row as the newest version has it.
    pub(crate) fn newest(self) -> StoredItemV1<'a> {
        let Self::V1(row) = self;
        row
    }
}
