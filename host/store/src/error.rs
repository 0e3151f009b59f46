//! What can go wrong with the store.

use std::{io, path::PathBuf};

use tollgate_core::{ItemId, JobId};

/// Errors of the store. Messages are fragments; what to do stands in the variant's own words.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the data folder.
    #[error("the data folder {} is in use by another host; stop it, or name another folder under [host] \
        data", .0.display())]
    InUse(PathBuf),
    /// A newer Tollgate wrote it.
    #[error("the store has schema version {found}, newer than {known}; run the Tollgate that wrote it, or a newer one")]
    NewerVersion {
        /// The version found.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// A database file is cut short, overwritten, or none.
    #[error(
        "{file} can't be opened: {message}; it is damaged: put a backup of the data folder in its place, or move it \
         away to begin anew"
    )]
    Damaged {
        /// Its name in the data folder.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// The ledger's write-ahead log, `ledger.wal`, is gone, cut short, overwritten, or another store's.
    #[error(
        "ledger.wal can't be opened: {0}; up to some hundred paid calls stand in it alone: put back the one that belongs \
         to this queue.redb, or a backup of the whole data folder; `tollgate store set-log-aside` goes on without what \
         can't be read"
    )]
    DamagedLog(String),
    /// What is stored can't be read.
    #[error("the store holds a row that can't be read: {0}")]
    Corrupt(String),
    /// The claim was replaced or never was (trap 25).
    #[error("the claim on item {0:?} is stale; another attempt has it")]
    StaleClaim(ItemId),
    /// The same for a job's discovery: another claim, or another declaration, came after it.
    #[error("the claim on the discovery of job {} is stale; another page has it", .0.0)]
    StaleDiscovery(JobId),
    /// Nothing of that name or number.
    #[error("{0} is not in the store")]
    NotFound(String),
    /// Another writer changed that key first.
    #[error("state key {0:?} was changed by another writer")]
    Conflict(String),
    /// What is declared makes no job: a circle, an unknown stage, too many stages.
    #[error("the declaration can't be kept: {0}")]
    Declaration(String),
    /// Larger than a limit.
    #[error("{what} has {bytes} bytes; {max} is the limit")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// An attempt's page is one that more items were served than may be. Nothing is settled: the attempt is to be
    /// settled again, as one that was served no content.
    #[error("{} items were served the same page", .0.items)]
    Duplicate(Box<crate::Duplicate>),
    /// The disk is full, or what this user may have of it.
    #[error(
        "the disk of the data folder is full ({0}); make room on it and start again: what was kept is there, and what \
         ran runs again"
    )]
    Full(String),
    /// The disk or the file system refused.
    #[error("the store can't be read or written: {0}")]
    Io(String),
    /// The store has been closed, or its writer has ended after an error.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// What the system's refusal means; `doing` says what was tried.
    pub(crate) fn of_io(doing: &str, error: &io::Error) -> Self {
        let text = format!("{doing}: {error}");
        if tollgate_core::is_disk_full(error) { Self::Full(text) } else { Self::Io(text) }
    }
}
