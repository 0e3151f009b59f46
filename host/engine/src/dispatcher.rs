//! The dispatcher: owns the lanes, takes a closed set of events, hands claimed tasks to executors.
//!
//! One task of the runtime runs [`Dispatcher::run`]; nobody else touches a lane. It wakes on an event or at the next
//! due time and never polls, so that an idle host costs nothing.

mod lanes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::{JoinError, JoinSet},
};
use tollgate_core::{
    Clock, JobId, Lane, StageIx, Timestamp,
    pause::{Pause, PauseReason},
};
use tollgate_egress::Gate;
use tollgate_store::{Claim, Store, StoreError};

use crate::{
    EngineError, Plan,
    discovery::{self, PageEnded},
    executor::{self, Executed, Tools, Unsettled},
    plan::{JobPlan, StagePlan},
    services::Services,
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
    /// Tasks and pages of discovery that are under way, those that are being settled among them.
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
    /// A person changed a job in a way that may matter to all its lanes.
    Changed { job: JobId },
    /// Stop claiming, let tasks finish, then end.
    Stop,
}

/// What the executors send back.
enum Ended {
    Task { lane: Lane, had_place: bool, result: Result<Executed, Unsettled> },
    Page { job: JobId, result: Result<PageEnded, Unsettled> },
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
    /// By which tasks that ended well give their places away, each before its settlement.
    given: mpsc::UnboundedSender<Lane>,
    places: mpsc::UnboundedReceiver<Lane>,
    /// As of now; watchers are shown it once a round.
    so_far: Progress,
    progress: watch::Sender<Progress>,
    /// Lanes that may have room or ready work since they were last filled.
    touched: BTreeSet<Lane>,
    started: u64,
    stopping: bool,
}

impl Dispatcher {
    /// A dispatcher over the jobs of a plan. Jobs that the plan refuses are paused with that reason; a job whose
    /// handler is whole again goes on, unless something else has paused it.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub async fn new(
        plan: &Plan,
        store: Arc<dyn Store>,
        gate: Arc<Gate>,
        services: Arc<Services>,
        clock: Arc<dyn Clock>,
        mode: RunMode,
        grace: Duration,
    ) -> Result<Self, EngineError> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        // Bounded by the places of all lanes: each running task sends once.
        let (given, places) = mpsc::unbounded_channel();
        let tools = Arc::new(Tools { store, gate, services, clock });
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
            given,
            places,
            so_far: Progress::default(),
            progress: watch::Sender::default(),
            touched: BTreeSet::new(),
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
    /// The store is gone: nothing can be settled, so nothing goes on. No task is lost by it.
    pub async fn run(mut self) -> Result<Progress, EngineError> {
        self.fill_all().await?;
        while !self.is_over() {
            let next_due = self.publish(0);
            let clock = self.tools.clock.clone();
            let timer = async move {
                match next_due {
                    Some(due) => clock.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(lane) = self.places.recv() => self.take_places(lane).await?,
                Some(ended) = self.executors.join_next() => self.take_all_ended(ended).await?,
                Some(event) = self.events.recv() => self.take_event(event).await?,
                () = timer => self.fill_all().await?,
            }
        }
        self.wind_up().await
    }

    fn is_over(&self) -> bool {
        self.stopping || (self.has_enough() && self.executors.is_empty()) || (self.mode.until_idle && self.is_idle())
    }

    /// The number of tasks that the run was given is reached: nothing more is started.
    fn has_enough(&self) -> bool {
        self.mode.tasks_max.is_some_and(|most| self.started >= most)
    }

    fn is_idle(&self) -> bool {
        self.executors.is_empty() && self.jobs.values().all(JobLanes::is_idle)
    }

    fn next_due(&self) -> Option<Timestamp> {
        if self.has_enough() {
            return None;
        }
        self.jobs.values().filter_map(JobLanes::next_due).min()
    }

    /// Shows how far it is, with so many tasks and pages that are about to begin.
    fn publish(&mut self, beginning: usize) -> Option<Timestamp> {
        self.so_far.next_due = self.next_due();
        self.so_far.running = (self.executors.len() + beginning) as u64;
        self.so_far.idle = self.is_idle();
        // Who has nothing to do keeps no memory for it.
        self.jobs.values().filter(|lanes| lanes.is_idle()).for_each(JobLanes::let_instances_go);
        let so_far = self.so_far;
        self.progress.send_if_modified(|shown| std::mem::replace(shown, so_far) != so_far);
        so_far.next_due
    }

    /// Says that something runs before it does: whoever sees what a task does, a request at a site for one, is never told
    /// that nothing is under way.
    fn begin(&mut self, beginning: usize) {
        if beginning > 0 && self.progress.borrow().running == 0 {
            self.publish(beginning);
        }
    }

    async fn take_event(&mut self, event: Event) -> Result<(), EngineError> {
        match event {
            Event::Opened { job, stages } => self.opened(job, &stages),
            Event::Changed { job } => {
                if let Some(lanes) = self.jobs.get_mut(&job) {
                    let refreshed = lanes.refresh(&*self.tools.store).await;
                    self.or_pause(job, refreshed).await?;
                }
                return self.fill_job(job).await;
            }
            Event::Stop => self.stopping = true,
        }
        self.fill_touched().await
    }

    /// Takes all places that have been given away by now, then fills each lane that has one.
    async fn take_places(&mut self, first: Lane) -> Result<(), EngineError> {
        let mut next = Some(first);
        while let Some(lane) = next {
            if let Some(lanes) = self.jobs.get_mut(&lane.job) {
                lanes.place_given(lane.stage);
                self.touched.insert(lane);
            }
            next = self.places.try_recv().ok();
        }
        self.fill_touched().await
    }

    /// Takes all that has ended by now, then fills each lane that it touched once.
    async fn take_all_ended(&mut self, first: Result<Ended, JoinError>) -> Result<(), EngineError> {
        let mut next = Some(first);
        while let Some(ended) = next {
            self.take_ended(ended).await?;
            next = self.executors.try_join_next();
        }
        self.fill_touched().await
    }

    async fn take_ended(&mut self, ended: Result<Ended, JoinError>) -> Result<(), EngineError> {
        let ended = ended.map_err(|error| EngineError::Task { task: "an executor", message: error.to_string() })?;
        match ended {
            Ended::Task { lane, had_place, result } => self.task_ended(lane, had_place, result).await,
            Ended::Page { job, result } => self.page_ended(job, result).await,
        }
    }

    async fn task_ended(
        &mut self,
        lane: Lane,
        had_place: bool,
        result: Result<Executed, Unsettled>,
    ) -> Result<(), EngineError> {
        let now = self.tools.clock.now();
        self.so_far.settled += 1;
        self.touched.insert(lane);
        let Some(lanes) = self.jobs.get_mut(&lane.job) else {
            return Ok(());
        };
        match result {
            Ok(Executed { settled, in_the_way }) => {
                lanes.task_ended(lane.stage, had_place, settled.due);
                lanes.task_met(lane.stage, in_the_way, now);
                self.opened(lane.job, &settled.opened);
                self.opened(lane.job, &settled.found.opened);
                if let Some(pause) = settled.paused {
                    self.paused(lane.job, &pause).await?;
                }
                Ok(())
            }
            Err(error) => {
                lanes.task_ended(lane.stage, had_place, None);
                // The task is as it was, or somebody has opened it anew.
                self.opened(lane.job, &[lane.stage]);
                if let Unsettled::Store(StoreError::StaleClaim(item)) = error {
                    // A person excluded the item, or it came in anew, while it ran.
                    tracing::info!(?item, "an attempt's result is dropped: its claim no longer holds");
                    return Ok(());
                }
                self.or_pause(lane.job, Err::<(), _>(error)).await.map(drop)
            }
        }
    }

    async fn page_ended(&mut self, job: JobId, result: Result<PageEnded, Unsettled>) -> Result<(), EngineError> {
        self.so_far.pages += 1;
        if let Some(lanes) = self.jobs.get_mut(&job) {
            lanes.discovering = false;
        }
        let Some(ended) = self.or_pause(job, result).await? else {
            return Ok(());
        };
        // The store has the last word: a person may have resumed the job since, who wants to see it tried.
        let read = self.tools.store.discovery(job).await;
        let Some(state) = self.or_pause(job, read).await? else {
            return Ok(());
        };
        if let Some(lanes) = self.jobs.get_mut(&job) {
            lanes.discovery = state;
        }
        if let Some(pause) = ended.paused {
            self.paused(job, &pause).await?;
        }
        self.opened(job, &ended.submitted.opened);
        self.discover(job);
        Ok(())
    }

    /// A settlement paused the job. The store has the last word: a person may have resumed it since.
    async fn paused(&mut self, job: JobId, pause: &Pause) -> Result<(), EngineError> {
        let Some(lanes) = self.jobs.get_mut(&job) else {
            return Ok(());
        };
        tracing::warn!(job = %lanes.plan.spec.name, pause = pause.sentence(), "job paused");
        let read = lanes.refresh_pause(&*self.tools.store).await;
        self.or_pause(job, read).await.map(drop)
    }

    /// What goes wrong with a job's own rows, or in the host's own code, pauses that job with the evidence, and the
    /// others go on. Only a store that is gone is the end of all.
    async fn or_pause<T, E: Into<Unsettled>>(
        &mut self,
        job: JobId,
        result: Result<T, E>,
    ) -> Result<Option<T>, EngineError> {
        let error = match result.map_err(Into::into) {
            Ok(done) => return Ok(Some(done)),
            Err(Unsettled::Store(error)) if ends_all(&error) => return Err(error.into()),
            Err(error) => error,
        };
        let pause = Pause {
            reason: PauseReason::Host,
            by: "host".to_owned(),
            at: self.tools.clock.now(),
            evidence: error.to_string(),
            until: None,
        };
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

    /// Stages got ready work.
    fn opened(&mut self, job: JobId, stages: &[StageIx]) {
        for &stage in stages {
            if let Some(state) = self.jobs.get_mut(&job).and_then(|lanes| lanes.stage_mut(stage)) {
                state.may_have_ready = true;
                self.touched.insert(Lane { job, stage });
            }
        }
    }

    async fn fill_touched(&mut self) -> Result<(), EngineError> {
        while let Some(lane) = self.touched.pop_first() {
            self.fill_lane(lane).await?;
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
        self.end_pause(job, now).await?;
        let Some(lanes) = self.jobs.get_mut(&job) else {
            return Ok(());
        };
        let stages = lanes.wake_due(now);
        self.touched.extend(stages.into_iter().map(|stage| Lane { job, stage }));
        self.discover(job);
        self.fill_touched().await
    }

    /// Ends a pause whose time is over. The store has the last word: a person may have paused the job since.
    async fn end_pause(&mut self, job: JobId, now: Timestamp) -> Result<(), EngineError> {
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
    fn discover(&mut self, job: JobId) {
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

    /// Lets what runs finish for the grace time, then drops it. What is dropped runs again at the next start. Paid calls whose
    /// tasks have ended before them are waited for as long.
    async fn wind_up(mut self) -> Result<Progress, EngineError> {
        self.stopping = true;
        let deadline = Instant::now() + self.grace;
        while !self.executors.is_empty() {
            self.publish(0);
            match tokio::time::timeout_at(deadline.into(), self.executors.join_next()).await {
                Ok(Some(ended)) => self.take_all_ended(ended).await?,
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
        self.publish(0);
        let calls = self.tools.services.models.calls();
        if tokio::time::timeout_at(deadline.into(), calls.all_settled()).await.is_err() {
            tracing::warn!(
                calls = calls.under_way(),
                "grace is over; paid calls that are under way are settled at their estimates at the next start"
            );
        }
        Ok(self.so_far)
    }
}

/// Whether nothing at all can go on after it: the disk refuses, or the store is closed.
pub(crate) fn ends_all(error: &StoreError) -> bool {
    matches!(error, StoreError::Io(_) | StoreError::Full(_) | StoreError::Closed)
}

/// Jobs that can't run are paused, with all that stands against them, unless something else has paused them already:
/// that stays. What stands against them is found anew at each start.
async fn pause_refused(plan: &Plan, tools: &Tools) -> Result<(), EngineError> {
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
        let pause = Pause {
            reason: PauseReason::Handler,
            by: "host".to_owned(),
            at: tools.clock.now(),
            evidence: error.to_string(),
            until: None,
        };
        tools.store.pause(id, pause).await?;
    }
    Ok(())
}
