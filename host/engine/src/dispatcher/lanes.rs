//! What the dispatcher knows of a job's lanes: how many run, whether there may be ready work, when the next is due.

use std::sync::Arc;

use tollgate_core::{StageIx, Timestamp, pause::Pause};
use tollgate_store::{DiscoveryState, Store};

use crate::{
    EngineError, discovery,
    plan::{JobPlan, StagePlan},
};

/// The lanes of a job, and its discovery.
pub(super) struct JobLanes {
    pub(super) plan: Arc<JobPlan>,
    pub(super) pause: Option<Pause>,
    pub(super) discovery: DiscoveryState,
    /// A page is under way.
    pub(super) discovering: bool,
    stages: Vec<LaneState>,
}

/// One lane.
pub(super) struct LaneState {
    pub(super) plan: Arc<StagePlan>,
    pub(super) running: usize,
    /// The last claim filled its room, or something was opened since.
    pub(super) may_have_ready: bool,
    /// When the next task is due that wasn't at the last look.
    pub(super) next_due: Option<Timestamp>,
    /// Tasks in a row that met something that stands in the way as a whole.
    in_the_way: usize,
    /// Nothing is started before then.
    held_until: Option<Timestamp>,
}

/// How many tasks in a row, for each that may run at once, meet the same obstacle before their lane waits it out. Else a
/// cool-down of one site would send a whole catalogue through its queue, an attempt each, for nothing.
const IN_THE_WAY_PER_PLACE: usize = 2;

impl LaneState {
    /// How many more tasks may run.
    pub(super) fn room(&self) -> usize {
        self.plan.spec.concurrency.saturating_sub(self.running)
    }

    /// Whether the lane waits something out.
    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        self.held_until.is_some_and(|until| until > now)
    }

    /// A task met something in the way until then, or nothing of the kind.
    fn met(&mut self, until: Option<Timestamp>) {
        match until {
            Some(until) => {
                self.in_the_way += 1;
                if self.in_the_way >= IN_THE_WAY_PER_PLACE * self.plan.spec.concurrency {
                    self.in_the_way = 0;
                    self.held_until = Some(until);
                }
            }
            None => self.in_the_way = 0,
        }
    }

    /// When the lane has to be looked at again.
    fn wakes_at(&self) -> Option<Timestamp> {
        match self.held_until {
            Some(until) if self.may_have_ready || self.next_due.is_some() => Some(until),
            _ => self.next_due,
        }
    }
}

impl JobLanes {
    pub(super) async fn open(plan: Arc<JobPlan>, store: &dyn Store) -> Result<Self, EngineError> {
        let stages = plan.stages.iter();
        let stages = stages
            .map(|stage| LaneState {
                plan: stage.clone(),
                running: 0,
                may_have_ready: true,
                next_due: None,
                in_the_way: 0,
                held_until: None,
            })
            .collect();
        let mut lanes = Self { plan, pause: None, discovery: DiscoveryState::default(), discovering: false, stages };
        lanes.refresh(store).await?;
        Ok(lanes)
    }

    /// Reads pause and discovery again, and looks at every lane anew.
    pub(super) async fn refresh(&mut self, store: &dyn Store) -> Result<(), EngineError> {
        let id = self.plan.declared.id;
        self.discovery = store.discovery(id).await?;
        self.pause = store.jobs().await?.into_iter().find(|job| job.id == id).and_then(|job| job.pause);
        for stage in &mut self.stages {
            stage.may_have_ready = true;
            // A person who resumes or retries wants to see it tried.
            stage.held_until = None;
        }
        Ok(())
    }

    pub(super) fn stage_mut(&mut self, stage: StageIx) -> Option<&mut LaneState> {
        self.stages.iter_mut().find(|lane| lane.plan.lane.stage == stage)
    }

    /// A lane that may start tasks: none does while the job is paused.
    pub(super) fn lane_mut(&mut self, stage: StageIx) -> Option<(&Arc<JobPlan>, &mut LaneState)> {
        if self.pause.is_some() {
            return None;
        }
        let lane = self.stages.iter_mut().find(|lane| lane.plan.lane.stage == stage)?;
        Some((&self.plan, lane))
    }

    pub(super) fn task_ended(&mut self, stage: StageIx, due: Option<Timestamp>, in_the_way_until: Option<Timestamp>) {
        if let Some(lane) = self.stage_mut(stage) {
            lane.running = lane.running.saturating_sub(1);
            lane.met(in_the_way_until);
            lane.next_due = match (lane.next_due, due) {
                (Some(known), Some(due)) => Some(known.min(due)),
                (known, due) => known.or(due),
            };
        }
    }

    pub(super) fn page_ended(&mut self, state: DiscoveryState) {
        self.discovering = false;
        self.discovery = state;
    }

    /// Marks the lanes whose next task is due, and names all that may have ready work.
    pub(super) fn wake_due(&mut self, now: Timestamp) -> Vec<StageIx> {
        for lane in &mut self.stages {
            if lane.held_until.is_some_and(|until| until <= now) {
                lane.held_until = None;
            }
            if lane.next_due.is_some_and(|due| due <= now) {
                lane.next_due = None;
                lane.may_have_ready = true;
            }
        }
        self.stages.iter().filter(|lane| lane.may_have_ready).map(|lane| lane.plan.lane.stage).collect()
    }

    pub(super) fn discovery_is_due(&self, now: Timestamp) -> bool {
        self.pause.is_none()
            && !self.discovering
            && discovery::wanted(&self.plan, &self.discovery)
            && self.discovery.due.is_none_or(|due| due <= now)
    }

    /// When something of the job is due that isn't now.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        if self.pause.is_some() {
            return None;
        }
        let discovers = !self.discovering && discovery::wanted(&self.plan, &self.discovery);
        let of_discovery = if discovers { self.discovery.due } else { None };
        let of_lanes = self.stages.iter().filter(|lane| lane.room() > 0).filter_map(LaneState::wakes_at);
        of_lanes.chain(of_discovery).min()
    }

    /// Nothing of the job runs, is ready, or waits for another try. A next round of a complete discovery is no work.
    pub(super) fn is_idle(&self) -> bool {
        if self.pause.is_some() {
            return true;
        }
        let between_rounds =
            self.discovery.cursor.is_none() && self.discovery.rounds > 0 && self.discovery.last_error.is_none();
        let discovers = discovery::wanted(&self.plan, &self.discovery) && !between_rounds;
        !discovers
            && !self.discovering
            && self.stages.iter().all(|lane| lane.running == 0 && !lane.may_have_ready && lane.next_due.is_none())
    }
}
