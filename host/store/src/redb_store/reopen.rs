//! Opening tasks again, and leaving items out: what people ask for, and what a new revision means.

use redb::ReadableTable;
use tollgate_core::{
    ItemId, ItemKey, JobId, StageIx, Timestamp,
    task::{Answers, SkipReason, TaskState},
};

use super::{
    fault::Fault,
    jobs::Spec,
    tables::{JobKey, job_key, job_key_number, text_key},
    tasks::{Head, ItemTasks, Side, apply_change, note, read_item},
    writer::Batch,
};
use crate::{Reopened, TaskRef};

/// Items opened in one transaction: the writer serves nobody else meanwhile. More are opened in several.
pub(crate) const REOPEN_ITEMS_PER_TRANSACTION: usize = 5_000;

/// Ends the job's pause, resets its breakers, and has a failing discovery tried anew.
pub(crate) fn resume(batch: &mut Batch<'_>, job: JobId) -> Result<Option<tollgate_core::pause::Pause>, Fault> {
    let job = batch.jobs.get_mut(job).map_err(Fault::Refused)?;
    job.lanes.values_mut().for_each(|lane| lane.breaker.reset());
    if job.discovery.last_error.is_some() {
        job.discovery.errors = 0;
        job.discovery.due = None;
    }
    Ok(job.pause.take())
}

/// Opens the failed tasks of the job's items after `after`, as many as one transaction takes. Answers where to go on.
pub(crate) fn failed(
    batch: &mut Batch<'_>,
    job: JobId,
    after: ItemId,
    answers: Answers,
    now: Timestamp,
    into: &mut Reopened,
) -> Result<Option<ItemId>, Fault> {
    let spec = batch.jobs.get(job).map_err(Fault::Refused)?.spec.clone();
    let ids: Vec<ItemId> = {
        let range = job_key(job, after.0.saturating_add(1))..=job_key(job, u64::MAX);
        let rows = batch.tables.failed.range::<&JobKey>(&range.start()..=&range.end())?;
        let ids =
            rows.take(REOPEN_ITEMS_PER_TRANSACTION).map(|row| row.map(|(key, _)| ItemId(job_key_number(key.value()))));
        ids.collect::<Result<_, _>>()?
    };
    for &id in &ids {
        let head = read_item(&batch.tables.items, id, |head, _| Ok(head))?;
        let failed = |state: &TaskState| matches!(state, TaskState::Failed { .. });
        let opened = open(batch, &spec, head, |_, state| failed(state), answers, now, &mut into.opened)?;
        into.tasks += opened;
        into.items += u64::from(opened > 0);
    }
    Ok(ids.last().copied().filter(|_| ids.len() == REOPEN_ITEMS_PER_TRANSACTION))
}

/// Opens items by key: what failed, waits to be tried again or was left out; where nothing did and all has ended, all
/// their tasks. An item that has work to do already goes on with that: nothing is done twice.
pub(crate) fn items(
    batch: &mut Batch<'_>,
    job: JobId,
    keys: &[ItemKey],
    answers: Answers,
    now: Timestamp,
    into: &mut Reopened,
) -> Result<(), Fault> {
    let spec = batch.jobs.get(job).map_err(Fault::Refused)?.spec.clone();
    for (key, head) in heads(batch, job, keys, &mut into.unknown)? {
        let stuck = |state: &TaskState| {
            matches!(state, TaskState::Failed { .. } | TaskState::RetryLater { .. }) || exclusion(state).is_some()
        };
        let mut opened = open(batch, &spec, head, |_, state| stuck(state), answers, now, &mut into.opened)?;
        if opened == 0 {
            let tasks = ItemTasks::read(&batch.tables.tasks, head.id, head.created, &spec.graph)?;
            if tasks.states.iter().any(|(stage, state)| spec.has(*stage) && !state.has_ended()) {
                into.in_progress.push(key.clone());
                continue;
            }
            opened = anew(batch, &spec, head, head.priority, answers, now, &mut into.opened)?.unwrap_or(0);
        }
        into.tasks += opened;
        into.items += u64::from(opened > 0);
    }
    Ok(())
}

/// Leaves items out: what has not ended is skipped, and what attempts under way bring is refused.
pub(crate) fn exclude(
    batch: &mut Batch<'_>,
    job: JobId,
    keys: &[ItemKey],
    reason: &str,
    now: Timestamp,
) -> Result<Reopened, Fault> {
    let spec = batch.jobs.get(job).map_err(Fault::Refused)?.spec.clone();
    let mut done = Reopened::default();
    for (_, head) in heads(batch, job, keys, &mut done.unknown)? {
        let before = ItemTasks::read(&batch.tables.tasks, head.id, head.created, &spec.graph)?;
        let mut after = before.clone();
        let mut skipped = 0;
        for (stage, state) in &mut after.states {
            if spec.has(*stage) && !state.has_ended() {
                *state = TaskState::Skipped { reason: SkipReason::Excluded { reason: reason.to_owned() } };
                batch.revoke(TaskRef { item: head.id, stage: *stage }, job);
                skipped += 1;
            }
        }
        if skipped > 0 {
            spec.graph.resolve(&mut after.states, now);
            write(batch, &spec, head, head.priority, &before, &after, &mut done.opened)?;
            done.items += 1;
            done.tasks += skipped;
        }
    }
    Ok(done)
}

/// The reason why a person left the task's item out, if one did.
pub(crate) fn exclusion(state: &TaskState) -> Option<&SkipReason> {
    match state {
        TaskState::Skipped { reason: reason @ SkipReason::Excluded { .. } } => Some(reason),
        _ => None,
    }
}

/// Opens those tasks of an item that are meant, by stage and state; answers how many.
pub(crate) fn open(
    batch: &mut Batch<'_>,
    spec: &Spec,
    head: Head,
    is_meant: impl Fn(StageIx, &TaskState) -> bool,
    answers: Answers,
    now: Timestamp,
    opened: &mut Vec<StageIx>,
) -> Result<u64, Fault> {
    let before = ItemTasks::read(&batch.tables.tasks, head.id, head.created, &spec.graph)?;
    let mut after = before.clone();
    let mut count = 0;
    for (stage, state) in before.states.iter().filter(|(stage, state)| is_meant(*stage, state)) {
        let task = TaskRef { item: head.id, stage: *stage };
        if !spec.has(*stage) {
            // An exclusion that stands for a stage which is gone would go on holding for the others.
            if exclusion(state).is_some() {
                after.set_state(*stage, TaskState::Waiting { on: Vec::new() });
            }
        } else if !batch.is_claimed(task) {
            after.set_state(*stage, TaskState::Ready { due: now });
            after.set_tally(*stage, before.tally(*stage).reopened());
            count += 1;
        }
    }
    if count > 0 {
        spec.graph.resolve(&mut after.states, now);
        answered(spec, &before, &mut after, answers);
        write(batch, spec, head, head.priority, &before, &after, opened)?;
    }
    Ok(count)
}

/// Opens all tasks of an item from its roots; its outputs serve until new ones are settled, and what attempts under
/// way bring is refused, as it stands on what is no more. An item that a person left out stays so, as a whole: its
/// results are of what it was. Answers how many tasks were opened; absent: the item is left out.
pub(crate) fn anew(
    batch: &mut Batch<'_>,
    spec: &Spec,
    old: Head,
    priority: i32,
    answers: Answers,
    now: Timestamp,
    opened: &mut Vec<StageIx>,
) -> Result<Option<u64>, Fault> {
    let before = ItemTasks::read(&batch.tables.tasks, old.id, old.created, &spec.graph)?;
    let live = before.states.iter().filter(|(stage, _)| spec.has(*stage));
    let excluded = live.clone().find_map(|(_, state)| exclusion(state)).cloned();
    let mut after = before.clone();
    for (stage, state) in &before.states {
        // Were a stage that is gone to come back, it would begin anew as well; until then it stands still.
        let begun = match &excluded {
            Some(reason) if spec.has(*stage) => TaskState::Skipped { reason: reason.clone() },
            _ => TaskState::Waiting { on: Vec::new() },
        };
        after.set_state(*stage, begun);
        if spec.has(*stage) {
            after.set_tally(*stage, before.tally(*stage).reopened());
        }
        // What had ended has no claim yet; one that comes as soon as this is durable is to stand.
        if !state.has_ended() {
            batch.revoke(TaskRef { item: old.id, stage: *stage }, spec.id);
        }
    }
    spec.graph.resolve(&mut after.states, now);
    answered(spec, &before, &mut after, answers);
    if excluded.is_none() {
        // What was ready and claimed is ready anew: its claim ends here, and somebody has to look.
        let is_ready = |state: &TaskState| matches!(state, TaskState::Ready { .. });
        let ready = after.states.iter().filter(|(stage, state)| spec.has(*stage) && is_ready(state));
        ready.for_each(|(stage, _)| note(opened, *stage));
    }
    let changed = live.filter(|(stage, state)| after.state(*stage) != Some(state)).count();
    write(batch, spec, old, priority, &before, &after, opened)?;
    Ok(excluded.is_none().then_some(changed as u64))
}

/// Notes where those tasks have their answers from that come to run by what was opened: not only that itself, but what
/// could not run before without it.
pub(crate) fn answered(spec: &Spec, before: &ItemTasks, after: &mut ItemTasks, answers: Answers) {
    for (stage, old) in before.states.iter().filter(|(stage, _)| spec.has(*stage)) {
        if after.state(*stage).is_some_and(|new| new != old && !new.has_ended()) {
            after.set_tally(*stage, after.tally(*stage).with_answers(answers));
        }
    }
}

pub(crate) fn write(
    batch: &mut Batch<'_>,
    spec: &Spec,
    old: Head,
    priority: i32,
    before: &ItemTasks,
    after: &ItemTasks,
    opened: &mut Vec<StageIx>,
) -> Result<(), Fault> {
    let before = Side { graph: &spec.graph, states: &before.states, priority: old.priority };
    let now = Side { graph: &spec.graph, states: &after.states, priority };
    apply_change(&mut batch.tables, batch.jobs.get_mut(spec.id)?, old.id, Some(before), now, opened)?;
    after.write(&mut batch.tables, old.id)
}

/// The items of these keys, in their order; keys of none are told apart.
pub(crate) fn heads<'k>(
    batch: &Batch<'_>,
    job: JobId,
    keys: &'k [ItemKey],
    unknown: &mut Vec<ItemKey>,
) -> Result<Vec<(&'k ItemKey, Head)>, Fault> {
    let mut heads = Vec::with_capacity(keys.len());
    for key in keys {
        match batch.tables.keys.get(text_key(job, key.as_str()).as_slice())?.map(|id| ItemId(id.value())) {
            Some(id) => heads.push((key, read_item(&batch.tables.items, id, |head, _| Ok(head))?)),
            None => unknown.push(key.clone()),
        }
    }
    Ok(heads)
}
