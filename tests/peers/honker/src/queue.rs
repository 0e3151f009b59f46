//! honker's queue, as its documentation uses it: enqueue, claim, ack.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use honker::{Database, EnqueueOpts, Queue, QueueOpts};

use crate::shared::{self, BATCH};

/// The one worker.
pub(crate) const WORKER: &str = "worker-1";
/// What SQLite calls `synchronous = FULL`.
const FULL: i64 = 2;

/// A new database that has each commit on the disk before it answers. honker opens it in WAL mode with
/// `synchronous = NORMAL`, which may lose the last commits when power fails: that is another class.
pub(crate) fn open(file: &Path) -> Result<Database> {
    let db = Database::open(file)?;
    let (journal, synchronous) = db.with_conn(|connection| {
        connection.execute_batch("PRAGMA synchronous = FULL")?;
        let journal: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
        Ok::<_, honker::Error>((journal, synchronous))
    })?;
    ensure!(journal == "wal" && synchronous == FULL, "not durable: {journal}, synchronous = {synchronous}");
    Ok(db)
}

/// The queue of that database.
pub(crate) fn queue(db: &Database) -> Queue {
    db.queue("items", QueueOpts::default())
}

/// Enqueues each in a transaction of its own.
pub(crate) fn enqueue_one_by_one(db: &Database, count: u64) -> Result<()> {
    let queue = queue(db);
    for number in 0..count {
        queue.enqueue(&shared::item(number), EnqueueOpts::default())?;
    }
    Ok(())
}

/// Enqueues all in one transaction: honker has no call for many at once, but one for a transaction that is open.
pub(crate) fn enqueue_together(db: &Database, count: u64) -> Result<()> {
    let queue = queue(db);
    let transaction = db.transaction()?;
    for number in 0..count {
        queue.enqueue_tx(&transaction, &shared::item(number), EnqueueOpts::default())?;
    }
    Ok(transaction.commit()?)
}

/// Claims and acks one at a time, two commits a task.
pub(crate) fn drain_one_by_one(db: &Database, count: u64) -> Result<()> {
    let queue = queue(db);
    for _ in 0..count {
        let job = queue.claim_one(WORKER)?.context("the queue ran dry")?;
        ensure!(job.ack()?, "job {} was claimed and could not be acked", job.id);
    }
    Ok(())
}

/// Claims and acks a batch at a time, two commits a batch.
pub(crate) fn drain_in_batches(db: &Database, count: u64) -> Result<()> {
    let queue = queue(db);
    let mut done = 0;
    while done < count {
        let jobs = queue.claim_batch(WORKER, BATCH as i64)?;
        ensure!(jobs.len() == BATCH, "a batch of {BATCH} was asked for, and {} jobs came", jobs.len());
        let ids: Vec<i64> = jobs.iter().map(|job| job.id).collect();
        let acked = queue.ack_batch(&ids, WORKER)?;
        ensure!(acked == BATCH as i64, "a batch of {BATCH} was claimed, and {acked} jobs were acked");
        done += BATCH as u64;
    }
    Ok(())
}
