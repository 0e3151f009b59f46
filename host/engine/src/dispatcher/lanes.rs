//! What the dispatcher knows of a job's lanes: how many run, whether there may be ready work, when the next is due.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tollgate_core::{StageIx, Timestamp, pause::Pause};
use tollgate_store::{DiscoveryState, Store, StoreError};

use crate::{
    discovery,
    executor::InTheWay,
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
    /// Tasks that have a place of the lane's.
    pub(super) running: usize,
    /// Tasks that may give their place to the next one while they are being settled: as many as the lane has places,
    /// for where more wait, the store is what is slow.
    pub(super) settling: Arc<Semaphore>,
    /// The last claim filled its room, or something was opened since.
    pub(super) may_have_ready: bool,
    /// When the next task is due that wasn't at the last look.
    pub(super) next_due: Option<Timestamp>,
    hold: Hold,
}

/// Tasks in a row that met one and the same obstacle, and what the lane does about it.
#[derive(Debug, Default)]
struct Hold {
    /// What the last task met, and how many before it in a row met just that.
    run: Option<(String, usize)>,
    /// Nothing is started before then.
    until: Option<Timestamp>,
}

/// How many tasks in a row, for each that may run at once, meet the same obstacle before their lane waits it out. Else
/// a cool-down of one site would send a whole catalogue through its queue, an attempt each, for nothing.
const IN_THE_WAY_PER_PLACE: usize = 2;
/// Longest hold, in milliseconds. Behind those that met the obstacle others may wait that it doesn't touch: the lane
/// looks again this often.
const HOLD_MS_MAX: u64 = 30_000;

impl Hold {
    /// A task met something in the way, or nothing of the kind. `places`: tasks that may run at once.
    fn met(&mut self, obstacle: Option<InTheWay>, places: usize, now: Timestamp) {
        let Some(InTheWay { about, until }) = obstacle else {
            self.run = None;
            return;
        };
        let before = self.run.take().filter(|(known, _)| *known == about).map_or(0, |(_, count)| count);
        if before + 1 < IN_THE_WAY_PER_PLACE * places {
            self.run = Some((about, before + 1));
        } else {
            self.until = Some(until.min(Timestamp(now.0.saturating_add(HOLD_MS_MAX))));
        }
    }

    /// Forgets a hold that is over.
    fn wake(&mut self, now: Timestamp) {
        self.until = self.until.filter(|until| *until > now);
    }
}

impl LaneState {
    fn new(plan: Arc<StagePlan>) -> Self {
        let settling = Arc::new(Semaphore::new(plan.spec.concurrency));
        Self { plan, running: 0, settling, may_have_ready: true, next_due: None, hold: Hold::default() }
    }

    /// How many more tasks may run.
    pub(super) fn room(&self) -> usize {
        self.plan.spec.concurrency.saturating_sub(self.running)
    }

    /// Whether the lane waits something out.
    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        self.hold.until.is_some_and(|until| until > now)
    }

    /// When the lane has to be looked at again.
    fn wakes_at(&self) -> Option<Timestamp> {
        match self.hold.until {
            Some(until) if self.may_have_ready || self.next_due.is_some() => Some(until),
            _ => self.next_due,
        }
    }
}

impl JobLanes {
    pub(super) async fn open(plan: Arc<JobPlan>, store: &dyn Store) -> Result<Self, StoreError> {
        let stages = plan.stages.iter().cloned().map(LaneState::new).collect();
        let mut lanes = Self { plan, pause: None, discovery: DiscoveryState::default(), discovering: false, stages };
        lanes.refresh(store).await?;
        Ok(lanes)
    }

    /// Reads pause and discovery again, and looks at every lane anew.
    pub(super) async fn refresh(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        self.discovery = store.discovery(self.plan.declared.id).await?;
        self.refresh_pause(store).await?;
        for stage in &mut self.stages {
            stage.may_have_ready = true;
            // A person who resumes or retries wants to see it tried.
            stage.hold = Hold::default();
        }
        Ok(())
    }

    /// Reads the pause again: what a message says of it may be over by now.
    pub(super) async fn refresh_pause(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let id = self.plan.declared.id;
        self.pause = store.jobs().await?.into_iter().find(|job| job.id == id).and_then(|job| job.pause);
        Ok(())
    }

    pub(super) fn stage_mut(&mut self, stage: StageIx) -> Option<&mut LaneState> {
        self.stages.iter_mut().find(|lane| lane.plan.lane.stage == stage)
    }

    /// A lane that may start tasks: none does while the job is paused.
    pub(super) fn open_stage_mut(&mut self, stage: StageIx) -> Option<&mut LaneState> {
        if self.pause.is_some() { None } else { self.stage_mut(stage) }
    }

    /// A task of the stage that ended well has given its place away; it is being settled.
    pub(super) fn place_given(&mut self, stage: StageIx) {
        if let Some(lane) = self.stage_mut(stage) {
            lane.running = lane.running.saturating_sub(1);
        }
    }

    /// A task of the stage is settled; it had its place to the end or not, and is due again at `due`.
    pub(super) fn task_ended(&mut self, stage: StageIx, had_place: bool, due: Option<Timestamp>) {
        if let Some(lane) = self.stage_mut(stage) {
            lane.running = lane.running.saturating_sub(usize::from(had_place));
            lane.next_due = match (lane.next_due, due) {
                (Some(known), Some(due)) => Some(known.min(due)),
                (known, due) => known.or(due),
            };
        }
    }

    /// What stood in the way of that task, if something as a whole did.
    pub(super) fn task_met(&mut self, stage: StageIx, obstacle: Option<InTheWay>, now: Timestamp) {
        if let Some(lane) = self.stage_mut(stage) {
            lane.hold.met(obstacle, lane.plan.spec.concurrency, now);
        }
    }

    /// Marks the lanes whose next task is due, and names all that may have ready work.
    pub(super) fn wake_due(&mut self, now: Timestamp) -> Vec<StageIx> {
        for lane in &mut self.stages {
            lane.hold.wake(now);
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

    /// Whether the job is paused, and the pause's time is over.
    pub(super) fn pause_is_over(&self, now: Timestamp) -> bool {
        self.pause.as_ref().is_some_and(|pause| pause.until.is_some_and(|until| until <= now))
    }

    /// When something of the job is due that isn't now.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        if let Some(pause) = &self.pause {
            return pause.until;
        }
        let discovers = !self.discovering && discovery::wanted(&self.plan, &self.discovery);
        let of_discovery = if discovers { self.discovery.due } else { None };
        let of_lanes = self.stages.iter().filter(|lane| lane.room() > 0).filter_map(LaneState::wakes_at);
        of_lanes.chain(of_discovery).min()
    }

    /// Drops the instances that are kept for the job's next tasks.
    pub(super) fn let_instances_go(&self) {
        self.stages.iter().for_each(|lane| lane.plan.instances.clear());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn obstacle(about: &str) -> Option<InTheWay> {
        Some(InTheWay { about: about.to_owned(), until: Timestamp(86_400_000) })
    }

    #[test]
    fn r07_a_lane_waits_for_one_obstacle_alone_and_not_for_long() {
        let mut hold = Hold::default();
        for _ in 0..10 {
            hold.met(obstacle("a"), 1, Timestamp(0));
            hold.met(obstacle("b"), 1, Timestamp(0));
            hold.met(None, 1, Timestamp(0));
        }
        assert_eq!(hold.until, None, "what isn't met twice in a row holds nobody up");
        hold.met(obstacle("a"), 1, Timestamp(0));
        hold.met(obstacle("a"), 1, Timestamp(0));
        assert_eq!(hold.until, Some(Timestamp(HOLD_MS_MAX)));
        hold.wake(Timestamp(HOLD_MS_MAX));
        assert_eq!(hold.until, None);
    }
}
