//! What may run: jobs.toml held against the handlers that are there.

mod checking;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value, json};
use tollgate_core::{
    Digest, JobName, JsonObject, Lane, StageIx, StageName,
    contract::Contract,
    graph::{GraphStage, Need, StageGraph},
    handler::Capability,
    spec::{CheckSpec, Deployment, Diagnostic, JobSpec, SitePattern, StageSpec},
};
use tollgate_sandbox::{Handler, HandlerSet, Instances, KeptMemory};
use tollgate_store::{DeclaredJob, DeclaredStage, JobDeclaration, Passing, Store};

use self::checking::ChosenStage;
pub use self::checking::{CheckedJob, check};
use crate::{ContentCheck, EngineError, digest, discovery, dispatcher::ends_all};

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
    #[error("{0}")]
    Handler(String),
    /// jobs.toml and the handler don't fit.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Mismatch(Vec<Diagnostic>),
    /// The store can't take it, or its rows can't be read.
    #[error("{0}")]
    Declaration(String),
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
    /// Its stages whose large binaries are kept only while they are needed.
    pub passing: Arc<[Passing]>,
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
    /// What comes before it, and whose outputs the handler is given.
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
    /// Instances of the handler that are kept between its tasks, if the job says `reuse`.
    pub instances: Instances,
    /// It is a check: the host does it, and no handler.
    pub check: Option<CheckPlan>,
}

/// A check that can run.
#[derive(Clone)]
pub struct CheckPlan {
    /// What jobs.toml says of it.
    pub spec: CheckSpec,
    /// The number of the stage that keeps its page.
    pub of: StageIx,
    /// Who answers; absent: the model that it names.
    pub judge: Option<Arc<dyn ContentCheck>>,
}

impl Plan {
    /// Holds each job against its handler, and declares those that fit. `judge`: who answers the questions of checks in
    /// place of models.
    ///
    /// # Errors
    /// The store can't be written. What is wrong with a job is in [`Plan::refused`].
    pub async fn make(
        deployment: &Deployment,
        file: &str,
        handlers: &HandlerSet,
        judge: Option<&Arc<dyn ContentCheck>>,
        store: &dyn Store,
        now: tollgate_core::Timestamp,
    ) -> Result<Self, EngineError> {
        let mut plan = Self { jobs: Vec::new(), refused: BTreeMap::new() };
        let kept = KeptMemory::default();
        for (spec, checked) in check(deployment, file, handlers, judge) {
            let job = match checked {
                Ok(CheckedJob { handler, stages }) => {
                    match store.declare(declaration(spec, deployment, &handler, &stages), now).await {
                        Ok(declared) => job_plan(spec, deployment, declared, handler, stages, &kept),
                        Err(error) if ends_all(&error) => return Err(error.into()),
                        Err(error) => Err(PlanError::Declaration(error.to_string())),
                    }
                }
                Err(error) => Err(error),
            };
            match job {
                Ok(job) => plan.jobs.push(Arc::new(job)),
                Err(error) => drop(plan.refused.insert(spec.name.clone(), error)),
            }
        }
        Ok(plan)
    }
}

fn declaration(spec: &JobSpec, deployment: &Deployment, handler: &Handler, stages: &[ChosenStage]) -> JobDeclaration {
    let brings = |stage: &ChosenStage| -> Vec<StageName> {
        let names: BTreeSet<_> = stage.needs.iter().flat_map(|need| need.any_of.iter().cloned()).collect();
        names.into_iter().collect()
    };
    JobDeclaration {
        name: spec.name.clone(),
        kind: spec.kind,
        stages: stages
            .iter()
            .map(|stage| DeclaredStage {
                name: stage.spec.name.clone(),
                needs: stage.needs.clone(),
                brings: brings(stage),
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
    kept: &KeptMemory,
) -> Result<JobPlan, PlanError> {
    let mut plans = Vec::with_capacity(stages.len());
    for stage in stages {
        plans.push(Arc::new(stage_plan(spec, &declared, stage, kept)?));
    }
    Ok(JobPlan {
        hosts: hosts(spec),
        spec: spec.clone(),
        passing: passing(&declared.graph, &plans),
        declared,
        handler,
        stages: plans,
        guest_memory_max: deployment.host.guest_memory_max,
    })
}

/// Every stage that a handler runs and that doesn't say `keep`, with the others that declare to read what it leaves,
/// and those that come after it: what a stage gives to a model or a tool it needn't declare.
fn passing(graph: &StageGraph, stages: &[Arc<StagePlan>]) -> Arc<[Passing]> {
    let made = stages.iter().filter(|stage| stage.check.is_none() && !stage.spec.keep).map(|stage| stage.lane.stage);
    let reads = |stage: &StagePlan| -> Vec<(StageIx, String)> {
        let of_check = stage.check.iter().map(|check| (check.of, check.spec.artifact.clone()));
        stage.reads.iter().map(|(_, maker, name)| (*maker, name.clone())).chain(of_check).collect()
    };
    let of = |stage: &StagePlan, maker: StageIx| -> Vec<(StageIx, String)> {
        let reader = stage.lane.stage;
        let read = reads(stage).into_iter().filter(|(of, _)| *of == maker && reader != maker);
        read.map(|(_, name)| (reader, name)).collect()
    };
    let readers = |maker| stages.iter().flat_map(|stage| of(stage, maker)).collect();
    let comes_after = |stage: &GraphStage, maker: &GraphStage| graph.before(stage.name.as_str()).contains(&&maker.name);
    let after = |maker| {
        let maker = graph.stages().iter().find(|stage| stage.ix == maker);
        let all = graph.stages().iter().filter(|stage| maker.is_some_and(|maker| comes_after(stage, maker)));
        all.map(|stage| stage.ix).collect()
    };
    made.map(|maker| Passing { maker, readers: readers(maker), after: after(maker) }).collect()
}

fn stage_plan(
    job: &JobSpec,
    declared: &DeclaredJob,
    stage: ChosenStage,
    kept: &KeptMemory,
) -> Result<StagePlan, PlanError> {
    let name = &stage.spec.name;
    let number = |name: &StageName| {
        let found = declared.graph.by_name(name.as_str()).map(|stage| stage.ix);
        found.ok_or_else(|| PlanError::Declaration(format!("stage {name} has no number in the store")))
    };
    let check = match stage.check {
        Some((spec, judge)) => Some(CheckPlan { of: number(&spec.of)?, spec, judge }),
        None => None,
    };
    let params = match &check {
        Some(CheckPlan { spec, .. }) => JsonObject::of(&check_params(spec)),
        None => JsonObject::of(&job.stage_params(&stage.spec)),
    };
    let schemas = Value::Array(stage.contracts.iter().map(|contract| contract.schema().clone()).collect());
    let mut reads = Vec::with_capacity(stage.reads.len());
    for (maker, artifact) in stage.reads {
        let ix = number(&maker)?;
        reads.push((maker, ix, artifact));
    }
    Ok(StagePlan {
        lane: Lane { job: declared.id, stage: number(name)? },
        params_digest: params.digest(),
        contract_digest: digest::of_value(&schemas),
        instances: Instances::new(job.reuse, stage.spec.concurrency, kept.clone()),
        needs: stage.needs,
        reads,
        contracts: stage.contracts,
        params,
        source: stage.source,
        spec: stage.spec,
        check,
    })
}

/// What a check's outputs depend on.
fn check_params(check: &CheckSpec) -> Map<String, Value> {
    let params = [
        ("of", json!(format!("{}/{}", check.of, check.artifact))),
        ("ask", json!(check.ask.to_string())),
        ("model", json!(check.model)),
    ];
    params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The host patterns of a job's `http` grants. One grant without names opens all that the policies allow.
pub(crate) fn hosts(spec: &JobSpec) -> Option<Vec<SitePattern>> {
    let grants: Vec<_> = spec.grants.iter().filter(|grant| grant.capability == Capability::Http).collect();
    if grants.is_empty() {
        return None;
    }
    if grants.iter().any(|grant| grant.names.is_empty()) {
        return Some(Vec::new());
    }
    Some(grants.iter().flat_map(|grant| grant.names.iter()).filter_map(|name| SitePattern::of_grant(name)).collect())
}

/// Wall-clock time of one page of discovery.
pub(crate) const DISCOVERY_TIMEOUT: Duration = Duration::from_mins(5);
