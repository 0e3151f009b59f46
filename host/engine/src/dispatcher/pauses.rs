//! Pauses of jobs: those that settlements make, those of the host's own trouble, and the end of what has had its time.

use tollgate_core::{
    JobId, Timestamp,
    pause::{Pause, PauseReason},
};
use tollgate_store::StoreError;

use super::Dispatcher;
use crate::{
    EngineError, Plan,
    executor::{Tools, Unsettled},
};

impl Dispatcher {
    /// A settlement paused the job. The store has the last word: a person may have resumed it since.
    pub(super) async fn paused(&mut self, job: JobId, pause: &Pause) -> Result<(), EngineError> {
        let Some(lanes) = self.jobs.get_mut(&job) else {
            return Ok(());
        };
        tracing::warn!(job = %lanes.plan.spec.name, pause = pause.sentence(), "job paused");
        let read = lanes.refresh_pause(&*self.tools.store).await;
        self.or_pause(job, read).await.map(drop)
    }

    /// What goes wrong with a job's own rows, or in the host's own code, pauses that job with the evidence, and the
    /// others go on. Only a store that is gone is the end of all.
    pub(super) async fn or_pause<T, E: Into<Unsettled>>(
        &mut self,
        job: JobId,
        result: Result<T, E>,
    ) -> Result<Option<T>, EngineError> {
        let error = match result.map_err(Into::into) {
            Ok(done) => return Ok(Some(done)),
            Err(Unsettled::Store(error)) if ends_all(&error) => return Err(error.into()),
            Err(error) => error,
        };
        let pause = Pause::by_host(PauseReason::Host, self.tools.clock.now(), error.to_string());
        tracing::error!(?job, pause = pause.sentence(), "job paused");
        match self.tools.store.pause(job, pause.clone()).await {
            Err(error) if ends_all(&error) => return Err(error.into()),
            Err(error) => tracing::error!(?job, %error, "the pause can't be kept; it holds until the host stops"),
            Ok(()) => {}
        }
        if let Some(lanes) = self.jobs.get_mut(&job) {
            lanes.pause = Some(pause);
        }
        Ok(None)
    }

    /// Ends a pause whose time is over. The store has the last word: a person may have paused the job since.
    pub(super) async fn end_pause(&mut self, job: JobId, now: Timestamp) -> Result<(), EngineError> {
        let Some(lanes) = self.jobs.get_mut(&job).filter(|lanes| lanes.pause_is_over(now)) else {
            return Ok(());
        };
        let store = self.tools.store.clone();
        let refreshed = match store.end_pause(job, now).await {
            Ok(ended) => {
                if let Some(pause) = ended {
                    tracing::info!(job = %lanes.plan.spec.name, pause = pause.sentence(), "the job goes on by itself");
                }
                lanes.refresh(&*store).await
            }
            Err(error) => Err(error),
        };
        self.or_pause(job, refreshed).await.map(drop)
    }
}

/// Whether nothing at all can go on after it: the disk refuses, or the store is closed.
pub(crate) fn ends_all(error: &StoreError) -> bool {
    matches!(error, StoreError::Io(_) | StoreError::Full(_) | StoreError::Closed)
}

/// Jobs that can't run are paused, with all that stands against them, unless something else has paused them already:
/// that stays. What stands against them is found anew at each start.
pub(super) async fn pause_refused(plan: &Plan, tools: &Tools) -> Result<(), EngineError> {
    for view in tools.store.jobs().await? {
        let by_handler = view.pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Handler);
        if by_handler && plan.jobs.iter().any(|job| job.declared.id == view.id) {
            tracing::info!(job = %view.name, "nothing stands against its handler any more: the job goes on");
            tools.store.resume(view.id).await?;
        }
    }
    for (name, error) in &plan.refused {
        tracing::error!(job = %name, %error, "job can't run");
        let Some(id) = tools.store.job_id(name.clone()).await? else {
            continue;
        };
        let pause = Pause::by_host(PauseReason::Handler, tools.clock.now(), error.to_string());
        tools.store.pause(id, pause).await?;
    }
    Ok(())
}
