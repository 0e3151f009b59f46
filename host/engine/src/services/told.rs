//! The gate, told what calls are charged: it holds requests by proxies that cost money against the budget of
//! everything.

use std::sync::{Arc, Mutex, PoisonError};

use tollgate_core::{
    Timestamp,
    calendar::Zone,
    ledger::{Account, Cost, Periods},
    money::NanoUsd,
};
use tollgate_egress::Gate;

/// The ledger's account of everything, as far as the gate looks at it: what is settled. It is read once and counted
/// along, since a look at the ledger after each call would cost more than the call's own rows.
pub(super) struct Told {
    gate: Arc<Gate>,
    zone: Zone,
    account: Mutex<Account>,
}

/// A call that is under way, as it will be counted.
pub(super) struct Counted {
    /// The day and the month that it is charged to: those in which it was reserved.
    periods: Periods,
    estimate: Cost,
}

impl Told {
    /// `account`: as the ledger has it, before the first call.
    pub(super) fn new(gate: Arc<Gate>, zone: Zone, account: Account) -> Self {
        gate.calls_are_charged(account);
        Self { gate, zone, account: Mutex::new(account) }
    }

    /// A call was reserved at `at`.
    pub(super) fn reserved(&self, at: Timestamp, estimate: Cost) -> Counted {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let periods = account.periods().turned(&self.zone, at);
        *account = account.at(periods);
        Counted { periods, estimate }
    }

    /// It was settled at that cost. Who settles after another tells more than that one: the lock is held while the gate
    /// is told.
    pub(super) fn settled(&self, counted: &Counted, cost: Cost) {
        let charged = Cost::Known(cost.charged(counted.estimate));
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        // What calls under way hold is no matter of the gate's, so nothing of it is here.
        if let Err(error) = account.settle(counted.periods, Cost::Known(NanoUsd::ZERO), charged) {
            tracing::error!(%error, "requests by proxies are held against an older state of the budget of everything");
        }
        self.gate.calls_are_charged(*account);
    }
}
