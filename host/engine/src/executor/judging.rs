//! What an attempt comes to: the refusal that decides, the verdict by core's rules, and the settlement that says so.

use tollgate_core::{
    Timestamp,
    outcome::{BreakerEffect, Decision, Outcome, Refusal, RefusalKind, StageError, Verdict, decide},
    pause::{Pause, PauseReason},
    retry::ASKED_WAIT,
    task::{LaterKind, SkipReason, Tally},
};
use tollgate_llm::hosting::CallPhase;
use tollgate_store::{AttemptEnd, AttemptRecord, Claim, Fingerprint, Settlement};

use super::{InTheWay, Judged, Ran, Running, Tools};
use crate::{
    attempt::{Answered, UnderWay, site_of},
    plan::{JobPlan, StagePlan},
};

/// The settlement of a task that its condition leaves out.
pub(super) fn skipped(job: &JobPlan, claim: &Claim, reason: SkipReason, now: Timestamp) -> Settlement {
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

/// What an attempt comes to by core's rules, and how it is settled; the gate is told at once of what didn't end well.
pub(super) async fn settlement_of(running: Running<'_>, ran: Ran) -> Judged {
    let Running { tools, job, stage, claim, started_at } = running;
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

/// Tells the gate what an attempt says of the sites that answered it.
pub(crate) async fn tell_gate(tools: &Tools, answered: &Answered, well: bool) {
    tools.gate.ended(&answered.caller, &answered.sites, well).await;
}

/// The refusal by which an attempt is judged: the gate's, or what the handler's own words do to the site.
pub(crate) async fn deciding_refusal(tools: &Tools, ran: &Ran, started_at: Timestamp) -> Option<Refusal> {
    let of_gate = ran.ended.refusal.clone();
    let site = || ran.ended.last_url.as_deref().map(site_of).unwrap_or_default();
    match (&ran.outcome, &ran.ended.in_gate) {
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
        (Outcome::Timeout(text), Some(UnderWay { phase: CallPhase::Waits, about })) => Some(Refusal {
            kind: RefusalKind::RateLimited,
            about: about.clone(),
            message: format!("{text}, while it waited for its turn"),
            after: None,
        }),
        // What hangs is at fault itself, an address or a service, and bounded like any other that fails.
        (Outcome::Timeout(text), Some(UnderWay { phase: CallPhase::Runs, about })) => Some(Refusal {
            kind: RefusalKind::Transport,
            about: about.clone(),
            message: format!("{text}, while {about} was asked"),
            after: None,
        }),
        _ => of_gate,
    }
}

/// Why a job stands still after an attempt, visibly: a site that wants a session which nobody configured needs a
/// person, and a budget that is spent needs its next day.
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
        let pause = Pause::by_host(PauseReason::Budget, now, reason.message.clone());
        return Some(Pause { until: Some(until), ..pause });
    }
    (reason.kind == LaterKind::LoginRequired).then(|| {
        let site = last_url.map(site_of).unwrap_or_else(|| "the site".to_owned());
        let evidence = format!("login required: {}", reason.message);
        Pause::by_host(PauseReason::Circuit { site }, now, evidence)
    })
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
            tracing::debug!(
                %job, %item, %stage, attempt = attempts, %reason, due_ms = due.0,
                "task is tried again later"
            );
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
