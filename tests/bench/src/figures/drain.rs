//! Claims and settles beside rows that are finished: their number must not matter.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tollgate_core::{JobId, Lane, StageIx, Timestamp};
use tollgate_store::{RedbStore, Store as _};

use super::store::{self, Chance, settlement};
use crate::series::Sample;

/// Finished rows of the two sides.
const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
/// Tasks that are measured, and how many workers take them, a task at a time.
const TASKS: usize = 20_000;
const WORKERS: usize = 64;
/// Items of one submission, and of one settlement, while the finished rows are made.
const BATCH: usize = 10_000;

pub(crate) async fn drain() -> Result<Sample> {
    Ok(Sample::beside(rate(MANY, WORKERS, TASKS).await?, rate(FEW, WORKERS, TASKS).await?))
}

/// Tasks a second of so many workers beside so many finished items.
pub(crate) async fn rate(finished: usize, workers: usize, tasks: usize) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let (store, job) = store::open(&folder.path().join("data")).await?;
    let mut chance = Chance::new(finished as u64);
    for first in (0..finished).step_by(BATCH) {
        let count = BATCH.min(finished - first);
        submit(&store, job, &mut chance, count).await?;
        while let claims = store.claim(lane(job), 1_000, Timestamp(3)).await?
            && !claims.is_empty()
        {
            for settled in store.settle(claims.iter().map(settlement).collect()).await? {
                settled?;
            }
        }
    }
    submit(&store, job, &mut chance, tasks).await?;
    let begun = Instant::now();
    let mut working = JoinSet::new();
    for _ in 0..workers {
        working.spawn(work(store.clone(), job));
    }
    let mut settled = 0;
    while let Some(worker) = working.join_next().await {
        settled += worker??;
    }
    let took = begun.elapsed();
    ensure!(settled == tasks, "{settled} of {tasks} tasks were settled");
    store.close().await?;
    Ok(tasks as f64 / took.as_secs_f64())
}

async fn submit(store: &RedbStore, job: JobId, chance: &mut Chance, count: usize) -> Result<()> {
    let items = (0..count).map(|_| chance.item()).collect::<Result<_>>()?;
    store.submit(job, items, Timestamp(2)).await?;
    Ok(())
}

/// Takes a task at a time until there is none.
async fn work(store: Arc<RedbStore>, job: JobId) -> Result<usize> {
    let mut settled = 0;
    while let Some(claim) = store.claim(lane(job), 1, Timestamp(4)).await?.pop() {
        for answer in store.settle(vec![settlement(&claim)]).await? {
            answer?;
            settled += 1;
        }
    }
    Ok(settled)
}

fn lane(job: JobId) -> Lane {
    Lane { job, stage: StageIx(0) }
}
