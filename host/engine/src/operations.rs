//! What people do with a host, running or stopped: look, add, retry, exclude, pause, resume.
//!
//! The API is a thin layer over this. With a dispatcher attached, what changes is told to it; without one the store
//! alone changes, and the next run finds it there.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use tollgate_core::{
    Clock, ItemKey, JobId, JobName, Timestamp,
    item::NewItem,
    pause::{Pause, PauseReason},
    task::LaterKind,
};
use tollgate_egress::{Gate, GateStatus};
use tollgate_store::{
    ErrorView, ItemDetail, ItemQuery, ItemView, JobView, Page, Reopened, Selection, Store, Submitted,
};

use crate::{
    Dispatcher, EngineError, Heartbeat, Liveness,
    dispatcher::{Event, Notifier},
};

/// Most items of one page of a list.
pub const ITEMS_PAGE_MAX: usize = 1_000;
/// Errors shown with a job.
const ERRORS_SHOWN: usize = 20;
/// A lane without progress for so long needs attention, if it tries at all.
const NO_PROGRESS_MS: u64 = 24 * 3_600 * 1_000;

/// What people do with a host.
pub struct Operations {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    data: PathBuf,
    gate: Option<Arc<Gate>>,
    refused: BTreeMap<JobName, String>,
    empty_rounds_max: BTreeMap<JobName, u32>,
    notifier: Option<Notifier>,
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
    /// Sites and proxies; absent while the host is stopped.
    pub gate: Option<GateStatus>,
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
}

impl From<Reopened> for Done {
    fn from(reopened: Reopened) -> Self {
        let Reopened { items, tasks, resumed, unknown, in_progress, opened: _ } = reopened;
        Self { items, tasks, resumed, unknown, in_progress }
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
            refused: BTreeMap::new(),
            empty_rounds_max: BTreeMap::new(),
            notifier: None,
        }
    }

    /// Tells `dispatcher` of what changes, and shows what `plan` refuses and how `gate` stands.
    #[must_use]
    pub fn attached(mut self, dispatcher: &Dispatcher, plan: &crate::Plan, gate: Arc<Gate>) -> Self {
        self.notifier = Some(dispatcher.notifier());
        self.refused = plan.refused.iter().map(|(name, error)| (name.clone(), error.to_string())).collect();
        let rounds = plan
            .jobs
            .iter()
            .filter_map(|job| job.spec.discover.map(|discover| (job.spec.name.clone(), discover.empty_rounds_max)));
        self.empty_rounds_max = rounds.collect();
        self.gate = Some(gate);
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
        let liveness = Heartbeat::liveness(&self.data, at)?;
        let gate = self.gate.as_ref().map(|gate| gate.status());
        Ok(Overview { at, liveness, attention, jobs, errors, gate })
    }

    /// One job with its latest errors.
    ///
    /// # Errors
    /// No job of that name, or the store can't be read.
    pub async fn job(&self, name: &str) -> Result<JobDetail, EngineError> {
        let id = self.job_id(name).await?;
        let job = self.store.jobs().await?.into_iter().find(|job| job.id == id);
        let job = job.ok_or_else(|| EngineError::UnknownJob(name.to_owned()))?;
        let errors = self.store.recent_errors(id, ERRORS_SHOWN).await?;
        let attention = self.attention(&job, self.clock.now());
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
        self.store.pause(job, pause.clone()).await?;
        self.tell(Event::PauseChanged { job }).await;
        Ok(pause)
    }

    /// Ends a job's pause. Answers the pause that there was.
    ///
    /// # Errors
    /// No job of that name, or the store can't be written.
    pub async fn resume(&self, name: &str) -> Result<Option<Pause>, EngineError> {
        let job = self.job_id(name).await?;
        let pause = self.store.resume(job).await?;
        self.tell(Event::PauseChanged { job }).await;
        Ok(pause)
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
        let Submitted { new, reopened, known, opened } = self.store.submit(job, items, self.clock.now()).await?;
        self.tell(Event::Opened { job, stages: opened }).await;
        Ok(Added { new, reopened, known })
    }

    /// Opens tasks again and resumes the job, and says so (R12).
    ///
    /// # Errors
    /// No job of that name, or the store can't be written.
    pub async fn retry(&self, name: &str, what: Selection) -> Result<Done, EngineError> {
        let job = self.job_id(name).await?;
        let reopened = self.store.reopen(job, what, self.clock.now()).await?;
        self.tell(Event::PauseChanged { job }).await;
        Ok(reopened.into())
    }

    /// Leaves items out.
    ///
    /// # Errors
    /// No job of that name, or the store can't be written.
    pub async fn exclude(&self, name: &str, keys: Vec<ItemKey>, reason: &str) -> Result<Done, EngineError> {
        let job = self.job_id(name).await?;
        let excluded = self.store.exclude(job, keys, reason.to_owned(), self.clock.now()).await?;
        self.tell(Event::PauseChanged { job }).await;
        Ok(excluded.into())
    }

    /// Asks the dispatcher to stop: tasks that run may finish within the grace time.
    pub async fn stop(&self) {
        self.tell(Event::Stop).await;
    }

    async fn job_id(&self, name: &str) -> Result<JobId, EngineError> {
        let unknown = || EngineError::UnknownJob(name.to_owned());
        let job = JobName::new(name).map_err(|_| unknown())?;
        self.store.job_id(job).await?.ok_or_else(unknown)
    }

    async fn tell(&self, event: Event) {
        if let Some(notifier) = &self.notifier {
            notifier.tell(event).await;
        }
    }

    /// What a person should look at in a job.
    fn attention(&self, job: &JobView, now: Timestamp) -> Vec<Attention> {
        let mut all = Vec::new();
        let mut say = |message: String| all.push(Attention { job: Some(job.name.clone()), message });
        if let Some(pause) = &job.pause {
            say(format!("paused: {}; `tollgate job resume {}` goes on", pause.sentence(), job.name));
        } else if let Some(refused) = self.refused.get(&job.name) {
            say(format!("can't run: {refused}"));
        }
        if let Some(error) = &job.discovery.last_error {
            say(format!("discovery failed {} times: {error}", job.discovery.errors));
        }
        let limit = self.empty_rounds_max.get(&job.name).copied();
        if limit.is_some_and(|limit| job.discovery.empty_rounds >= limit) {
            say(format!(
                "discovery found nothing in {} rounds: is its address still right?",
                job.discovery.empty_rounds
            ));
        }
        for stage in &job.stages {
            let tries = stage.last_attempt_at.is_some_and(|at| now.since(at).as_millis() < u128::from(NO_PROGRESS_MS));
            let stuck = stage.last_progress_at.or(job.discovery.last_page_at);
            let stuck = stuck.is_some_and(|at| now.since(at).as_millis() >= u128::from(NO_PROGRESS_MS));
            let waiting = stage.tasks.get(&tollgate_core::task::TaskKind::RetryLater).copied().unwrap_or(0);
            if tries && stuck && waiting > 0 {
                say(format!("stage {} has had nothing but {} for 24 hours", stage.name, LaterKind::Asked.as_str()));
            }
        }
        all
    }
}
