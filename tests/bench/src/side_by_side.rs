//! `bench peers`: the queue beside other queues, measured by turns in one run.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{
    figures::{drain, pickup, queue},
    peers,
    series::Series,
};

/// Ours among the peers.
const OURS: &str = "tollgate";
/// The figures, in the order of the table, with what they are.
const FIGURES: [(&str, &str); 6] = [
    ("single", "items/s submitted one at a time, each durable"),
    ("bulk", "items/s submitted in bulk (ours: batches of 5,000)"),
    ("drain", "no-op tasks/s by one worker, one at a time, each durable"),
    ("drain-batch", "no-op tasks/s in batches of 32 (ours: 32 workers share commits)"),
    ("pickup p50", "ms from a submit to the task's start, idle, p50 (ours: a fresh wasm guest)"),
    ("pickup p99", "the same, p99"),
];

/// Measures all so often, and prints the medians. What a peer hasn't stays empty.
pub(crate) async fn side_by_side(runs: usize) -> Result<()> {
    let mut all: BTreeMap<(String, &'static str), Series> = BTreeMap::new();
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        for (figure, value) in ours().await? {
            all.entry((figure.to_owned(), OURS)).or_default().push(value);
        }
        for one in tokio::task::spawn_blocking(peers::measure).await?? {
            all.entry((one.figure, one.peer)).or_default().push(one.value);
        }
    }
    println!("medians (ranges) of {runs} runs; every commit is on the disk before it is answered");
    for (figure, what) in FIGURES {
        println!("{what}");
        for ((_, name), series) in all.iter().filter(|((known, _), _)| known == figure) {
            println!("  {name:<10} {}", series.shown());
        }
    }
    Ok(())
}

async fn ours() -> Result<Vec<(&'static str, f64)>> {
    eprintln!("── {OURS}: measuring");
    let (single, bulk) = (queue::single().await?[0].ours, queue::bulk().await?[0].ours);
    let (alone, together) = (drain::rate(0, 1, 5_000).await?, drain::rate(0, 32, 20_000).await?);
    let pickup = pickup::pickup().await?;
    Ok(vec![
        ("single", single),
        ("bulk", bulk),
        ("drain", alone),
        ("drain-batch", together),
        ("pickup p50", pickup[0].ours),
        ("pickup p99", pickup[1].ours),
    ])
}
