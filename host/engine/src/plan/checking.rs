//! Jobs held against their handlers, and all their lanes against the places for guests; before the store knows of them.

use std::sync::Arc;

use tollgate_core::{
    StageName,
    contract::Contract,
    graph::Need,
    handler::StageInfo,
    spec::{CheckSpec, Deployment, Diagnostic, JobSpec, StageSpec},
};
use tollgate_sandbox::{Handler, HandlerSet, INSTANCES_MAX, JobStage, StageWork, job_stages};

use super::PlanError;
use crate::ContentCheck;

/// What the outputs of checks stand on, beside what jobs.toml says of them: another figure where
/// they are made otherwise.
const CHECK_SOURCE: &str = "check 1";

/// A job that fits its handler, before the store knows it.
pub struct CheckedJob {
    /// Its handler.
    pub handler: Arc<Handler>,
    pub(super) stages: Vec<ChosenStage>,
}

impl CheckedJob {
    /// The stages that run, each with its needs.
    pub fn stages(&self) -> impl Iterator<Item = (&StageSpec, &[Need])> {
        self.stages.iter().map(|stage| (&stage.spec, stage.needs.as_slice()))
    }

    /// Guests that its lanes and its discovery may have at once.
    fn guests(&self, spec: &JobSpec) -> usize {
        let with_guests = self.stages.iter().filter(|stage| stage.check.is_none());
        let of_lanes: usize = with_guests.map(|stage| stage.spec.concurrency).sum();
        of_lanes + usize::from(spec.discover.is_some())
    }
}

/// A stage on its way into a plan.
pub(super) struct ChosenStage {
    pub(super) spec: StageSpec,
    pub(super) needs: Vec<Need>,
    pub(super) reads: Vec<(StageName, String)>,
    /// The handler's, then jobs.toml's.
    pub(super) contracts: Vec<Contract>,
    pub(super) source: String,
    pub(super) check: Option<(CheckSpec, Option<Arc<dyn ContentCheck>>)>,
}

/// Holds every job against its handler, in the file's order, and all their lanes against the places for guests: each
/// finds one whenever its own concurrency allows, whatever the others do (trap 30). `judge`: who answers the questions
/// of checks in place of models; without one, a check whose model jobs.toml doesn't name can't run.
pub fn check<'a>(
    deployment: &'a Deployment,
    file: &str,
    handlers: &HandlerSet,
    judge: Option<&Arc<dyn ContentCheck>>,
) -> Vec<(&'a JobSpec, Result<CheckedJob, PlanError>)> {
    let mut places = Places { left: INSTANCES_MAX as usize };
    let jobs = deployment.jobs.iter();
    jobs.map(|spec| (spec, check_job(spec, file, handlers, judge).and_then(|job| places.take(spec, file, job))))
        .collect()
}

/// Places for guests that no job has taken yet.
struct Places {
    left: usize,
}

impl Places {
    fn take(&mut self, spec: &JobSpec, file: &str, job: CheckedJob) -> Result<CheckedJob, PlanError> {
        let guests = job.guests(spec);
        let Some(left) = self.left.checked_sub(guests) else {
            let message = format!(
                "job {} may run {guests} tasks at once, and {} of the {INSTANCES_MAX} places are left for it",
                spec.name, self.left
            );
            let help = format!(
                "lower `concurrency` of its stages, or of those of the jobs before it: together with one for each \
                 discovery they may come to {INSTANCES_MAX}"
            );
            return Err(PlanError::Mismatch(vec![Diagnostic {
                file: file.to_owned(),
                at: spec.at,
                message,
                help: Some(help),
            }]));
        };
        self.left = left;
        Ok(job)
    }
}

/// Holds one job against its handler.
fn check_job(
    spec: &JobSpec,
    file: &str,
    handlers: &HandlerSet,
    judge: Option<&Arc<dyn ContentCheck>>,
) -> Result<CheckedJob, PlanError> {
    let refuse = |wrong: &dyn std::fmt::Display| {
        let at = spec.handler_at;
        PlanError::Handler(format!("{file}:{}:{}: {}.wasm: {wrong}", at.line, at.column, spec.handler))
    };
    let handler = match (handlers.get(&spec.handler), handlers.broken().get(&spec.handler)) {
        (Some(handler), _) => handler.clone(),
        (None, Some(error)) => return Err(refuse(error)),
        (None, None) => {
            return Err(refuse(&"not in the handlers folder; build it with `tollgate build`, or correct `handler`"));
        }
    };
    tollgate_sandbox::check_job(&handler, spec, file).map_err(PlanError::Mismatch)?;
    let mut stages = Vec::new();
    for JobStage { spec: stage, work, needs } in job_stages(handler.info(), spec) {
        stages.push(match work {
            StageWork::Guest(info) => chosen(&handler, stage, info, needs).map_err(|wrong| refuse(&wrong))?,
            StageWork::Check(check) => {
                if judge.is_none() && check.model.is_none() {
                    return Err(PlanError::Mismatch(vec![unanswered(check, spec, file)]));
                }
                let check = Some((check.clone(), judge.cloned()));
                let source = CHECK_SOURCE.to_owned();
                ChosenStage { spec: stage, needs, reads: Vec::new(), contracts: Vec::new(), source, check }
            }
        });
    }
    Ok(CheckedJob { handler, stages })
}

/// What is said of a check whose question nobody answers.
fn unanswered(check: &CheckSpec, job: &JobSpec, file: &str) -> Diagnostic {
    let name = &check.stage.name;
    Diagnostic {
        file: file.to_owned(),
        at: check.stage.at,
        message: format!("check `{name}` asks a model, and jobs.toml names none"),
        help: Some(format!("add a [model.ALIAS], or take [job.{}.check.{name}] out", job.name)),
    }
}

/// What a plan needs of a handler's stage that runs. An error says what is wrong with its contract.
fn chosen(handler: &Handler, spec: StageSpec, info: &StageInfo, needs: Vec<Need>) -> Result<ChosenStage, String> {
    let schemas = std::iter::once(&info.produces).chain(&spec.contract);
    let contracts = schemas.map(|schema| Contract::new(schema.clone()));
    let contracts = contracts.collect::<Result<_, _>>();
    Ok(ChosenStage {
        contracts: contracts.map_err(|error| format!("contract of stage {}: {error}", spec.name))?,
        needs,
        reads: info.reads.clone(),
        source: info.source_hash.clone().unwrap_or_else(|| handler.digests().code.to_string()),
        spec,
        check: None,
    })
}
