//! Submitting items: what is packed before the writer sees it, and the few rows that each new item costs there.

use std::ops::Bound;

use redb::ReadableTable;
use tollgate_core::{
    ItemId, JobId, JsonObject, Lane, StageIx, Timestamp,
    graph::TaskStates,
    item::NewItem,
    task::{Answers, TaskState},
};

use super::{
    fault::Fault,
    jobs::{Job, Spec},
    reopen,
    tables::{Figure, Tables, figure_key, number_after, ready_key, text_key},
    tasks::{Side, note},
    writer::Batch,
};
use crate::{
    StoreError, Submitted,
    stored::{StoredItem, StoredItemV1, decode, encode},
};

/// Items above which packing them is work for the blocking pool.
pub(crate) const PACK_HERE_MAX: usize = 64;
/// Most items of one submission: they share a transaction, and the writer serves nobody else meanwhile.
pub const SUBMIT_ITEMS_MAX: usize = 100_000;
/// Most bytes of one item's data, as JSON: it is read with every claim. Documents belong into artifacts.
pub const ITEM_DATA_BYTES_MAX: usize = 1 << 20;

/// Most bytes of one submission's rows: they are in memory twice while they are written.
pub const SUBMIT_BYTES_MAX: usize = 256 << 20;
/// Longest revision of an item, in bytes: a date, an ETag or a digest.
pub const REVISION_BYTES_MAX: usize = 1_024;

/// Items packed for the writer, in the order of submission.
#[derive(Debug)]
pub(crate) struct Prepared {
    rows: Vec<PreparedItem>,
    /// Places in `rows` by key, equal keys in the order of submission.
    by_key: Vec<usize>,
    /// Bytes of all rows, about.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct PreparedItem {
    key: Vec<u8>,
    row: Vec<u8>,
    priority: i32,
    revision: Option<String>,
}

impl Prepared {
    /// Packs items of `job`, submitted at `now`.
    pub(crate) fn new(job: JobId, items: &[NewItem], now: Timestamp) -> Result<Self, StoreError> {
        let too_large =
            |what, bytes: usize, max: usize| StoreError::TooLarge { what, bytes: bytes as u64, max: max as u64 };
        if items.len() > SUBMIT_ITEMS_MAX {
            return Err(too_large("a submission, in items,", items.len(), SUBMIT_ITEMS_MAX));
        }
        let mut prepared = Self { rows: Vec::with_capacity(items.len()), by_key: (0..items.len()).collect(), bytes: 0 };
        for item in items {
            let data = JsonObject::of(&item.data);
            let bytes = data.as_str().as_bytes();
            if bytes.len() > ITEM_DATA_BYTES_MAX {
                return Err(too_large("the data of an item", bytes.len(), ITEM_DATA_BYTES_MAX));
            }
            let revision = item.revision.as_ref().map_or(0, String::len);
            if revision > REVISION_BYTES_MAX {
                return Err(too_large("the revision of an item", revision, REVISION_BYTES_MAX));
            }
            let row = encode(&StoredItem::V1(StoredItemV1 {
                job: job.0,
                created_ms: now.0,
                priority: item.priority,
                key: item.key.as_str(),
                revision: item.revision.as_deref(),
                data: bytes,
            }))?;
            let key = text_key(job, item.key.as_str());
            prepared.bytes += row.len() + key.len();
            if prepared.bytes > SUBMIT_BYTES_MAX {
                return Err(too_large("a submission", prepared.bytes, SUBMIT_BYTES_MAX));
            }
            let (priority, revision) = (item.priority, item.revision.clone());
            prepared.rows.push(PreparedItem { key, row, priority, revision });
        }
        // In the order of the table, neighbours are looked up and written together.
        prepared.by_key.sort_by(|&a, &b| prepared.rows[a].key.cmp(&prepared.rows[b].key));
        Ok(prepared)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Submits them to `job` in the writer's batch.
pub(crate) fn submit(
    batch: &mut Batch<'_>,
    job: JobId,
    prepared: &Prepared,
    now: Timestamp,
) -> Result<Submitted, Fault> {
    let spec = batch.jobs.get(job).map_err(Fault::Refused)?.spec.clone();
    let mut submitted = Submitted::default();
    // Looks every key up before anything is written: known keys cost that and no more.
    let mut fresh = vec![false; prepared.len()];
    let mut known: Vec<(usize, Option<ItemId>)> = Vec::new();
    let mut last: Option<&[u8]> = None;
    for &place in &prepared.by_key {
        let key = prepared.rows[place].key.as_slice();
        if last == Some(key) {
            known.push((place, None));
            continue;
        }
        last = Some(key);
        match batch.tables.keys.get(key)? {
            Some(id) => known.push((place, Some(ItemId(id.value())))),
            None => fresh[place] = true,
        }
    }
    submitted.new = insert(batch, &spec, prepared, &fresh, now, &mut submitted.opened)?;
    for (place, id) in known {
        let row = &prepared.rows[place];
        let id = match id {
            Some(id) => id,
            None => {
                let id = batch.tables.keys.get(row.key.as_slice())?;
                ItemId(
                    id.ok_or_else(|| StoreError::Corrupt("a key vanished while it was submitted".to_owned()))?.value(),
                )
            }
        };
        if revise(batch, &spec, id, row, now, &mut submitted.opened)? {
            submitted.reopened += 1;
        } else {
            submitted.known += 1;
        }
    }
    Ok(submitted)
}

/// Writes the fresh ones; answers how many.
fn insert(
    batch: &mut Batch<'_>,
    spec: &Spec,
    prepared: &Prepared,
    fresh: &[bool],
    now: Timestamp,
    opened: &mut Vec<StageIx>,
) -> Result<u64, Fault> {
    let first = batch.jobs.next_item;
    let mut ids = vec![0; fresh.len()];
    let mut next = first;
    for (place, _) in fresh.iter().enumerate().filter(|(_, fresh)| **fresh) {
        ids[place] = next;
        next = number_after("items", next)?;
    }
    let count = next - first;
    if count == 0 {
        return Ok(0);
    }
    batch.jobs.next_item = next;
    let job = batch.jobs.get_mut(spec.id)?;
    for &place in prepared.by_key.iter().filter(|place| fresh[**place]) {
        batch.tables.keys.insert(prepared.rows[place].key.as_slice(), ids[place])?;
    }
    let mut items = batch.tables.items.upper_bound_mut(Bound::<u64>::Unbounded)?;
    for (place, row) in prepared.rows.iter().enumerate().filter(|(place, _)| fresh[*place]) {
        items.insert_before(ids[place], row.row.as_slice())?;
    }
    items.close()?;
    extend_span(&mut batch.tables, job, first, next - 1)?;
    let initial = spec.graph.initial(now);
    let members: Vec<(i32, u64)> = (0..fresh.len())
        .filter(|place| fresh[*place])
        .map(|place| (prepared.rows[place].priority, ids[place]))
        .collect();
    count_initial(&mut batch.tables, job, &initial, members, opened)?;
    Ok(count)
}

/// Counts and queues new items whose tasks are all `initial`: no rows of their own are needed for them.
fn count_initial(
    tables: &mut Tables<'_>,
    job: &mut Job,
    initial: &TaskStates,
    mut members: Vec<(i32, u64)>,
    opened: &mut Vec<StageIx>,
) -> Result<(), Fault> {
    let count = i64::try_from(members.len()).unwrap_or(i64::MAX);
    let graph = job.spec.graph.clone();
    let status = Side { graph: &graph, states: initial, priority: 0 }.status();
    job.count_items(status, count)?;
    // The order of the queue, so that each priority is one run of neighbours.
    members.sort_unstable_by_key(|(priority, id)| (std::cmp::Reverse(*priority), *id));
    for (stage, state) in initial {
        job.count_task(*stage, state.kind(), count)?;
        let TaskState::Ready { due } = state else {
            continue;
        };
        note(opened, *stage);
        let lane = Lane { job: job.spec.id, stage: *stage };
        for run in members.chunk_by(|a, b| a.0 == b.0) {
            let key = |(priority, id): (i32, u64)| ready_key(lane, priority, *due, ItemId(id));
            let mut ready = tables.ready.lower_bound_mut(Bound::Included(&key(run[0])))?;
            for &member in run {
                ready.insert_before(&key(member), ())?;
            }
            ready.close()?;
        }
    }
    Ok(())
}

/// Notes that the items from `first` to `last` are the job's.
fn extend_span(tables: &mut Tables<'_>, job: &mut Job, first: u64, last: u64) -> Result<(), Fault> {
    let start = match job.span {
        Some((start, end)) if end.checked_add(1) == Some(first) => start,
        _ => first,
    };
    let key = figure_key(job.spec.id, Figure::Span, start);
    tables.figures.insert(&key, last.to_le_bytes().as_slice())?;
    job.span = Some((start, last));
    Ok(())
}

/// Takes in a known item's new revision and opens the item again; answers whether it did. An item that came without a
/// revision takes its first one as it is: nothing says that it has changed since (a page that a link led to, and a
/// sitemap lists later).
fn revise(
    batch: &mut Batch<'_>,
    spec: &Spec,
    id: ItemId,
    new: &PreparedItem,
    now: Timestamp,
    opened: &mut Vec<StageIx>,
) -> Result<bool, Fault> {
    let Some(revision) = new.revision.as_deref() else {
        return Ok(false);
    };
    let mut is_first = false;
    let (row, created, priority) = {
        let old = batch.tables.items.get(id.0)?;
        let old = old.ok_or_else(|| StoreError::Corrupt(format!("item {} has no row", id.0)))?;
        let old = decode::<StoredItem<'_>>("items", old.value())?.newest();
        if old.revision == Some(revision) {
            return Ok(false);
        }
        let (created, priority) = (old.created_ms, old.priority);
        let row = if old.revision.is_none() {
            is_first = true;
            StoredItemV1 { revision: Some(revision), ..old }
        } else {
            let fresh = decode::<StoredItem<'_>>("items", &new.row)?.newest();
            StoredItemV1 { created_ms: created, ..fresh }
        };
        (encode(&StoredItem::V1(row))?, Timestamp(created), priority)
    };
    batch.tables.items.insert(id.0, row.as_slice())?;
    if is_first {
        return Ok(false);
    }
    let old = super::tasks::Head { id, created, priority };
    Ok(reopen::anew(batch, spec, old, new.priority, Answers::Anew, now, opened)?.is_some())
}
