//! How fast apalis's worker takes and finishes tasks that do nothing.
//!
//! What it comes to depends on how many there are: to finish some, apalis 1.0 looks through all that bear their
//! worker's name, done ones included, once for each that it finishes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use apalis::prelude::{BoxDynError, Data, ParallelizeExt, WorkerBuilder, WorkerBuilderExt, WorkerContext, WorkerError};
use apalis_sqlite::SqlitePool;

use crate::{database, shared::BATCH};

/// What the tasks share.
#[derive(Clone)]
struct Progress {
    /// Tasks that are to be run yet.
    left: Arc<AtomicU64>,
}

impl Progress {
    fn new(count: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(count)) }
    }
}

/// One task runs at a time. They are claimed as apalis does unless told otherwise: ten at once.
pub(crate) async fn one_by_one(pool: &SqlitePool, count: u64) -> Result<Duration> {
    let worker = WorkerBuilder::new("one-by-one")
        .backend(database::storage(pool, database::config()))
        .concurrency(1)
        .data(Progress::new(count))
        .build(run);
    timed(pool, worker.run(), count, 1).await
}

/// A batch is claimed, runs side by side and is finished together. apalis writes what has ended since it last wrote:
/// where tasks aren't spawned, one that does nothing ends before the next begins, and each is written by itself.
pub(crate) async fn in_batches(pool: &SqlitePool, count: u64) -> Result<Duration> {
    let worker = WorkerBuilder::new("in-batches")
        .backend(database::storage(pool, database::config().batch_size(BATCH)))
        .parallelize(tokio::spawn)
        .data(Progress::new(count))
        .build(run);
    timed(pool, worker.run(), count, BATCH).await
}

/// Runs a worker that stops after so many tasks; gives how long it took until the last one is on the disk as done.
async fn timed(
    pool: &SqlitePool,
    worker: impl Future<Output = Result<(), WorkerError>>,
    count: u64,
    at_once: usize,
) -> Result<Duration> {
    let before = done(pool).await?;
    let start = Instant::now();
    worker.await?;
    let took = start.elapsed();
    let done = done(pool).await? - before;
    // Those that ran beside the last one when it stopped the worker are done too.
    ensure!((count..count + at_once as u64).contains(&done), "{done} tasks are done, {count} were to be");
    Ok(took)
}

/// A task that does nothing; the last one stops its worker.
async fn run(_item: String, worker: WorkerContext, progress: Data<Progress>) -> Result<(), BoxDynError> {
    if progress.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        worker.stop()?;
    }
    Ok(())
}

/// Tasks that stand in the database as done.
async fn done(pool: &SqlitePool) -> Result<u64> {
    let done: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM Jobs WHERE status = 'Done'").fetch_one(pool).await?;
    Ok(u64::try_from(done)?)
}
