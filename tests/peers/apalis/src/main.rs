//! Measures apalis over SQLite, each commit durable; prints one JSON object a line.

mod database;
mod drain;
mod pickup;
#[path = "../../shared.rs"]
mod shared;

use std::{env, path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use apalis::prelude::TaskSink;
use shared::{BULK, DRAIN, DRAIN_DEEP, SINGLE, TRIES};

#[tokio::main]
async fn main() -> Result<()> {
    let scratch = PathBuf::from(env::args_os().nth(1).context("give a scratch folder")?);

    let pool = database::open(&scratch.join("single.db")).await?;
    let mut storage = database::storage(&pool, database::config());
    let start = Instant::now();
    for number in 0..SINGLE {
        storage.push(shared::item(number)).await?;
    }
    shared::print_rate("single", SINGLE, start.elapsed());

    let pool = database::open(&scratch.join("bulk.db")).await?;
    shared::print_rate("bulk", BULK, database::enqueue_together(&pool, BULK).await?);

    shared::print_rate("drain-deep", DRAIN_DEEP, drain::one_by_one(&pool, DRAIN_DEEP).await?);

    let pool = database::open(&scratch.join("drain.db")).await?;
    database::enqueue_together(&pool, DRAIN).await?;
    shared::print_rate("drain", DRAIN, drain::one_by_one(&pool, DRAIN).await?);

    database::enqueue_together(&pool, DRAIN).await?;
    shared::print_rate("drain-batch", DRAIN, drain::in_batches(&pool, DRAIN).await?);

    shared::print_pickup(pickup::pickup(&scratch.join("pickup.db"), TRIES).await?)
}
