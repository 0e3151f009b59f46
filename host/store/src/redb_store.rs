//! The store in redb: one writer thread a database, snapshots for readers, claims in memory.

mod answers;
mod apart;
mod book;
mod circuits;
mod claims;
mod company;
mod content;
mod declare;
mod discovery;
mod disk;
mod duplicates;
mod fault;
mod files;
mod handing;
mod job_state;
mod jobs;
mod json;
mod ledger;
mod ledger_check;
mod ledger_tables;
mod ledger_views;
mod listed;
mod message;
mod migrations;
mod open;
mod operations;
mod packing;
mod passing;
mod queue;
mod recheck;
mod refused;
mod reopen;
mod reopen_stage;
mod settle;
mod spending;
mod submit;
mod sweep;
mod tables;
mod tasks;
mod unnamed;
mod verify;
mod views;
mod wal;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

use redb::{Database, ReadTransaction, WriteTransaction};
use tokio::sync::{mpsc, watch};

use book::Book;
use claims::Claims;
use content::ContentMessage;
use disk::Place;
use fault::Fault;
use handing::Returned;
use jobs::Jobs;
use ledger::Paying;
use message::{Answer, Message};
use open::Log;
use unnamed::Unnamed;
use writer::{Batch, unpoisoned};

pub use answers::{ANSWER_BYTES_MAX, ANSWER_INLINE_BYTES_MAX, ANSWERS_PER_TASK_KEPT};
pub use content::{BLOB_READ_BYTES_MAX, BLOB_ROW_BYTES_MAX};
pub use disk::{Disk, DiskFile};
pub use duplicates::POSSIBLE_DUPLICATE;
pub use job_state::{
    STATE_CHANGES_BYTES_MAX, STATE_CHANGES_MAX, STATE_KEY_BYTES_MAX, STATE_KEYS_PAGE_MAX, STATE_VALUE_BYTES_MAX,
};
pub use ledger::{PAID_NAME_BYTES_MAX, PROVIDER_REQUEST_BYTES_MAX};
pub use ledger_views::{ENTRIES_LOOKED_AT_MAX, ENTRIES_PAGE_MAX};
pub use migrations::schema_version;
pub use open::StoreOptions;
pub use queue::CLAIMS_MAX;
pub use recheck::RECHECK_ITEMS_MAX;
pub use settle::{ARTIFACTS_PER_ATTEMPT_MAX, CONTENT_TYPE_BYTES_MAX, ERRORS_KEPT, OUTPUT_BYTES_MAX};
pub use submit::{ITEM_DATA_BYTES_MAX, REVISION_BYTES_MAX, SUBMIT_BYTES_MAX, SUBMIT_ITEMS_MAX};
pub use sweep::Swept;
pub use verify::{PROBLEMS_LISTED_MAX, VerifyReport};
pub use views::{ERRORS_LISTED_MAX, ITEMS_LOOKED_AT_MAX, ITEMS_PAGE_MAX};
pub use wal::LogSetAside;

use crate::StoreError;

/// What readers and writers share.
struct Shared {
    folder: PathBuf,
    queue: RwLock<Option<Database>>,
    content: RwLock<Option<Database>>,
    /// As of the last commit.
    jobs: RwLock<Arc<Jobs>>,
    claims: Mutex<Claims>,
    book: RwLock<Book>,
    unnamed: Mutex<Unnamed>,
    /// Held while files are forgotten: what one has looked up stays true until it has done so.
    forgetting: Mutex<()>,
    returned: Arc<Returned>,
    /// Why the queue's writer has ended.
    ended: OnceLock<StoreError>,
    /// Why the content's writer has ended.
    content_ended: OnceLock<StoreError>,
    /// Held while the store is open; its release lets the next host in.
    lock: Mutex<Option<open::Lock>>,
}

impl Shared {
    fn begin_read(&self) -> Result<ReadTransaction, Fault> {
        tables::snapshot(unpoisoned(self.queue.read()).as_ref())
    }

    fn begin_write(&self) -> Result<WriteTransaction, Fault> {
        let queue = unpoisoned(self.queue.read());
        Ok(queue.as_ref().ok_or(StoreError::Closed)?.begin_write()?)
    }

    fn begin_read_content(&self) -> Result<ReadTransaction, Fault> {
        tables::snapshot(unpoisoned(self.content.read()).as_ref())
    }

    fn with_content<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, Fault> {
        work(unpoisoned(self.content.read()).as_ref().ok_or(StoreError::Closed)?)
    }

    fn jobs(&self) -> Arc<Jobs> {
        unpoisoned(self.jobs.read()).clone()
    }

    fn publish(&self, jobs: Jobs) {
        *unpoisoned(self.jobs.write()) = Arc::new(jobs);
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        unpoisoned(self.claims.lock())
    }

    fn book(&self) -> RwLockReadGuard<'_, Book> {
        unpoisoned(self.book.read())
    }

    /// The writer's alone.
    fn write_book(&self) -> RwLockWriteGuard<'_, Book> {
        unpoisoned(self.book.write())
    }

    fn unnamed(&self) -> MutexGuard<'_, Unnamed> {
        unpoisoned(self.unnamed.lock())
    }

    fn end(&self, reason: StoreError) {
        // The first reason is the one that matters.
        self.ended.get_or_init(|| reason);
    }

    fn end_content(&self, reason: StoreError) {
        self.content_ended.get_or_init(|| reason);
    }

    /// Closes both databases and lets the folder go.
    fn close(&self) -> Result<(), StoreError> {
        self.end(StoreError::Closed);
        self.end_content(StoreError::Closed);
        let databases = [unpoisoned(self.content.write()).take(), unpoisoned(self.queue.write()).take()];
        let closed = databases.into_iter().flatten().map(|database| database.close().map_err(Fault::from));
        let closed: Vec<_> = closed.collect();
        drop(unpoisoned(self.lock.lock()).take());
        closed.into_iter().collect::<Result<(), Fault>>().map_err(StoreError::from)
    }
}

/// The writers' threads and the sweep's; dropped after the channels to them, so that they end, and waited for.
struct Threads {
    queue: Mutex<Option<JoinHandle<()>>>,
    others: Mutex<Vec<JoinHandle<()>>>,
    /// The sweep is to end.
    closing: Arc<AtomicBool>,
}

impl Threads {
    /// Has those end that nobody sends anything.
    fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    fn join_queue(&self) {
        // Held meanwhile: whoever closes it too waits as well.
        if let Some(thread) = unpoisoned(self.queue.lock()).take() {
            // A writer's panic was caught, logged and told to all who asked.
            drop(thread.join());
        }
    }

    fn join(&self) {
        self.join_queue();
        // As above.
        unpoisoned(self.others.lock()).drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.close();
        self.join();
    }
}

/// A store in a folder of its own: `queue.redb`, `ledger.wal`, `content.redb`, `blobs/`, and `lock`, which one process
/// holds.
///
/// Its futures want a tokio runtime, whose blocking pool hashes and packs blobs and reads long views.
pub struct RedbStore {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
    content: mpsc::Sender<ContentMessage>,
    swept: watch::Receiver<Option<Swept>>,
    threads: Arc<Threads>,
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbStore").field("folder", &self.shared.folder).finish_non_exhaustive()
    }
}

impl RedbStore {
    /// Opens the store in `folder`, or makes it there. Blocks while a killed process's store is repaired or an older
    /// schema is migrated.
    ///
    /// # Errors
    /// Another process has it, a newer Tollgate wrote it, or the disk refuses.
    pub fn open(folder: &Path, options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        Self::start(folder, open::open(folder, options, Place::Folder(folder), Log::Used)?, options.sweep)
    }

    /// As [`RedbStore::open`], without the ledger's log that is there, because it is gone or damaged. Calls that stand
    /// in it before its damage are in the ledger then, all others are lost to it.
    ///
    /// # Errors
    /// As [`RedbStore::open`], but for [`StoreError::DamagedLog`].
    pub fn open_without_log(folder: &Path, options: StoreOptions) -> Result<(Arc<Self>, LogSetAside), StoreError> {
        let mut opened = open::open(folder, options, Place::Folder(folder), Log::SetAside)?;
        let set_aside = opened.set_aside.take().ok_or(StoreError::Closed)?;
        Ok((Self::start(folder, opened, options.sweep)?, set_aside))
    }

    /// As [`RedbStore::open`], with the databases and the ledger's log on another disk than the folder's.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_on(disk: &dyn Disk, folder: &Path, options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        Self::start(folder, open::open(folder, options, Place::Disk(disk), Log::Used)?, options.sweep)
    }

    fn start(folder: &Path, opened: open::Opened, sweeps: bool) -> Result<Arc<Self>, StoreError> {
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            queue: RwLock::new(Some(opened.queue)),
            content: RwLock::new(Some(opened.content)),
            jobs: RwLock::new(Arc::new(opened.jobs)),
            claims: Mutex::new(opened.claims),
            book: RwLock::new(opened.book),
            unnamed: Mutex::new(Unnamed::new(sweeps)),
            forgetting: Mutex::new(()),
            returned: Arc::default(),
            ended: OnceLock::new(),
            content_ended: OnceLock::new(),
            lock: Mutex::new(Some(opened.lock)),
        });
        let (queue, queue_inbox) = mpsc::channel(writer::QUEUE_OPERATIONS_MAX);
        let (content, content_inbox) = mpsc::channel(content::QUEUE_BLOBS_MAX);
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
            thread.map_err(|error| StoreError::Io(format!("no thread for the {name}: {error}")))
        };
        let theirs = shared.clone();
        let (forget, wal) = (content.clone(), opened.wal);
        let writer = spawn("store-writer", Box::new(move || writer::run(&theirs, queue_inbox, &forget, wal)))?;
        let theirs = shared.clone();
        let mut others = vec![spawn("content-writer", Box::new(move || content::run(&theirs, content_inbox)))?];
        let (told, swept) = watch::channel(None);
        let closing = Arc::new(AtomicBool::new(false));
        if sweeps {
            let work = sweep::work(shared.clone(), content.clone(), closing.clone(), told);
            others.push(spawn("store-sweep", Box::new(work))?);
        }
        let threads = Arc::new(Threads { queue: Mutex::new(Some(writer)), others: Mutex::new(others), closing });
        Ok(Arc::new(Self { shared, queue, content, swept, threads }))
    }

    /// Waits for the end of the sweep that [`StoreOptions::sweep`] asks for, and says what it has removed: blobs that
    /// no row names, as attempts leave them that are killed, and stages that run again. Absent: there is none, or it
    /// was cut short, which the log says.
    pub async fn swept(&self) -> Option<Swept> {
        let mut swept = self.swept.clone();
        swept.wait_for(Option::is_some).await.ok().and_then(|swept| *swept)
    }

    /// Counts everything anew from the rows and holds it against counters and queues. Reads the whole queue; exact on
    /// an idle store only.
    ///
    /// # Errors
    /// The store is closed, or a row can't be read.
    pub async fn verify(&self) -> Result<VerifyReport, StoreError> {
        self.read_ledger(verify::verify).await
    }

    /// Has the writer do something, and waits until it is durable.
    async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        run: impl FnMut(&mut Batch<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (operation, answer) = message::operation(bytes, run);
        self.answered(operation, answer).await
    }

    /// Has the writer do something in the ledger, and waits until it is durable.
    async fn pay<T: Send + 'static>(
        &self,
        bytes: usize,
        run: impl FnMut(&mut Paying<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (payment, answer) = message::payment(bytes, run);
        self.answered(payment, answer).await
    }

    async fn answered<T>(&self, message: Message, answer: Answer<T>) -> Result<T, StoreError> {
        let ended = || self.shared.ended.get().cloned().unwrap_or(StoreError::Closed);
        self.queue.send(message).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Reads what the ledger's tables have, with all that was answered before.
    async fn read_ledger<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.fold().await?;
        self.read(read).await
    }

    /// Has the tables take the book in.
    async fn fold(&self) -> Result<(), StoreError> {
        if self.shared.book().is_unfolded() {
            // Any transaction does.
            self.write(0, |_| Ok(())).await?;
        }
        Ok(())
    }

    /// Reads on the blocking pool.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        blocking(move || read(&shared).map_err(StoreError::from)).await
    }
}

/// Runs something that blocks where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StoreError::Io(format!("a background read or write ended early: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store as _;

    #[tokio::test]
    async fn a_writer_that_dies_says_so_to_everyone_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
        let died: Result<(), _> = store.write(0, |_| panic!("a bug in the store")).await;
        assert!(died.is_err());
        for _ in 0..2 {
            let later = store.resume(tollgate_core::JobId(1)).await;
            assert!(matches!(later, Err(StoreError::Io(text)) if text.contains("panicked")));
        }
        drop(store.close().await);
        drop(RedbStore::open(folder.path(), StoreOptions::default()).unwrap());
    }

    #[tokio::test]
    async fn one_operation_that_breaks_midway_leaves_nothing_and_harms_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
        let good = |text: &'static str| {
            store.write(0, move |batch| {
                batch.tables.meta.insert(text, 1)?;
                Ok(())
            })
        };
        let broken = store.write(0, |batch| {
            batch.tables.meta.insert("half", 1)?;
            Err::<(), _>(Fault::Broken(StoreError::Corrupt("found midway".to_owned())))
        });
        let (first, broken, second) = tokio::join!(good("first"), broken, good("second"));
        first.unwrap();
        second.unwrap();
        assert!(matches!(broken, Err(StoreError::Corrupt(_))));
        let meta = store.shared.begin_read().unwrap().open_table(tables::META).unwrap();
        let has = |name| meta.get(name).unwrap().is_some();
        assert_eq!((has("first"), has("half"), has("second")), (true, false, true));
    }
}
