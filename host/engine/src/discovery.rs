//! The discovery lane of a job: one page at a time, in the background, at an interval or until exhausted.

use std::{sync::Arc, time::Duration};

use tollgate_core::{
    Digest, JsonObject, Timestamp,
    outcome::{Outcome, RefusalKind, StageError, Verdict, decide},
    pause::{Pause, PauseReason},
    retry::{ASKED_WAIT, RetryPolicy},
    spec::JobSpec,
    task::{ErrorKind, LaterKind, Tally, TaskError},
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
    executor::{Ran, Tools, deciding_refusal, draw, failed_call, pause_of, tell_gate},
    plan::{DISCOVERY_TIMEOUT, JobPlan},
    services::PayingAttempt,
    supervise,
};

/// Upper bound of the first wait where a site fails, doubled with each: it gets longer to heal than a handler does.
const SITE_BACKOFF: Duration = Duration::from_mins(1);

/// What a page of discovery came to.
pub(crate) struct PageEnded {
    pub(crate) submitted: Submitted,
    /// The page paused its job.
    pub(crate) paused: Option<Pause>,
}

/// Claims the job's discovery, runs one page and settles it. An error is the store's.
pub(crate) async fn page(tools: &Tools, job: &JobPlan) -> Result<PageEnded, StoreError> {
    let DiscoveryClaim { token, state: before } = tools.store.claim_discovery(job.declared.id).await?;
    let started_at = tools.clock.now();
    let attempt = Attempt::new(tools, job, None, PayingAttempt::discovery(token));
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
    let (guest_us, mut ended) = (report.guest_us, attempt.end());
    if let Some(gone) = ended.store_gone.take() {
        return Err(gone);
    }
    if let Some(answered) = &ended.answered {
        tell_gate(tools, answered, matches!(report.result, Ok(Ok(_)))).await;
    }
    let ran = |outcome| Ran { outcome, ended, guest_us };
    let result = match report.result {
        Ok(Ok(found)) => {
            let every = job.spec.discover.and_then(|discover| discover.every);
            let next_round = if found.cursor.is_none() { every.map(|every| now.after(every)) } else { None };
            DiscoveryResult::Page { items: found.items, cursor: found.cursor, next_round }
        }
        Ok(Err(error)) => failed(tools, job, ran(Outcome::Stage(plain(error))), before.errors, (started_at, now)).await,
        Err(failure) => failed(tools, job, ran(failed_call(failure)), before.errors, (started_at, now)).await,
    };
    let settle = async |result| {
        let paused = match &result {
            DiscoveryResult::Error { pause, .. } => pause.clone(),
            DiscoveryResult::Page { .. } => None,
        };
        let page = DiscoveryPage { job: job.declared.id, token, result, now };
        match tools.store.settle_discovery(page).await {
            Err(StoreError::StaleDiscovery(_)) => {
                tracing::info!(job = %job.spec.name, "a page of discovery is dropped: its claim no longer holds");
                Ok((Submitted::default(), None))
            }
            settled => settled.map(|submitted| (submitted, paused)),
        }
    };
    let (submitted, paused) = match settle(result).await {
        // What the store can't take is the discovery's fault, which says so.
        Err(error @ StoreError::TooLarge { .. }) => {
            let ran = Ran::nothing(Outcome::Contract(error.to_string()));
            settle(failed(tools, job, ran, before.errors, (started_at, now)).await).await?
        }
        answer => answer?,
    };
    let state = tools.store.discovery(job.declared.id).await?;
    warn_of_empty_rounds(job, &before, &state);
    Ok(PageEnded { submitted, paused })
}

/// A discovery that finds nothing may look for the wrong thing (Q07).
fn warn_of_empty_rounds(job: &JobPlan, before: &DiscoveryState, after: &DiscoveryState) {
    let limit = job.spec.discover.map_or(u32::MAX, |discover| discover.empty_rounds_max);
    if after.empty_rounds >= limit && before.empty_rounds < limit {
        tracing::warn!(
            job = %job.spec.name, rounds = after.empty_rounds,
            "discovery found nothing in so many rounds: is its address still right?"
        );
    }
}

/// What follows from a page that gave nothing: the rules are those of a task, and a job whose discovery may
/// not be tried again pauses.
async fn failed(
    tools: &Tools,
    job: &JobPlan,
    ran: Ran,
    errors_before: u32,
    (started_at, now): (Timestamp, Timestamp),
) -> DiscoveryResult {
    let refusal = deciding_refusal(tools, &ran, started_at).await;
    let before = Tally { counted: errors_before, ..Tally::default() };
    let mut policy = RetryPolicy::default();
    if refusal.as_ref().is_some_and(|refusal| refusal.kind == RefusalKind::Transport) {
        policy.backoff = SITE_BACKOFF;
    }
    let decision = decide(ran.outcome, refusal.as_ref(), before, &policy, now, draw());
    let counted = decision.tally.counted > errors_before;
    let mut pause = pause_of(&decision.verdict, refusal.as_ref(), ran.ended.last_url.as_deref(), now);
    let (error, retry_at) = match decision.verdict {
        Verdict::Later { due, reason } => {
            let later = || TaskError::new(kind_of(reason.kind), reason.message.clone());
            (decision.error.unwrap_or_else(later), due)
        }
        Verdict::Failed(error) => {
            pause = Some(Pause::by_host(PauseReason::Discovery, now, error.to_string()));
            (error, now)
        }
        // None of these comes of an error; were it to, the next try shows it.
        Verdict::Done(_) | Verdict::Nothing(_) | Verdict::Reject(_) | Verdict::Skipped(_) => {
            (TaskError::new(ErrorKind::Host, "a failed discovery was taken for a good one"), now.after(ASKED_WAIT))
        }
    };
    let (name, pauses) = (&job.spec.name, pause.is_some());
    tracing::warn!(job = %name, %error, counted, pauses, retry_at_ms = retry_at.0, "discovery failed");
    DiscoveryResult::Error { error, counted, retry_at, pause }
}

/// A discovery has no item that could have nothing or be rejected: such words are failures that say so.
fn plain(error: StageError) -> StageError {
    match error {
        StageError::NothingHere(text) | StageError::Reject(text) => StageError::Failed(text),
        error => error,
    }
}

/// The error that a wait is shown as.
fn kind_of(later: LaterKind) -> ErrorKind {
    match later {
        LaterKind::RateLimited | LaterKind::Down | LaterKind::Transport => ErrorKind::Transport,
        _ => ErrorKind::Failed,
    }
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
