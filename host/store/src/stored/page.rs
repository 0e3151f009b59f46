//! Pages of a task, and who holds them, on disk.

use serde::{Deserialize, Serialize};

use crate::KeptPage;

/// The pages among a task's artifacts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredPages {
    /// From schema 3.
    V1(Vec<StoredPage>),
}

/// Twin of [`KeptPage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPage {
    pub(crate) blob: [u8; 32],
    pub(crate) url: String,
    pub(crate) status: u16,
    /// Its signature, where the task holds it.
    pub(crate) held: Option<[u8; 16]>,
}

impl StoredPage {
    /// A page that the task holds by its signature, or one that it only keeps.
    pub(crate) fn new(page: &KeptPage, holds: bool) -> Self {
        let held = page.copy.filter(|_| holds).map(|copy| half(&copy.signature.0));
        Self { blob: page.blob.0, url: page.url.clone(), status: page.status, held }
    }
}

/// Who holds a page: each item once, and each address that was asked for once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredHolders {
    /// From schema 3. `caught`: how many items had been served the page when it was last taken back; 0: never.
    V1 { caught: u32, holders: Vec<StoredHolder> },
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredHolder {
    pub(crate) item: u64,
    /// Half of the digest of what was asked for.
    pub(crate) asked: [u8; 16],
}

/// Half of a digest: 128 bits tell all pages of a lane apart, and rows are smaller by it.
pub(crate) fn half(digest: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}
