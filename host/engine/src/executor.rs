//! Runs one claimed task to its settlement.

mod check;

use std::sync::Arc;

use serde_json::{Map, Value};
use tollgate_core::{
    Clock, Digest, ItemKey, JsonObject, Timestamp,
    artifact::free_name,
    outcome::{BreakerEffect, Decision, Outcome, Refusal, RefusalKind, StageError, StageOutput, Verdict, decide},
    pause::{Pause, PauseReason},
    retry::ASKED_WAIT,
    task::{LaterKind, LaterReason, SkipReason, Tally, clean_message},
};
use tollgate_egress::{Gate, guard::DUPLICATE};
use tollgate_sandbox::call::{CallFailure, CallLimits, Report, StageCall, StageReport};
use tollgate_store::{
    AttemptEnd, AttemptRecord, Claim, Duplicate, Fingerprint, KeptPage, NewArtifact, Settled, Settlement, Store,
    StoreError, TakeBack,
};

use crate::{
    attempt::{Answered, Attempt, AttemptEnded, AttemptLog, AttemptName, CallPhase, GUARDED_PREFIX},
    plan::{JobPlan, StagePlan},
    services::{PayingAttempt, Services},
    supervise,
};

/// What every executor uses.
pub(crate) struct Tools {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) services: Arc<Services>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What has been run and judged, before it is settled.
struct Judged {
    settlement: Settlement,
    in_the_way: Option<InTheWay>,
    /// Of what ended well: the gate is told of it once nobody can refuse it any more.
    well: Option<Answered>,
}

/// What has been run, before it is judged.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) ended: AttemptEnded,
    pub(crate) guest_us: u64,
}

impl Ran {
    /// Something that ended before any gate was opened.
    pub(crate) fn nothing(outcome: Outcome) -> Self {
        Self { outcome, ended: AttemptEnded::default(), guest_us: 0 }
    }
}

/// What running a task came to, for its lane.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) settled: Settled,
    pub(crate) in_the_way: Option<InTheWay>,
}

/// Something as a whole that stood in a task's way (a cool-down, a proxy that is down): others of the lane that want
/// the same will meet it too. Both are the gate's word, never a guest's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InTheWay {
    /// The site or proxy.
    pub(crate) about: String,
    /// Until when, about.
    pub(crate) until: Timestamp,
}

/// Why a task or a page could not be settled. A claim has been given back: the task is as if it had not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsettled {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of the host's own.
    #[error("the host panicked: {0}")]
    Panicked(String),
}

/// Runs a claimed task and settles it. A panic of the host on the way is an attempt like any other, counted and kept.
/// `ended_well` is told when nothing is left but to settle it, and that it can neither pause its job nor be tried again,
/// unless the store refuses it.
pub(crate) async fn execute(
    tools: &Tools,
    job: &JobPlan,
    stage: &StagePlan,
    claim: Claim,
    ended_well: impl FnOnce(),
) -> Result<Executed, Unsettled> {
    let (task, token) = (claim.task, claim.token);
    let executed = supervise::catch(run_and_settle(tools, job, stage, claim, ended_well)).await;
    let executed = executed.unwrap_or_else(|panic| Err(Unsettled::Panicked(panic)));
    if executed.is_err() {
        // Else it would be held for ever.
        tools.store.release(vec![(task, token)]).await?;
    }
    executed
}

async fn run_and_settle(
    tools: &Tools,
    job: &JobPlan,
    stage: &StagePlan,
    mut claim: Claim,
    ended_well: impl FnOnce(),
) -> Result<Executed, Unsettled> {
    let started_at = tools.clock.now();
    let Judged { settlement, in_the_way, well } = match supervise::catch(attempt(tools, job, stage, &claim, started_at))
        .await
    {
        Ok(attempted) => attempted?,
        Err(panic) => {
            tracing::error!(job = %job.spec.name, item = %claim.key, panic, "the host panicked while it ran a task");
            let ran = Ran::nothing(Outcome::Host(format!("the host panicked: {panic}")));
            settlement_of(tools, job, stage, &claim, started_at, ran).await
        }
    };
    // What the guest was given is needed no more, and others may run before the disk has answered.
    claim.inputs.clear();
    claim.data = JsonObject::nest([]);
    let is_well =
        settlement.refused.is_none() && !matches!(settlement.verdict, Verdict::Failed(_) | Verdict::Later { .. });
    // Of a page that several items may have been served, only the store knows whether it is one.
    let may_be_refused = settlement.pages.iter().any(|page| page.copy.is_some());
    let tell = async |well: Option<Answered>| {
        if let Some(well) = well {
            tell_gate(tools, &well, true).await;
        }
    };
    if may_be_refused {
        let (settled, duplicated) = settle(tools, job, stage, &claim, settlement).await?;
        tell(well.filter(|_| duplicated.is_none())).await;
        return Ok(Executed { settled, in_the_way: duplicated.or(in_the_way) });
    }
    // Before the next one begins, which may want the same site.
    tell(well).await;
    if is_well {
        ended_well();
    }
    let (settled, duplicated) = settle(tools, job, stage, &claim, settlement).await?;
    Ok(Executed { settled, in_the_way: duplicated.or(in_the_way) })
}

/// Runs a claimed task, up to its settlement.
async fn attempt(
    tools: &Tools,
    job: &JobPlan,
    stage: &StagePlan,
    claim: &Claim,
    started_at: Timestamp,
) -> Result<Judged, StoreError> {
    if let Some(check) = &stage.check {
        return check::attempt(tools, job, stage, check, claim, started_at).await;
    }
    let ran = match condition(stage, claim) {
        Err(message) => Ran::nothing(Outcome::Stage(StageError::Failed(message))),
        Ok(Some(reason)) => {
            let settlement = skipped(job, claim, reason, started_at);
            return Ok(Judged { settlement, in_the_way: None, well: None });
        }
        Ok(None) => {
            let attempt = {
                let item = Some((stage, claim.task.item));
                let paying = PayingAttempt::task(claim.token, claim.tally, stage.spec.timeout);
                Attempt::new(tools, job, item, paying)
            };
            let report = match missing_input(tools, stage, claim).await? {
                Some(missing) => {
                    Report { result: Ok(Err(StageError::Failed(missing))), guest_us: 0, memory_peak_bytes: 0 }
                }
                None => call(job, stage, claim, &attempt).await,
            };
            let (guest_us, mut ended) = (report.guest_us, attempt.end());
            if let Some(gone) = ended.store_gone.take() {
                return Err(gone);
            }
            let outcome = outcome(stage, report);
            if matches!(outcome, Outcome::Contract(_)) {
                // Perhaps it is what one of its instances has kept.
                stage.instances.clear();
            }
            Ran { outcome, ended, guest_us }
        }
    };
    Ok(settlement_of(tools, job, stage, claim, started_at, ran).await)
}

/// What stood in the way as a whole, where the gate says for how long.
fn in_the_way(verdict: &Verdict, refusal: Option<Refusal>, now: Timestamp) -> Option<InTheWay> {
    let refusal = refusal.filter(|_| matches!(verdict, Verdict::Later { .. }))?;
    let as_a_whole = matches!(
        refusal.kind,
        RefusalKind::RateLimited | RefusalKind::Down | RefusalKind::Blocked | RefusalKind::Budget
    );
    let after = refusal.after.filter(|_| as_a_whole)?;
    Some(InTheWay { about: refusal.about, until: now.after(after) })
}

/// Settles; an output that the store can't take is a failure of the stage, which says so, and one that stands on a page
/// which too many items were served is none (S11). Answers what stood in the way, where only the store could tell.
async fn settle(
    tools: &Tools,
    job: &JobPlan,
    stage: &StagePlan,
    claim: &Claim,
    settlement: Settlement,
) -> Result<(Settled, Option<InTheWay>), StoreError> {
    let one = async |settlement| {
        let answers = tools.store.settle(vec![settlement]).await?;
        answers.into_iter().next().unwrap_or(Err(StoreError::Closed))
    };
    let (spent, artifacts) = (settlement.attempt.clone(), settlement.artifacts.clone());
    let pages = settlement.pages.clone();
    let started_at = spent.as_ref().map_or(settlement.now, |attempt| attempt.started_at);
    match one(settlement).await {
        Err(error @ StoreError::TooLarge { .. }) => {
            let ran = Ran::nothing(Outcome::Contract(error.to_string()));
            let mut failed = settlement_of(tools, job, stage, claim, started_at, ran).await.settlement;
            // What it cost and what it kept is as it was.
            (failed.artifacts, failed.pages) = (artifacts, pages);
            spent.into_iter().for_each(|spent| cost_of(&mut failed, &spent));
            Ok((one(failed).await?, None))
        }
        Err(StoreError::Duplicate(found)) => {
            let kept = AttemptEnded { artifacts, pages, ..AttemptEnded::default() };
            let (mut refused, in_the_way) = duplicated(tools, job, stage, claim, started_at, *found, kept).await;
            spent.into_iter().for_each(|spent| cost_of(&mut refused, &spent));
            Ok((one(refused).await?, in_the_way))
        }
        answer => answer.map(|settled| (settled, None)),
    }
}

/// An attempt that is settled in another way has cost what it cost.
fn cost_of(settlement: &mut Settlement, spent: &AttemptRecord) {
    if let Some(attempt) = &mut settlement.attempt {
        attempt.requests = spent.requests;
        attempt.bytes_received = spent.bytes_received;
        attempt.guest_us = spent.guest_us;
        attempt.tools.clone_from(&spent.tools);
    }
}

/// The settlement of an attempt whose page is one that too many items were served: a guard's, and the page is taken back
/// from all who hold it.
async fn duplicated(
    tools: &Tools,
    job: &JobPlan,
    stage: &StagePlan,
    claim: &Claim,
    started_at: Timestamp,
    found: Duplicate,
    mut kept: AttemptEnded,
) -> (Settlement, Option<InTheWay>) {
    let Duplicate { signature, items, others } = found;
    let is_it = |page: &&KeptPage| page.copy.is_some_and(|copy| copy.signature == signature);
    let (blobs, url) = {
        let caught = kept.pages.iter().filter(is_it);
        let blobs: Vec<_> = caught.clone().map(|page| page.blob).collect();
        (blobs, caught.map(|page| page.url.clone()).next().unwrap_or_default())
    };
    let name = format!("{GUARDED_PREFIX}{DUPLICATE}");
    name_apart(&mut kept.artifacts, &blobs, &name);
    let others: Vec<&str> = others.iter().map(ItemKey::as_str).collect();
    let others = if others.is_empty() { String::new() } else { format!(", {} among them", others.join(", ")) };
    let what = format!(
        "{items} items were served one and the same page{others}; if it is content, write a higher `duplicates` for the \
         site, or `duplicates = false`"
    );
    let refusal = tools.gate.duplicated(&url, &what, started_at).await;
    tracing::warn!(job = %job.spec.name, item = %claim.key, stage = %stage.spec.name, url, "{}", refusal.message);
    let after = refusal.after.unwrap_or_default();
    (kept.last_url, kept.refusal) = (Some(url), Some(refusal.clone()));
    let ran = Ran { outcome: Outcome::Contract(refusal.message.clone()), ended: kept, guest_us: 0 };
    let judged = settlement_of(tools, job, stage, claim, started_at, ran).await;
    let Judged { mut settlement, in_the_way, .. } = judged;
    let (due, reason) = match &settlement.verdict {
        Verdict::Later { due, reason } => (*due, reason.clone()),
        // This one has been tried for long enough; the others are tried again all the same.
        _ => {
            let reason = LaterReason { kind: LaterKind::Blocked, message: clean_message(&refusal.message) };
            (settlement.now.after(after), reason)
        }
    };
    settlement.take_back = Some(TakeBack { signature, name, due, reason });
    (settlement, in_the_way)
}

/// Gives those artifacts that are one of these blobs the name, each blob once, and with a number after the first.
fn name_apart(artifacts: &mut Vec<NewArtifact>, blobs: &[Digest], name: &str) {
    let (caught, mut kept): (Vec<_>, Vec<_>) =
        artifacts.drain(..).partition(|artifact| blobs.contains(&artifact.blob.digest));
    for artifact in caught {
        let digest = artifact.blob.digest;
        let is_named = |known: &NewArtifact| known.blob.digest == digest;
        if !kept.iter().any(is_named) {
            let name = free_name(name, |name| kept.iter().all(|known| known.name != name));
            kept.push(NewArtifact { name, ..artifact });
        }
    }
    *artifacts = kept;
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

fn skipped(job: &JobPlan, claim: &Claim, reason: SkipReason, now: Timestamp) -> Settlement {
    Settlement {
        task: claim.task,
        token: claim.token,
        verdict: Verdict::Skipped(reason),
        tally: claim.tally,
        breaker: BreakerEffect::None,
        attempt: None,
        fingerprint: None,
        artifacts: Vec::new(),
        pages: Vec::new(),
        take_back: None,
        refused: None,
        passing: job.passing.clone(),
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
    Ok(missing.map(|(maker, _, name)| {
        let run = format!(
            "a large binary goes once no stage needs it (`keep` of the stage says otherwise): run {maker} again"
        );
        format!("artifact {maker}/{name}, which the stage reads, is missing; {run}")
    }))
}

async fn call(job: &JobPlan, stage: &StagePlan, claim: &Claim, attempt: &Arc<Attempt>) -> StageReport {
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
    let asked = StageCall {
        job: job.spec.name.clone(),
        stage: stage.spec.name.clone(),
        key: claim.key.clone(),
        data: claim.data.clone(),
        inputs: inputs(stage, claim),
        params: stage.params.clone(),
        attempt: number,
    };
    let running = job.handler.run_stage_in(&stage.instances, asked, attempt.gates(job, log), &limits);
    match supervise::catch(running).await {
        Ok(report) => report,
        Err(panic) => {
            tracing::error!(job = %job.spec.name, item = %claim.key, stage = %stage.spec.name, panic, "the host panicked while it ran a task");
            let result = Err(CallFailure::Host(format!("the host panicked: {panic}")));
            Report { result, guest_us: 0, memory_peak_bytes: 0 }
        }
    }
}

/// The outputs that the handler is given: its needs, among them what it reads artifacts of and its condition names.
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
        Err(failure) => failed_call(failure),
    }
}

/// What a call that gave no answer of the guest's comes to.
pub(crate) fn failed_call(failure: CallFailure) -> Outcome {
    match failure {
        CallFailure::Trap(text) => Outcome::Trap(text),
        CallFailure::Timeout(text) => Outcome::Timeout(text),
        CallFailure::Limit(text) => Outcome::Limit(text),
        CallFailure::Invalid(text) => Outcome::Contract(text),
        CallFailure::Host(text) => Outcome::Host(text),
    }
}

async fn settlement_of(
    tools: &Tools,
    job: &JobPlan,
    stage: &StagePlan,
    claim: &Claim,
    started_at: Timestamp,
    ran: Ran,
) -> Judged {
    let now = tools.clock.now();
    let refusal = deciding_refusal(tools, &ran, started_at).await;
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
        tools: ran.ended.tools.clone(),
    };
    log_end(job, stage, claim, &decision);
    let well = matches!(decision.verdict, Verdict::Done(_) | Verdict::Nothing(_) | Verdict::Reject(_));
    let well = match ran.ended.answered {
        Some(answered) if !well => {
            tell_gate(tools, &answered, false).await;
            None
        }
        answered => answered,
    };
    let fingerprint = matches!(decision.verdict, Verdict::Done(_)).then(|| fingerprint(stage, claim));
    let pause = pause_of(&decision.verdict, refusal.as_ref(), ran.ended.last_url.as_deref(), now);
    let in_the_way = in_the_way(&decision.verdict, refusal, now);
    let settlement = Settlement {
        task: claim.task,
        token: claim.token,
        pause,
        verdict: decision.verdict,
        tally: decision.tally,
        breaker: decision.breaker,
        attempt: Some(attempt),
        fingerprint,
        artifacts: ran.ended.artifacts,
        pages: ran.ended.pages,
        take_back: None,
        refused: None,
        passing: job.passing.clone(),
        now,
    };
    Judged { settlement, in_the_way, well }
}

/// Tells the gate what an attempt says of the sites that answered it.
pub(crate) async fn tell_gate(tools: &Tools, answered: &Answered, well: bool) {
    tools.gate.ended(&answered.caller, &answered.sites, well).await;
}

/// The refusal by which an attempt is judged: the gate's, or what the handler's own words do to the site.
pub(crate) async fn deciding_refusal(tools: &Tools, ran: &Ran, started_at: Timestamp) -> Option<Refusal> {
    let of_gate = ran.ended.refusal.clone();
    let site = || ran.ended.last_url.as_deref().map(site_of).unwrap_or_default();
    match (&ran.outcome, ran.ended.in_gate) {
        (Outcome::Stage(StageError::Blocked(text)), _) => {
            if of_gate.as_ref().is_some_and(|refusal| refusal.kind == RefusalKind::Blocked) {
                // The stage hands on what the gate said. Nothing was sent, so nothing new is known of the site.
                return of_gate;
            }
            // The handler saw what no guard did: its site is left alone, whichever job asks.
            let url = ran.ended.last_url.as_deref()?;
            let after = tools.gate.block(url, text).await;
            Some(Refusal { kind: RefusalKind::Blocked, about: site(), message: text.clone(), after: Some(after) })
        }
        (Outcome::Stage(StageError::LoginRequired(text)), _) => {
            if of_gate.as_ref().is_some_and(|refusal| refusal.kind == RefusalKind::LoginRequired) {
                // The gate has seen it itself, and renewed what could be.
                return of_gate;
            }
            let url = ran.ended.last_url.as_deref()?;
            Some(tools.gate.login_required(url, text, started_at).await)
        }
        (Outcome::Timeout(text), Some(CallPhase::Waits)) => Some(Refusal {
            kind: RefusalKind::RateLimited,
            about: site(),
            message: format!("{text}, while it waited for its turn"),
            after: None,
        }),
        // An address that hangs is the address's fault, and bounded like any other that fails.
        (Outcome::Timeout(text), Some(CallPhase::Runs)) => Some(Refusal {
            kind: RefusalKind::Transport,
            about: site(),
            message: format!("{text}, while {} was asked", site()),
            after: None,
        }),
        _ => of_gate,
    }
}

/// Why a job stands still after an attempt, visibly: a site that wants a session which nobody configured needs a person,
/// and a budget that is spent needs its next day.
pub(crate) fn pause_of(
    verdict: &Verdict,
    refusal: Option<&Refusal>,
    last_url: Option<&str>,
    now: Timestamp,
) -> Option<Pause> {
    let Verdict::Later { reason, .. } = verdict else {
        return None;
    };
    if reason.kind == LaterKind::Budget {
        let until = now.after(refusal.and_then(|refusal| refusal.after).unwrap_or(ASKED_WAIT));
        let (by, evidence) = ("host".to_owned(), reason.message.clone());
        return Some(Pause { reason: PauseReason::Budget, by, at: now, evidence, until: Some(until) });
    }
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
            tracing::debug!(%job, %item, %stage, attempt = attempts, %reason, due_ms = due.0, "task is tried again later");
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
