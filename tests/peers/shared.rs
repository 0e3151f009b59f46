//! What the peers' programs in Rust share: how much they do, and the lines that they print.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

/// Items that are enqueued one at a time, each answered when it is on the disk.
pub(crate) const SINGLE: u64 = 2_000;
/// Items that are enqueued together.
pub(crate) const BULK: u64 = 50_000;
/// Tasks of one batch, where a peer takes and finishes several together.
pub(crate) const BATCH: usize = 32;
/// Tasks that are taken and finished, of a queue that has no more than these.
pub(crate) const DRAIN: u64 = 156 * BATCH as u64;
/// Tasks that are taken and finished of a queue of `BULK`: not every peer's claim costs the same in a long queue.
pub(crate) const DRAIN_DEEP: u64 = 1_000;
/// How often an idle worker is given something to do.
pub(crate) const TRIES: u64 = 200;

/// What an item is, as long as those of Tollgate's own figures.
pub(crate) fn item(number: u64) -> String {
    format!("https://catalogue.example/{number:016x}")
}

/// How long a worker is left idle before a try. It differs from try to try, so that no try keeps step with a watcher
/// that looks at the database every so often.
pub(crate) fn pause(number: u64) -> Duration {
    Duration::from_micros(20_000 + number * 7_919 % 10_000)
}

/// Prints how many were done in a second.
pub(crate) fn print_rate(figure: &str, count: u64, took: Duration) {
    let per_second = count as f64 / took.as_secs_f64();
    println!("{}", json!({ "figure": figure, "durable": true, "per_second": per_second }));
}

/// Prints how long it took from before the enqueue until the handler began: the median and the 99th percentile.
pub(crate) fn print_pickup(mut tries: Vec<Duration>) -> Result<()> {
    tries.sort_unstable();
    let (p50, p99) = (percentile(&tries, 50)?, percentile(&tries, 99)?);
    println!("{}", json!({ "figure": "pickup", "durable": true, "p50_ms": p50, "p99_ms": p99 }));
    Ok(())
}

/// The smallest of these that so many percent of them don't exceed, in milliseconds.
fn percentile(sorted: &[Duration], percent: usize) -> Result<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    let found = rank.checked_sub(1).and_then(|index| sorted.get(index)).context("no try was made")?;
    Ok(found.as_secs_f64() * 1_000.0)
}
