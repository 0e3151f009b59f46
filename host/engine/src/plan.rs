//! What may run: jobs.toml held against the handlers that are there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;
use tollgate_core::{
    Digest, JobName, JsonObject, Lane, StageIx, StageName,
    contract::Contract,
    graph::Need,
    handler::{Capability, HandlerInfo},
    ids::HandlerName,
    spec::{Deployment, Diagnostic, JobSpec, SitePattern, StageSpec},
};
use tollgate_sandbox::{Handler, HandlerSet};
use tollgate_store::{DeclaredJob, DeclaredStage, JobDeclaration, Store};

use crate::{EngineError, digest, discovery};

/// All jobs of a jobs.toml. Immutable, and replaced whole.
pub struct Plan {
    /// Jobs that can run.
    pub jobs: Vec<Arc<JobPlan>>,
    /// Jobs that can't, with all that stands against them.
    pub refused: BTreeMap<JobName, PlanError>,
}

/// Why a job can't run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Its handler could not be loaded.
    #[error("handler {handler}: {message}")]
    Handler {
        /// The handler.
        handler: HandlerName,
        /// Why, and what to do.
        message: String,
    },
    /// jobs.toml and the handler don't fit.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Mismatch(Vec<Diagnostic>),
}

/// A job that can run.
pub struct JobPlan {
    /// What jobs.toml says of it.
    pub spec: JobSpec,
    /// Its numbers in the store.
    pub declared: DeclaredJob,
    /// Its handler.
    pub handler: Arc<Handler>,
    /// Its stages, each after what it needs.
    pub stages: Vec<Arc<StagePlan>>,
    /// Host patterns that its grants name; empty: all that the policies allow. Absent: no `http` granted.
    pub hosts: Option<Vec<SitePattern>>,
    /// Bytes of memory that one of its guests may have.
    pub guest_memory_max: u64,
}

impl JobPlan {
    /// Whether the job grants a capability.
    #[must_use]
    pub fn grants(&self, capability: Capability) -> bool {
        self.spec.grants.iter().any(|grant| grant.capability == capability)
    }

    /// The stage of that number.
    #[must_use]
    pub fn stage(&self, ix: StageIx) -> Option<&Arc<StagePlan>> {
        self.stages.iter().find(|stage| stage.lane.stage == ix)
    }
}

/// A stage that can run.
pub struct StagePlan {
    /// Its lane.
    pub lane: Lane,
    /// What jobs.toml says of it, or the defaults.
    pub spec: StageSpec,
    /// Stages whose outputs the handler is given.
    pub needs: Vec<Need>,
    /// Artifacts that must be there before it starts, as (stage, its number, name).
    pub reads: Vec<(StageName, StageIx, String)>,
    /// The handler's contract, then jobs.toml's.
    pub contracts: Vec<Contract>,
    /// The job's params with the stage's laid over them.
    pub params: JsonObject,
    /// Source hash where the handler gives one, else the digest of its code.
    pub source: String,
    /// Of `params`.
    pub params_digest: Digest,
    /// Of all contracts.
    pub contract_digest: Digest,
}

impl Plan {
    /// Holds each job against its handler, and declares those that fit.
    ///
    /// # Errors
    /// The store can't be written. What is wrong with a job is in [`Plan::refused`].
    pub async fn make(
        deployment: &Deployment,
        file: &str,
        handlers: &HandlerSet,
        store: &dyn Store,
        now: tollgate_core::Timestamp,
    ) -> Result<Self, EngineError> {
        let mut plan = Self { jobs: Vec::new(), refused: BTreeMap::new() };
        for spec in &deployment.jobs {
            match check(spec, file, handlers) {
                Ok(CheckedJob { handler, stages }) => {
                    let declared = store.declare(declaration(spec, deployment, &handler, &stages), now).await?;
                    plan.jobs.push(Arc::new(job_plan(spec, deployment, declared, handler, stages)?));
                }
                Err(error) => {
                    plan.refused.insert(spec.name.clone(), error);
                }
            }
        }
        Ok(plan)
    }
}

/// A job that fits its handler, before the store knows it.
pub struct CheckedJob {
    /// Its handler.
    pub handler: Arc<Handler>,
    stages: Vec<ChosenStage>,
}

impl CheckedJob {
    /// The stages that run, each with its needs.
    pub fn stages(&self) -> impl Iterator<Item = (&StageSpec, &[Need])> {
        self.stages.iter().map(|stage| (&stage.spec, stage.needs.as_slice()))
    }
}

/// A stage on its way into a plan.
struct ChosenStage {
    spec: StageSpec,
    needs: Vec<Need>,
    reads: Vec<(StageName, String)>,
    produces: Value,
    source: String,
}

/// Holds one job against its handler.
///
/// # Errors
/// The handler is missing or broken, or doesn't fit jobs.toml.
pub fn check(spec: &JobSpec, file: &str, handlers: &HandlerSet) -> Result<CheckedJob, PlanError> {
    let refuse = |message: String| PlanError::Handler { handler: spec.handler.clone(), message };
    let handler = match (handlers.get(&spec.handler), handlers.broken().get(&spec.handler)) {
        (Some(handler), _) => handler.clone(),
        (None, Some(error)) => return Err(refuse(error.to_string())),
        (None, None) => {
            let at = spec.handler_at;
            return Err(refuse(format!(
                "{file}:{}:{}: {}.wasm is not in the handlers folder; build it with `tollgate build`, or correct `handler`",
                at.line, at.column, spec.handler
            )));
        }
    };
    tollgate_sandbox::check_job(&handler, spec, file).map_err(PlanError::Mismatch)?;
    let stages = chosen(spec, handler.info(), &handler.digests().code.to_string());
    Ok(CheckedJob { handler, stages })
}

/// The stages that run, with their needs filled in: jobs.toml's, else the handler's, else the stage before (P01).
fn chosen(spec: &JobSpec, info: &HandlerInfo, code: &str) -> Vec<ChosenStage> {
    let runs = |name: &StageName| spec.stages.as_ref().is_none_or(|only| only.contains(name));
    let mut stages: Vec<ChosenStage> = Vec::new();
    for stage in info.stages.iter().filter(|stage| runs(&stage.name)) {
        let tuned = spec.stage(&stage.name);
        let before = || stages.last().map(|last| Need { any_of: vec![last.spec.name.clone()] });
        let mut needs = match tuned.needs.clone().or_else(|| stage.needs.clone()) {
            Some(needs) => needs,
            None => before().into_iter().collect(),
        };
        // An artifact that a stage reads is an input like any other: its maker comes first (S06).
        for (maker, _) in &stage.reads {
            if maker != &stage.name && !needs.iter().any(|need| need.any_of.contains(maker)) {
                needs.push(Need { any_of: vec![maker.clone()] });
            }
        }
        stages.push(ChosenStage {
            spec: tuned,
            needs,
            reads: stage.reads.clone(),
            produces: stage.produces.clone(),
            source: stage.source_hash.clone().unwrap_or_else(|| code.to_owned()),
        });
    }
    stages
}

fn declaration(spec: &JobSpec, deployment: &Deployment, handler: &Handler, stages: &[ChosenStage]) -> JobDeclaration {
    let named_by = |stage: &ChosenStage| -> Vec<StageName> {
        let condition = stage.spec.when.as_ref().map_or_else(Vec::new, |when| when.names());
        let of_condition = condition.iter().filter_map(|name| StageName::new(name).ok());
        let mut brings: Vec<StageName> =
            stage.needs.iter().flat_map(|need| need.any_of.iter().cloned()).chain(of_condition).collect();
        brings.sort();
        brings.dedup();
        brings.retain(|name| stages.iter().any(|stage| &stage.spec.name == name));
        brings
    };
    JobDeclaration {
        name: spec.name.clone(),
        kind: spec.kind,
        stages: stages
            .iter()
            .map(|stage| DeclaredStage {
                name: stage.spec.name.clone(),
                needs: stage.needs.clone(),
                brings: named_by(stage),
            })
            .collect(),
        keep_attempts: deployment.host.keep_attempts,
        breaker: spec.breaker,
        discovery: discovery::declared(spec, handler),
    }
}

fn job_plan(
    spec: &JobSpec,
    deployment: &Deployment,
    declared: DeclaredJob,
    handler: Arc<Handler>,
    stages: Vec<ChosenStage>,
) -> Result<JobPlan, EngineError> {
    let mut plans = Vec::with_capacity(stages.len());
    for stage in stages {
        plans.push(Arc::new(stage_plan(spec, &declared, stage)?));
    }
    Ok(JobPlan {
        hosts: hosts(spec),
        spec: spec.clone(),
        declared,
        handler,
        stages: plans,
        guest_memory_max: deployment.host.guest_memory_max,
    })
}

fn stage_plan(job: &JobSpec, declared: &DeclaredJob, stage: ChosenStage) -> Result<StagePlan, EngineError> {
    let name = &stage.spec.name;
    let number = |name: &StageName| {
        let found = declared.graph.by_name(name.as_str()).map(|stage| stage.ix);
        found.ok_or_else(|| EngineError::Invalid(format!("stage {name} has no number in the store")))
    };
    let contract = |schema: Value| {
        Contract::new(schema).map_err(|error| EngineError::Invalid(format!("contract of stage {name}: {error}")))
    };
    let mut contracts = vec![contract(stage.produces)?];
    if let Some(tighter) = stage.spec.contract.clone() {
        contracts.push(contract(tighter)?);
    }
    let params = JsonObject::of(&job.stage_params(&stage.spec));
    let schemas = Value::Array(contracts.iter().map(|contract| contract.schema().clone()).collect());
    let mut reads = Vec::with_capacity(stage.reads.len());
    for (maker, artifact) in stage.reads {
        let ix = number(&maker)?;
        reads.push((maker, ix, artifact));
    }
    Ok(StagePlan {
        lane: Lane { job: declared.id, stage: number(name)? },
        params_digest: params.digest(),
        contract_digest: digest::of_value(&schemas),
        needs: stage.needs,
        reads,
        contracts,
        params,
        source: stage.source,
        spec: stage.spec,
    })
}

/// The host patterns of a job's `http` grants. One grant without names opens all that the policies allow.
fn hosts(spec: &JobSpec) -> Option<Vec<SitePattern>> {
    let grants: Vec<_> = spec.grants.iter().filter(|grant| grant.capability == Capability::Http).collect();
    if grants.is_empty() {
        return None;
    }
    if grants.iter().any(|grant| grant.names.is_empty()) {
        return Some(Vec::new());
    }
    Some(grants.iter().flat_map(|grant| grant.names.iter()).filter_map(|name| SitePattern::parse(name)).collect())
}

/// Wall-clock time of one page of discovery.
pub(crate) const DISCOVERY_TIMEOUT: Duration = Duration::from_mins(5);
