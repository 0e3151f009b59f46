//! Settling attempts: one transaction for the output, the attempt, the states and all that follows from them.

use redb::ReadableTable;
use tollgate_core::{
    Digest, JobId, JsonObject, Timestamp,
    artifact::ARTIFACT_NAME_BYTES_MAX,
    breaker::BreakerState,
    graph::STAGES_MAX,
    outcome::{BreakerEffect, Verdict},
    pause::{Pause, PauseReason},
    task::{SkipReason, TaskError, TaskState},
};

use super::{
    duplicates,
    fault::Fault,
    jobs::{Job, Spec},
    json, passing, refused,
    submit::{self, Prepared},
    tables::{AttemptKey, Tables, artifact_key, attempt_key, job_key, number_after, task_key},
    tasks::{Head, ItemTasks, Side, apply_change, note, read_item},
    writer::Batch,
};
use crate::{
    AttemptRecord, Settled, Settlement, StoreError, TaskRef,
    stored::{
        StoredArtifactRow, StoredArtifactV1, StoredAttempt, StoredErrorRow, StoredErrorV1, StoredOutput,
        StoredOutputV1, decode, encode,
    },
};

/// Most bytes of one output, as JSON: outputs are read with claims and listed. Larger things are artifacts.
pub const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// Bytes of an output above which packing it is work for the blocking pool: a fraction of a millisecond.
const PACK_HERE_BYTES_MAX: usize = 64 << 10;
/// Most artifacts of one attempt: an album of a page's images, not a crawl.
pub const ARTIFACTS_PER_ATTEMPT_MAX: usize = 1_000;
/// Longest media type of an artifact, in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 1_024;
/// Errors kept for the list of a job's latest ones; each attempt keeps its own beside that.
pub const ERRORS_KEPT: u64 = 1_000;

/// Whether packing a settlement takes a while: a large output, or many items found.
pub(crate) fn is_large(settlement: &Settlement) -> bool {
    let Verdict::Done(output) = &settlement.verdict else {
        return false;
    };
    output.found.len() > submit::PACK_HERE_MAX || json::is_longer(&output.fields, PACK_HERE_BYTES_MAX)
}

/// A settlement packed for the writer.
#[derive(Debug)]
pub(crate) struct PreparedSettlement {
    settlement: Settlement,
    job: JobId,
    /// With [`Verdict::Done`]: the output and its digest.
    output: Option<(JsonObject, Digest)>,
    found: Prepared,
    /// What the writer found it to be impossible with.
    broken: Option<StoreError>,
}

impl PreparedSettlement {
    /// Packs it. `job` is that of its claim.
    pub(crate) fn new(settlement: Settlement, job: JobId) -> Result<Self, StoreError> {
        let (output, found) = match &settlement.verdict {
            Verdict::Done(output) => {
                let fields = JsonObject::of(&output.fields);
                let flags: usize = output.quality_flags.iter().map(String::len).sum();
                limit("an output", fields.as_str().len() + flags, OUTPUT_BYTES_MAX)?;
                let digest = fields.digest();
                (Some((fields, digest)), Prepared::new(job, &output.found, settlement.now)?)
            }
            _ => (None, Prepared::new(job, &[], settlement.now)?),
        };
        limit("the list of an attempt's artifacts", settlement.artifacts.len(), ARTIFACTS_PER_ATTEMPT_MAX)?;
        limit("the list of an attempt's pages", settlement.pages.len(), ARTIFACTS_PER_ATTEMPT_MAX)?;
        for artifact in &settlement.artifacts {
            limit("the name of an artifact", artifact.name.len(), ARTIFACT_NAME_BYTES_MAX)?;
            limit("the media type of an artifact", artifact.content_type.len(), CONTENT_TYPE_BYTES_MAX)?;
        }
        Ok(Self { settlement, job, output, found, broken: None })
    }

    /// About its bytes in the writer's batch.
    pub(crate) fn bytes(&self) -> usize {
        self.output.as_ref().map_or(0, |(fields, _)| fields.as_str().len()) + self.found.bytes + 256
    }
}

fn limit(what: &'static str, found: usize, max: usize) -> Result<(), StoreError> {
    if found > max { Err(StoreError::TooLarge { what, bytes: found as u64, max: max as u64 }) } else { Ok(()) }
}

/// Settles each of them in the writer's batch. One that proves impossible is noted and the batch done again.
pub(crate) fn settle_all(
    batch: &mut Batch<'_>,
    settlements: &mut [Result<PreparedSettlement, StoreError>],
) -> Result<Vec<Result<Settled, StoreError>>, Fault> {
    let mut answers = Vec::with_capacity(settlements.len());
    for settlement in settlements {
        let prepared = match settlement {
            Ok(prepared) => prepared,
            Err(error) => {
                answers.push(Err(error.clone()));
                continue;
            }
        };
        if let Some(error) = &prepared.broken {
            answers.push(Err(error.clone()));
            continue;
        }
        match settle(batch, prepared) {
            Ok(settled) => answers.push(Ok(settled)),
            Err(Fault::Refused(error)) => answers.push(Err(error)),
            Err(Fault::Broken(error)) => {
                tracing::warn!(%error, task = ?prepared.settlement.task, "an attempt can't be settled; the others are");
                prepared.broken = Some(error);
                return Err(Fault::Redo);
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(answers)
}

fn settle(batch: &mut Batch<'_>, prepared: &PreparedSettlement) -> Result<Settled, Fault> {
    let Settlement { task, token, now, .. } = prepared.settlement;
    let settlement = &prepared.settlement;
    let stale = || Fault::Refused(StoreError::StaleClaim(task.item));
    let spec = batch.jobs.get(prepared.job).map_err(Fault::Refused)?.spec.clone();
    batch.check_claim(task, token).map_err(Fault::Refused)?;
    if !spec.has(task.stage) {
        batch.revoke(task, prepared.job);
        return Err(stale());
    }
    let head = read_item(&batch.tables.items, task.item, |head, _| Ok(head))?;
    let before = ItemTasks::read(&batch.tables.tasks, task.item, head.created, &spec.graph)?;
    if !matches!(before.state(task.stage), Some(TaskState::Ready { .. } | TaskState::RetryLater { .. })) {
        batch.revoke(task, prepared.job);
        return Err(stale());
    }
    duplicates::check(batch, &spec, settlement)?;
    // Nothing is refused below this line.
    batch.hold_settling(task);
    let mut settled = Settled::default();
    let after = settle_tasks(batch, &spec, head, settlement, &before, &mut settled)?;
    after.write(&mut batch.tables, task.item)?;
    write_attempt(&mut batch.tables, &spec, settlement)?;
    let flag = duplicates::hold(batch, &spec, settlement)?;
    write_output(&mut batch.tables, prepared, flag)?;
    write_artifacts(&mut batch.tables, settlement)?;
    // After the artifacts are replaced: what is noted is of those that were there by then.
    passing::drop_rows(&mut batch.tables, settlement, &before, &after)?;
    if let Some(back) = &settlement.take_back {
        duplicates::take_back(batch, &spec, task, back, now, &mut settled)?;
    }
    if let Some(page) = &settlement.refused {
        refused::take_back(batch, &spec, task, page, now, &mut settled)?;
    }
    let job = batch.jobs.get_mut(spec.id)?;
    write_error(&mut batch.tables, job, task, error_of(settlement), now)?;
    let opened = count_breaker(job, settlement)?;
    settled.paused = pause(job, opened.or_else(|| settlement.pause.clone()));
    settled.found = submit::submit(batch, spec.id, &prepared.found, now)?;
    settled.found.opened.iter().for_each(|stage| note(&mut settled.opened, *stage));
    Ok(settled)
}

/// The states of the item's tasks after the attempt, with queues and counters.
fn settle_tasks(
    batch: &mut Batch<'_>,
    spec: &Spec,
    head: Head,
    settlement: &Settlement,
    before: &ItemTasks,
    settled: &mut Settled,
) -> Result<ItemTasks, Fault> {
    let stage = settlement.task.stage;
    let state = match &settlement.verdict {
        Verdict::Done(_) => TaskState::Done,
        Verdict::Nothing(reason) => TaskState::Nothing { reason: reason.clone() },
        Verdict::Reject(reason) => {
            let by = spec.stage_name(stage)?.clone();
            TaskState::Skipped { reason: SkipReason::Rejected { by, reason: reason.clone() } }
        }
        Verdict::Skipped(reason) => TaskState::Skipped { reason: reason.clone() },
        Verdict::Failed(error) => TaskState::Failed { error: error.clone() },
        Verdict::Later { due, reason } => {
            settled.due = Some(*due);
            TaskState::RetryLater { due: *due, reason: reason.clone() }
        }
    };
    debug_assert!(spec.graph.stages().len() <= STAGES_MAX, "an item's tasks stand in one row");
    let mut after = before.clone();
    after.set_state(stage, state);
    after.set_tally(stage, settlement.tally);
    spec.graph.resolve(&mut after.states, settlement.now);
    let old = Side { graph: &spec.graph, states: &before.states, priority: head.priority };
    let new = Side { states: &after.states, ..old };
    apply_change(&mut batch.tables, batch.jobs.get_mut(spec.id)?, head.id, Some(old), new, &mut settled.opened)?;
    Ok(after)
}

fn write_attempt(tables: &mut Tables<'_>, spec: &Spec, settlement: &Settlement) -> Result<(), Fault> {
    let TaskRef { item, stage } = settlement.task;
    let Some(attempt) = &settlement.attempt else {
        return Ok(());
    };
    let row = encode(&StoredAttempt::from(attempt))?;
    tables.attempts.insert(&attempt_key(item, stage, attempt.number), row.as_slice())?;
    // At least one stays, or an item could not say how it ended (S14).
    let keep = spec.keep_attempts.max(1) as usize;
    if attempt.number as usize <= keep {
        return Ok(());
    }
    // Those that only had to wait have a bound of their own: a site that is down for a day says nothing about failures.
    let all = attempt_key(item, stage, 0)..=attempt_key(item, stage, u32::MAX);
    let mut alike = Vec::new();
    for row in tables.attempts.range::<&AttemptKey>(&all.start()..=&all.end())? {
        let (key, row) = row?;
        if AttemptRecord::from(decode::<StoredAttempt>("attempts", row.value())?).is_counted() == attempt.is_counted() {
            alike.push(*key.value());
        }
    }
    for key in alike.iter().rev().skip(keep) {
        tables.attempts.remove(key)?;
    }
    Ok(())
}

fn write_output(tables: &mut Tables<'_>, prepared: &PreparedSettlement, flag: Option<String>) -> Result<(), Fault> {
    let settlement = &prepared.settlement;
    // Without an output the last good one goes on serving.
    let (Verdict::Done(output), Some((fields, digest))) = (&settlement.verdict, &prepared.output) else {
        return Ok(());
    };
    let handler = settlement.attempt.as_ref().map(|attempt| (attempt.handler.artifact.0, attempt.handler.code.0));
    let row = encode(&StoredOutput::V1(StoredOutputV1 {
        made_at_ms: settlement.now.0,
        digest: digest.0,
        handler,
        fingerprint: settlement.fingerprint.as_ref().map(Into::into),
        quality_flags: duplicates::with_flag(output.quality_flags.clone(), flag),
        fields: fields.as_str().as_bytes(),
    }))?;
    tables.outputs.insert(&task_key(settlement.task.item, settlement.task.stage), row.as_slice())?;
    Ok(())
}

fn write_artifacts(tables: &mut Tables<'_>, settlement: &Settlement) -> Result<(), Fault> {
    let TaskRef { item, stage } = settlement.task;
    let is_done = matches!(settlement.verdict, Verdict::Done(_));
    if is_done {
        let first = task_key(item, stage);
        tables.artifacts.clear(&mut tables.files, &first)?;
        // What had gone of them is there anew.
        tables.gone.remove(&first)?;
    }
    for artifact in &settlement.artifacts {
        let row = StoredArtifactRow::V1(StoredArtifactV1 {
            content_type: artifact.content_type.clone(),
            size: artifact.blob.size,
            digest: artifact.blob.digest.0,
        });
        let key = artifact_key(item, stage, !is_done, &artifact.name);
        tables.artifacts.insert(&mut tables.files, &key, &row)?;
    }
    Ok(())
}

/// What went wrong in the attempt, if anything did.
fn error_of(settlement: &Settlement) -> Option<&TaskError> {
    match (&settlement.verdict, &settlement.attempt) {
        (Verdict::Failed(error), _) => Some(error),
        (_, Some(attempt)) => attempt.error.as_ref(),
        _ => None,
    }
}

pub(super) fn write_error(
    tables: &mut Tables<'_>,
    job: &mut Job,
    task: TaskRef,
    error: Option<&TaskError>,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(error) = error else {
        return Ok(());
    };
    let number = job.totals.next_error;
    job.totals.next_error = number_after("errors", number)?;
    let row =
        StoredErrorRow::V1(StoredErrorV1 { item: task.item.0, stage: task.stage.0, at_ms: now.0, error: error.into() });
    tables.errors.insert(&job_key(job.spec.id, number), encode(&row)?.as_slice())?;
    if let Some(oldest) = number.checked_sub(ERRORS_KEPT) {
        tables.errors.remove(&job_key(job.spec.id, oldest))?;
    }
    Ok(())
}

/// Counts the attempt in its lane; answers the pause if it opened the breaker.
fn count_breaker(job: &mut Job, settlement: &Settlement) -> Result<Option<Pause>, Fault> {
    let Settlement { task, now, .. } = *settlement;
    let spec = job.spec.clone();
    let lane = job.lanes.entry(task.stage).or_default();
    if let Some(attempt) = &settlement.attempt {
        lane.last_attempt_at = Some(attempt.ended_at);
        let is_later = matches!(settlement.verdict, Verdict::Later { .. });
        lane.later_since = is_later.then(|| lane.later_since.unwrap_or(attempt.ended_at));
    }
    if matches!(settlement.verdict, Verdict::Done(_) | Verdict::Nothing(_) | Verdict::Reject(_)) {
        lane.last_progress_at = Some(now);
    }
    if settlement.breaker == BreakerEffect::Success && lane.breaker.failures() == 0 {
        return Ok(None);
    }
    match lane.breaker.record(task.item, settlement.breaker, spec.breaker) {
        BreakerState::Closed => Ok(None),
        BreakerState::Opened => {
            let reason =
                PauseReason::Breaker { stage: spec.stage_name(task.stage)?.clone(), failures: lane.breaker.failures() };
            let evidence = error_of(settlement).map(ToString::to_string).unwrap_or_default();
            Ok(Some(Pause::by_host(reason, now, evidence)))
        }
    }
}

/// Pauses the job, unless it is paused already by what only a person ends; answers the pause if it is a new one. What
/// stands against a handler is found anew at each start, so that it replaces nothing and anything replaces it.
pub(super) fn pause(job: &mut Job, pause: Option<Pause>) -> Option<Pause> {
    let pause = pause?;
    let passes = |old: &Pause| matches!(old.reason, PauseReason::Shutdown | PauseReason::Handler);
    let stands = |old: &Pause| old.until.is_none() && !passes(old);
    if job.pause.as_ref().is_some_and(stands) {
        return None;
    }
    job.pause = Some(pause.clone());
    Some(pause)
}
