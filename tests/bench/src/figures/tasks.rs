//! Tasks and items a second through the whole host: claim, fresh instance, contract, durable settlement.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use tollgate_core::item::ItemStatus;

use super::{
    bare_wasm,
    embedded::{Embedded, JOB, item, jobs},
};
use crate::series::Sample;

/// Items of a run of one stage.
const TASKS: u64 = 40_000;
/// Items of a run of four stages.
const ITEMS: u64 = 10_000;
/// Items of one submission.
const BATCH: u64 = 10_000;
/// Four no-op durable steps an item: Restate 1.7, measured on a machine like this one (`peers.md` of the design).
const RESTATE_ITEMS_PER_SECOND: f64 = 669.0;

pub(crate) async fn tasks() -> Result<Sample> {
    let ours = rate(&["one"], TASKS).await?;
    let component = bare_wasm::component("steps")?;
    let bare = tokio::task::spawn_blocking(move || bare_wasm::calls_per_second(&component)).await??;
    Ok(Sample::beside(ours, bare))
}

pub(crate) async fn pipeline() -> Result<Sample> {
    let ours = rate(&["one", "two", "three", "four"], ITEMS).await?;
    Ok(Sample::beside(ours, RESTATE_ITEMS_PER_SECOND))
}

/// Items a second from the moment when the job may begin.
async fn rate(stages: &[&str], items: u64) -> Result<f64> {
    let embedded = Embedded::start(&jobs("steps", stages)?).await?;
    let operations = embedded.host.operations();
    operations.pause(JOB, "bench", "until all items are there").await?;
    for first in (0..items).step_by(BATCH as usize) {
        let all =
            (first..items.min(first + BATCH)).map(|number| item(&format!("item-{number}"), &json!({"number": number})));
        operations.add(JOB, all.collect::<Result<_>>()?).await?;
    }
    let begun = Instant::now();
    operations.resume(JOB).await?;
    embedded.settled(items * stages.len() as u64).await?;
    let took = begun.elapsed();
    let done = operations.job(JOB).await?.job.items.get(&ItemStatus::Done).copied();
    ensure!(done == Some(items), "{done:?} of {items} items are done");
    embedded.stop().await?;
    Ok(items as f64 / took.as_secs_f64())
}
