//! The dispatcher: owns the lanes, takes a closed set of events, hands claimed tasks to executors.
//!
//! One task of the runtime runs [`Dispatcher::run`]; nobody else touches a lane. It wakes on an event or at the next
//! due time and never polls, so that an idle host costs nothing.

mod filling;
mod lanes;
mod pauses;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};
use tollgate_core::{Clock, JobId, Lane, StageIx, Timestamp};
use tollgate_egress::Gate;
use tollgate_store::{Store, StoreError};

pub(crate) use self::pauses::ends_all;
use self::{lanes::JobLanes, pauses::pause_refused};
use crate::{
    EngineError, Plan,
    discovery::PageEnded,
    executor::{Executed, Tools, Unsettled},
    services::Services,
};

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

    /// Says that something runs before it does: whoever sees what a task does, a request at a site for one, is never
    /// told that nothing is under way.
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

    /// Stages got ready work.
    fn opened(&mut self, job: JobId, stages: &[StageIx]) {
        for &stage in stages {
            if let Some(state) = self.jobs.get_mut(&job).and_then(|lanes| lanes.stage_mut(stage)) {
                state.may_have_ready = true;
                self.touched.insert(Lane { job, stage });
            }
        }
    }

    /// Lets what runs finish for the grace time, then drops it. What is dropped runs again at the next start. Paid
    /// calls whose tasks have ended before them are waited for as long.
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
