//! Submits: one after another beside bare redb, and many at once.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use redb::{Database, TableDefinition};
use tollgate_core::{Timestamp, item::NewItem};
use tollgate_store::Store as _;

use super::store::{self, Chance};
use crate::series::{Sample, Series};

/// Commits of a run.
const COMMITS: usize = 2_000;
/// Of them in a row, before the other side has its turn: the disk's pace drifts.
const TURN: usize = 200;
/// Items of a run in bulk.
const ITEMS: usize = 500_000;

pub(crate) async fn single() -> Result<Vec<Sample>> {
    let folder = tempfile::tempdir()?;
    let mut bare = Bare::new(&folder.path().join("bare.redb"))?;
    let mut alike = Bare::new(&folder.path().join("alike.redb"))?;
    let (store, job) = store::open(&folder.path().join("data")).await?;
    let mut chance = Chance::new(1);
    let [mut ours, mut theirs, mut theirs_alike] = [Duration::ZERO; 3];
    for _ in 0..COMMITS / TURN {
        for _ in 0..TURN {
            theirs += bare.commit()?;
        }
        for _ in 0..TURN {
            theirs_alike += alike.commit_alike(&chance.item()?)?;
        }
        for _ in 0..TURN {
            let item = vec![chance.item()?];
            let begun = Instant::now();
            store.submit(job, item, Timestamp(2)).await?;
            ours += begun.elapsed();
        }
    }
    store.close().await?;
    let rate = |took: Duration| COMMITS as f64 / took.as_secs_f64();
    Ok([theirs, theirs_alike].map(|theirs| Sample::beside(rate(ours), rate(theirs))).into())
}

pub(crate) async fn bulk() -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for batch in [5_000, 50_000] {
        let folder = tempfile::tempdir()?;
        let (store, job) = store::open(&folder.path().join("data")).await?;
        let mut chance = Chance::new(batch as u64);
        let mut took = Duration::ZERO;
        for _ in 0..ITEMS / batch {
            let items = (0..batch).map(|_| chance.item()).collect::<Result<_>>()?;
            let begun = Instant::now();
            store.submit(job, items, Timestamp(2)).await?;
            took += begun.elapsed();
        }
        store.close().await?;
        samples.push(Sample::alone(ITEMS as f64 / took.as_secs_f64()));
    }
    Ok(samples)
}

/// redb by itself: one table, one row a commit, as durable as ours.
pub(crate) struct Bare {
    database: Database,
    next: u64,
}

const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("table");
/// What an item needs: to be found by its key and by its number, its place in the queue, and the counters.
const KEYS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("keys");
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("items");
const READY: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("ready");
const FIGURES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("figures");
/// The next number, the job's totals, its span and its lane.
const FIGURES_OF_A_SUBMIT: u64 = 4;

impl Bare {
    pub(crate) fn new(file: &Path) -> Result<Self> {
        Ok(Self { database: Database::create(file)?, next: 0 })
    }

    /// How long one commit took.
    pub(crate) fn commit(&mut self) -> Result<Duration> {
        self.next += 1;
        let begun = Instant::now();
        let transaction = self.database.begin_write()?;
        transaction.open_table(TABLE)?.insert(self.next, self.next)?;
        transaction.commit()?;
        Ok(begun.elapsed())
    }

    /// How long a commit took of as many rows, in as many tables, as one of our items takes.
    fn commit_alike(&mut self, item: &NewItem) -> Result<Duration> {
        self.next += 1;
        let (key, number) = (item.key.as_str().as_bytes(), self.next.to_be_bytes());
        // The key once more, and the data.
        let row = [key, serde_json::to_string(&item.data)?.as_bytes()].concat();
        let begun = Instant::now();
        let transaction = self.database.begin_write()?;
        {
            let mut figures = transaction.open_table(FIGURES)?;
            for figure in 0..FIGURES_OF_A_SUBMIT {
                figures.insert(figure, number.as_slice())?;
            }
            transaction.open_table(KEYS)?.insert(key, number.as_slice())?;
            transaction.open_table(ROWS)?.insert(self.next, row.as_slice())?;
            transaction.open_table(READY)?.insert(number.as_slice(), number.as_slice())?;
        }
        transaction.commit()?;
        Ok(begun.elapsed())
    }

    /// Milliseconds of so many commits, one by one.
    pub(crate) fn commits_ms(&mut self, count: usize) -> Result<Series> {
        let mut all = Series::default();
        for _ in 0..count {
            all.push(self.commit()?.as_secs_f64() * 1_000.0);
        }
        Ok(all)
    }
}
