//! Filling lanes: tasks are claimed as far as there is room, the next page of a discovery is
//! begun, each by an executor.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tollgate_core::{JobId, Lane};
use tollgate_store::Claim;

use super::{Dispatcher, Ended};
use crate::{
    EngineError, discovery,
    executor::{self, Unsettled},
    plan::{JobPlan, StagePlan},
    supervise,
};

impl Dispatcher {
    pub(super) async fn fill_touched(&mut self) -> Result<(), EngineError> {
        while let Some(lane) = self.touched.pop_first() {
            self.fill_lane(lane).await?;
        }
        Ok(())
    }

    pub(super) async fn fill_all(&mut self) -> Result<(), EngineError> {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            self.fill_job(job).await?;
        }
        Ok(())
    }

    pub(super) async fn fill_job(&mut self, job: JobId) -> Result<(), EngineError> {
        let now = self.tools.clock.now();
        self.end_pause(job, now).await?;
        let Some(lanes) = self.jobs.get_mut(&job) else {
            return Ok(());
        };
        let stages = lanes.wake_due(now);
        self.touched.extend(stages.into_iter().map(|stage| Lane { job, stage }));
        self.discover(job);
        self.fill_touched().await
    }

    /// Starts as many tasks of a lane as its concurrency leaves room for.
    async fn fill_lane(&mut self, lane: Lane) -> Result<(), EngineError> {
        let room_in_run = self.mode.tasks_max.map_or(u64::MAX, |most| most.saturating_sub(self.started));
        let stopping = self.stopping;
        let Some(state) = self.jobs.get_mut(&lane.job).and_then(|lanes| lanes.open_stage_mut(lane.stage)) else {
            return Ok(());
        };
        let now = self.tools.clock.now();
        let room = state.room().min(usize::try_from(room_in_run).unwrap_or(usize::MAX));
        if stopping || room == 0 || !state.may_have_ready || state.is_held(now) {
            return Ok(());
        }
        let store = self.tools.store.clone();
        let claimed = store.claim(lane, room, now).await;
        let Some(claims) = self.or_pause(lane.job, claimed).await? else {
            return Ok(());
        };
        let is_all = claims.len() < room;
        let next_due = if is_all { store.next_due(lane, now).await } else { Ok(None) };
        let next_due = self.or_pause(lane.job, next_due).await?.flatten();
        let Some(lanes) = self.jobs.get_mut(&lane.job) else {
            return Ok(());
        };
        let job = lanes.plan.clone();
        let Some(state) = lanes.stage_mut(lane.stage) else {
            return Ok(());
        };
        if is_all {
            state.may_have_ready = false;
            state.next_due = next_due;
        }
        state.running += claims.len();
        self.started += claims.len() as u64;
        let (stage, settling) = (state.plan.clone(), state.settling.clone());
        self.begin(claims.len());
        for claim in claims {
            self.spawn(job.clone(), stage.clone(), settling.clone(), claim);
        }
        Ok(())
    }

    fn spawn(&mut self, job: Arc<JobPlan>, stage: Arc<StagePlan>, settling: Arc<Semaphore>, claim: Claim) {
        let (tools, lane, given) = (self.tools.clone(), stage.lane, self.given.clone());
        self.executors.spawn(async move {
            let mut permit = None;
            let give_place = || permit = settling.try_acquire_owned().ok().filter(|_| given.send(lane).is_ok());
            let result = executor::execute(&tools, &job, &stage, claim, give_place).await;
            Ended::Task { lane, had_place: permit.is_none(), result }
        });
    }

    /// Starts the next page of a job's discovery, if it is due and none is under way.
    pub(super) fn discover(&mut self, job: JobId) {
        let now = self.tools.clock.now();
        let enough = self.stopping || self.has_enough();
        let Some(lanes) = self.jobs.get_mut(&job) else {
            return;
        };
        if enough || !lanes.discovery_is_due(now) {
            return;
        }
        lanes.discovering = true;
        let (tools, plan) = (self.tools.clone(), lanes.plan.clone());
        self.begin(1);
        self.executors.spawn(async move {
            let result = match supervise::catch(discovery::page(&tools, &plan)).await {
                Ok(result) => result.map_err(Unsettled::Store),
                Err(panic) => Err(Unsettled::Panicked(panic)),
            };
            Ended::Page { job, result }
        });
    }
}
