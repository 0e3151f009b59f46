//! What people do with a host, running or stopped: look, add, retry, exclude, pause, resume; and its sessions (`sessions`).
//!
//! The API is a thin layer over this. With a dispatcher attached, what changes is told to it; without one the store
//! alone changes, and the next run finds it there.

mod paid;
mod sessions;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

pub use paid::{BudgetView, CostReport, CostsAsked, LedgerAsked, ProxyCost};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tollgate_core::{
    Clock, ItemId, ItemKey, JobId, JobName, StageIx, Timestamp,
    item::{ItemStatus, NewItem},
    pause::{Pause, PauseReason},
    spec::{Deployment, diagnostic::did_you_mean},
    task::{Answers, TaskKind},
    time::Short,
};
use tollgate_egress::{Gate, GateStatus};
use tollgate_store::{
    ErrorView, ItemDetail, ItemQuery, ItemView, JobView, Lacking, Page, Reopened, Selection, StageItems, Store,
    StoreError, Submitted,
};

use crate::{
    Configuration, ConfigurationStatus, Dispatcher, EngineError, Heartbeat, Liveness, Progress, ServiceCooling,
    Services,
    dispatcher::{Event, Notifier},
    recheck::{self, RecheckedPart},
    supervise,
};

/// Most items of one page of a list.
pub const ITEMS_PAGE_MAX: usize = 1_000;
/// Errors shown with a job.
const ERRORS_SHOWN: usize = 20;
/// A lane that had nothing but another try for so long needs attention (R06).
const NO_PROGRESS_MAX: Duration = Duration::from_hours(24);

/// What people do with a host.
pub struct Operations {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    data: PathBuf,
    gate: Option<Arc<Gate>>,
    /// The paid services of a running host.
    services: Option<Arc<Services>>,
    /// The jobs.toml that a running host goes by.
    configuration: Option<Arc<Configuration>>,
    refused: BTreeMap<JobName, String>,
    /// Every job of jobs.toml, while it is known.
    named: Option<BTreeSet<JobName>>,
    empty_rounds_max: BTreeMap<JobName, u32>,
    notifier: Option<Notifier>,
    /// What jobs.toml says and its folder, or why it can't be read, for a stopped host.
    deployment: Result<(Arc<Deployment>, PathBuf), String>,
    /// The gate of a stopped host, once somebody asked for what goes through one.
    own_gate: OnceCell<Arc<Gate>>,
}

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
    /// What of sites, proxies and paid services stands in the way, a sentence each. `ago` says how a time until then is written.
    #[must_use]
    pub fn left_alone(&self, ago: impl Fn(Short) -> String) -> Vec<String> {
        let gate = self.gate.iter().flat_map(|gate| gate.sentences(self.at, &ago));
        gate.chain(self.services.iter().map(|service| service.sentence(self.at, &ago))).collect()
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEnded {
    /// How far it came.
    pub progress: Progress,
    /// Everything as it stood at the end, the host stopped.
    pub overview: Overview,
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

/// What an action did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Done {
    /// Items touched.
    pub items: u64,
    /// Tasks opened or skipped.
    pub tasks: u64,
    /// The job was paused and goes on with this; its pause.
    pub resumed: Option<Pause>,
    /// Keys that the job doesn't have.
    pub unknown: Vec<ItemKey>,
    /// Items that have work to do already, and were left to it.
    #[serde(default)]
    pub in_progress: Vec<ItemKey>,
    /// Items that were left alone, as large binaries have gone that the stage reads: what to run first (P06).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<Lacking>,
}

impl From<Reopened> for Done {
    fn from(reopened: Reopened) -> Self {
        let Reopened { items, tasks, resumed, unknown, in_progress, lacking, opened: _ } = reopened;
        Self { items, tasks, resumed, unknown, in_progress, lacking }
    }
}

/// What a submission did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Added {
    /// New items.
    pub new: u64,
    /// Known items with another revision, opened again.
    pub reopened: u64,
    /// Known items, left alone.
    pub known: u64,
}

impl Operations {
    /// Operations over a store, with nothing running.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, data: PathBuf) -> Self {
        Self {
            store,
            clock,
            data,
            gate: None,
            services: None,
            configuration: None,
            refused: BTreeMap::new(),
            named: None,
            empty_rounds_max: BTreeMap::new(),
            notifier: None,
            deployment: Err("nobody has read it".to_owned()),
            own_gate: OnceCell::new(),
        }
    }

    /// Knows what jobs.toml says, with the folder that it lies in, or why it can't be read: that is told to who needs it. For a
    /// stopped host.
    #[must_use]
    pub fn with_deployment(mut self, deployment: Result<(Arc<Deployment>, PathBuf), String>) -> Self {
        self.deployment = deployment;
        self
    }

    /// Tells `dispatcher` of what changes, shows what `plan` refuses and how `gate` stands, and has jobs.toml read again.
    #[must_use]
    pub fn attached(
        mut self,
        dispatcher: &Dispatcher,
        plan: &crate::Plan,
        gate: Arc<Gate>,
        configuration: Arc<Configuration>,
    ) -> Self {
        self.configuration = Some(configuration);
        self.notifier = Some(dispatcher.notifier());
        self.refused = plan.refused.iter().map(|(name, error)| (name.clone(), error.to_string())).collect();
        let names = plan.jobs.iter().map(|job| &job.spec.name).chain(plan.refused.keys());
        self.named = Some(names.cloned().collect());
        let rounds = plan
            .jobs
            .iter()
            .filter_map(|job| job.spec.discover.map(|discover| (job.spec.name.clone(), discover.empty_rounds_max)));
        self.empty_rounds_max = rounds.collect();
        self.gate = Some(gate);
        self
    }

    /// Shows which models are left alone.
    #[must_use]
    pub fn with_services(mut self, services: Arc<Services>) -> Self {
        self.services = Some(services);
        self
    }

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

    /// Pauses a job by hand.
    ///
    /// # Errors
    /// No job of that name, or the store can't be written.
    pub async fn pause(&self, name: &str, by: &str, note: &str) -> Result<Pause, EngineError> {
        let job = self.job_id(name).await?;
        let pause = Pause {
            reason: PauseReason::Manual,
            by: by.to_owned(),
            at: self.clock.now(),
            evidence: note.to_owned(),
            until: None,
        };
        let (store, to_keep) = (self.store.clone(), pause.clone());
        self.change(job, async move { store.pause(job, to_keep).await }, move |()| Event::Changed { job }).await?;
        Ok(pause)
    }

    /// Ends a job's pause. Answers the pause that there was.
    ///
    /// # Errors
    /// No job of that name, or the store can't be written.
    pub async fn resume(&self, name: &str) -> Result<Option<Pause>, EngineError> {
        let job = self.job_id(name).await?;
        let store = self.store.clone();
        self.change(job, async move { store.resume(job).await }, move |_| Event::Changed { job }).await
    }

    /// Items of a job, by rising number.
    ///
    /// # Errors
    /// No job of that name, or the store can't be read.
    pub async fn items(
        &self,
        name: &str,
        query: ItemQuery,
    ) -> Result<Page<ItemView, tollgate_core::ItemId>, EngineError> {
        let job = self.job_id(name).await?;
        let limit = query.limit.clamp(1, ITEMS_PAGE_MAX);
        Ok(self.store.items(job, ItemQuery { limit, ..query }).await?)
    }

    /// All that is known of an item; absent: the job has none of that key.
    ///
    /// # Errors
    /// No job of that name, or the store can't be read.
    pub async fn item(&self, name: &str, key: &ItemKey) -> Result<Option<ItemDetail>, EngineError> {
        let job = self.job_id(name).await?;
        Ok(self.store.item(job, key.clone()).await?)
    }

    /// Submits items by hand.
    ///
    /// # Errors
    /// No job of that name, or the store can't be written.
    pub async fn add(&self, name: &str, items: Vec<NewItem>) -> Result<Added, EngineError> {
        let job = self.job_id(name).await?;
        let (store, now) = (self.store.clone(), self.clock.now());
        let submitted =
            self.change(job, async move { store.submit(job, items, now).await }, move |submitted: &Submitted| {
                Event::Opened { job, stages: submitted.opened.clone() }
            });
        let Submitted { new, reopened, known, .. } = submitted.await?;
        Ok(Added { new, reopened, known })
    }

    /// Opens tasks again, to have what they pay for made anew, and resumes the job, and says so (R12).
    ///
    /// # Errors
    /// No job of that name, or the store can't be written.
    pub async fn retry(&self, name: &str, what: Selection) -> Result<Done, EngineError> {
        self.retry_with(name, what, Answers::Anew).await
    }

    /// The same; with [`Answers::Kept`], a task that comes to run by it takes the answers that it paid for before, until it
    /// has ended, and pays only for requests that differ.
    ///
    /// # Errors
    /// As [`Operations::retry`].
    pub async fn retry_with(&self, name: &str, what: Selection, answers: Answers) -> Result<Done, EngineError> {
        let job = self.job_id(name).await?;
        let (store, now) = (self.store.clone(), self.clock.now());
        let reopened = self
            .change(job, async move { store.reopen(job, what, answers, now).await }, move |_| Event::Changed { job })
            .await?;
        Ok(reopened.into())
    }

    /// Judges the stored pages of some items after `after` by today's guards. What is no content any more is kept apart and
    /// queued again with what stands on it, and so is what is content by now; a dry run only counts. The job's pause stays.
    ///
    /// # Errors
    /// No job of that name, jobs.toml can't be read, or the store can't be read or written.
    pub async fn recheck(
        &self,
        name: &str,
        after: Option<ItemId>,
        dry_run: bool,
    ) -> Result<RecheckedPart, EngineError> {
        let job = self.job_id(name).await?;
        let deployment = self.jobs_toml().map_err(|error| {
            EngineError::Invalid(format!("guards stand in jobs.toml, which can't be read: {error}"))
        })?;
        let now = self.clock.now();
        let (mut part, rechecked) = recheck::look(&*self.store, &deployment, job, after, now).await?;
        if !dry_run && !rechecked.is_empty() {
            let store = self.store.clone();
            let changing = async move { store.recheck(job, rechecked, now).await };
            let reopened = self.change(job, changing, move |_| Event::Changed { job }).await?;
            part.queued = reopened.tasks;
        }
        Ok(part)
    }

    /// Opens one stage of items again, done or not, from what is stored: no stage before it runs (P07). Resumes the job.
    ///
    /// # Errors
    /// No job of that name, no stage of it, or the store can't be written.
    pub async fn retry_stage(&self, name: &str, stage: &str, keys: Vec<ItemKey>) -> Result<Done, EngineError> {
        self.retry_stage_with(name, stage, keys, Answers::Anew).await
    }

    /// The same, with the answers that [`Operations::retry_with`] says.
    ///
    /// # Errors
    /// As [`Operations::retry_stage`].
    pub async fn retry_stage_with(
        &self,
        name: &str,
        stage: &str,
        keys: Vec<ItemKey>,
        answers: Answers,
    ) -> Result<Done, EngineError> {
        let (_, ix) = self.stage_ix(name, stage).await?;
        self.retry_with(name, Selection::Stage(ix, keys), answers).await
    }

    /// Items of which [`Operations::retry_stage`] would open that stage now, a page of those that `query` means. Whoever
    /// acts on them names them, so that what is done is what was shown (trap 31). Also which large binaries have gone (P06).
    ///
    /// # Errors
    /// No job of that name, no stage of it, or the store can't be read.
    pub async fn stage_items(&self, name: &str, stage: &str, query: ItemQuery) -> Result<StageItems, EngineError> {
        let (job, ix) = self.stage_ix(name, stage).await?;
        Ok(self.store.stage_items(job, ix, query).await?)
    }

    async fn stage_ix(&self, name: &str, stage: &str) -> Result<(JobId, StageIx), EngineError> {
        let job = self.job_id(name).await?;
        let jobs = self.store.jobs().await?;
        let stages = jobs.into_iter().find(|known| known.id == job).map(|known| known.stages).unwrap_or_default();
        let found = stages.iter().find(|known| known.name.as_str() == stage).map(|known| known.ix);
        let ix = found.ok_or_else(|| {
            let known: Vec<&str> = stages.iter().map(|known| known.name.as_str()).collect();
            let help = did_you_mean(stage, &known, "its stages are");
            EngineError::Invalid(format!("{name} has no stage `{stage}`; {help}"))
        })?;
        Ok((job, ix))
    }

    /// Leaves items out.
    ///
    /// # Errors
    /// No job of that name, or the store can't be written.
    pub async fn exclude(&self, name: &str, keys: Vec<ItemKey>, reason: &str) -> Result<Done, EngineError> {
        let job = self.job_id(name).await?;
        let (store, reason, now) = (self.store.clone(), reason.to_owned(), self.clock.now());
        let excluded = self
            .change(job, async move { store.exclude(job, keys, reason, now).await }, move |_| Event::Changed { job })
            .await?;
        Ok(excluded.into())
    }

    /// Has a running host read jobs.toml again, as it does by itself where it is seen to change.
    ///
    /// # Errors
    /// No host runs: the next start reads it.
    pub async fn reload(&self) -> Result<ConfigurationStatus, EngineError> {
        let stopped = || EngineError::Invalid("no host runs, and the next start reads jobs.toml anew".to_owned());
        let configuration = self.configuration.clone().ok_or_else(stopped)?;
        let reloading = tokio::task::spawn_blocking(move || configuration.reload()).await;
        reloading.map_err(|error| EngineError::Task { task: "reading jobs.toml", message: error.to_string() })
    }

    /// Asks the dispatcher to stop: tasks that run may finish within the grace time.
    pub async fn stop(&self) {
        if let Some(notifier) = &self.notifier {
            notifier.tell(Event::Stop).await;
        }
    }

    async fn job_id(&self, name: &str) -> Result<JobId, EngineError> {
        let unknown = || EngineError::UnknownJob(name.to_owned());
        let job = JobName::new(name).map_err(|_| unknown())?;
        self.store.job_id(job).await?.ok_or_else(unknown)
    }

    /// Changes a job in the store and tells the dispatcher, to the end, though who asked may have gone meanwhile: what
    /// is stored and never told would lie there until the next start.
    async fn change<T: Send + 'static>(
        &self,
        job: JobId,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        event: impl FnOnce(&T) -> Event + Send + 'static,
    ) -> Result<T, EngineError> {
        let notifier = self.notifier.clone();
        let changing = tokio::spawn(async move {
            let changed = supervise::catch(change).await;
            if let Some(notifier) = notifier {
                // One of several transactions may have gone through before an error.
                let event = match &changed {
                    Ok(Ok(done)) => event(done),
                    Ok(Err(_)) | Err(_) => Event::Changed { job },
                };
                notifier.tell(event).await;
            }
            changed
        });
        let ended = |message| EngineError::Task { task: "a change of a job", message };
        match changing.await {
            Ok(Ok(changed)) => Ok(changed?),
            Ok(Err(panic)) => {
                tracing::error!(?job, panic, "the host panicked while it changed a job");
                Err(ended(panic))
            }
            Err(error) => Err(ended(error.to_string())),
        }
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
