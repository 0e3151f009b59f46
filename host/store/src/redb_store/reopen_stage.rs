//! Opening one stage of items alone (P07): which items it would run again for, and doing it.

use redb::ReadableTable;
use tollgate_core::{
    ItemId, ItemKey, JobId, StageIx, Timestamp,
    task::{Answers, TaskState},
};

use super::{
    Shared,
    fault::Fault,
    jobs::Spec,
    passing,
    reopen::{answered, exclusion, heads, write},
    tables::{GONE, ITEMS, TASKS, TaskKey},
    tasks::{ItemTasks, Side, read_item},
    views::{ITEMS_LOOKED_AT_MAX, ITEMS_PAGE_MAX, candidates},
    writer::Batch,
};
use crate::{ItemQuery, Lacking, Reopened, StageItems, TaskRef, stored::corrupt};

/// What becomes of a stage of an item that is to run again alone.
enum Alone {
    /// The item's tasks from now on.
    Again {
        after: ItemTasks,
        /// Else what it needs isn't there, or runs again itself.
        is_ready: bool,
    },
    /// It has yet to run.
    InProgress,
    /// A person left the item out.
    LeftOut,
}

/// Opens a stage of an item, where its task has ended or waits to be tried again. Nothing is held against the stages
/// before it any more, as one of them may come to run again by what it finds.
fn alone(
    spec: &Spec,
    stage: StageIx,
    before: &ItemTasks,
    is_claimed: bool,
    answers: Answers,
    now: Timestamp,
) -> Result<Alone, Fault> {
    let is_open = |state: &TaskState| matches!(state, TaskState::Waiting { .. } | TaskState::Ready { .. });
    if is_claimed || before.state(stage).is_none_or(is_open) {
        return Ok(Alone::InProgress);
    }
    if before.states.iter().any(|(stage, state)| spec.has(*stage) && exclusion(state).is_some()) {
        return Ok(Alone::LeftOut);
    }
    let mut after = before.clone();
    after.set_state(stage, TaskState::Ready { due: now });
    after.set_tally(stage, before.tally(stage).reopened());
    let ahead = spec.graph.before(spec.stage_name(stage)?.as_str());
    for one in spec.graph.stages().iter().filter(|one| ahead.contains(&&one.name)) {
        if matches!(before.state(one.ix), Some(TaskState::Done)) {
            after.set_tally(one.ix, before.tally(one.ix).reopened());
        }
    }
    spec.graph.resolve(&mut after.states, now);
    answered(spec, before, &mut after, answers);
    let is_ready = matches!(after.state(stage), Some(TaskState::Ready { .. }));
    Ok(Alone::Again { after, is_ready })
}

/// Opens one stage of items by key: it runs from what is stored.
pub(crate) fn stage(
    batch: &mut Batch<'_>,
    job: JobId,
    stage: StageIx,
    keys: &[ItemKey],
    answers: Answers,
    now: Timestamp,
    into: &mut Reopened,
) -> Result<(), Fault> {
    let spec = batch.jobs.get(job).map_err(Fault::Refused)?.spec.clone();
    for (key, head) in heads(batch, job, keys, &mut into.unknown)? {
        let before = ItemTasks::read(&batch.tables.tasks, head.id, head.created, &spec.graph)?;
        let is_claimed = batch.is_claimed(TaskRef { item: head.id, stage });
        match alone(&spec, stage, &before, is_claimed, answers, now)? {
            Alone::Again { after, is_ready } => {
                let lacking =
                    if is_ready { lacking(&batch.tables.gone, &spec, head.id, stage, key)? } else { Vec::new() };
                if !lacking.is_empty() {
                    into.lacking.extend(lacking);
                    continue;
                }
                write(batch, &spec, head, head.priority, &before, &after, &mut into.opened)?;
                into.tasks += u64::from(is_ready);
                into.items += u64::from(is_ready);
            }
            Alone::InProgress => into.in_progress.push(key.clone()),
            Alone::LeftOut => {}
        }
    }
    Ok(())
}

/// What of an item has gone that the stage reads: it would fail, and what was done stays so (P06). Who has yet to make
/// it anew isn't waited for here: then the stage isn't ready.
fn lacking(
    gone: &impl ReadableTable<&'static TaskKey, &'static [u8]>,
    spec: &Spec,
    item: ItemId,
    stage: StageIx,
    key: &ItemKey,
) -> Result<Vec<Lacking>, Fault> {
    let mut all = Vec::new();
    for (maker, gone) in passing::read_and_gone(gone, item, stage)? {
        // What a stage made that the job has no more, nobody reads.
        if spec.has(maker) {
            all.push(Lacking { key: key.clone(), maker: spec.stage_name(maker)?.clone(), gone });
        }
    }
    Ok(all)
}

/// See [`Store::stage_items`](crate::Store::stage_items).
pub(crate) fn stage_items(shared: &Shared, job: JobId, stage: StageIx, query: &ItemQuery) -> Result<StageItems, Fault> {
    let spec = shared.jobs().get(job)?.spec.clone();
    let snapshot = shared.begin_read()?;
    let (items, tasks) = (snapshot.open_table(ITEMS)?, snapshot.open_table(TASKS)?);
    let notes = snapshot.open_table(GONE)?;
    let limit = query.limit.clamp(1, ITEMS_PAGE_MAX);
    let mut page = StageItems::default();
    let mut last = None;
    let after = query.after.map_or(0, |after| after.0);
    for (looked_at, id) in candidates(&snapshot, job, query.status, after)?.enumerate() {
        let id = id?;
        if page.entries.len() + page.lacking.len() >= limit || looked_at == ITEMS_LOOKED_AT_MAX {
            page.next = last;
            break;
        }
        last = Some(id);
        let (head, key) = read_item(&items, id, |head, row| Ok((head, ItemKey::new(row.key).map_err(corrupt)?)))?;
        let before = ItemTasks::read(&tasks, id, head.created, &spec.graph)?;
        let status = Side { graph: &spec.graph, states: &before.states, priority: head.priority }.status();
        let is_claimed = shared.claims().is_held(TaskRef { item: id, stage });
        let is_meant = query.status.is_none_or(|wanted| wanted == status);
        // When, and whose answers, doesn't matter: nothing is written.
        let alone = alone(&spec, stage, &before, is_claimed, Answers::Anew, Timestamp(0))?;
        if is_meant && matches!(alone, Alone::Again { is_ready: true, .. }) {
            let lacking = lacking(&notes, &spec, id, stage, &key)?;
            if !lacking.is_empty() {
                page.lacking.extend(lacking);
                continue;
            }
            let gone = passing::gone(&notes, TaskRef { item: id, stage })?;
            page.gone = page.gone.and(gone.unwrap_or_default());
            page.entries.push(key);
        }
    }
    Ok(page)
}
