//! Running a stage's guest: its condition, what it is given, and what its report comes to.

use std::sync::Arc;

use serde_json::{Map, Value};
use tollgate_core::{
    JsonObject,
    outcome::{Outcome, StageOutput},
    task::SkipReason,
};
use tollgate_sandbox::call::{CallFailure, CallLimits, Report, StageCall, StageReport};
use tollgate_store::{Claim, StoreError};

use super::Running;
use crate::{
    attempt::{Attempt, AttemptLog, AttemptName},
    plan::StagePlan,
    supervise,
};

/// Evaluates the stage's condition: a reason to skip, if it is false.
pub(super) fn condition(stage: &StagePlan, claim: &Claim) -> Result<Option<SkipReason>, String> {
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

/// The first artifact that the stage declares to read and that isn't there (S06).
pub(super) async fn missing_input(running: Running<'_>) -> Result<Option<String>, StoreError> {
    let Running { tools, stage, claim, .. } = running;
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

pub(super) async fn call(running: Running<'_>, attempt: &Arc<Attempt>) -> StageReport {
    let Running { job, stage, claim, .. } = running;
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
    let calling = job.handler.run_stage_in(&stage.instances, asked, attempt.gates(job, log), &limits);
    match supervise::catch(calling).await {
        Ok(report) => report,
        Err(panic) => {
            let (job, item, stage) = (&job.spec.name, &claim.key, &stage.spec.name);
            tracing::error!(%job, %item, %stage, panic, "the host panicked while it ran a task");
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
pub(super) fn outcome(stage: &StagePlan, report: StageReport) -> Outcome {
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
