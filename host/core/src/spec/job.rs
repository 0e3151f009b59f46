//! `[job.NAME]` and its stages: what runs, what it may use, and how it is tried again.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{CheckSpec, Place, Places, Services};
use crate::{
    budget::MoneyBudget,
    condition::Condition,
    graph::Need,
    handler::{Capability, Grant},
    ids::{HandlerName, JobName, StageName},
    retry::RetryPolicy,
};

/// Concurrency of a lane where jobs.toml names none.
pub const CONCURRENCY_DEFAULT: usize = 4;
/// Most tasks of one lane side by side.
pub const CONCURRENCY_MAX: usize = 1_000;
/// Wall-clock time of one task where jobs.toml names none.
pub const TASK_TIMEOUT_DEFAULT: Duration = Duration::from_mins(5);

/// What a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// Keeps finding new items.
    Monitor,
    /// A finite catalogue.
    Backfill,
}

/// `[job.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// Its name.
    pub name: JobName,
    /// What it is.
    pub kind: JobKind,
    /// Its handler: the stem of a file in the drop folder.
    pub handler: HandlerName,
    /// What the handler may use.
    pub grants: Vec<Grant>,
    /// What it is served by where neither its stage nor its call says.
    pub services: Services,
    /// The most that it may spend.
    pub budget: MoneyBudget,
    /// Params of the job; each stage's own are laid over them.
    pub params: Map<String, Value>,
    /// Where each of `params` stands.
    pub params_at: Places,
    /// When discovery runs; absent: only what is submitted.
    pub discover: Option<DiscoverSpec>,
    /// The stages that run; absent: all of the handler's, in its order.
    pub stages: Option<Vec<StageName>>,
    /// `[job.NAME.stage.STAGE]`.
    pub tuned: Vec<StageSpec>,
    /// `[job.NAME.check.CHECK]`.
    pub checks: Vec<CheckSpec>,
    /// Distinct items that may fail in a row in one stage before the job pauses.
    pub breaker: u32,
    /// Tasks that one instance of the handler serves, one after the other; 1: each has a fresh one.
    pub reuse: u32,
    /// Where it stands.
    pub at: Place,
    /// Where `handler` stands.
    pub handler_at: Place,
    /// Where `grant` would stand, or stands.
    pub grant_at: Place,
}

impl JobSpec {
    /// What jobs.toml says of a stage; the defaults where it says nothing.
    #[must_use]
    pub fn stage(&self, name: &StageName) -> StageSpec {
        let checks = self.checks.iter().map(|check| &check.stage);
        self.tuned
            .iter()
            .chain(checks)
            .find(|stage| &stage.name == name)
            .cloned()
            .unwrap_or_else(|| StageSpec { services: self.services.clone(), ..StageSpec::new(name.clone(), self.at) })
    }

    /// The tools that its grants name; empty: all of jobs.toml. Absent: none is granted.
    #[must_use]
    pub fn tools(&self) -> Option<Vec<String>> {
        self.granted(Capability::Tools)
    }

    /// What its grants of a capability name; empty: all of jobs.toml. Absent: it isn't granted.
    #[must_use]
    pub fn granted(&self, capability: Capability) -> Option<Vec<String>> {
        let grants = self.grants.iter().filter(|grant| grant.capability == capability);
        let names: Vec<&Vec<String>> = grants.map(|grant| &grant.names).collect();
        if names.iter().any(|names| names.is_empty()) {
            return Some(Vec::new());
        }
        (!names.is_empty()).then(|| names.into_iter().flatten().cloned().collect())
    }

    /// A stage's params: the job's, with the stage's own laid over them.
    #[must_use]
    pub fn stage_params(&self, stage: &StageSpec) -> Map<String, Value> {
        let mut params = self.params.clone();
        params.extend(stage.params.clone());
        params
    }

    /// Where a value of the params of a stage, or of the job alone, stands, by the keys that lead to it; what is
    /// missing, where it would.
    #[must_use]
    pub fn param_at(&self, stage: Option<&StageSpec>, path: &[String]) -> Place {
        let stage = stage.filter(|stage| !stage.params.is_empty());
        let own = stage.and_then(|stage| stage.params_at.nearest(path));
        let around = || stage.map_or(self.at, |stage| stage.at);
        own.or_else(|| self.params_at.nearest(path)).unwrap_or_else(around)
    }
}

/// When discovery runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiscoverSpec {
    /// Time from the end of one round to the start of the next; absent: one round.
    pub every: Option<Duration>,
    /// Empty rounds in a row after which the job is shown as suspicious (Q07).
    pub empty_rounds_max: u32,
}

/// `[job.NAME.stage.STAGE]`, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSpec {
    /// Its name.
    pub name: StageName,
    /// Tasks side by side.
    pub concurrency: usize,
    /// Runs only where this holds.
    pub when: Option<Condition>,
    /// Where `when` stands, or the stage.
    pub when_at: Place,
    /// In place of the handler's own.
    pub needs: Option<Vec<Need>>,
    /// Where `needs` stands, or the stage.
    pub needs_at: Place,
    /// What its calls are served by that don't say: its own word, else the job's.
    pub services: Services,
    /// Laid over the job's.
    pub params: Map<String, Value>,
    /// Where each of `params` stands.
    pub params_at: Places,
    /// How it is tried again.
    pub retry: RetryPolicy,
    /// Wall-clock time of one task, host waits included.
    pub timeout: Duration,
    /// Whether a body that the stage reads is kept before it is parsed (M05).
    pub raw: bool,
    /// Whether large binaries that it leaves stay when no stage needs them any more (P06).
    pub keep: bool,
    /// Tightens the contract: an output must satisfy this schema as well.
    pub contract: Option<Value>,
    /// Where it stands.
    pub at: Place,
}

impl StageSpec {
    /// A stage of which jobs.toml says nothing.
    #[must_use]
    pub fn new(name: StageName, at: Place) -> Self {
        Self {
            name,
            concurrency: CONCURRENCY_DEFAULT,
            when: None,
            when_at: at,
            needs: None,
            needs_at: at,
            services: Services::default(),
            params: Map::new(),
            params_at: Places::default(),
            retry: RetryPolicy::default(),
            timeout: TASK_TIMEOUT_DEFAULT,
            raw: true,
            keep: false,
            contract: None,
            at,
        }
    }
}
