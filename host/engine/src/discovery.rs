//! The discovery lane of a job: one page at a time, in the background, at an interval or until exhausted.

use std::sync::Arc;

use tollgate_core::{
    Digest, JsonObject,
    outcome::{Refusal, StageError},
    retry::RetryPolicy,
    spec::JobSpec,
    task::{ErrorKind, TaskError},
};
use tollgate_sandbox::{
    Handler,
    call::{CallFailure, CallLimits, DiscoverCall, Report},
};
use tollgate_store::{
    DeclaredDiscovery, DiscoveryClaim, DiscoveryPage, DiscoveryResult, DiscoveryState, StoreError, Submitted,
};

use crate::{
    attempt::{Attempt, AttemptLog, AttemptName},
    executor::{Tools, draw},
    plan::{DISCOVERY_TIMEOUT, JobPlan},
    supervise,
};

/// What a page of discovery came to.
pub(crate) struct PageEnded {
    pub(crate) submitted: Submitted,
    pub(crate) state: DiscoveryState,
}

/// Claims the job's discovery, runs one page and settles it. An error is the store's.
pub(crate) async fn page(tools: &Tools, job: &JobPlan) -> Result<PageEnded, StoreError> {
    let DiscoveryClaim { token, state: before } = tools.store.claim_discovery(job.declared.id).await?;
    let attempt = Attempt::new(tools.store.clone(), tools.gate.clone(), job, None);
    let log = AttemptLog::new(AttemptName {
        job: job.spec.name.to_string(),
        item: String::new(),
        stage: "discover".to_owned(),
        attempt: before.errors.saturating_add(1),
        handler: job.handler.digests().artifact.short(),
    });
    let limits =
        CallLimits { wall_time: DISCOVERY_TIMEOUT, memory_bytes: job.guest_memory_max, ..CallLimits::default() };
    let call =
        DiscoverCall { job: job.spec.name.clone(), params: job.spec.params.clone(), cursor: before.cursor.clone() };
    let report = match supervise::catch(job.handler.discover(call, attempt.gates(job, log), &limits)).await {
        Ok(report) => report,
        Err(panic) => {
            tracing::error!(job = %job.spec.name, panic, "the host panicked in discovery");
            let result = Err(CallFailure::Host(format!("the host panicked: {panic}")));
            Report { result, guest_us: 0, memory_peak_bytes: 0 }
        }
    };
    let now = tools.clock.now();
    let result = match report.result {
        Ok(Ok(found)) => {
            let every = job.spec.discover.and_then(|discover| discover.every);
            let next_round = if found.cursor.is_none() { every.map(|every| now.after(every)) } else { None };
            DiscoveryResult::Page { items: found.items, cursor: found.cursor, next_round }
        }
        Ok(Err(error)) => failed(stage_error(error), attempt.end().refusal, before.errors, now),
        Err(failure) => failed(call_error(&failure), attempt.end().refusal, before.errors, now),
    };
    if let DiscoveryResult::Error { error, .. } = &result {
        tracing::warn!(job = %job.spec.name, %error, "discovery failed; it will be tried again");
    }
    let page = DiscoveryPage { job: job.declared.id, token, result, now };
    let submitted = match tools.store.settle_discovery(page).await {
        Err(StoreError::StaleDiscovery(_)) => {
            tracing::info!(job = %job.spec.name, "a page of discovery is dropped: its claim no longer holds");
            Submitted::default()
        }
        settled => settled?,
    };
    let state = tools.store.discovery(job.declared.id).await?;
    warn_of_empty_rounds(job, &before, &state);
    Ok(PageEnded { submitted, state })
}

/// A discovery that finds nothing may look for the wrong thing (Q07).
fn warn_of_empty_rounds(job: &JobPlan, before: &DiscoveryState, after: &DiscoveryState) {
    let limit = job.spec.discover.map_or(u32::MAX, |discover| discover.empty_rounds_max);
    if after.empty_rounds >= limit && before.empty_rounds < limit {
        tracing::warn!(job = %job.spec.name, rounds = after.empty_rounds, "discovery found nothing in so many rounds: is its address still right?");
    }
}

fn failed(
    error: TaskError,
    refusal: Option<Refusal>,
    errors_before: u32,
    now: tollgate_core::Timestamp,
) -> DiscoveryResult {
    let backoff = RetryPolicy::default().wait_after(errors_before.saturating_add(1), draw());
    let wait = refusal.and_then(|refusal| refusal.after).unwrap_or(backoff);
    DiscoveryResult::Error { error, retry_at: now.after(wait) }
}

fn stage_error(error: StageError) -> TaskError {
    match error {
        StageError::RetryLater { reason, .. } => TaskError::new(ErrorKind::Transport, reason),
        StageError::Permanent(text) => TaskError::new(ErrorKind::Permanent, text),
        StageError::NothingHere(text)
        | StageError::Reject(text)
        | StageError::Blocked(text)
        | StageError::LoginRequired(text)
        | StageError::Failed(text) => TaskError::new(ErrorKind::Failed, text),
    }
}

fn call_error(failure: &CallFailure) -> TaskError {
    let kind = match failure {
        CallFailure::Trap(_) => ErrorKind::Trap,
        CallFailure::Timeout(_) => ErrorKind::Timeout,
        CallFailure::Limit(_) => ErrorKind::Limit,
        CallFailure::Invalid(_) => ErrorKind::Contract,
        CallFailure::Host(_) => ErrorKind::Host,
    };
    TaskError::new(kind, failure.to_string())
}

/// What a job's discovery depends on, if it has one: its params and the handler's code. How often it runs is no part of
/// what it finds.
pub(crate) fn declared(spec: &JobSpec, handler: &Handler) -> Option<DeclaredDiscovery> {
    let every = spec.discover.filter(|_| handler.info().discovers)?.every;
    let basis = format!("{} {}", handler.digests().code, JsonObject::of(&spec.params).digest());
    Some(DeclaredDiscovery { basis: Digest::of(basis.as_bytes()), every })
}

/// Whether a job discovers at all, and isn't done with it.
pub(crate) fn wanted(job: &Arc<JobPlan>, state: &DiscoveryState) -> bool {
    job.spec.discover.is_some() && job.handler.info().discovers && !state.finished
}
