//! The budget of everything that is paid, for requests by proxies that cost money: what those cost counts towards it,
//! and so do the ledger's calls, of which the ledger's owner tells. Spent, nothing more goes out by such a proxy.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tollgate_core::{
    Timestamp,
    budget::{Budget, Spending},
    calendar::Zone,
    ledger::{Account, Beside, Cost, EVERYTHING, NoRoom},
    money::NanoUsd,
    spec::Deployment,
};

use crate::Refused;

/// What a refusal by a budget of money is about, whoever is refused.
const ABOUT: &str = "the budget";

/// What of the budget of everything is spent.
pub(crate) struct Everything {
    budget: Budget,
    zone: Zone,
    state: Mutex<State>,
}

struct State {
    /// What proxies have cost.
    proxies: Spending,
    /// What calls are charged, as the ledger had it last.
    calls: Account,
}

impl Everything {
    /// `spent`: what was kept, of proxies among others; those count that jobs.toml doesn't name any more.
    pub(crate) fn new(deployment: &Deployment, spent: &BTreeMap<String, Spending>, now: Timestamp) -> Self {
        let of_proxies = spent.iter().filter(|(name, _)| name.starts_with("proxy "));
        let cost = of_proxies.fold(Beside::default(), |cost, (_, spending)| cost.and(spending, now));
        let zone = deployment.host.zone.clone();
        let mut proxies = Spending::default();
        proxies.turn(&zone, now);
        (proxies.day.money, proxies.month.money) = (cost.day, cost.month);
        let state = Mutex::new(State { proxies, calls: Account::default() });
        Self { budget: deployment.budget.into(), zone, state }
    }

    // Nothing that could panic half-way happens under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What calls are charged by now.
    pub(crate) fn charged(&self, calls: Account) {
        self.state().calls = calls;
    }

    /// A proxy has cost so much more.
    pub(crate) fn add(&self, cost: NanoUsd, now: Timestamp) {
        let mut state = self.state();
        state.proxies.turn(&self.zone, now);
        state.proxies.add_at(0, 0, cost);
    }

    /// Whether there is anything left for a request that costs money. What calls under way hold isn't looked at: one of
    /// them may be what the request is for, and a request costs little beside them.
    ///
    /// # Errors
    /// Nothing is, until the period is over.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), Refused> {
        if self.budget == Budget::default() {
            return Ok(());
        }
        let State { proxies, calls } = &*self.state();
        let calls = calls.at(calls.periods().turned(&self.zone, now));
        let beside = Beside::default().and(proxies, now);
        let Err(NoRoom::Spent(reached)) = calls.room(&self.budget, beside, Cost::Known(NanoUsd::ZERO)) else {
            return Ok(());
        };
        let (ends, kind) = (reached.spent.period.ends, reached.kind.as_str());
        let text = format!(
            "the budget of {EVERYTHING} for this {kind} is spent ({}), so nothing is sent by a proxy that costs money; \
             it goes on at {}",
            reached.share(),
            self.zone.show(ends)
        );
        Err(Refused::budget(ABOUT, text, ends.since(now)))
    }
}
