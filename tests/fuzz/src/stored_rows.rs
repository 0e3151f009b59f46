//! Any bytes as a row of the databases, or as a frame of the ledger's log: the store opens or says why not, and all
//! that it is asked is answered.

mod damage;
mod drive;
mod frames;
mod memory;
mod paid;

use std::sync::Arc;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tollgate_store::{RedbStore, StoreError, StoreOptions};

use crate::Target;

use memory::MemoryDisk;

/// A store with one item in each of several states and a row of every table, as a program of that version wrote it.
const QUEUE: &[u8] = include_bytes!("../../../host/store/tests/fixtures/v5/queue.redb");
/// Its blobs.
const CONTENT: &[u8] = include_bytes!("../../../host/store/tests/fixtures/v5/content.redb");
/// Its log, with frames that the queue doesn't have yet.
const WAL: &[u8] = include_bytes!("../../../host/store/tests/fixtures/v5/ledger.wal");
/// Pages kept by the databases, in bytes: all of them.
const CACHE_BYTES: usize = 1 << 20;

/// A store, one row or frame of which is replaced or added as `damage` reads the input.
pub struct StoredRows {
    runtime: Runtime,
    folder: TempDir,
}

impl Target for StoredRows {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, folder: tempfile::tempdir().unwrap() }
    }

    fn run(&self, input: &[u8]) {
        self.runtime.block_on(async {
            if let Some(store) = self.open(input).and_then(drive::sound) {
                drive::drive(&store).await;
            }
        });
    }
}

impl StoredRows {
    /// Opens the store with the row that the input says; absent: it says none.
    fn open(&self, input: &[u8]) -> Option<Result<Arc<RedbStore>, StoreError>> {
        let disk = MemoryDisk::new(QUEUE, CONTENT, WAL);
        let options = StoreOptions { queue_cache_bytes: CACHE_BYTES, content_cache_bytes: CACHE_BYTES, sweep: false };
        damage::apply(&disk, input).then(|| RedbStore::open_on(&disk, self.folder.path(), options))
    }
}

/// Inputs of [`StoredRows`] that change nothing, with their names: every row and frame of the store as it is.
#[must_use]
pub fn stored_row_seeds() -> Vec<(String, Vec<u8>)> {
    damage::seeds(&MemoryDisk::new(QUEUE, CONTENT, WAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_the_rows_as_they_are() {
        let target = StoredRows::new();
        let seeds = stored_row_seeds();
        for (name, seed) in &seeds {
            let file = std::fs::read(format!("{}/corpus/stored_rows/{name}", env!("CARGO_MANIFEST_DIR")));
            assert_eq!(&file.unwrap(), seed, "{name}");
            let store = target.open(seed).unwrap().unwrap();
            let report = target.runtime.block_on(store.verify()).unwrap();
            assert_eq!((report.problems, report.items), (Vec::new(), 5), "{name}");
        }
        let tables: std::collections::BTreeSet<u8> = seeds.iter().map(|(_, seed)| seed[0]).collect();
        let without: Vec<u8> = (0..33).filter(|table| !tables.contains(table)).collect();
        assert_eq!(
            without,
            [13, 14, 15, 16, 29, 30],
            "circuits, pages that items share, and what has gone have no row there"
        );
    }
}
