//! The dispatcher: owns the lanes, takes a closed set of events, hands claimed tasks to executors.
//!
//! One task of the runtime runs [`Dispatcher::run`]; nobody else touches a lane. It wakes on an event or at the next
//! due time and never polls, so that an idle host costs nothing.

mod lanes;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tollgate_core::{
    Clock, JobId, Lane, StageIx, Timestamp,
    pause::{Pause, PauseReason},
};
use tollgate_egress::Gate;
use tollgate_store::{Claim, DiscoveryState, Store, StoreError};

use crate::{
    EngineError, Plan,
    discovery::{self, PageEnded},
    executor::{self, Executed, Tools},
    plan::{JobPlan, StagePlan},
    supervise,
};
use lanes::JobLanes;

/// Events that may wait for the dispatcher. It handles each in microseconds; a sender that finds it full waits.
const EVENTS_MAX: usize = 10_000;

/// When a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunMode {
    /// Ends once nothing is running, ready, waiting for another try, or being discovered. Paused jobs are idle.
    pub until_idle: bool,
    /// Ends once so many tasks have been started and settled.
    pub tasks_max: Option<u64>,
}

/// How far a run has come; watched by the program's progress and by tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Tasks settled in this run.
    pub settled: u64,
    /// Tasks that run now.
    pub running: u64,
    /// Pages of discovery settled in this run.
    pub pages: u64,
    /// When the next thing is due, if nothing is running.
    pub next_due: Option<Timestamp>,
    /// Nothing runs, is ready, or waits for a time.
    pub idle: bool,
}

/// What the dispatcher reacts to. Closed: everything that can move a lane is here.
#[derive(Debug)]
pub(crate) enum Event {
    /// Stages of a job got ready work.
    Opened { job: JobId, stages: Vec<StageIx> },
    /// A job was paused or resumed by a person.
    PauseChanged { job: JobId },
    /// Stop claiming, let tasks finish, then end.
    Stop,
}

/// What the executors send back.
enum Ended {
    Task { lane: Lane, result: Result<Executed, StoreError> },
    Page { job: JobId, result: Result<PageEnded, StoreError> },
}

/// A handle by which others tell the dispatcher what happened.
#[derive(Clone)]
pub(crate) struct Notifier {
    events: mpsc::Sender<Event>,
}

impl Notifier {
    /// Tells the dispatcher. If it has ended there is nobody to tell: the store holds the change, and the next run
    /// finds it there.
    pub(crate) async fn tell(&self, event: Event) {
        if let Err(error) = self.events.send(event).await {
            tracing::debug!(event = ?error.0, "the dispatcher has ended");
        }
    }
}

/// Owns the lanes of a plan.
pub struct Dispatcher {
    tools: Arc<Tools>,
    jobs: BTreeMap<JobId, JobLanes>,
    mode: RunMode,
    grace: Duration,
    events: mpsc::Receiver<Event>,
    notifier: Notifier,
    executors: JoinSet<Ended>,
    progress: watch::Sender<Progress>,
    started: u64,
    stopping: bool,
}

impl Dispatcher {
    /// A dispatcher over the jobs of a plan. Jobs that the plan refuses are paused with that reason; a job whose
    /// handler is whole again goes on.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub async fn new(
        plan: &Plan,
        store: Arc<dyn Store>,
        gate: Arc<Gate>,
        clock: Arc<dyn Clock>,
        mode: RunMode,
        grace: Duration,
    ) -> Result<Self, EngineError> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let tools = Arc::new(Tools { store, gate, clock });
        pause_refused(plan, &tools).await?;
        let mut jobs = BTreeMap::new();
        for job in &plan.jobs {
            let lanes = JobLanes::open(job.clone(), &*tools.store).await?;
            jobs.insert(job.declared.id, lanes);
        }
        Ok(Self {
            tools,
            jobs,
            mode,
            grace,
            events,
            notifier: Notifier { events: sender },
            executors: JoinSet::new(),
            progress: watch::Sender::default(),
            started: 0,
            stopping: false,
        })
    }

    /// How far the run has come.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(crate) fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    /// Runs until stopped, idle, or done with its number of tasks, as its mode says.
    ///
    /// # Errors
    /// The store failed: nothing can be settled, so nothing goes on. No task is lost by it.
    pub async fn run(mut self) -> Result<Progress, EngineError> {
        self.fill_all().await?;
        while !self.is_over() {
            let next_due = self.publish();
            let clock = self.tools.clock.clone();
            let timer = async move {
                match next_due {
                    Some(due) => clock.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(ended) = self.executors.join_next() => self.take_ended(ended).await?,
                Some(event) = self.events.recv() => self.take_event(event).await?,
                () = timer => self.fill_all().await?,
            }
        }
        self.wind_up().await
    }

    fn is_over(&self) -> bool {
        let enough = self.mode.tasks_max.is_some_and(|most| self.started >= most);
        self.stopping || (enough && self.executors.is_empty()) || (self.mode.until_idle && self.is_idle())
    }

    fn is_idle(&self) -> bool {
        self.executors.is_empty() && self.jobs.values().all(JobLanes::is_idle)
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.jobs.values().filter_map(JobLanes::next_due).min()
    }

    fn publish(&self) -> Option<Timestamp> {
        let next_due = self.next_due();
        let running = self.executors.len() as u64;
        let idle = self.is_idle();
        self.progress.send_modify(|progress| {
            progress.running = running;
            progress.next_due = next_due;
            progress.idle = idle;
        });
        next_due
    }

    async fn take_event(&mut self, event: Event) -> Result<(), EngineError> {
        match event {
            Event::Opened { job, stages } => self.opened(job, &stages).await,
            Event::PauseChanged { job } => {
                if let Some(lanes) = self.jobs.get_mut(&job) {
                    lanes.refresh(&*self.tools.store).await?;
                }
                self.fill_job(job).await
            }
            Event::Stop => {
                self.stopping = true;
                Ok(())
            }
        }
    }

    async fn take_ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> Result<(), EngineError> {
        let ended = ended.map_err(|error| EngineError::Task { task: "an executor", message: error.to_string() })?;
        match ended {
            Ended::Task { lane, result } => self.task_ended(lane, result).await,
            Ended::Page { job, result } => {
                let ended = result?;
                self.progress.send_modify(|progress| progress.pages += 1);
                if let Some(lanes) = self.jobs.get_mut(&job) {
                    lanes.page_ended(ended.state);
                }
                self.opened(job, &ended.submitted.opened).await?;
                self.discover(job);
                Ok(())
            }
        }
    }

    async fn task_ended(&mut self, lane: Lane, result: Result<Executed, StoreError>) -> Result<(), EngineError> {
        let Executed { settled, in_the_way_until } = match result {
            Ok(executed) => executed,
            Err(StoreError::StaleClaim(item)) => {
                // A person excluded the item, or it came in anew, while it ran.
                tracing::info!(?item, "an attempt's result is dropped: its claim no longer holds");
                Executed::default()
            }
            Err(error) => return Err(error.into()),
        };
        self.progress.send_modify(|progress| progress.settled += 1);
        if let Some(lanes) = self.jobs.get_mut(&lane.job) {
            lanes.task_ended(lane.stage, settled.due, in_the_way_until);
            if let Some(pause) = settled.paused {
                tracing::warn!(job = %lanes.plan.spec.name, pause = pause.sentence(), "job paused");
                lanes.pause = Some(pause);
            }
        }
        self.fill_lane(lane).await?;
        self.opened(lane.job, &settled.opened).await?;
        self.opened(lane.job, &settled.found.opened).await
    }

    async fn opened(&mut self, job: JobId, stages: &[StageIx]) -> Result<(), EngineError> {
        for &stage in stages {
            if let Some(state) = self.jobs.get_mut(&job).and_then(|lanes| lanes.stage_mut(stage)) {
                state.may_have_ready = true;
                self.fill_lane(Lane { job, stage }).await?;
            }
        }
        Ok(())
    }

    async fn fill_all(&mut self) -> Result<(), EngineError> {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            self.fill_job(job).await?;
        }
        Ok(())
    }

    async fn fill_job(&mut self, job: JobId) -> Result<(), EngineError> {
        let now = self.tools.clock.now();
        let Some(lanes) = self.jobs.get_mut(&job) else {
            return Ok(());
        };
        let stages: Vec<StageIx> = lanes.wake_due(now);
        for stage in stages {
            self.fill_lane(Lane { job, stage }).await?;
        }
        self.discover(job);
        Ok(())
    }

    /// Starts as many tasks of a lane as its concurrency leaves room for.
    async fn fill_lane(&mut self, lane: Lane) -> Result<(), EngineError> {
        let room_in_run = self.mode.tasks_max.map_or(u64::MAX, |most| most.saturating_sub(self.started));
        let stopping = self.stopping;
        let Some((job, state)) = self.jobs.get_mut(&lane.job).and_then(|lanes| lanes.lane_mut(lane.stage)) else {
            return Ok(());
        };
        let now = self.tools.clock.now();
        let room = state.room().min(usize::try_from(room_in_run).unwrap_or(usize::MAX));
        if stopping || room == 0 || !state.may_have_ready || state.is_held(now) {
            return Ok(());
        }
        let claims = self.tools.store.claim(lane, room, now).await?;
        if claims.len() < room {
            state.may_have_ready = false;
            state.next_due = self.tools.store.next_due(lane, now).await?;
        }
        state.running += claims.len();
        self.started += claims.len() as u64;
        let (job, stage) = (job.clone(), state.plan.clone());
        for claim in claims {
            self.spawn(job.clone(), stage.clone(), claim);
        }
        Ok(())
    }

    fn spawn(&mut self, job: Arc<JobPlan>, stage: Arc<StagePlan>, claim: Claim) {
        let tools = self.tools.clone();
        let (lane, task, token) = (stage.lane, claim.task, claim.token);
        self.executors.spawn(async move {
            let result = match supervise::catch(executor::execute(&tools, &job, &stage, claim)).await {
                Ok(result) => result,
                Err(panic) => {
                    // The task is as it was; its claim goes back so that it isn't held for ever.
                    tracing::error!(?task, panic, "an executor panicked");
                    tools.store.release(vec![(task, token)]).await.map(|()| Executed::default())
                }
            };
            Ended::Task { lane, result }
        });
    }

    /// Starts the next page of a job's discovery, if it is due and none is under way.
    fn discover(&mut self, job: JobId) {
        let now = self.tools.clock.now();
        let Some(lanes) = self.jobs.get_mut(&job) else {
            return;
        };
        let enough = self.mode.tasks_max.is_some_and(|most| self.started >= most);
        if self.stopping || enough || !lanes.discovery_is_due(now) {
            return;
        }
        lanes.discovering = true;
        let (tools, plan, before) = (self.tools.clone(), lanes.plan.clone(), lanes.discovery.clone());
        self.executors.spawn(async move {
            let result = match supervise::catch(discovery::page(&tools, &plan)).await {
                Ok(result) => result,
                Err(panic) => {
                    tracing::error!(job = %plan.spec.name, panic, "discovery panicked");
                    Ok(PageEnded { submitted: tollgate_store::Submitted::default(), state: put_off(before, now) })
                }
            };
            Ended::Page { job, result }
        });
    }

    /// Lets what runs finish for the grace time, then drops it. What is dropped runs again at the next start.
    async fn wind_up(mut self) -> Result<Progress, EngineError> {
        self.stopping = true;
        let deadline = Instant::now() + self.grace;
        while !self.executors.is_empty() {
            self.publish();
            match tokio::time::timeout_at(deadline.into(), self.executors.join_next()).await {
                Ok(Some(ended)) => self.take_ended(ended).await?,
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(
                        tasks = self.executors.len(),
                        "grace is over; the rest runs again at the next start"
                    );
                    self.executors.shutdown().await;
                }
            }
        }
        self.publish();
        let progress = *self.progress.borrow();
        Ok(progress)
    }
}

/// A discovery that panicked is tried again in an hour: a host's bug is no reason to try it a thousand times.
fn put_off(before: DiscoveryState, now: Timestamp) -> DiscoveryState {
    DiscoveryState { due: Some(now.after(Duration::from_hours(1))), ..before }
}

/// Jobs that can't run are paused, with all that stands against them; jobs that can again go on.
async fn pause_refused(plan: &Plan, tools: &Tools) -> Result<(), EngineError> {
    for (name, error) in &plan.refused {
        tracing::error!(job = %name, %error, "job can't run");
        let Some(id) = tools.store.job_id(name.clone()).await? else {
            continue;
        };
        let pause = Pause {
            reason: PauseReason::Handler,
            by: "host".to_owned(),
            at: tools.clock.now(),
            evidence: error.to_string(),
            until: None,
        };
        tools.store.pause(id, pause).await?;
    }
    let paused = tools.store.jobs().await?;
    for job in &plan.jobs {
        let pause = paused.iter().find(|view| view.id == job.declared.id).and_then(|view| view.pause.as_ref());
        if pause.is_some_and(|pause| pause.reason == PauseReason::Handler) {
            tracing::info!(job = %job.spec.name, "its handler can be used again: the job goes on");
            tools.store.resume(job.declared.id).await?;
        }
    }
    Ok(())
}
