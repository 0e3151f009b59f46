//! What people see first: everything at a glance, one job, and what needs their attention.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_core::{JobName, Timestamp, item::ItemStatus, pause::PauseReason, task::TaskKind, time::Short};
use tollgate_egress::GateStatus;
use tollgate_store::{ErrorView, JobView};

use super::{BudgetView, Operations};
use crate::{ConfigurationStatus, EngineError, Heartbeat, Liveness, ServiceCooling};

/// Errors shown with a job.
const ERRORS_SHOWN: usize = 20;
/// A lane that had nothing but another try for so long needs attention (R06).
const NO_PROGRESS_MAX: Duration = Duration::from_hours(24);

/// Everything at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// When it was read.
    pub at: Timestamp,
    /// Whether the host lives.
    pub liveness: Liveness,
    /// What a person should look at.
    pub attention: Vec<Attention>,
    /// Every job.
    pub jobs: Vec<JobView>,
    /// The latest errors of all jobs, newest first.
    pub errors: Vec<JobError>,
    /// Jobs that were declared once and that jobs.toml doesn't name any more; empty while the host is stopped.
    #[serde(default)]
    pub unnamed: Vec<JobName>,
    /// Sites and proxies; absent while the host is stopped.
    pub gate: Option<GateStatus>,
    /// How jobs.toml stands to what the host goes by; absent while the host is stopped.
    #[serde(default)]
    pub configuration: Option<ConfigurationStatus>,
    /// Budgets of money, each with what is spent and held of it.
    #[serde(default)]
    pub budgets: Vec<BudgetView>,
    /// Paid services that are left alone; none while the host is stopped.
    #[serde(default)]
    pub services: Vec<ServiceCooling>,
}

impl Overview {
    /// What of sites, proxies and paid services stands in the way, a sentence each. `ago` says how a
    /// time until then is written.
    #[must_use]
    pub fn left_alone(&self, ago: impl Fn(Short) -> String) -> Vec<String> {
        let gate = self.gate.iter().flat_map(|gate| gate.sentences(self.at, &ago));
        gate.chain(self.services.iter().map(|service| service.sentence(self.at, &ago))).collect()
    }
}

/// Something that a person should look at, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// Which job; absent: the host as a whole.
    pub job: Option<JobName>,
    /// What, and what to do.
    pub message: String,
}

/// An error with its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// The job.
    pub job: JobName,
    /// The error.
    #[serde(flatten)]
    pub error: ErrorView,
}

/// One job with its latest errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobDetail {
    /// The job.
    pub job: JobView,
    /// What a person should look at.
    pub attention: Vec<Attention>,
    /// Newest first.
    pub errors: Vec<ErrorView>,
}

impl Operations {
    /// Everything at a glance.
    ///
    /// # Errors
    /// The store or the heartbeat can't be read.
    pub async fn overview(&self) -> Result<Overview, EngineError> {
        let at = self.clock.now();
        let jobs = self.store.jobs().await?;
        let mut errors = Vec::new();
        for job in &jobs {
            let latest = self.store.recent_errors(job.id, ERRORS_SHOWN).await?;
            errors.extend(latest.into_iter().map(|error| JobError { job: job.name.clone(), error }));
        }
        errors.sort_by_key(|error| std::cmp::Reverse(error.error.at));
        errors.truncate(ERRORS_SHOWN);
        let mut attention: Vec<Attention> = jobs.iter().flat_map(|job| self.attention(job, at)).collect();
        let undeclared = self.refused.iter().filter(|(name, _)| !jobs.iter().any(|job| &job.name == *name));
        attention.extend(
            undeclared
                .map(|(name, error)| Attention { job: Some(name.clone()), message: format!("can't run: {error}") }),
        );
        let lacking = self.gate.iter().flat_map(|gate| gate.sessions_lacking());
        let configuration = self.configuration.as_ref().map(|configuration| configuration.status());
        let changed = configuration.iter().flat_map(ConfigurationStatus::attention);
        attention.extend(changed.chain(lacking).map(|message| Attention { job: None, message }));
        let (budgets, of_budgets) = self.money(&jobs).await?;
        attention.extend(of_budgets);
        let services = self.services.as_ref().map(|services| services.cooling()).unwrap_or_default();
        let liveness = Heartbeat::liveness(&self.data, at)?;
        let gate = self.gate.as_ref().map(|gate| gate.status());
        let is_unnamed = |name: &JobName| self.named.as_ref().is_some_and(|named| !named.contains(name));
        let unnamed = jobs.iter().map(|job| job.name.clone()).filter(is_unnamed).collect();
        Ok(Overview { at, liveness, attention, jobs, errors, unnamed, gate, configuration, budgets, services })
    }

    /// One job with its latest errors.
    ///
    /// # Errors
    /// No job of that name, or the store can't be read.
    pub async fn job(&self, name: &str) -> Result<JobDetail, EngineError> {
        let id = self.job_id(name).await?;
        let jobs = self.store.jobs().await?;
        let (_, of_budgets) = self.money(&jobs).await?;
        let job = jobs.into_iter().find(|job| job.id == id);
        let job = job.ok_or_else(|| EngineError::UnknownJob(name.to_owned()))?;
        let errors = self.store.recent_errors(id, ERRORS_SHOWN).await?;
        let mut attention = self.attention(&job, self.clock.now());
        attention.extend(of_budgets.into_iter().filter(|one| one.job.as_ref() == Some(&job.name)));
        Ok(JobDetail { job, attention, errors })
    }

    /// What a person should look at in a job.
    fn attention(&self, job: &JobView, now: Timestamp) -> Vec<Attention> {
        let mut all = Vec::new();
        let mut say = |message: String| all.push(Attention { job: Some(job.name.clone()), message });
        if let Some(pause) = &job.pause {
            let how = if pause.until.is_some() { "goes on before that" } else { "goes on" };
            say(format!("paused: {}; `tollgate job resume {}` {how}", pause.sentence(), job.name));
        }
        // The store has it as the pause, unless something else has paused the job.
        let told = job.pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Handler);
        if let Some(refused) = self.refused.get(&job.name).filter(|_| !told) {
            say(format!("can't run: {refused}"));
        }
        let queued = [ItemStatus::Queued, ItemStatus::Retrying].map(|status| job.items.get(&status).copied());
        let queued: u64 = queued.into_iter().flatten().sum();
        if queued > 0 && self.named.as_ref().is_some_and(|named| !named.contains(&job.name)) {
            say(format!("{queued} items wait, and jobs.toml has the job no more: put it back, or exclude them"));
        }
        if let Some(error) = &job.discovery.last_error {
            match job.discovery.errors {
                0 => say(format!("discovery is tried again later: {error}")),
                errors => say(format!("discovery failed {errors} times: {error}")),
            }
        }
        let limit = self.empty_rounds_max.get(&job.name).copied();
        if limit.is_some_and(|limit| job.discovery.empty_rounds >= limit) {
            say(format!(
                "discovery found nothing in {} rounds: is its address still right?",
                job.discovery.empty_rounds
            ));
        }
        for stage in &job.stages {
            let waiting = stage.tasks.get(&TaskKind::RetryLater).copied().unwrap_or(0);
            if waiting > 0 && stage.later_since.is_some_and(|since| now.since(since) >= NO_PROGRESS_MAX) {
                say(format!(
                    "stage {} has had nothing but another try for 24 hours: {waiting} wait; their items say why",
                    stage.name
                ));
            }
        }
        all
    }
}
