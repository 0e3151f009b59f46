//! How soon an idle worker begins what is enqueued.

use std::{
    sync::mpsc::{self, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use honker::{Database, EnqueueOpts, Queue};

use crate::{queue, shared};

/// Enqueues one at a time for a worker on a thread of its own; gives how long each took to begin.
pub(crate) fn pickup(db: &Database, count: u64) -> Result<Vec<Duration>> {
    let queue = queue::queue(db);
    let (begun, beginnings) = mpsc::channel();
    let worker = thread::spawn({
        let queue = queue.clone();
        move || work(&queue, count, &begun)
    });
    let mut tries = Vec::new();
    for number in 0..count {
        thread::sleep(shared::pause(number));
        let start = Instant::now();
        queue.enqueue(&shared::item(number), EnqueueOpts::default())?;
        // The worker has ended before its time: why, it says below.
        let Ok(begun) = beginnings.recv() else {
            break;
        };
        tries.push(begun - start);
    }
    worker.join().map_err(|_| anyhow!("the worker panicked"))??;
    ensure!(tries.len() as u64 == count, "{} tries of {count} were begun", tries.len());
    Ok(tries)
}

/// Waits for so many jobs by honker's own waker, with its default watcher, which looks at the database every 1 ms.
fn work(queue: &Queue, count: u64, begun: &Sender<Instant>) -> Result<()> {
    let waker = queue.claim_waker();
    for _ in 0..count {
        let job = waker.next(queue::WORKER)?.context("honker's watcher is gone")?;
        begun.send(Instant::now())?;
        ensure!(job.ack()?, "job {} was claimed and could not be acked", job.id);
    }
    Ok(())
}
