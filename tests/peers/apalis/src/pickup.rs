//! How soon an idle worker begins what is enqueued.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use apalis::prelude::{BackendExt, BoxDynError, Data, Strategy, TaskSink, WorkerBuilder, WorkerContext};
use futures::StreamExt;
use tokio::{sync::mpsc, time};

use crate::{database, shared};

/// How often the worker looks at the database though nothing was told; from apalis-sqlite's README.
const LOOK: Duration = Duration::from_millis(500);

/// Enqueues one at a time for a worker on a task of its own; gives how long each took to begin. The worker is the
/// event-driven one: without a strategy, a worker that found nothing looks again at its next heartbeat, 30 s later.
pub(crate) async fn pickup(file: &Path, count: u64) -> Result<Vec<Duration>> {
    let (pool, listener) = database::open_with_listener(file).await?;
    let config = database::config();
    let strategy = Strategy::new().stream(listener.ready_chunks(config.batch_size)).interval(LOOK);
    let backend = database::storage(&pool, config.clone()).poll_with_strategy(strategy);
    let (begun, mut beginnings) = mpsc::unbounded_channel();
    let worker = WorkerBuilder::new("pickup")
        .backend(backend)
        .data(Tries { begun, left: Arc::new(AtomicU64::new(count)) })
        .build(begin);
    let worker = tokio::spawn(worker.run());

    let mut storage = database::storage(&pool, config);
    let mut tries = Vec::new();
    for number in 0..count {
        time::sleep(shared::pause(number)).await;
        let start = Instant::now();
        storage.push(shared::item(number)).await?;
        // The worker has ended before its time: why, it says below.
        let Some(begun) = beginnings.recv().await else {
            break;
        };
        tries.push(begun - start);
    }
    worker.await??;
    ensure!(tries.len() as u64 == count, "{} tries of {count} were begun", tries.len());
    Ok(tries)
}

/// What the tasks share.
#[derive(Clone)]
struct Tries {
    /// Where one tells when it began.
    begun: mpsc::UnboundedSender<Instant>,
    /// Tries that are to be made yet.
    left: Arc<AtomicU64>,
}

/// A task that tells when it began; the last one stops its worker.
async fn begin(_item: String, worker: WorkerContext, tries: Data<Tries>) -> Result<(), BoxDynError> {
    tries.begun.send(Instant::now())?;
    if tries.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        worker.stop()?;
    }
    Ok(())
}
