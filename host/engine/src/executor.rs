//! Runs one claimed task to its settlement.

use std::sync::Arc;

use serde_json::{Map, Value};
use tollgate_core::{
    Clock, JsonObject, Timestamp,
    outcome::{BreakerEffect, Decision, Outcome, Refusal, RefusalKind, StageError, StageOutput, Verdict, decide},
    pause::{Pause, PauseReason},
    task::{LaterKind, SkipReason, Tally},
};
use tollgate_egress::Gate;
use tollgate_sandbox::call::{CallFailure, CallLimits, Report, StageCall, StageReport};
use tollgate_store::{AttemptEnd, AttemptRecord, Claim, Fingerprint, Settled, Settlement, Store, StoreError};

use crate::{
    attempt::{Attempt, AttemptEnded, AttemptLog, AttemptName},
    plan::{JobPlan, StagePlan},
    supervise,
};

/// What every executor uses.
pub(crate) struct Tools {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A task that has been run, before it is settled.
struct Ran {
    outcome: Outcome,
    ended: AttemptEnded,
    guest_us: u64,
}

/// What running a task came to, for its lane.
#[derive(Debug, Default)]
pub(crate) struct Executed {
    pub(crate) settled: Settled,
    /// Something as a whole stood in the way (a cool-down, a proxy that is down) until then: others of the lane will
    /// likely meet it too.
    pub(crate) in_the_way_until: Option<Timestamp>,
}

/// Runs a claimed task and settles it. An error is the store's: the task is as if it had not run.
pub(crate) async fn execute(
    tools: &Tools,
    job: &JobPlan,
    stage: &StagePlan,
    claim: Claim,
) -> Result<Executed, StoreError> {
    let started_at = tools.clock.now();
    let settlement = match condition(stage, &claim) {
        Err(message) => {
            let outcome = Outcome::Stage(StageError::Failed(message));
            let ran = Ran { outcome, ended: AttemptEnded::nothing(), guest_us: 0 };
            settlement_of(tools, job, stage, &claim, started_at, ran)
        }
        Ok(Some(reason)) => skipped(&claim, reason, started_at),
        Ok(None) => {
            let attempt = Attempt::new(tools.store.clone(), tools.gate.clone(), job, Some((stage, claim.task.item)));
            let report = match missing_input(tools, stage, &claim).await? {
                Some(missing) => {
                    Report { result: Ok(Err(StageError::Failed(missing))), guest_us: 0, memory_peak_bytes: 0 }
                }
                None => run(job, stage, &claim, &attempt).await,
            };
            let ended = attempt.end();
            let guest_us = report.guest_us;
            let ran = Ran { outcome: outcome(stage, report), ended, guest_us };
            settlement_of(tools, job, stage, &claim, started_at, ran)
        }
    };
    let in_the_way_until = in_the_way(&settlement.verdict);
    let settled = settle(tools, job, stage, &claim, settlement).await?;
    Ok(Executed { settled, in_the_way_until })
}

/// Until when something as a whole stands in the way.
fn in_the_way(verdict: &Verdict) -> Option<Timestamp> {
    match verdict {
        Verdict::Later { due, reason }
            if matches!(reason.kind, LaterKind::RateLimited | LaterKind::Down | LaterKind::Blocked) =>
        {
            Some(*due)
        }
        _ => None,
    }
}

/// Settles; an output that the store can't take is a failure of the stage, which says so.
async fn settle(
    tools: &Tools,
    job: &JobPlan,
    stage: &StagePlan,
    claim: &Claim,
    settlement: Settlement,
) -> Result<Settled, StoreError> {
    let one = async |settlement| {
        let answers = tools.store.settle(vec![settlement]).await?;
        answers.into_iter().next().unwrap_or(Err(StoreError::Closed))
    };
    let started_at = settlement.attempt.as_ref().map_or(settlement.now, |attempt| attempt.started_at);
    match one(settlement).await {
        Err(error @ StoreError::TooLarge { .. }) => {
            let outcome = Outcome::Contract(error.to_string());
            let ran = Ran { outcome, ended: AttemptEnded::nothing(), guest_us: 0 };
            one(settlement_of(tools, job, stage, claim, started_at, ran)).await
        }
        answer => answer,
    }
}

/// Evaluates the stage's condition: a reason to skip, if it is false.
fn condition(stage: &StagePlan, claim: &Claim) -> Result<Option<SkipReason>, String> {
    let Some(when) = &stage.spec.when else {
        return Ok(None);
    };
    let mut names = Map::new();
    for name in when.names() {
        let object = match name.as_str() {
            "data" => Some(&claim.data),
            stage => claim.inputs.iter().find(|(name, _)| name.as_str() == stage).map(|(_, output)| &output.fields),
        };
        if let Some(object) = object {
            let object = object.parse().map_err(|error| format!("condition `{}`: {name}: {error}", when.source()))?;
            names.insert(name, Value::Object(object));
        }
    }
    match when.holds(&names) {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some(SkipReason::Condition { when: when.source().to_owned() })),
        Err(error) => Err(format!("condition {error}")),
    }
}

fn skipped(claim: &Claim, reason: SkipReason, now: Timestamp) -> Settlement {
    Settlement {
        task: claim.task,
        token: claim.token,
        verdict: Verdict::Skipped(reason),
        tally: claim.tally,
        breaker: BreakerEffect::None,
        attempt: None,
        fingerprint: None,
        artifacts: Vec::new(),
        pause: None,
        now,
    }
}

/// The first artifact that the stage declares to read and that isn't there (S06).
async fn missing_input(tools: &Tools, stage: &StagePlan, claim: &Claim) -> Result<Option<String>, StoreError> {
    if stage.reads.is_empty() {
        return Ok(None);
    }
    let stored = tools.store.artifacts(claim.task.item, Some(stage.lane.stage)).await?;
    let missing = stage.reads.iter().find(|(_, maker, name)| {
        // What the stage itself made on an earlier attempt may be absent: this is what it reads if it is there.
        maker != &stage.lane.stage
            && !stored.iter().any(|stored| &stored.stage == maker && &stored.artifact.name == name)
    });
    Ok(missing.map(|(maker, _, name)| format!("artifact {maker}/{name}, which the stage reads, is missing")))
}

async fn run(job: &JobPlan, stage: &StagePlan, claim: &Claim, attempt: &Arc<Attempt>) -> StageReport {
    let number = claim.tally.attempts.saturating_add(1);
    let log = AttemptLog::new(AttemptName {
        job: job.spec.name.to_string(),
        item: claim.key.to_string(),
        stage: stage.spec.name.to_string(),
        attempt: number,
        handler: job.handler.digests().artifact.short(),
    });
    let limits =
        CallLimits { wall_time: stage.spec.timeout, memory_bytes: job.guest_memory_max, ..CallLimits::default() };
    let call = StageCall {
        job: job.spec.name.clone(),
        stage: stage.spec.name.clone(),
        key: claim.key.clone(),
        data: claim.data.clone(),
        inputs: inputs(stage, claim),
        params: stage.params.clone(),
        attempt: number,
    };
    let running = job.handler.run_stage(call, attempt.gates(job, log), &limits);
    match supervise::catch(running).await {
        Ok(report) => report,
        Err(panic) => {
            tracing::error!(job = %job.spec.name, item = %claim.key, stage = %stage.spec.name, panic, "the host panicked while it ran a task");
            let result = Err(CallFailure::Host(format!("the host panicked: {panic}")));
            Report { result, guest_us: 0, memory_peak_bytes: 0 }
        }
    }
}

/// The outputs that the handler is given: its needs only, not what a condition looks at.
fn inputs(stage: &StagePlan, claim: &Claim) -> JsonObject {
    let needed = stage.needs.iter().flat_map(|need| need.any_of.iter());
    JsonObject::nest(needed.filter_map(|name| claim.inputs.get(name).map(|output| (name.as_str(), &output.fields))))
}

/// What the report comes to, once the output is held against the contracts.
fn outcome(stage: &StagePlan, report: StageReport) -> Outcome {
    match report.result {
        Ok(Ok(output)) => {
            // Into a value and out again: neither is a copy.
            let value = Value::Object(output.fields);
            let breach = stage.contracts.iter().find_map(|contract| contract.check(&value).err());
            match (breach, value) {
                (None, Value::Object(fields)) => Outcome::Output(StageOutput { fields, ..output }),
                (None, other) => Outcome::Contract(format!("the output is no object: {other}")),
                (Some(breach), _) => Outcome::Contract(breach.to_string()),
            }
        }
        Ok(Err(error)) => Outcome::Stage(error),
        Err(CallFailure::Trap(text)) => Outcome::Trap(text),
        Err(CallFailure::Timeout(text)) => Outcome::Timeout(text),
        Err(CallFailure::Limit(text)) => Outcome::Limit(text),
        Err(CallFailure::Invalid(text)) => Outcome::Contract(text),
        Err(CallFailure::Host(text)) => Outcome::Host(text),
    }
}

fn settlement_of(
    tools: &Tools,
    job: &JobPlan,
    stage: &StagePlan,
    claim: &Claim,
    started_at: Timestamp,
    ran: Ran,
) -> Settlement {
    let now = tools.clock.now();
    let refusal = deciding_refusal(tools, &ran);
    let decision = decide(ran.outcome, refusal.as_ref(), claim.tally, &stage.spec.retry, now, draw());
    let attempt = AttemptRecord {
        number: decision.tally.attempts,
        started_at,
        ended_at: now,
        handler: job.handler.digests(),
        ended: end_of(&decision.verdict),
        reason: reason_of(&decision),
        error: decision.error.clone(),
        guest_us: ran.guest_us,
        requests: ran.ended.requests,
        bytes_received: ran.ended.bytes_received,
    };
    log_end(job, stage, claim, &decision);
    let fingerprint = matches!(decision.verdict, Verdict::Done(_)).then(|| fingerprint(stage, claim));
    Settlement {
        task: claim.task,
        token: claim.token,
        pause: needs_person(&decision.verdict, ran.ended.last_url.as_deref(), now),
        verdict: decision.verdict,
        tally: decision.tally,
        breaker: decision.breaker,
        attempt: Some(attempt),
        fingerprint,
        artifacts: ran.ended.artifacts,
        now,
    }
}

/// The refusal by which the attempt is judged: the gate's, or what the stage's own words do to its site.
fn deciding_refusal(tools: &Tools, ran: &Ran) -> Option<Refusal> {
    match &ran.outcome {
        Outcome::Stage(StageError::Blocked(text)) => {
            // The stage saw what no guard did: its site is left alone, whichever job asks.
            let url = ran.ended.last_url.as_deref()?;
            let after = tools.gate.block(url, text);
            Some(Refusal { kind: RefusalKind::Blocked, about: site_of(url), message: text.clone(), after: Some(after) })
        }
        Outcome::Timeout(text) if ran.ended.in_gate => Some(Refusal {
            kind: RefusalKind::RateLimited,
            about: ran.ended.last_url.as_deref().map(site_of).unwrap_or_default(),
            message: format!("{text}, while it waited for its turn at the site"),
            after: None,
        }),
        _ => ran.ended.refusal.clone(),
    }
}

/// A site that wants a session which nobody configured needs a person; until then its job stands still, visibly.
fn needs_person(verdict: &Verdict, last_url: Option<&str>, now: Timestamp) -> Option<Pause> {
    let Verdict::Later { reason, .. } = verdict else {
        return None;
    };
    (reason.kind == LaterKind::LoginRequired).then(|| Pause {
        reason: PauseReason::Circuit { site: last_url.map(site_of).unwrap_or_else(|| "the site".to_owned()) },
        by: "host".to_owned(),
        at: now,
        evidence: format!("login required: {}", reason.message),
        until: None,
    })
}

fn site_of(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_scheme.split(['/', '?', '#']).next().unwrap_or_default().to_owned()
}

fn end_of(verdict: &Verdict) -> AttemptEnd {
    match verdict {
        Verdict::Done(_) => AttemptEnd::Done,
        Verdict::Nothing(_) => AttemptEnd::Nothing,
        Verdict::Reject(_) | Verdict::Skipped(_) => AttemptEnd::Rejected,
        Verdict::Failed(_) => AttemptEnd::Failed,
        Verdict::Later { reason, .. } => AttemptEnd::Later(reason.kind),
    }
}

/// Why an attempt ended without an output, where no error says so.
fn reason_of(decision: &Decision) -> Option<String> {
    match &decision.verdict {
        Verdict::Nothing(reason) | Verdict::Reject(reason) => Some(reason.clone()),
        Verdict::Later { reason, .. } if decision.error.is_none() => Some(reason.message.clone()),
        _ => None,
    }
}

fn fingerprint(stage: &StagePlan, claim: &Claim) -> Fingerprint {
    let needed = stage.needs.iter().flat_map(|need| need.any_of.iter());
    Fingerprint {
        source: stage.source.clone(),
        params: stage.params_digest,
        contract: stage.contract_digest,
        data: claim.data.digest(),
        inputs: needed.filter_map(|name| claim.inputs.get(name).map(|input| (name.clone(), input.digest))).collect(),
    }
}

fn log_end(job: &JobPlan, stage: &StagePlan, claim: &Claim, decision: &Decision) {
    let (job, item, stage) = (&job.spec.name, &claim.key, &stage.spec.name);
    let Tally { attempts, .. } = decision.tally;
    match &decision.verdict {
        Verdict::Failed(error) => tracing::warn!(%job, %item, %stage, attempt = attempts, %error, "task failed"),
        Verdict::Later { reason, due } => {
            tracing::info!(%job, %item, %stage, attempt = attempts, %reason, due_ms = due.0, "task is tried again later");
        }
        _ => tracing::debug!(%job, %item, %stage, attempt = attempts, "task ended"),
    }
}

/// Chance for jitter, `0.0..1.0`. Chance in tests doesn't matter: it only spreads waits.
pub(crate) fn draw() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        // Without chance the waits are those of the upper half: longer than needed, never shorter.
        Err(_) => 1.0,
    }
}

impl AttemptEnded {
    /// An attempt that ended before any gate was opened.
    fn nothing() -> Self {
        Self { refusal: None, in_gate: false, last_url: None, requests: 0, bytes_received: 0, artifacts: Vec::new() }
    }
}
