//! Runs one claimed task to its settlement.

mod check;
mod judging;
mod running;
mod settling;

use std::sync::Arc;

use tollgate_core::{
    Clock, JsonObject, Timestamp,
    outcome::{Outcome, StageError, Verdict},
};
use tollgate_egress::Gate;
use tollgate_sandbox::call::Report;
use tollgate_store::{Claim, Settled, Settlement, Store, StoreError};

pub(crate) use self::{
    judging::{deciding_refusal, draw, pause_of, tell_gate},
    running::failed_call,
};
use self::{
    judging::{settlement_of, skipped},
    running::{call, condition, missing_input, outcome},
    settling::settle,
};
use crate::{
    attempt::{Answered, Attempt, AttemptEnded},
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

/// A claimed task that runs, with all that is looked at on its way to its settlement.
#[derive(Clone, Copy)]
struct Running<'a> {
    tools: &'a Tools,
    job: &'a JobPlan,
    stage: &'a StagePlan,
    claim: &'a Claim,
    started_at: Timestamp,
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
/// `ended_well` is told when nothing is left but to settle it, and that it can neither pause its job nor be tried
/// again, unless the store refuses it.
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
    let running = Running { tools, job, stage, claim: &claim, started_at };
    let Judged { settlement, in_the_way, well } = match supervise::catch(attempt(running)).await {
        Ok(attempted) => attempted?,
        Err(panic) => {
            tracing::error!(job = %job.spec.name, item = %claim.key, panic, "the host panicked while it ran a task");
            let ran = Ran::nothing(Outcome::Host(format!("the host panicked: {panic}")));
            settlement_of(running, ran).await
        }
    };
    // What the guest was given is needed no more, and others may run before the disk has answered.
    claim.inputs.clear();
    claim.data = JsonObject::nest([]);
    let running = Running { tools, job, stage, claim: &claim, started_at };
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
        let (settled, duplicated) = settle(running, settlement).await?;
        tell(well.filter(|_| duplicated.is_none())).await;
        return Ok(Executed { settled, in_the_way: duplicated.or(in_the_way) });
    }
    // Before the next one begins, which may want the same site.
    tell(well).await;
    if is_well {
        ended_well();
    }
    let (settled, duplicated) = settle(running, settlement).await?;
    Ok(Executed { settled, in_the_way: duplicated.or(in_the_way) })
}

/// Runs a claimed task, up to its settlement.
async fn attempt(running: Running<'_>) -> Result<Judged, StoreError> {
    let Running { tools, job, stage, claim, started_at } = running;
    if let Some(check) = &stage.check {
        return check::attempt(running, check).await;
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
            let report = match missing_input(running).await? {
                Some(missing) => {
                    Report { result: Ok(Err(StageError::Failed(missing))), guest_us: 0, memory_peak_bytes: 0 }
                }
                None => call(running, &attempt).await,
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
    Ok(settlement_of(running, ran).await)
}
