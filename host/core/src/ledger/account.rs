//! The account of a scope: what its day and its month have settled and reserved, and whether there is room for more.

use serde::{Deserialize, Serialize};

use super::Cost;
use crate::{
    budget::{Budget, Limit, Reached, Spending, Spent, WARNED_AT, percent},
    calendar::{Period, PeriodKind, Zone},
    money::NanoUsd,
    time::Timestamp,
};

/// A day and a month that go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Periods {
    /// The day.
    pub day: Period,
    /// The month.
    pub month: Period,
}

impl Periods {
    /// With what has begun anew by `now`; what goes on keeps its end, whatever the zone.
    #[must_use]
    pub fn turned(self, zone: &Zone, now: Timestamp) -> Self {
        Self {
            day: self.day.turned(PeriodKind::Day, zone, now),
            month: self.month.turned(PeriodKind::Month, zone, now),
        }
    }
}

/// What calls of one period are charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Charged {
    /// Which one.
    pub period: Period,
    /// Of calls that are settled.
    pub settled: NanoUsd,
    /// Of calls under way: what they are held to cost.
    pub reserved: NanoUsd,
    /// Somebody was warned that the budget is nearly spent.
    pub is_warned: bool,
}

impl Charged {
    /// This, if it is of that period, else nothing of it.
    fn at(self, period: Period) -> Self {
        if self.period == period { self } else { Self { period, ..Self::default() } }
    }

    fn reserve(&mut self, amount: NanoUsd) -> Result<(), Unbalanced> {
        self.reserved = self.reserved.checked_add(amount).ok_or(Unbalanced)?;
        Ok(())
    }

    fn settle(&mut self, period: Period, reserved: NanoUsd, charged: NanoUsd) -> Result<(), Unbalanced> {
        // A period that is over is nobody's limit any more.
        if self.period == period {
            self.reserved = self.reserved.checked_sub(reserved).ok_or(Unbalanced)?;
            self.settled = self.settled.saturating_add(charged);
        }
        Ok(())
    }

    /// As a budget's message shows it.
    fn spent(&self, money: NanoUsd) -> Spent {
        Spent { period: self.period, money, is_warned: self.is_warned, ..Spent::default() }
    }
}

/// The account and its calls contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an account holds other reservations than the ledger's")]
pub struct Unbalanced;

/// What counts towards a budget and isn't in the ledger: what proxies cost, which is counted where their bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beside {
    /// In the day that goes on.
    pub day: NanoUsd,
    /// In the month that goes on.
    pub month: NanoUsd,
}

impl Beside {
    /// With the money of another spending, as far as its periods go on at `now`.
    #[must_use]
    pub fn and(self, spending: &Spending, now: Timestamp) -> Self {
        let money = |spent: &Spent| if spent.period.ends > now { spent.money } else { NanoUsd::ZERO };
        Self {
            day: self.day.saturating_add(money(&spending.day)),
            month: self.month.saturating_add(money(&spending.month)),
        }
    }

    fn of(self, kind: PeriodKind) -> NanoUsd {
        match kind {
            PeriodKind::Day => self.day,
            PeriodKind::Month => self.month,
        }
    }
}

/// Why a budget has no room for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// What is settled leaves too little: it goes on with the next period.
    Spent(Reached),
    /// Calls under way hold what is left: once they are settled there may be room.
    Held(Reached),
    /// The call alone may cost more than the whole of that limit: no wait makes room for it. A limit of 0 has no call
    /// that it could be too dear for: it lets nothing go, whatever that costs, and is [`NoRoom::Spent`].
    TooDear {
        /// Of a day or a month.
        kind: PeriodKind,
        /// That limit.
        most: NanoUsd,
        /// What the call is held to cost.
        asked: NanoUsd,
    },
    /// What the call costs isn't known, so nobody could hold it to a budget.
    Unpriced,
    /// The budget bounds bytes, which a call isn't paid by. Refused at load; were one to get here, nothing is sent.
    Bytes(Limit),
}

/// What the calls of a scope are charged, in the day and the month that went on at the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Account {
    /// Its day.
    pub day: Charged,
    /// Its month.
    pub month: Charged,
}

impl Account {
    /// Its day and its month.
    #[must_use]
    pub fn periods(&self) -> Periods {
        Periods { day: self.day.period, month: self.month.period }
    }

    /// As it is in that day and that month: of any other, nothing is left.
    #[must_use]
    pub fn at(self, periods: Periods) -> Self {
        Self { day: self.day.at(periods.day), month: self.month.at(periods.month) }
    }

    /// Whether the budget has room for a call: what is settled, reserved and asked for is no more than any limit, and
    /// no limit is reached before. So a limit of 0 lets nothing go, not even what costs nothing.
    ///
    /// # Errors
    /// It has none; of a day and a month, the one that no wait helps, then the one that is to be waited for longest.
    pub fn room(&self, budget: &Budget, beside: Beside, estimate: Cost) -> Result<(), NoRoom> {
        let mut found: Option<NoRoom> = None;
        for (kind, limit) in budget.limits() {
            let Limit::Money(most) = limit else {
                return Err(NoRoom::Bytes(limit));
            };
            let Some(asked) = estimate.known() else {
                return Err(NoRoom::Unpriced);
            };
            if asked > most && most > NanoUsd::ZERO {
                return Err(NoRoom::TooDear { kind, most, asked });
            }
            let charged = self.of(kind);
            let settled = charged.settled.saturating_add(beside.of(kind));
            let held = settled.saturating_add(charged.reserved);
            let is_full = |taken: NanoUsd| taken >= most || taken.saturating_add(asked) > most;
            if is_full(settled) {
                let ends = |known: &NoRoom| match known {
                    NoRoom::Spent(known) => known.spent.period.ends >= charged.period.ends,
                    _ => false,
                };
                let spent = NoRoom::Spent(Reached { kind, limit, spent: charged.spent(settled) });
                found = found.filter(ends).or(Some(spent));
            } else if is_full(held) {
                let held = NoRoom::Held(Reached { kind, limit, spent: charged.spent(held) });
                found = found.or(Some(held));
            }
        }
        found.map_or(Ok(()), Err)
    }

    /// Counts a call that is about to be made.
    ///
    /// # Errors
    /// More is reserved than can be counted.
    pub fn reserve(&mut self, estimate: Cost) -> Result<(), Unbalanced> {
        let amount = estimate.known().unwrap_or(NanoUsd::ZERO);
        self.day.reserve(amount)?;
        self.month.reserve(amount)
    }

    /// Counts a call as settled that was reserved in those periods; of one that is over, nothing is changed.
    ///
    /// # Errors
    /// Less is reserved than that.
    pub fn settle(&mut self, periods: Periods, estimate: Cost, cost: Cost) -> Result<(), Unbalanced> {
        let (reserved, charged) = (estimate.known().unwrap_or(NanoUsd::ZERO), cost.charged(estimate));
        self.day.settle(periods.day, reserved, charged)?;
        self.month.settle(periods.month, reserved, charged)
    }

    /// A budget of which so much is spent or held that a person is to be warned, each but once in its period.
    pub fn warning(&mut self, budget: &Budget, beside: Beside) -> Option<Reached> {
        for (kind, limit) in budget.limits() {
            let charged = match kind {
                PeriodKind::Day => &mut self.day,
                PeriodKind::Month => &mut self.month,
            };
            let held = charged.settled.saturating_add(charged.reserved).saturating_add(beside.of(kind));
            let spent = charged.spent(held);
            if !charged.is_warned && percent(limit, spent) >= WARNED_AT {
                charged.is_warned = true;
                return Some(Reached { kind, limit, spent });
            }
        }
        None
    }

    fn of(&self, kind: PeriodKind) -> Charged {
        match kind {
            PeriodKind::Day => self.day,
            PeriodKind::Month => self.month,
        }
    }
}
