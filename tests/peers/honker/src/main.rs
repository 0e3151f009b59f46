//! Measures honker, each commit durable; prints one JSON object a line.

mod pickup;
mod queue;
#[path = "../../shared.rs"]
mod shared;

use std::{env, path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use shared::{BULK, DRAIN, DRAIN_DEEP, SINGLE, TRIES};

fn main() -> Result<()> {
    let scratch = PathBuf::from(env::args_os().nth(1).context("give a scratch folder")?);

    let db = queue::open(&scratch.join("single.db"))?;
    let start = Instant::now();
    queue::enqueue_one_by_one(&db, SINGLE)?;
    shared::print_rate("single", SINGLE, start.elapsed());

    let db = queue::open(&scratch.join("bulk.db"))?;
    let start = Instant::now();
    queue::enqueue_together(&db, BULK)?;
    shared::print_rate("bulk", BULK, start.elapsed());

    // Each claim looks through all that waits, for what has no attempt left.
    let start = Instant::now();
    queue::drain_one_by_one(&db, DRAIN_DEEP)?;
    shared::print_rate("drain-deep", DRAIN_DEEP, start.elapsed());

    let db = queue::open(&scratch.join("drain.db"))?;
    queue::enqueue_together(&db, DRAIN)?;
    let start = Instant::now();
    queue::drain_one_by_one(&db, DRAIN)?;
    shared::print_rate("drain", DRAIN, start.elapsed());

    queue::enqueue_together(&db, DRAIN)?;
    let start = Instant::now();
    queue::drain_in_batches(&db, DRAIN)?;
    shared::print_rate("drain-batch", DRAIN, start.elapsed());

    let db = queue::open(&scratch.join("pickup.db"))?;
    shared::print_pickup(pickup::pickup(&db, TRIES)?)
}
