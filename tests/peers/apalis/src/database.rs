//! apalis's storage over a new database that has each commit on the disk before it answers.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use apalis::prelude::TaskSink;
use apalis_sqlite::{Config, SqliteConnectOptions, SqlitePool, SqliteStorage, callback::HookCallbackListener};

use crate::shared;

/// What SQLite calls `synchronous = FULL`.
const FULL: i64 = 2;

/// Opens a new database.
pub(crate) async fn open(file: &Path) -> Result<SqlitePool> {
    let pool = SqlitePool::connect_with(options(file)).await?;
    prepare(&pool).await?;
    Ok(pool)
}

/// Opens a new database whose pool tells at once of what it enqueues itself.
pub(crate) async fn open_with_listener(file: &Path) -> Result<(SqlitePool, HookCallbackListener)> {
    let (pool, listener) = SqliteStorage::connect_with_callback(&format!("sqlite://{}", file.display()))?;
    // The pool has made no connection yet; each that it makes gets these.
    pool.set_connect_options(options(file));
    prepare(&pool).await?;
    Ok((pool, listener))
}

/// What a worker and who enqueues for it agree on; all else is as apalis has it.
pub(crate) fn config() -> Config {
    Config::default().queue("items")
}

/// The storage over that database.
pub(crate) fn storage(pool: &SqlitePool, config: Config) -> SqliteStorage<String> {
    SqliteStorage::new(pool).with_config(config)
}

/// Enqueues all by apalis's own call for many, which makes one transaction of them; gives how long it took.
pub(crate) async fn enqueue_together(pool: &SqlitePool, count: u64) -> Result<Duration> {
    let mut storage = storage(pool, config());
    let start = Instant::now();
    storage.push_bulk((0..count).map(shared::item).collect()).await?;
    Ok(start.elapsed())
}

/// What `SqliteStorage::setup` sets, on every connection instead of on one, but for `synchronous`: it turns that off,
/// so that a failing power supply may take the whole database, which is another class.
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .pragma("journal_mode", "WAL")
        .pragma("synchronous", "FULL")
        .pragma("temp_store", "MEMORY")
        .pragma("cache_size", "64000")
        .pragma("journal_size_limit", "67108864")
}

/// Makes apalis's tables, and makes sure that the database is durable.
async fn prepare(pool: &SqlitePool) -> Result<()> {
    SqliteStorage::migrations().run(pool).await?;
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await?;
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(pool).await?;
    ensure!(journal == "wal" && synchronous == FULL, "not durable: {journal}, synchronous = {synchronous}");
    Ok(())
}
