//! Pages that are no content after all: kept apart, and their tasks queued again with all that stands on them.

use redb::ReadableTable;
use tollgate_core::{
    Digest, StageIx, Timestamp,
    artifact::free_name,
    graph::GraphStage,
    task::{SkipReason, Tally, TaskState},
};

use super::{
    duplicates::let_go,
    fault::Fault,
    jobs::Spec,
    tables::{Tables, artifact_key, task_key},
    tasks::{ItemTasks, Side, apply_change, read_item},
    writer::Batch,
};
use crate::{
    TaskRef,
    stored::{StoredArtifactRow, decode},
};

/// An artifact's place behind (item, stage) in its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArtifactPlace {
    /// Left by an attempt that made no output.
    pub(crate) is_pending: bool,
    pub(crate) name: String,
    pub(crate) digest: Digest,
}

/// The artifacts of a task.
pub(crate) fn artifacts(tables: &Tables<'_>, task: TaskRef) -> Result<Vec<ArtifactPlace>, Fault> {
    let first = task_key(task.item, task.stage);
    let mut all = Vec::new();
    for row in tables.artifacts.rows().range::<&[u8]>(first.as_slice()..)? {
        let (key, row) = row?;
        let Some((pending, name)) = key.value().strip_prefix(first.as_slice()).and_then(<[u8]>::split_first) else {
            break;
        };
        let StoredArtifactRow::V1(artifact) = decode("artifacts", row.value())?;
        let name = str::from_utf8(name).map_err(crate::stored::corrupt)?.to_owned();
        all.push(ArtifactPlace { is_pending: *pending != 0, name, digest: Digest(artifact.digest) });
    }
    Ok(all)
}

/// Gives those artifacts of a task that its output stands on, and that are one of these blobs, the name beside it, as
/// something that an attempt left which made no output. Answers how many.
pub(crate) fn set_apart(tables: &mut Tables<'_>, task: TaskRef, apart: &[(Digest, &str)]) -> Result<u64, Fault> {
    let all = artifacts(tables, task)?;
    let mut names: Vec<(String, Digest)> =
        all.iter().filter(|one| one.is_pending).map(|one| (one.name.clone(), one.digest)).collect();
    let mut count = 0;
    for one in all.iter().filter(|one| !one.is_pending) {
        let Some((_, name)) = apart.iter().find(|(blob, _)| *blob == one.digest) else {
            continue;
        };
        let key = artifact_key(task.item, task.stage, false, &one.name);
        let row = tables.artifacts.rows().get(key.as_slice())?;
        let row = row.map(|row| decode::<StoredArtifactRow>("artifacts", row.value())).transpose()?;
        let name = free_name(name, |name| names.iter().all(|(known, of)| known != name || *of == one.digest));
        if let Some(row) = row {
            let apart = artifact_key(task.item, task.stage, true, &name);
            tables.artifacts.insert(&mut tables.files, &apart, &row)?;
            tables.artifacts.remove(&mut tables.files, &key)?;
        }
        names.push((name, one.digest));
        count += 1;
    }
    Ok(count)
}

/// How a task goes on whose page is no content.
pub(crate) struct Again {
    pub(crate) state: TaskState,
    /// Absent: nothing is held against it.
    pub(crate) tally: Option<Tally>,
}

impl Again {
    /// As one that is opened again.
    pub(crate) fn anew(state: TaskState) -> Self {
        Self { state, tally: None }
    }
}

/// Queues a task again whose page is no content, as `again` says, with all that stands on it. Outputs that stood on it
/// go. Answers whether the task waits now; one that was queued already goes on with that, and an item that a person
/// left out stays so.
pub(crate) fn queue_again(
    batch: &mut Batch<'_>,
    spec: &Spec,
    task: TaskRef,
    again: Again,
    now: Timestamp,
    opened: &mut Vec<StageIx>,
) -> Result<bool, Fault> {
    let head = read_item(&batch.tables.items, task.item, |head, _| Ok(head))?;
    let before = ItemTasks::read(&batch.tables.tasks, task.item, head.created, &spec.graph)?;
    let is_excluded = |state: &TaskState| matches!(state, TaskState::Skipped { reason: SkipReason::Excluded { .. } });
    if before.states.iter().any(|(stage, state)| spec.has(*stage) && is_excluded(state)) {
        return Ok(false);
    }
    let mut after = before.clone();
    let was_done = matches!(before.state(task.stage), Some(TaskState::Done));
    if was_done {
        after.set_state(task.stage, again.state);
        after.set_tally(task.stage, again.tally.unwrap_or_else(|| before.tally(task.stage).reopened()));
    }
    batch.tables.outputs.remove(&task_key(task.item, task.stage))?;
    let name = spec.stage_name(task.stage)?.clone();
    let graph = &spec.graph;
    let stands_on_it = |stage: &&GraphStage| graph.before(stage.name.as_str()).contains(&&name);
    let on_it: Vec<&GraphStage> = graph.stages().iter().filter(stands_on_it).collect();
    // Who rejected the item for what the page says was wrong about it.
    let is_rejected = |state: &TaskState| {
        matches!(state, TaskState::Skipped { reason: SkipReason::Rejected { by, .. } }
            if on_it.iter().any(|stage| &stage.name == by))
    };
    for (_, state) in after.states.iter_mut().filter(|(_, state)| is_rejected(state)) {
        *state = TaskState::Waiting { on: Vec::new() };
    }
    for stage in on_it {
        let_go(batch, spec, TaskRef { item: task.item, stage: stage.ix })?;
        if before.state(stage.ix).is_some_and(|state| !state.has_ended()) {
            batch.revoke(TaskRef { item: task.item, stage: stage.ix }, spec.id);
        }
        after.set_state(stage.ix, TaskState::Waiting { on: Vec::new() });
        after.set_tally(stage.ix, before.tally(stage.ix).reopened());
        batch.tables.outputs.remove(&task_key(task.item, stage.ix))?;
    }
    spec.graph.resolve(&mut after.states, now);
    let old = Side { graph: &spec.graph, states: &before.states, priority: head.priority };
    let new = Side { states: &after.states, ..old };
    apply_change(&mut batch.tables, batch.jobs.get_mut(spec.id)?, task.item, Some(old), new, opened)?;
    after.write(&mut batch.tables, task.item)?;
    Ok(was_done)
}
