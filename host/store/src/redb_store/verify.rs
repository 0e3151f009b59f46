//! Counting everything anew from the rows, and holding it against counters, queues and what the rows name.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};
use serde::{Deserialize, Serialize};
use tollgate_core::{
    Digest, ItemId, JobId, Lane, StageIx,
    item::ItemStatus,
    task::{TaskKind, TaskState},
};

use super::{
    Shared,
    content::Kept,
    duplicates::read_pages,
    fault::Fault,
    files, ledger_check, passing, spending,
    tables::{
        self, ARTIFACTS, ATTEMPTS, FAILED, FIGURES, GONE, HOLDERS, ITEMS, JobKey, KEYS, LATER, OUTPUTS, PAGES,
        QueueKey, READY, SHARERS, TASKS, TaskKey, holders_place, job_key, later_key, ready_key, sharer_place, task_key,
        text_key,
    },
    tasks::{ItemTasks, Side},
};
use crate::{
    StoreError, TaskRef,
    stored::{StoredArtifactRow, StoredHolders, StoredItem, corrupt, decode},
};

/// Problems that are listed; more are counted.
pub const PROBLEMS_LISTED_MAX: usize = 100;

/// What a recount found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Items counted.
    pub items: u64,
    /// Tasks counted, of stages that their jobs have.
    pub tasks: u64,
    /// What disagrees, at most [`PROBLEMS_LISTED_MAX`] of it.
    pub problems: Vec<String>,
    /// How much disagrees.
    pub problems_total: u64,
}

impl VerifyReport {
    /// Whether nothing disagrees.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems_total == 0
    }

    fn problem(&mut self, text: impl FnOnce() -> String) {
        self.problems_total += 1;
        if self.problems.len() < PROBLEMS_LISTED_MAX {
            self.problems.push(text());
        }
    }
}

/// What was counted of one job.
#[derive(Default)]
struct Counted {
    items: BTreeMap<usize, u64>,
    tasks: BTreeMap<(StageIx, usize), u64>,
    failed: u64,
}

/// Counts one snapshot. Needs an idle store: counters that change meanwhile are those of another moment.
pub(crate) fn verify(shared: &Shared) -> Result<VerifyReport, Fault> {
    let mut report = VerifyReport::default();
    let jobs = shared.jobs();
    let snapshot = shared.begin_read()?;
    let mut counted: BTreeMap<JobId, Counted> = BTreeMap::new();
    let (mut ready, mut later) = (0, 0);
    let tables = Checked::open(&snapshot)?;
    for row in snapshot.open_table(ITEMS)?.iter()? {
        let (id, row) = row?;
        let id = ItemId(id.value());
        let item = decode::<StoredItem<'_>>("items", row.value())?.newest();
        let job_id = JobId(item.job);
        report.items += 1;
        let Ok(job) = jobs.get(job_id) else {
            report.problem(|| format!("item {} is of job {}, which isn't there", id.0, item.job));
            continue;
        };
        if tables.keys.get(text_key(job_id, item.key).as_slice())?.map(|found| found.value()) != Some(id.0) {
            report.problem(|| format!("key {:?} doesn't lead to item {}", item.key, id.0));
        }
        if !tables.has_span(job_id, id)? {
            report.problem(|| format!("item {} is in no span of job {}", id.0, job.spec.name));
        }
        let counted = counted.entry(job_id).or_default();
        let graph = &job.spec.graph;
        let created = tollgate_core::Timestamp(item.created_ms);
        let tasks = ItemTasks::read(&tables.tasks, id, created, graph)?;
        let status = Side { graph, states: &tasks.states, priority: item.priority }.status();
        *counted.items.entry(status as usize).or_default() += 1;
        // A task that may run though its needs aren't met, or waits for what is there, is out of line (P01).
        let mut resolved = tasks.states.clone();
        graph.resolve(&mut resolved, created);
        let resolved = Side { graph, states: &resolved, priority: item.priority };
        let mut failed = false;
        for (stage, state) in tasks.states.iter().filter(|(stage, _)| job.spec.has(*stage)) {
            report.tasks += 1;
            if let Some(due) = resolved.state(*stage).filter(|due| due.kind() != state.kind()) {
                report.problem(|| {
                    format!("item {}, stage {}: {}, but {}", id.0, stage.0, state.kind().as_str(), due.why())
                });
            }
            *counted.tasks.entry((*stage, state.kind().index())).or_default() += 1;
            failed |= matches!(state, TaskState::Failed { .. });
            if matches!(state, TaskState::Done) && tables.outputs.get(&task_key(id, *stage))?.is_none() {
                report.problem(|| format!("item {}, stage {}: done, but it has no output", id.0, stage.0));
            }
            let lane = Lane { job: job_id, stage: *stage };
            let queued = match state {
                TaskState::Ready { due } => {
                    ready += 1;
                    tables.ready.get(&ready_key(lane, item.priority, *due, id))?.is_some()
                }
                TaskState::RetryLater { due, .. } => {
                    later += 1;
                    tables.later.get(&later_key(lane, *due, item.priority, id))?.is_some()
                }
                _ => true,
            };
            if !queued {
                report.problem(|| format!("item {} stands in no queue of stage {}", id.0, stage.0));
            }
        }
        counted.failed += u64::from(failed);
        if failed != tables.failed.get(&job_key(job_id, id.0))?.is_some() {
            report.problem(|| format!("item {} is wrongly listed, or not, as failed", id.0));
        }
    }
    belongings(shared, &snapshot, &tables, &mut report)?;
    ledger_check::problems(shared, &snapshot)?.into_iter().for_each(|problem| report.problem(|| problem));
    spending::problems(&snapshot)?.into_iter().for_each(|problem| report.problem(|| problem));
    tables.lengths(&mut report, ready, later, counted.values().map(|counted| counted.failed).sum())?;
    for (id, job) in &jobs.by_id {
        let counted = counted.remove(id).unwrap_or_default();
        let mut after = 0;
        for span in tables::spans(&tables.figures, *id, 0)? {
            let (first, last) = span?;
            // An item in two spans would be walked, and counted, twice.
            if first <= after || last < first || last >= jobs.next_item {
                let name = &job.spec.name;
                report.problem(|| format!("job {name}: the span of items {first} to {last} is out of line"));
            }
            after = last;
        }
        for status in ItemStatus::ALL {
            let (has, found) = (job.totals.items[status as usize], counted.items.get(&(status as usize)).copied());
            if has != found.unwrap_or(0) {
                report.problem(|| {
                    format!("job {}: {has} {} items counted, {found:?} found", job.spec.name, status.as_str())
                });
            }
        }
        let stages: BTreeSet<StageIx> =
            job.lanes.keys().copied().chain(counted.tasks.keys().map(|(stage, _)| *stage)).collect();
        for (stage, kind) in stages.into_iter().flat_map(|stage| TaskKind::ALL.map(|kind| (stage, kind))) {
            let has = job.lanes.get(&stage).map_or(0, |lane| lane.tasks[kind.index()]);
            let found = counted.tasks.get(&(stage, kind.index())).copied().unwrap_or(0);
            if has != found {
                let name = &job.spec.name;
                report.problem(|| {
                    format!("job {name}, stage {}: {has} {} tasks counted, {found} found", stage.0, kind.as_str())
                });
            }
        }
    }
    Ok(report)
}

/// Tasks, outputs, attempts and artifacts are of items that are there, and the blobs that artifacts name are kept.
fn belongings(
    shared: &Shared,
    snapshot: &ReadTransaction,
    tables: &Checked,
    report: &mut VerifyReport,
) -> Result<(), Fault> {
    let items = snapshot.open_table(ITEMS)?;
    // Rows of one item are neighbours, so each item is looked up once a table.
    let mut last = None;
    let mut owned = |table: &'static str, item: ItemId, report: &mut VerifyReport| -> Result<(), Fault> {
        if last != Some((table, item)) && items.get(item.0)?.is_none() {
            report.problem(|| format!("{table} has a row of item {}, which isn't there", item.0));
        }
        last = Some((table, item));
        Ok(())
    };
    for row in tables.tasks.iter()? {
        owned("tasks", ItemId(row?.0.value()), report)?;
    }
    for row in tables.outputs.iter()? {
        owned("outputs", key_item(row?.0.value())?, report)?;
    }
    for row in snapshot.open_table(ATTEMPTS)?.iter()? {
        owned("attempts", key_item(row?.0.value())?, report)?;
    }
    for row in snapshot.open_table(GONE)?.iter()? {
        let (key, row) = row?;
        let item = key_item(key.value())?;
        owned("gone", item, report)?;
        if let Some(problem) = passing::problem(row.value()) {
            report.problem(|| format!("item {}: {problem}", item.0));
        }
    }
    let pages = snapshot.open_table(PAGES)?;
    for row in pages.iter()? {
        owned("pages", key_item(row?.0.value())?, report)?;
    }
    let mut holds = |page: &tables::HoldersKey, item: ItemId| -> Result<(), Fault> {
        let (lane, signature) = holders_place(page);
        let task = TaskRef { item, stage: lane.stage };
        if !read_pages(&pages, task)?.iter().any(|page| page.held == Some(signature)) {
            report.problem(|| format!("item {} is said to hold a page that it doesn't have", item.0));
        }
        Ok(())
    };
    for row in snapshot.open_table(HOLDERS)?.iter()? {
        let (key, row) = row?;
        let StoredHolders::V1 { holders, .. } = decode("holders", row.value())?;
        for holder in holders {
            holds(key.value(), ItemId(holder.item))?;
        }
    }
    for row in snapshot.open_table(SHARERS)?.iter()? {
        let (page, item) = sharer_place(row?.0.value());
        holds(&page, item)?;
    }
    let kept = Kept::open(shared)?;
    if let Some(problem) = kept.problem()? {
        report.problem(|| problem);
    }
    for row in snapshot.open_table(ARTIFACTS)?.iter()? {
        let (key, row) = row?;
        let item = key_item(key.value())?;
        owned("artifacts", item, report)?;
        let StoredArtifactRow::V1(artifact) = decode("artifacts", row.value())?;
        let digest = Digest(artifact.digest);
        if !kept.has(digest, artifact.size)? {
            report.problem(|| format!("an artifact of item {} names {digest}, which isn't kept", item.0));
        }
    }
    files::problems(snapshot)?.into_iter().for_each(|problem| report.problem(|| problem));
    Ok(())
}

/// The item that a key begins with.
fn key_item(key: &[u8]) -> Result<ItemId, StoreError> {
    let item = key.first_chunk::<8>().ok_or_else(|| corrupt("a key is too short for an item"))?;
    Ok(ItemId(u64::from_be_bytes(*item)))
}

/// Tables that items are held against.
struct Checked {
    outputs: redb::ReadOnlyTable<&'static TaskKey, &'static [u8]>,
    keys: redb::ReadOnlyTable<&'static [u8], u64>,
    figures: redb::ReadOnlyTable<&'static tables::FigureKey, &'static [u8]>,
    tasks: redb::ReadOnlyTable<u64, &'static [u8]>,
    failed: redb::ReadOnlyTable<&'static JobKey, ()>,
    ready: redb::ReadOnlyTable<&'static QueueKey, ()>,
    later: redb::ReadOnlyTable<&'static QueueKey, ()>,
}

impl Checked {
    fn open(snapshot: &ReadTransaction) -> Result<Self, Fault> {
        Ok(Self {
            outputs: snapshot.open_table(OUTPUTS)?,
            keys: snapshot.open_table(KEYS)?,
            figures: snapshot.open_table(FIGURES)?,
            tasks: snapshot.open_table(TASKS)?,
            failed: snapshot.open_table(FAILED)?,
            ready: snapshot.open_table(READY)?,
            later: snapshot.open_table(LATER)?,
        })
    }

    fn has_span(&self, job: JobId, item: ItemId) -> Result<bool, Fault> {
        let span = tables::spans(&self.figures, job, item.0)?.next().transpose()?;
        Ok(span.is_some_and(|(first, last)| (first..=last).contains(&item.0)))
    }

    /// Each row of the indexes was found from an item, or there are more of them than that.
    fn lengths(&self, report: &mut VerifyReport, ready: u64, later: u64, failed: u64) -> Result<(), Fault> {
        let items = report.items;
        for (table, has, found) in [
            ("keys", self.keys.len()?, items),
            ("ready", self.ready.len()?, ready),
            ("later", self.later.len()?, later),
            ("failed", self.failed.len()?, failed),
        ] {
            if has != found {
                report.problem(|| format!("{table} has {has} rows, {found} belong there"));
            }
        }
        Ok(())
    }
}
