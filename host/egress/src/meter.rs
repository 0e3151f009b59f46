//! What goes through proxies and to sites: counted as it comes, held against budgets, and kept over a restart.
//!
//! A request is let through by what is left (`Meters::admit`), and holds a part of it while it is under way, so that
//! many at once don't each take the same bytes for theirs. What comes is counted on its [`Passage`].

mod keeper;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tollgate_core::{
    Clock, Timestamp,
    budget::{Budget, Price, Reached, Room, Spending},
    calendar::Zone,
    ledger::Account,
    money::NanoUsd,
    spec::Deployment,
};

use self::keeper::Keeper;
use crate::{MeterStatus, Refused, everything::Everything, site::SiteMemory};

/// Bytes of a budget that a request holds until it has used them: most pages are smaller.
const HELD_BYTES: u64 = 64 << 10;
/// How long a request is put off while others hold what is left.
const HELD_WAIT: Duration = Duration::from_secs(2);
/// Bytes of a tunnel and its TLS handshake: a CONNECT and its answer, two hellos, a chain of
/// certificates. Most take 4 to 6 KB.
const HANDSHAKE_BYTES: u64 = 6 << 10;
/// Bytes of a SOCKS handshake, about.
const SOCKS_BYTES: u64 = 64;
/// Bytes that TLS lays around each record, and how large a record is taken to be: servers send 1.4 to 16 KiB.
const RECORD_BYTES: u64 = 22;
const RECORD_SIZE: u64 = 4 << 10;

/// All that is counted.
pub(crate) struct Meters {
    /// By `proxy NAME`, `site PATTERN` and `endpoint NAME`: what is kept is found by it.
    all: BTreeMap<String, Arc<Meter>>,
    everything: Arc<Everything>,
    keeper: Arc<Keeper>,
}

/// What one proxy or one site's pattern spends.
struct Meter {
    name: String,
    price: Option<Price>,
    budget: Budget,
    zone: Zone,
    state: Mutex<MeterState>,
    keeper: Arc<Keeper>,
    /// The budget of everything, of a proxy that costs money.
    everything: Option<Arc<Everything>>,
}

#[derive(Default)]
struct MeterState {
    spending: Spending,
    /// Bytes of what is left that requests under way hold.
    held: u64,
}

/// A request's part of a budget.
struct Holding {
    meter: Arc<Meter>,
    left: u64,
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut state = self.meter.state();
        state.held = state.held.saturating_sub(self.left);
    }
}

/// A request on its way: what it transfers is counted here. Dropped, it holds nothing any more.
#[derive(Clone)]
pub(crate) struct Passage(Arc<Mutex<Passing>>);

struct Passing {
    proxy: Option<Holding>,
    site: Option<Holding>,
    clock: Arc<dyn Clock>,
    /// TLS is around what is counted.
    is_secure: bool,
    is_socks: bool,
    over: Option<Refused>,
}

impl Meters {
    pub(crate) fn new(
        deployment: &Deployment,
        clock: Arc<dyn Clock>,
        memory: Arc<dyn SiteMemory>,
        spent: Vec<(String, Spending)>,
    ) -> Self {
        let keeper = Arc::new(Keeper::new(memory, clock));
        let mut spent: BTreeMap<String, Spending> = spent.into_iter().collect();
        let everything = Arc::new(Everything::new(deployment, &spent, keeper.clock.now()));
        let proxies = deployment.proxies.iter().map(|proxy| (proxy_key(&proxy.name), proxy.price, proxy.budget));
        let sites = deployment.sites.iter().chain(deployment.endpoints.iter().map(|endpoint| &endpoint.policy));
        let sites = sites.map(|site| (site_key(&site.pattern.to_string()), None, site.budget));
        let meters = proxies.chain(sites).map(|(name, price, budget)| {
            let spending = spent.remove(&name).unwrap_or_default();
            let state = Mutex::new(MeterState { spending, held: 0 });
            let (zone, keeper) = (deployment.host.zone.clone(), keeper.clone());
            let costs = price.is_some_and(|price| price.money > NanoUsd::ZERO);
            let everything = costs.then(|| everything.clone());
            (name.clone(), Arc::new(Meter { name, price, budget, zone, state, keeper, everything }))
        });
        Self { all: meters.collect(), everything, keeper }
    }

    /// What paid calls are charged by now: it counts towards the budget of everything, as what proxies cost does.
    pub(crate) fn calls_are_charged(&self, calls: Account) {
        self.everything.charged(calls);
    }

    fn proxy(&self, name: &str) -> Option<&Arc<Meter>> {
        self.all.get(&proxy_key(name))
    }

    fn site(&self, pattern: &str) -> Option<&Arc<Meter>> {
        self.all.get(&site_key(pattern))
    }

    /// Whether a site's budget has anything left.
    ///
    /// # Errors
    /// It is spent.
    pub(crate) fn check_site(&self, pattern: &str) -> Result<(), Refused> {
        self.site(pattern).map_or(Ok(()), |meter| meter.check(self.keeper.clock.now()))
    }

    /// Whether a proxy's budget has anything left.
    ///
    /// # Errors
    /// It is spent.
    pub(crate) fn check_proxy(&self, name: &str) -> Result<(), Refused> {
        self.proxy(name).map_or(Ok(()), |meter| meter.check(self.keeper.clock.now()))
    }

    /// Lets a request through, and gives it a part of what is left. Nothing has been sent.
    ///
    /// # Errors
    /// A budget is spent, or requests under way hold what is left of it.
    pub(crate) fn admit(
        &self,
        pattern: &str,
        proxy: Option<&str>,
        (is_secure, is_socks): (bool, bool),
    ) -> Result<Passage, Refused> {
        let now = self.keeper.clock.now();
        let site = self.site(pattern).map(|meter| meter.admit(now)).transpose()?;
        let proxy = proxy.and_then(|name| self.proxy(name)).map(|meter| meter.admit(now)).transpose()?;
        let clock = self.keeper.clock.clone();
        Ok(Passage(Arc::new(Mutex::new(Passing { proxy, site, clock, is_secure, is_socks, over: None }))))
    }

    /// Keeps all that isn't kept yet.
    pub(crate) async fn keep(&self) {
        self.keeper.keep().await;
    }

    pub(crate) fn status(&self, now: Timestamp) -> Vec<MeterStatus> {
        self.all.values().filter_map(|meter| meter.status(now)).collect()
    }
}

fn proxy_key(name: &str) -> String {
    format!("proxy {name}")
}

fn site_key(pattern: &str) -> String {
    // An endpoint's pattern says so; no host has a space.
    if pattern.starts_with("endpoint ") { pattern.to_owned() } else { format!("site {pattern}") }
}

impl Meter {
    fn state(&self) -> MutexGuard<'_, MeterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the budget of everything lets it cost more.
    fn check_everything(&self, now: Timestamp) -> Result<(), Refused> {
        self.everything.as_ref().map_or(Ok(()), |everything| everything.check(now))
    }

    fn check(&self, now: Timestamp) -> Result<(), Refused> {
        self.check_everything(now)?;
        let mut state = self.state();
        state.spending.turn(&self.zone, now);
        state.spending.room(&self.budget, self.price, 0).map(drop).map_err(|reached| self.spent(reached, now))
    }

    fn admit(self: &Arc<Self>, now: Timestamp) -> Result<Holding, Refused> {
        self.check_everything(now)?;
        let mut state = self.state();
        state.spending.turn(&self.zone, now);
        match state.spending.room(&self.budget, self.price, state.held) {
            Err(reached) => Err(self.spent(reached, now)),
            Ok(Room::Held) => Err(self.is_held()),
            Ok(Room::Enough) => {
                let left = if self.budget == Budget::default() { 0 } else { HELD_BYTES };
                state.held += left;
                Ok(Holding { meter: self.clone(), left })
            }
        }
    }

    /// Adds bytes, of which so many are an estimate; at `cost`, or at its own price. Answers what they cost.
    fn add_to(
        &self,
        state: &mut MeterState,
        (bytes, estimated): (u64, u64),
        cost: Option<NanoUsd>,
        now: Timestamp,
    ) -> NanoUsd {
        state.spending.turn(&self.zone, now);
        let cost = match cost {
            Some(cost) => {
                state.spending.add_at(bytes, estimated, cost);
                cost
            }
            None => state.spending.add(bytes, estimated, self.price),
        };
        if let Some(everything) = &self.everything {
            everything.add(cost, now);
        }
        if let Some(reached) = state.spending.warning(&self.budget) {
            tracing::warn!(
                of = self.name,
                spent = reached.share(),
                period = reached.kind.as_str(),
                "a budget is nearly spent"
            );
        }
        self.keeper.clone().note(&self.name, state.spending, bytes);
        cost
    }

    fn spent(&self, reached: Reached, now: Timestamp) -> Refused {
        let (ends, kind) = (reached.spent.period.ends, reached.kind.as_str());
        let text = format!(
            "the budget of {} for this {kind} is spent ({}), so nothing is sent; it goes on at {}",
            self.name,
            reached.share(),
            self.zone.show(ends)
        );
        Refused::budget(&self.name, text, ends.since(now))
    }

    fn is_held(&self) -> Refused {
        let text = format!("what is left of the budget of {} is held by requests under way", self.name);
        Refused::rate_limited(&self.name, &text, HELD_WAIT)
    }

    fn status(&self, now: Timestamp) -> Option<MeterStatus> {
        let mut state = self.state();
        state.spending.turn(&self.zone, now);
        let Spending { day, month } = state.spending;
        let has_budget = self.budget != Budget::default();
        (has_budget || self.price.is_some() || month.bytes > 0)
            .then(|| MeterStatus::new(&self.name, (day, month), self.budget, self.price))
    }
}

impl Holding {
    /// Counts bytes, of which so many are an estimate; answers what they cost, and the refusal of what comes after them
    /// if a budget allows no more.
    fn count(
        &mut self,
        (bytes, estimated): (u64, u64),
        cost: Option<NanoUsd>,
        now: Timestamp,
    ) -> (NanoUsd, Option<Refused>) {
        let meter = self.meter.clone();
        let mut state = meter.state();
        let used = self.left.min(bytes);
        self.left -= used;
        state.held = state.held.saturating_sub(used);
        let cost = meter.add_to(&mut state, (bytes, estimated), cost, now);
        // Past its own part it may take what nobody holds.
        let others = if self.left == 0 { state.held } else { 0 };
        let over = match state.spending.room(&meter.budget, meter.price, others) {
            Err(reached) => Some(meter.spent(reached, now)),
            Ok(Room::Held) => Some(meter.is_held()),
            Ok(Room::Enough) => None,
        };
        (cost, over)
    }
}

impl Passage {
    fn passing(&self) -> MutexGuard<'_, Passing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that were sent or received, and what TLS lays around them.
    pub(crate) fn count(&self, bytes: u64) {
        let mut passing = self.passing();
        let around = if passing.is_secure { RECORD_BYTES * bytes.div_ceil(RECORD_SIZE) } else { 0 };
        passing.count((bytes + around, 0));
    }

    /// Counts what a tool left, which nobody saw on its way.
    pub(crate) fn estimate(&self, bytes: u64) {
        self.passing().count((bytes, bytes));
    }

    /// A connection was made for it, or failed after the proxy was reached.
    pub(crate) fn connected(&self) {
        let mut passing = self.passing();
        let bytes = match (passing.is_secure, passing.is_socks) {
            (true, _) => HANDSHAKE_BYTES,
            (false, true) => SOCKS_BYTES,
            (false, false) => return,
        };
        passing.count((bytes, 0));
    }

    /// What a budget says to going on, once it allows no more.
    pub(crate) fn over(&self) -> Option<Refused> {
        self.passing().over.take()
    }
}

impl Passing {
    fn count(&mut self, bytes: (u64, u64)) {
        let now = self.clock.now();
        let (cost, of_proxy) = match &mut self.proxy {
            Some(proxy) => proxy.count(bytes, None, now),
            None => (NanoUsd::ZERO, None),
        };
        let of_site = self.site.as_mut().and_then(|site| site.count(bytes, Some(cost), now).1);
        // A budget that is spent says more than one that others hold: it is the later word that counts.
        self.over = of_proxy.or(of_site);
    }
}
