//! A site's state, shared by all jobs: slots, rate, circuit, counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tollgate_core::{
    Clock, Timestamp,
    budget::Spending,
    circuit::{Circuit, CoolingKind, Shut},
    gcra::{Gcra, Rate},
    spec::SiteSpec,
};

use crate::{Denial, Refused, SiteStatus};

/// Keeps what the gate must know after a restart.
pub trait SiteMemory: Send + Sync {
    /// Keeps a site's circuit as it is at `now`; one that is clear may be forgotten. Who can't keep it says so itself:
    /// the gate goes on by what it knows.
    fn keep(&self, site: String, circuit: Circuit, now: Timestamp) -> BoxFuture<'_, ()>;

    /// Keeps what was spent, by what spends it, in place of what was kept of it before.
    ///
    /// # Errors
    /// It can't, and has said why itself: the gate comes again with the same rows, or later ones.
    fn keep_spending(&self, rows: Vec<(String, Spending)>) -> BoxFuture<'_, Result<(), NotKept>>;
}

/// What was to be kept is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotKept;

/// Keeps nothing: for a gate that lives as long as what it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct NoMemory;

impl SiteMemory for NoMemory {
    fn keep(&self, _site: String, _circuit: Circuit, _now: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn keep_spending(&self, _rows: Vec<(String, Spending)>) -> BoxFuture<'_, Result<(), NotKept>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Sites remembered at once. Past it, those that nobody uses and that don't cool down are forgotten.
const SITES_MAX: usize = 10_000;
/// Longest wait for the rate's turn within the gate. Who waits holds one of the site's places and a guest with its
/// memory; a task that waits in the store holds nothing.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);
/// A turn is waited for to the next whole one of these, which is what the clock counts in.
const TICK: Duration = Duration::from_millis(1);
/// How long work waits in the store that found no place.
const TAKEN_WAIT: Duration = Duration::from_secs(5);

/// All sites asked for.
pub(crate) struct Sites(Mutex<Known>);

#[derive(Default)]
struct Known {
    asked: HashMap<String, Arc<Site>>,
    /// From before the start, until they are asked for.
    remembered: HashMap<String, Circuit>,
}

/// One host name and port.
pub(crate) struct Site {
    name: String,
    slots: Arc<Semaphore>,
    state: Mutex<SiteState>,
    /// Held while the circuit is kept, so that what is kept last is the latest.
    keeping: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct SiteState {
    rate: Gcra,
    /// By which pace turns were taken so far: another one begins anew.
    paced: Option<Rate>,
    circuit: Circuit,
    requests: u64,
    bytes_received: u64,
    refused: u64,
    waits: u64,
    waited_ms: u64,
}

impl SiteState {
    /// Takes the next turn by a pace, and says how long to wait for it. What waits by an older pace is no part of it.
    fn take_turn(&mut self, rate: Rate, now: Timestamp) -> Duration {
        if self.paced.replace(rate).is_some_and(|paced| paced != rate) {
            self.rate = Gcra::default();
        }
        self.rate.take(rate, now)
    }
}

/// A place at a site: held for the exchange, from the first byte sent until what came of it is understood.
pub(crate) struct Slot {
    site: Arc<Site>,
    /// The rate's turn, as long as nothing has been sent for it.
    turn: Option<Rate>,
    is_sent: bool,
    /// Once it may go.
    trying: Option<Trying>,
    _permit: OwnedSemaphorePermit,
}

/// What a request says of its site's circuit. Dropped, it has come to nothing: if it tried, another may.
pub(crate) struct Trying {
    site: Arc<Site>,
    by: usize,
    is_answered: bool,
}

impl Trying {
    /// It was answered: what its attempt comes to says whether the site works.
    pub(crate) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Trying {
    fn drop(&mut self) {
        if !self.is_answered {
            self.site.trial_is_over(self.by);
        }
    }
}

impl Slot {
    /// The request goes out now: its turn is used up.
    pub(crate) fn sent(&mut self) {
        self.turn = None;
        self.is_sent = true;
        self.site.state().requests += 1;
    }

    /// The exchange is over: the place is another's.
    pub(crate) fn end(mut self) -> Option<Trying> {
        self.trying.take()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_sent {
            return;
        }
        if let Some(rate) = self.turn {
            self.site.state().rate.give_back(rate);
        }
    }
}

impl Sites {
    pub(crate) fn new(remembered: Vec<(String, Circuit)>) -> Self {
        Self(Mutex::new(Known { asked: HashMap::new(), remembered: remembered.into_iter().collect() }))
    }

    /// A site that was asked for before.
    pub(crate) fn known(&self, authority: &str) -> Option<Arc<Site>> {
        self.known_sites().asked.get(authority).cloned()
    }

    fn known_sites(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, authority: &str, spec: &SiteSpec, now: Timestamp) -> Arc<Site> {
        let Known { asked: sites, remembered } = &mut *self.known_sites();
        if let Some(site) = sites.get(authority) {
            return site.clone();
        }
        if sites.len() >= SITES_MAX {
            sites.retain(|_, site| Arc::strong_count(site) > 1 || !site.state().circuit.is_clear(now));
        }
        let circuit = remembered.remove(authority).unwrap_or_default();
        let site = Arc::new(Site {
            name: authority.to_owned(),
            slots: Arc::new(Semaphore::new(spec.concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            state: Mutex::new(SiteState { circuit, ..SiteState::default() }),
            keeping: tokio::sync::Mutex::default(),
        });
        sites.insert(authority.to_owned(), site.clone());
        site
    }

    pub(crate) fn status(&self, now: Timestamp) -> Vec<SiteStatus> {
        let Known { asked, remembered } = &*self.known_sites();
        let unasked = remembered
            .iter()
            .map(|(site, circuit)| status(site, &SiteState { circuit: circuit.clone(), ..SiteState::default() }, now));
        let mut all: Vec<SiteStatus> =
            asked.values().map(|site| status(&site.name, &site.state(), now)).chain(unasked).collect();
        all.sort_by(|a, b| a.site.cmp(&b.site));
        all
    }
}

impl Site {
    fn state(&self) -> MutexGuard<'_, SiteState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request that isn't let through.
    fn shut(&self, Shut { kind, reason, after }: Shut) -> Refused {
        self.state().refused += 1;
        match kind {
            CoolingKind::Blocked => Refused::blocked(&self.name, &reason, after),
            CoolingKind::RateLimited => Refused::rate_limited(&self.name, &reason, after),
        }
    }

    fn check(&self, now: Timestamp, by: usize) -> Result<(), Refused> {
        let checked = self.state().circuit.check(now, by);
        checked.map_err(|shut| self.shut(shut))
    }

    /// Waits for a place and for the rate's turn. A site that is left alone refuses at once, and so does a turn that is
    /// far off: nobody waits either out here. A slot that is dropped before anything is sent gives its turn back. `by`
    /// is the attempt that asks.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        spec: &SiteSpec,
        clock: &dyn Clock,
        by: usize,
    ) -> Result<Slot, Refused> {
        self.enter_within(spec, clock, by, None).await
    }

    /// The same of who waits for no longer than `within`, and never longer than for a turn: for a place and a turn
    /// together.
    pub(crate) async fn enter_within(
        self: &Arc<Self>,
        spec: &SiteSpec,
        clock: &dyn Clock,
        by: usize,
        within: Option<Duration>,
    ) -> Result<Slot, Refused> {
        let began = clock.now();
        self.check(began, by)?;
        let within = within.map(|within| within.min(TURN_WAIT_MAX));
        let permit = self.place(clock, within.map(|within| began.after(within))).await?;
        let now = clock.now();
        self.check(now, by)?;
        let turn_wait_max = within.map_or(TURN_WAIT_MAX, |within| within.saturating_sub(now.since(began) + TICK));
        let mut slot = Slot { site: self.clone(), turn: spec.rate, is_sent: false, trying: None, _permit: permit };
        if let Some(rate) = spec.rate {
            let wait = self.state().take_turn(rate, now);
            if wait > turn_wait_max {
                self.state().refused += 1;
                return Err(Refused::rate_limited(&self.name, "its `rate` in jobs.toml is used up", wait));
            }
            if !wait.is_zero() {
                clock.sleep_until(now.after(wait + TICK)).await;
            }
        }
        let now = clock.now();
        let admitted = self.state().circuit.admit(now, trial(spec), by);
        admitted.map_err(|shut| self.shut(shut))?;
        slot.trying = Some(Trying { site: self.clone(), by, is_answered: false });
        self.waited(now.since(began));
        Ok(slot)
    }

    /// Waits for a place until then, if there is such a time.
    async fn place(&self, clock: &dyn Clock, until: Option<Timestamp>) -> Result<OwnedSemaphorePermit, Refused> {
        let over = async {
            match until {
                Some(until) => clock.sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let permit = tokio::select! {
            biased;
            permit = self.slots.clone().acquire_owned() => permit,
            () = over => {
                self.state().refused += 1;
                let why = "its places, `concurrency` in jobs.toml, are taken";
                return Err(Refused::rate_limited(&self.name, why, TAKEN_WAIT));
            }
        };
        permit.map_err(|_| Refused::denied(Denial::NoPolicy, "the gate is closed"))
    }

    fn waited(&self, wait: Duration) {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            let mut state = self.state();
            state.waits += 1;
            state.waited_ms = state.waited_ms.saturating_add(millis);
        }
    }

    /// Leaves the site alone for `after`, whichever job asks, or for longer if it goes on blocking us; a longer
    /// cool-down stands. Answers for how long, once that is kept.
    pub(crate) async fn refused(
        &self,
        kind: CoolingKind,
        reason: &str,
        after: Duration,
        now: Timestamp,
        memory: &dyn SiteMemory,
    ) -> Duration {
        let is_new = {
            let mut state = self.state();
            state.refused += 1;
            let blocks = state.circuit.blocks();
            let cooling = state.circuit.refused(kind, reason, after, now);
            if let Some(cooling) = cooling {
                let seconds = cooling.until.since(now).as_secs();
                tracing::warn!(site = self.name, reason, seconds, "a site is left alone");
            }
            cooling.is_some() || state.circuit.blocks() != blocks
        };
        if is_new {
            self.keep(now, memory).await;
        }
        let state = self.state();
        state.circuit.cooling(now).map_or(after, |cooling| cooling.until.since(now))
    }

    /// The attempt `by` has come to nothing that says whether the site works.
    pub(crate) fn trial_is_over(&self, by: usize) {
        self.state().circuit.trial_is_over(by);
    }

    /// A task that asked it has ended well.
    pub(crate) async fn works(&self, now: Timestamp, memory: &dyn SiteMemory) {
        let is_news = {
            let mut state = self.state();
            let was_open = state.circuit.is_open();
            let is_news = state.circuit.works(now);
            if is_news && was_open {
                tracing::info!(site = self.name, "a site works again");
            }
            is_news
        };
        if is_news {
            self.keep(now, memory).await;
        }
    }

    async fn keep(&self, now: Timestamp, memory: &dyn SiteMemory) {
        let _in_turn = self.keeping.lock().await;
        let circuit = self.state().circuit.clone();
        memory.keep(self.name.clone(), circuit, now).await;
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.state().bytes_received += bytes;
    }
}

/// How long a request that tries an open circuit has until something has come of it: its answer, and the task's end.
fn trial(spec: &SiteSpec) -> Duration {
    spec.timeout.saturating_mul(2).saturating_add(Duration::from_secs(30))
}

fn status(site: &str, state: &SiteState, now: Timestamp) -> SiteStatus {
    let last = state.circuit.last();
    SiteStatus {
        site: site.to_owned(),
        requests: state.requests,
        bytes_received: state.bytes_received,
        refused: state.refused,
        waits: state.waits,
        waited_ms: state.waited_ms,
        is_open: state.circuit.is_open(),
        cooling_until: state.circuit.cooling(now).map(|cooling| cooling.until),
        reason: last.filter(|_| !state.circuit.is_clear(now)).map(|cooling| cooling.reason.clone()),
    }
}

#[cfg(test)]
mod tests;
