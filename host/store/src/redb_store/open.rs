//! Opening a data folder: the lock, the two databases, their schema.

use std::{
    fs::{self, File, TryLockError},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use redb::{Database, Durability, ReadableTable as _};

use super::{
    book::Book,
    claims::Claims,
    content,
    disk::Place,
    fault::Fault,
    jobs::Jobs,
    migrations::{self, WITH_LOG},
    tables::{Tables, meta, number_after},
    wal::{self, Frames, Known, LogSetAside, Wal},
};
use crate::StoreError;

/// How to open a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Memory for pages of the queue, in bytes.
    pub queue_cache_bytes: usize,
    /// Memory for pages of the content, in bytes.
    pub content_cache_bytes: usize,
    /// Whether blobs that no row names are removed, behind the opening: for who opens it to work for long. See
    /// [`RedbStore::swept`](super::RedbStore::swept).
    pub sweep: bool,
}

impl Default for StoreOptions {
    /// 64 MiB each: with a million items queued, the whole host shall stay under 300 MiB. No sweep.
    fn default() -> Self {
        Self { queue_cache_bytes: 64 << 20, content_cache_bytes: 64 << 20, sweep: false }
    }
}

/// What opening gives.
pub(crate) struct Opened {
    pub(crate) lock: Lock,
    pub(crate) queue: Database,
    pub(crate) content: Database,
    pub(crate) jobs: Jobs,
    pub(crate) claims: Claims,
    pub(crate) book: Book,
    pub(crate) wal: Wal,
    /// What became of the log that was there, if it was not to be used.
    pub(crate) set_aside: Option<LogSetAside>,
}

/// Whether the ledger's log is used that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Used,
    /// What can be read of it, and then another one.
    SetAside,
}

/// A data folder is this process's until this is dropped.
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the folder, and makes it where there is none.
    fn take(folder: &Path) -> Result<Self, StoreError> {
        let io = |error: std::io::Error| StoreError::of_io(&folder.display().to_string(), &error);
        fs::create_dir_all(folder).map_err(io)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self(lock)),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A process that is being started has the file too, as long as it isn't the new program yet: closed here alone,
        // it would stay locked, and who opens the folder at once would find it in use.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the data folder's lock goes with this process alone");
        }
    }
}

/// Opens or makes the store in `folder`.
pub(crate) fn open(folder: &Path, options: StoreOptions, place: Place<'_>, log: Log) -> Result<Opened, StoreError> {
    open_all(folder, options, place, log).map_err(|fault| match fault.into() {
        StoreError::Full(text) => StoreError::Full(format!(
            "to open the store takes a little room, and more where it is repaired first: {text}"
        )),
        other => other,
    })
}

fn open_all(folder: &Path, options: StoreOptions, place: Place<'_>, log: Log) -> Result<Opened, Fault> {
    let lock = Lock::take(folder)?;
    let queue = undamaged("queue.redb", || place.database("queue.redb", options.queue_cache_bytes))?;
    let content = undamaged("content.redb", || place.database("content.redb", options.content_cache_bytes))?;
    // First: it is the one that may refuse what it finds.
    let prepared = undamaged("queue.redb", || prepare(&queue, place, log))?;
    let Prepared { jobs, claims, book, wal, set_aside } = prepared;
    undamaged("content.redb", || content::prepare(folder, &content))?;
    Ok(Opened { lock, queue, content, jobs, claims, book, wal, set_aside })
}

/// Does something with a file that redb may panic over, as it says itself of a file that others have written to.
fn undamaged<T>(file: &str, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let message = "its pages contradict each other".to_owned();
        Err(StoreError::Damaged { file: file.to_owned(), message }.into())
    })
}

/// What opening makes of `queue.redb` and the log beside it.
struct Prepared {
    jobs: Jobs,
    claims: Claims,
    book: Book,
    wal: Wal,
    set_aside: Option<LogSetAside>,
}

/// Migrates, makes the tables, takes into them what the log has beyond them, counts the opening and reads the jobs: one
/// transaction.
fn prepare(queue: &Database, place: Place<'_>, log: Log) -> Result<Prepared, Fault> {
    let mut transaction = queue.begin_write()?;
    transaction.set_durability(Durability::Immediate).map_err(|error| StoreError::Io(error.to_string()))?;
    let version = migrations::run(&transaction)?;
    let mut tables = Tables::open(&transaction)?;
    let number = |name| Ok::<_, Fault>(tables.meta.get(name)?.map(|row| row.value()));
    let before = number(meta::OPENED)?.unwrap_or_default();
    let known = match (number(meta::WAL)?, number(meta::WAL_GENERATION)?) {
        (Some(log), Some(generation)) => Some(Known { log, generation }),
        _ if version.is_none_or(|version| version < WITH_LOG) || log == Log::SetAside => None,
        _ => return Err(wal::damaged("queue.redb doesn't say which is its own")),
    };
    let (wal, frames, behind_damage) = match log {
        Log::Used => {
            let (wal, frames) = Wal::open(place, known)?;
            (Some(wal), frames, 0)
        }
        Log::SetAside => {
            let Frames { whole, behind_damage, .. } = wal::rescue(place, known)?;
            (None, whole, behind_damage)
        }
    };
    // Readers want them before there is a call, or a file.
    tables.files.table()?;
    let ledger = tables.ledger()?;
    // Rows are never removed, so the last one's number was given last.
    let mut book = Book::new(ledger.ledger.last()?.map_or(0, |(id, _)| id.value()), before);
    let mut taken = 0;
    for frame in &frames {
        match book.replay(frame, ledger) {
            // As damage: who sets the log aside goes on without what stands from here on.
            Err(Fault::Broken(StoreError::DamagedLog(why))) if log == Log::SetAside => {
                tracing::warn!(why, "a frame of the ledger's log can't be taken in");
                break;
            }
            replayed => replayed?,
        }
        taken += 1;
    }
    book.fold(&mut tables)?;
    let opened = number_after("openings", before)?;
    let known = wal.as_ref().map_or_else(Known::new, Wal::anew);
    tables.meta.insert(meta::OPENED, opened)?;
    tables.meta.insert(meta::WAL, known.log)?;
    tables.meta.insert(meta::WAL_GENERATION, known.generation)?;
    let jobs = Jobs::load(&tables)?;
    drop(tables);
    transaction.commit()?;
    // Only now: what is cut short here is set aside once more.
    let (mut wal, set_aside) = match wal {
        Some(wal) => (wal, None),
        None => {
            let (wal, file) = Wal::replace(place, known)?;
            let lost = frames.len() - taken + behind_damage;
            (wal, Some(LogSetAside { frames: taken as u64, behind_damage: lost as u64, file }))
        }
    };
    wal.begin(known.generation);
    if !frames.is_empty() {
        tracing::info!(
            frames = frames.len(),
            "paid calls that stood in the write-ahead log alone are in the ledger's tables now"
        );
    }
    Ok(Prepared { jobs, claims: Claims::new(opened), book: Book::new(book.last(), opened), wal, set_aside })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_let_go_is_free_though_a_process_has_inherited_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let inherited = lock.0.try_clone().unwrap();
        assert!(matches!(Lock::take(folder.path()), Err(StoreError::InUse(_))));
        drop(lock);
        Lock::take(folder.path()).unwrap();
        drop(inherited);
    }
}
