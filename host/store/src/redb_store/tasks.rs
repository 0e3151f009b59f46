//! The tasks of one item: read, written, and what a change of them does to queues and counters.

use redb::ReadableTable;
use tollgate_core::{
    ItemId, Lane, StageIx, Timestamp,
    graph::{StageGraph, TaskStates},
    item::ItemStatus,
    task::{Tally, TaskState},
};

use super::{
    fault::Fault,
    jobs::Job,
    tables::{Tables, job_key, later_key, ready_key},
};
use crate::{
    StoreError,
    stored::{StoredItem, StoredItemV1, StoredTask, StoredTasks, corrupt, decode, encode},
};

/// States and tallies of an item's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ItemTasks {
    /// Also of stages that the job has no more: what they came to stays known.
    pub(crate) states: TaskStates,
    tallies: Vec<(StageIx, Tally)>,
}

impl ItemTasks {
    /// Reads them. Without a row they are the graph's initial ones.
    pub(crate) fn read(
        tasks: &impl ReadableTable<u64, &'static [u8]>,
        item: ItemId,
        created: Timestamp,
        graph: &StageGraph,
    ) -> Result<Self, Fault> {
        match tasks.get(item.0)? {
            Some(row) => Ok(Self::from_row(row.value())?),
            None => Ok(Self { states: graph.initial(created), tallies: Vec::new() }),
        }
    }

    /// From a row of the table.
    pub(crate) fn from_row(row: &[u8]) -> Result<Self, StoreError> {
        let (rows, reuses) = decode::<StoredTasks>("tasks", row)?.newest();
        let mut tasks = Self { states: Vec::with_capacity(rows.len()), tallies: Vec::with_capacity(rows.len()) };
        for row in rows {
            let stage = StageIx(row.stage);
            tasks.states.push((stage, row.state.try_into()?));
            let reuses = reuses.iter().find(|(of, _)| *of == row.stage).map(|(_, attempt)| *attempt);
            tasks.tallies.push((stage, Tally { reuses, ..row.tally.into() }));
        }
        Ok(tasks)
    }

    /// Writes them.
    pub(crate) fn write(&self, tables: &mut Tables<'_>, item: ItemId) -> Result<(), Fault> {
        let rows = self.states.iter().map(|(stage, state)| StoredTask::new(*stage, state, self.tally(*stage)));
        let reuses = self.states.iter().filter_map(|(stage, _)| Some((stage.0, self.tally(*stage).reuses?)));
        tables.tasks.insert(item.0, encode(&StoredTasks::new(rows.collect(), reuses.collect()))?.as_slice())?;
        Ok(())
    }

    pub(crate) fn state(&self, stage: StageIx) -> Option<&TaskState> {
        self.states.iter().find(|(ix, _)| *ix == stage).map(|(_, state)| state)
    }

    pub(crate) fn set_state(&mut self, stage: StageIx, state: TaskState) {
        match self.states.iter_mut().find(|(ix, _)| *ix == stage) {
            Some(entry) => entry.1 = state,
            None => self.states.push((stage, state)),
        }
    }

    pub(crate) fn tally(&self, stage: StageIx) -> Tally {
        self.tallies.iter().find(|(ix, _)| *ix == stage).map(|(_, tally)| *tally).unwrap_or_default()
    }

    pub(crate) fn set_tally(&mut self, stage: StageIx, tally: Tally) {
        match self.tallies.iter_mut().find(|(ix, _)| *ix == stage) {
            Some(entry) => entry.1 = tally,
            None => self.tallies.push((stage, tally)),
        }
    }
}

/// What is known of an item without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: ItemId,
    pub(crate) created: Timestamp,
    pub(crate) priority: i32,
}

/// Reads an item's row, which must be there.
pub(crate) fn read_item<T>(
    items: &impl ReadableTable<u64, &'static [u8]>,
    id: ItemId,
    take: impl FnOnce(Head, StoredItemV1<'_>) -> Result<T, StoreError>,
) -> Result<T, Fault> {
    let row = items.get(id.0)?.ok_or_else(|| corrupt(format!("item {} has no row", id.0)))?;
    let item = decode::<StoredItem<'_>>("items", row.value())?.newest();
    let head = Head { id, created: Timestamp(item.created_ms), priority: item.priority };
    Ok(take(head, item)?)
}

/// The tasks of an item before or after a change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) graph: &'a StageGraph,
    pub(crate) states: &'a TaskStates,
    pub(crate) priority: i32,
}

impl<'a> Side<'a> {
    pub(crate) fn state(&self, stage: StageIx) -> Option<&'a TaskState> {
        self.states.iter().find(|(ix, _)| *ix == stage).map(|(_, state)| state)
    }

    /// Those of stages that the job has: the others stand still and aren't counted.
    fn live(&self) -> impl Iterator<Item = (StageIx, &'a TaskState)> {
        let graph = self.graph;
        self.states.iter().filter(|(ix, _)| graph.by_ix(*ix).is_some()).map(|(ix, state)| (*ix, state))
    }

    pub(crate) fn status(&self) -> ItemStatus {
        ItemStatus::of(self.live().map(|(_, state)| state))
    }

    fn has_failed(&self) -> bool {
        self.live().any(|(_, state)| matches!(state, TaskState::Failed { .. }))
    }
}

/// Brings queues and counters from `before` (absent: a new item) to `after`, and notes in `opened` the stages whose
/// lanes got ready work.
pub(crate) fn apply_change(
    tables: &mut Tables<'_>,
    job: &mut Job,
    item: ItemId,
    before: Option<Side<'_>>,
    after: Side<'_>,
    opened: &mut Vec<StageIx>,
) -> Result<(), Fault> {
    let moved = before.is_some_and(|before| before.priority != after.priority);
    for (stage, old) in before.iter().flat_map(Side::live) {
        let new = if after.graph.by_ix(stage).is_some() { after.state(stage) } else { None };
        if new == Some(old) && !moved {
            continue;
        }
        job.count_task(stage, old.kind(), -1)?;
        let priority = before.map_or(after.priority, |before| before.priority);
        unqueue(tables, Lane { job: job.spec.id, stage }, priority, item, old)?;
    }
    for (stage, new) in after.live() {
        let old = before.and_then(|before| before.graph.by_ix(stage).and_then(|_| before.state(stage)));
        if old == Some(new) && !moved {
            continue;
        }
        job.count_task(stage, new.kind(), 1)?;
        queue(tables, Lane { job: job.spec.id, stage }, after.priority, item, new)?;
        let is_ready = |state: &TaskState| matches!(state, TaskState::Ready { .. });
        if is_ready(new) && !old.is_some_and(is_ready) {
            note(opened, stage);
        }
    }
    if let Some(before) = before {
        job.count_items(before.status(), -1)?;
    }
    job.count_items(after.status(), 1)?;
    match (before.is_some_and(|before| before.has_failed()), after.has_failed()) {
        (false, true) => drop(tables.failed.insert(&job_key(job.spec.id, item.0), ())?),
        (true, false) => drop(tables.failed.remove(&job_key(job.spec.id, item.0))?),
        _ => {}
    }
    Ok(())
}

/// Notes a stage once.
pub(crate) fn note(opened: &mut Vec<StageIx>, stage: StageIx) {
    if !opened.contains(&stage) {
        opened.push(stage);
    }
}

fn queue(tables: &mut Tables<'_>, lane: Lane, priority: i32, item: ItemId, state: &TaskState) -> Result<(), Fault> {
    match state {
        TaskState::Ready { due } => drop(tables.ready.insert(&ready_key(lane, priority, *due, item), ())?),
        TaskState::RetryLater { due, .. } => drop(tables.later.insert(&later_key(lane, *due, priority, item), ())?),
        _ => {}
    }
    Ok(())
}

fn unqueue(tables: &mut Tables<'_>, lane: Lane, priority: i32, item: ItemId, state: &TaskState) -> Result<(), Fault> {
    let gone = match state {
        TaskState::Ready { due } => tables.ready.remove(&ready_key(lane, priority, *due, item))?.is_some(),
        TaskState::RetryLater { due, .. } => tables.later.remove(&later_key(lane, *due, priority, item))?.is_some(),
        _ => true,
    };
    if gone {
        Ok(())
    } else {
        Err(corrupt(format!("item {} stands in no queue of stage {}", item.0, lane.stage.0)).into())
    }
}
