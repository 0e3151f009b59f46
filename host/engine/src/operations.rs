//! What people do with a host, running or stopped: pause, resume, reload, stop here; the rest
//! each in a file of its own.
//!
//! The API is a thin layer over this. With a dispatcher attached, what changes is told to it; without one the store
//! alone changes, and the next run finds it there.

mod items;
mod overview;
mod paid;
mod sessions;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

pub use items::{Added, Done, ITEMS_PAGE_MAX};
pub use overview::{Attention, JobDetail, JobError, Overview};
pub use paid::{BudgetView, CostReport, CostsAsked, LedgerAsked, ProxyCost};
use tokio::sync::OnceCell;
use tollgate_core::{
    Clock, JobId, JobName,
    pause::{Pause, PauseReason},
    spec::Deployment,
};
use tollgate_egress::Gate;
use tollgate_store::{Store, StoreError};

use crate::{
    Configuration, ConfigurationStatus, Dispatcher, EngineError, Progress, Services,
    dispatcher::{Event, Notifier},
    supervise,
};

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

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEnded {
    /// How far it came.
    pub progress: Progress,
    /// Everything as it stood at the end, the host stopped.
    pub overview: Overview,
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

    /// Knows what jobs.toml says, with the folder that it lies in, or why it can't be read: that is told to who needs
    /// it. For a stopped host.
    #[must_use]
    pub fn with_deployment(mut self, deployment: Result<(Arc<Deployment>, PathBuf), String>) -> Self {
        self.deployment = deployment;
        self
    }

    /// Tells `dispatcher` of what changes, shows what `plan` refuses and how `gate` stands, and
    /// has jobs.toml read again.
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
}
