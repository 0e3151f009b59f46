//! Declaring a job: its numbers, and existing items brought into line with its stages.

use std::sync::Arc;

use redb::ReadableTable;
use tollgate_core::{ItemId, JobId, StageIx, Timestamp, task::TaskState};

use super::{
    discovery,
    fault::Fault,
    jobs::{Declared, Job, Spec},
    tables,
    tasks::{ItemTasks, Side, apply_change, read_item},
    writer::Batch,
};
use crate::{DeclaredJob, JobDeclaration, StoreError, TaskRef, stored::corrupt};

/// Declares it in the writer's batch.
pub(crate) fn declare(
    batch: &mut Batch<'_>,
    declaration: &JobDeclaration,
    now: Timestamp,
) -> Result<DeclaredJob, Fault> {
    let known = batch.jobs.by_name(&declaration.name).cloned();
    let id = match &known {
        Some(job) => job.spec.id,
        None => next_id(batch)?,
    };
    let stages = known.as_ref().map(|job| job.spec.stages.clone()).unwrap_or_default();
    let spec = Arc::new(new_spec(id, stages, declaration).map_err(Fault::Refused)?);
    let declared = DeclaredJob { id, graph: spec.graph.clone() };
    match known {
        Some(job) if job.spec == spec => {}
        Some(job) => {
            batch.jobs.get_mut(id)?.spec = spec.clone();
            if job.spec.graph != spec.graph {
                realign(batch, &job.spec, &spec, now)?;
            }
        }
        None => drop(batch.jobs.by_id.insert(id, Arc::new(Job::new(spec)))),
    }
    if let Some(discovery) = declaration.discovery {
        discovery::declare(batch, id, discovery)?;
    }
    Ok(declared)
}

fn next_id(batch: &Batch<'_>) -> Result<JobId, StoreError> {
    let last = batch.jobs.by_id.keys().next_back().map_or(0, |last| last.0);
    last.checked_add(1).map(JobId).ok_or_else(|| corrupt("jobs are numbered to their end"))
}

/// The job as declared; new stages get the next numbers, and known ones keep theirs.
fn new_spec(
    id: JobId,
    mut stages: Vec<tollgate_core::StageName>,
    declaration: &JobDeclaration,
) -> Result<Spec, StoreError> {
    for stage in &declaration.stages {
        if !stages.contains(&stage.name) {
            stages.push(stage.name.clone());
        }
    }
    let number = |name: &tollgate_core::StageName| {
        let place = stages.iter().position(|stage| stage == name).and_then(|place| u16::try_from(place).ok());
        place
            .map(StageIx)
            .ok_or_else(|| StoreError::Declaration(format!("`{name}` is no stage of the job, or one too many")))
    };
    let mut declared = Vec::with_capacity(declaration.stages.len());
    for stage in &declaration.stages {
        let brings = stage.brings.iter().map(number).collect::<Result<_, _>>()?;
        declared.push(Declared { ix: number(&stage.name)?, needs: stage.needs.clone(), brings });
    }
    Ok(Spec {
        id,
        name: declaration.name.clone(),
        kind: declaration.kind,
        graph: Spec::graph_of(&stages, &declared)?,
        stages,
        declared,
        keep_attempts: declaration.keep_attempts,
        breaker: declaration.breaker,
    })
}

/// Brings every item of the job from the old graph to the new one: one transaction, so that no reader and no crash
/// sees a job between two graphs.
fn realign(batch: &mut Batch<'_>, old: &Spec, new: &Spec, now: Timestamp) -> Result<(), Fault> {
    let spans: Vec<(u64, u64)> = tables::spans(&batch.tables.figures, new.id, 0)?.collect::<Result<_, _>>()?;
    for id in spans.into_iter().flat_map(|(first, last)| first..=last).map(ItemId) {
        let head = read_item(&batch.tables.items, id, |head, _| Ok(head))?;
        let before = ItemTasks::read(&batch.tables.tasks, id, head.created, &old.graph)?;
        let has_row = batch.tables.tasks.get(id.0)?.is_some();
        let mut after = before.clone();
        if has_row {
            new.graph.resolve(&mut after.states, now);
        } else {
            // Without a row they are the initial ones, of whichever graph.
            after.states = new.graph.initial(head.created);
        }
        let was = Side { graph: &old.graph, states: &before.states, priority: head.priority };
        let is = Side { graph: &new.graph, states: &after.states, priority: head.priority };
        apply_change(&mut batch.tables, batch.jobs.get_mut(new.id)?, id, Some(was), is, &mut Vec::new())?;
        if has_row && after != before {
            after.write(&mut batch.tables, id)?;
        }
        // What an attempt brings is refused where its stage is gone, or has to wait for a need that it ran without.
        for stage in &old.declared {
            let task = TaskRef { item: id, stage: stage.ix };
            let may_run = |state| matches!(state, &TaskState::Ready { .. } | &TaskState::RetryLater { .. });
            let stands = new.has(stage.ix) && after.state(stage.ix).is_some_and(may_run);
            if !stands && batch.is_claimed(task) {
                batch.revoke(task, new.id);
            }
        }
    }
    Ok(())
}
