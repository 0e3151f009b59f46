//! The tables of `queue.redb` and the keys by which their rows are ordered.
//!
//! Keys are fixed bytes, big-endian, so that their order on disk is the order in which they are walked.

use redb::{
    ReadTransaction, ReadableDatabase as _, ReadableTable, Table, TableDefinition, TableError, WriteTransaction,
};
use tollgate_core::{ItemId, JobId, Lane, StageIx, Timestamp};

use super::{
    fault::Fault,
    files::{Artifacts, Files},
    ledger_tables::LedgerTables,
};

type Rows<K> = TableDefinition<'static, K, &'static [u8]>;
type Set<K> = TableDefinition<'static, K, ()>;

/// A lane, a time, a priority and an item.
pub(crate) type QueueKey = [u8; 26];
/// A job and a number within it.
pub(crate) type JobKey = [u8; 12];
/// An item and a stage.
pub(crate) type TaskKey = [u8; 10];
/// An item, a stage and an attempt's number.
pub(crate) type AttemptKey = [u8; 14];
/// A lane and half a page's signature: enough to tell all pages of a lane apart.
pub(crate) type HoldersKey = [u8; 22];
/// A lane, half a page's signature, and an item.
pub(crate) type SharerKey = [u8; 30];
/// A job and a stage.
type LaneKey = [u8; 6];
/// A job, a [`Figure`] and a number.
pub(crate) type FigureKey = [u8; 13];

/// Figures of the store itself, by name.
pub(crate) const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
/// Jobs as declared.
pub(crate) const JOBS: Rows<u32> = TableDefinition::new("jobs");
/// What changes with nearly every transaction, side by side so that it costs few pages: see [`Figure`].
pub(crate) const FIGURES: Rows<&'static FigureKey> = TableDefinition::new("figures");
/// Items by number.
pub(crate) const ITEMS: Rows<u64> = TableDefinition::new("items");
/// (job, key) to the item's number.
pub(crate) const KEYS: TableDefinition<'static, &'static [u8], u64> = TableDefinition::new("keys");
/// The tasks of an item; absent while they are the graph's initial ones.
pub(crate) const TASKS: Rows<u64> = TableDefinition::new("tasks");
/// (job, item) of items that have a failed task.
pub(crate) const FAILED: Set<&'static JobKey> = TableDefinition::new("failed");
/// Ready tasks: (lane, priority falling, due, item).
pub(crate) const READY: Set<&'static QueueKey> = TableDefinition::new("ready");
/// Tasks to be tried again: (lane, due, priority falling, item).
pub(crate) const LATER: Set<&'static QueueKey> = TableDefinition::new("later");
/// The last good outputs.
pub(crate) const OUTPUTS: Rows<&'static TaskKey> = TableDefinition::new("outputs");
/// Artifacts: (item, stage, pending, name).
pub(crate) const ARTIFACTS: Rows<&'static [u8]> = TableDefinition::new("artifacts");
/// Large binaries of a task that have gone: nobody needed them any more.
pub(crate) const GONE: Rows<&'static TaskKey> = TableDefinition::new("gone");
/// Attempts.
pub(crate) const ATTEMPTS: Rows<&'static AttemptKey> = TableDefinition::new("attempts");
/// The latest errors of each job: (job, number).
pub(crate) const ERRORS: Rows<&'static JobKey> = TableDefinition::new("errors");
/// Circuits of sites, by host name and port.
pub(crate) const CIRCUITS: Rows<&'static str> = TableDefinition::new("circuits");
/// What is known of the pages among a task's artifacts.
pub(crate) const PAGES: Rows<&'static TaskKey> = TableDefinition::new("pages");
/// Who holds a page: (lane, signature).
pub(crate) const HOLDERS: Rows<&'static HoldersKey> = TableDefinition::new("holders");
/// Who holds a page by a request that one of its [`HOLDERS`] made first: (lane, signature, item) to half of the digest
/// of what was asked for. They may be as many as a job has items, so that each has a row of its own.
pub(crate) const SHARERS: TableDefinition<'static, &'static SharerKey, [u8; 16]> = TableDefinition::new("sharers");
/// What proxies and sites have spent of their days and months, by name.
pub(crate) const SPENDING: Rows<&'static str> = TableDefinition::new("spending");
/// State of jobs: (job, key).
pub(crate) const STATE: Rows<&'static [u8]> = TableDefinition::new("state");

/// Names in [`META`].
pub(crate) mod meta {
    /// The schema's version.
    pub(crate) const SCHEMA: &str = "schema";
    /// How often the store was opened: the high part of claim tokens.
    pub(crate) const OPENED: &str = "opened";
    /// The number of the ledger's log, which it bears itself.
    pub(crate) const WAL: &str = "wal";
    /// The log's generation: what stands there of another one is in the tables.
    pub(crate) const WAL_GENERATION: &str = "wal_generation";
}

/// All tables, open for writing in one transaction.
pub(crate) struct Tables<'t> {
    transaction: &'t WriteTransaction,
    /// Opened by the first that needs it.
    ledger: Option<LedgerTables<'t>>,
    pub(crate) meta: Table<'t, &'static str, u64>,
    pub(crate) jobs: Table<'t, u32, &'static [u8]>,
    pub(crate) figures: Table<'t, &'static FigureKey, &'static [u8]>,
    pub(crate) items: Table<'t, u64, &'static [u8]>,
    pub(crate) keys: Table<'t, &'static [u8], u64>,
    pub(crate) tasks: Table<'t, u64, &'static [u8]>,
    pub(crate) failed: Table<'t, &'static JobKey, ()>,
    pub(crate) ready: Table<'t, &'static QueueKey, ()>,
    pub(crate) later: Table<'t, &'static QueueKey, ()>,
    pub(crate) outputs: Table<'t, &'static TaskKey, &'static [u8]>,
    pub(crate) artifacts: Artifacts<'t>,
    pub(crate) files: Files<'t>,
    pub(crate) gone: Table<'t, &'static TaskKey, &'static [u8]>,
    pub(crate) attempts: Table<'t, &'static AttemptKey, &'static [u8]>,
    pub(crate) errors: Table<'t, &'static JobKey, &'static [u8]>,
    pub(crate) state: Table<'t, &'static [u8], &'static [u8]>,
    pub(crate) circuits: Table<'t, &'static str, &'static [u8]>,
    pub(crate) pages: Table<'t, &'static TaskKey, &'static [u8]>,
    pub(crate) holders: Table<'t, &'static HoldersKey, &'static [u8]>,
    pub(crate) sharers: Table<'t, &'static SharerKey, [u8; 16]>,
    pub(crate) spending: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Tables<'t> {
    /// Opens them, and makes those that aren't there.
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            transaction,
            ledger: None,
            meta: transaction.open_table(META)?,
            jobs: transaction.open_table(JOBS)?,
            figures: transaction.open_table(FIGURES)?,
            items: transaction.open_table(ITEMS)?,
            keys: transaction.open_table(KEYS)?,
            tasks: transaction.open_table(TASKS)?,
            failed: transaction.open_table(FAILED)?,
            ready: transaction.open_table(READY)?,
            later: transaction.open_table(LATER)?,
            outputs: transaction.open_table(OUTPUTS)?,
            artifacts: Artifacts::open(transaction)?,
            files: Files::new(transaction),
            gone: transaction.open_table(GONE)?,
            attempts: transaction.open_table(ATTEMPTS)?,
            errors: transaction.open_table(ERRORS)?,
            state: transaction.open_table(STATE)?,
            circuits: transaction.open_table(CIRCUITS)?,
            pages: transaction.open_table(PAGES)?,
            holders: transaction.open_table(HOLDERS)?,
            sharers: transaction.open_table(SHARERS)?,
            spending: transaction.open_table(SPENDING)?,
        })
    }

    /// Those of the ledger.
    pub(crate) fn ledger(&mut self) -> Result<&mut LedgerTables<'t>, TableError> {
        let open = match self.ledger.take() {
            Some(open) => open,
            None => LedgerTables::open(self.transaction)?,
        };
        Ok(self.ledger.insert(open))
    }
}

/// Begins a snapshot of a database that may have been closed.
pub(crate) fn snapshot(database: Option<&redb::Database>) -> Result<ReadTransaction, Fault> {
    let database = database.ok_or(crate::StoreError::Closed)?;
    Ok(database.begin_read()?)
}

/// Joins parts of a key.
pub(super) fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    let mut at = 0;
    for part in parts {
        key[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    key
}

fn falling(priority: i32) -> [u8; 4] {
    // The sign bit flipped makes the order of i32 that of u32; the complement turns it round.
    (!(priority.cast_unsigned() ^ 0x8000_0000)).to_be_bytes()
}

fn rising(falling: [u8; 4]) -> i32 {
    (!u32::from_be_bytes(falling) ^ 0x8000_0000).cast_signed()
}

/// Key of [`READY`].
pub(crate) fn ready_key(lane: Lane, priority: i32, due: Timestamp, item: ItemId) -> QueueKey {
    join(&[&lane_key(lane), &falling(priority), &due.0.to_be_bytes(), &item.0.to_be_bytes()])
}

/// Key of [`LATER`].
pub(crate) fn later_key(lane: Lane, due: Timestamp, priority: i32, item: ItemId) -> QueueKey {
    join(&[&lane_key(lane), &due.0.to_be_bytes(), &falling(priority), &item.0.to_be_bytes()])
}

/// A place in a lane's queue; ordered as it is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Highest first.
    pub(crate) priority: std::cmp::Reverse<i32>,
    pub(crate) due: Timestamp,
    pub(crate) item: ItemId,
}

pub(super) fn u64_at(key: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&key[at..at + 8]);
    u64::from_be_bytes(bytes)
}

fn priority_at(key: &QueueKey, at: usize) -> std::cmp::Reverse<i32> {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&key[at..at + 4]);
    std::cmp::Reverse(rising(bytes))
}

/// The place that a key of [`READY`] names.
pub(crate) fn ready_place(key: &QueueKey) -> Place {
    Place { priority: priority_at(key, 6), due: Timestamp(u64_at(key, 10)), item: ItemId(u64_at(key, 18)) }
}

/// The place that a key of [`LATER`] names.
pub(crate) fn later_place(key: &QueueKey) -> Place {
    Place { priority: priority_at(key, 14), due: Timestamp(u64_at(key, 6)), item: ItemId(u64_at(key, 18)) }
}

/// First and last key of a lane in [`READY`] and [`LATER`].
pub(crate) fn lane_range(lane: Lane) -> (QueueKey, QueueKey) {
    (join(&[&lane_key(lane), &[0; 20]]), join(&[&lane_key(lane), &[0xff; 20]]))
}

/// Last key of a lane in [`LATER`] that is due at `due`.
pub(crate) fn later_until(lane: Lane, due: Timestamp) -> QueueKey {
    join(&[&lane_key(lane), &due.0.to_be_bytes(), &[0xff; 12]])
}

/// Key of [`HOLDERS`]. `signature` is the first half of a page's.
pub(crate) fn holders_key(lane: Lane, signature: &[u8; 16]) -> HoldersKey {
    join(&[&lane_key(lane), signature])
}

/// Key of [`SHARERS`].
pub(crate) fn sharer_key(lane: Lane, signature: &[u8; 16], item: ItemId) -> SharerKey {
    join(&[&holders_key(lane, signature), &item.0.to_be_bytes()])
}

/// First and last key of a page in [`SHARERS`].
pub(crate) fn sharers_range(lane: Lane, signature: &[u8; 16]) -> (SharerKey, SharerKey) {
    (sharer_key(lane, signature, ItemId(0)), sharer_key(lane, signature, ItemId(u64::MAX)))
}

/// The page, as in [`HOLDERS`], and the item in such a key.
pub(crate) fn sharer_place(key: &SharerKey) -> (HoldersKey, ItemId) {
    (join(&[&key[..22]]), ItemId(u64_at(key, 22)))
}

/// The lane and the signature in a key of [`HOLDERS`].
pub(crate) fn holders_place(key: &HoldersKey) -> (Lane, [u8; 16]) {
    let (mut job, mut signature) = ([0; 4], [0; 16]);
    job.copy_from_slice(&key[..4]);
    signature.copy_from_slice(&key[6..]);
    let stage = StageIx(u16::from_be_bytes([key[4], key[5]]));
    (Lane { job: JobId(u32::from_be_bytes(job)), stage }, signature)
}

fn lane_key(lane: Lane) -> LaneKey {
    join(&[&lane.job.0.to_be_bytes(), &lane.stage.0.to_be_bytes()])
}

/// What a row of [`FIGURES`] is about. Append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// The number of the next item, under job 0, which no job has.
    NextItem = 0,
    /// Counters of the job.
    Totals = 1,
    /// Counters and breaker of a lane, by stage.
    Lane = 2,
    /// The job's pause.
    Pause = 3,
    /// Where its discovery stands.
    Discovery = 4,
    /// A run of items that are all the job's, by the first; its row is the last. So a job's items can be walked.
    Span = 5,
}

/// Key of [`FIGURES`].
pub(crate) fn figure_key(job: JobId, figure: Figure, number: u64) -> FigureKey {
    join(&[&job.0.to_be_bytes(), &[figure as u8], &number.to_be_bytes()])
}

/// The number in such a key.
pub(crate) fn figure_number(key: &FigureKey) -> u64 {
    u64_at(key, 5)
}

/// Reads a row that is a number.
pub(crate) fn figure_u64(row: &[u8]) -> Result<u64, crate::StoreError> {
    let bytes = row.try_into().map_err(|_| crate::stored::corrupt("figures: a number of other than 8 bytes"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// The number after `number`. There is always one, unless the row that it was read from isn't what was written.
pub(crate) fn number_after(what: &str, number: u64) -> Result<u64, crate::StoreError> {
    number.checked_add(1).ok_or_else(|| crate::stored::corrupt(format!("{what} are numbered to their end")))
}

/// The job's spans that may hold items after `after`, by rising number: first and last item of each.
pub(crate) fn spans(
    figures: &impl ReadableTable<&'static FigureKey, &'static [u8]>,
    job: JobId,
    after: u64,
) -> Result<impl Iterator<Item = Result<(u64, u64), Fault>>, Fault> {
    let key = |number| figure_key(job, Figure::Span, number);
    // The span that holds `after` may begin before it.
    let holder = figures.range::<&FigureKey>(&key(0)..=&key(after))?.next_back().transpose()?;
    let from = holder.map_or(0, |(first, _)| figure_number(first.value()));
    let rows = figures.range::<&FigureKey>(&key(from)..=&key(u64::MAX))?;
    Ok(rows.map(|row| {
        let (first, last) = row?;
        Ok((figure_number(first.value()), figure_u64(last.value())?))
    }))
}

/// Key of [`FAILED`] and [`ERRORS`].
pub(crate) fn job_key(job: JobId, number: u64) -> JobKey {
    join(&[&job.0.to_be_bytes(), &number.to_be_bytes()])
}

/// The number in such a key.
pub(crate) fn job_key_number(key: &JobKey) -> u64 {
    u64_at(key, 4)
}

/// Key of [`OUTPUTS`].
pub(crate) fn task_key(item: ItemId, stage: StageIx) -> TaskKey {
    join(&[&item.0.to_be_bytes(), &stage.0.to_be_bytes()])
}

/// The stage in a key of [`OUTPUTS`].
pub(crate) fn task_key_stage(key: &TaskKey) -> StageIx {
    StageIx(u16::from_be_bytes([key[8], key[9]]))
}

/// Key of [`ATTEMPTS`].
pub(crate) fn attempt_key(item: ItemId, stage: StageIx, number: u32) -> AttemptKey {
    join(&[&item.0.to_be_bytes(), &stage.0.to_be_bytes(), &number.to_be_bytes()])
}

/// Key of [`KEYS`] and [`STATE`]: a job and a text.
pub(crate) fn text_key(job: JobId, text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + text.len());
    key.extend_from_slice(&job.0.to_be_bytes());
    key.extend_from_slice(text.as_bytes());
    key
}

/// Key of [`ARTIFACTS`].
pub(crate) fn artifact_key(item: ItemId, stage: StageIx, pending: bool, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(11 + name.len());
    key.extend_from_slice(&task_key(item, stage));
    key.push(u8::from(pending));
    key.extend_from_slice(name.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_by_priority_then_due_then_item() {
        let lane = Lane { job: JobId(1), stage: StageIx(2) };
        let key = |priority, due, item| ready_key(lane, priority, Timestamp(due), ItemId(item));
        let mut keys = [key(-5, 1, 1), key(0, 2, 1), key(0, 1, 2), key(0, 1, 1), key(7, 9, 9), key(i32::MIN, 0, 0)];
        keys.sort_unstable();
        let places: Vec<_> = keys
            .iter()
            .map(|key| {
                let p = ready_place(key);
                (p.priority.0, p.due.0, p.item.0)
            })
            .collect();
        assert_eq!(places, [(7, 9, 9), (0, 1, 1), (0, 1, 2), (0, 2, 1), (-5, 1, 1), (i32::MIN, 0, 0)]);
        let later = later_key(lane, Timestamp(4), -3, ItemId(8));
        assert_eq!(later_place(&later), Place { priority: std::cmp::Reverse(-3), due: Timestamp(4), item: ItemId(8) });
    }
}
