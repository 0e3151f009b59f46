//! Budgets: what a day or a month may cost, in bytes or money, what was spent of it, and whether more may be.

use crate::{
    calendar::{Period, PeriodKind, Zone},
    money::NanoUsd,
    time::Timestamp,
};

/// Bytes in a GB, as proxies bill it.
pub const GB: u64 = 1_000_000_000;
/// Of a budget, the hundredths at which a person is warned.
pub const WARNED_AT: u64 = 80;

/// What bytes cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// So much
    pub money: NanoUsd,
    /// for so many bytes: a GB or a GiB.
    pub bytes: u64,
}

impl Price {
    /// What so many bytes cost, rounded up to a billionth of a dollar.
    #[must_use]
    pub fn of(self, bytes: u64) -> NanoUsd {
        self.money.for_part(bytes, self.bytes)
    }
}

/// The most of a day or a month. 0 is a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Bytes.
    Bytes(u64),
    /// Money.
    Money(NanoUsd),
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{}", Size(*bytes)),
            Self::Money(money) => write!(f, "{money}"),
        }
    }
}

/// Bytes as a person reads them, in the units that proxies bill: `0 B`, `950 B`, `1.50 MB`, `2.00 GB`.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [(GB, "GB"), (1_000_000, "MB"), (1_000, "kB")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) => {
                let hundredths = u128::from(self.0) * 100 / u128::from(unit);
                f.pad(&format!("{}.{:02} {name}", hundredths / 100, hundredths % 100))
            }
            None => f.pad(&format!("{} B", self.0)),
        }
    }
}

/// `budget = { day = "2 GB", month = "50.00 USD" }`. Neither: all that it costs is counted, and nothing is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Of a day.
    pub day: Option<Limit>,
    /// Of a month.
    pub month: Option<Limit>,
}

impl Budget {
    /// Each limit with its period.
    pub fn limits(&self) -> impl Iterator<Item = (PeriodKind, Limit)> {
        let day = self.day.map(|limit| (PeriodKind::Day, limit));
        day.into_iter().chain(self.month.map(|limit| (PeriodKind::Month, limit)))
    }
}

/// `budget = { day = "5.00 USD", month = "50.00 USD" }` of what is paid in money alone. `0 USD` is a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MoneyBudget {
    /// Of a day.
    pub day: Option<NanoUsd>,
    /// Of a month.
    pub month: Option<NanoUsd>,
}

impl MoneyBudget {
    /// Each limit with its period.
    pub fn limits(&self) -> impl Iterator<Item = (PeriodKind, NanoUsd)> {
        let day = self.day.map(|limit| (PeriodKind::Day, limit));
        day.into_iter().chain(self.month.map(|limit| (PeriodKind::Month, limit)))
    }
}

impl From<MoneyBudget> for Budget {
    fn from(MoneyBudget { day, month }: MoneyBudget) -> Self {
        Self { day: day.map(Limit::Money), month: month.map(Limit::Money) }
    }
}

/// What was spent in one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Which one.
    pub period: Period,
    /// Bytes, both ways.
    pub bytes: u64,
    /// How many of them are an estimate: what tools left behind, which nobody counts on its way.
    pub estimated: u64,
    /// What they cost, as the price was when they were spent.
    pub money: NanoUsd,
    /// Somebody was warned that the budget is nearly spent.
    pub is_warned: bool,
}

/// What was spent of a day and of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spending {
    /// The day that goes on.
    pub day: Spent,
    /// The month that goes on.
    pub month: Spent,
}

/// A budget that is spent, or nearly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Of a day or a month.
    pub kind: PeriodKind,
    /// Its limit.
    pub limit: Limit,
    /// What was spent of it.
    pub spent: Spent,
}

/// Whether a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is room for it.
    Enough,
    /// What is left may be used up by requests that are under way.
    Held,
}

impl Spending {
    /// Begins what has begun anew by `now`. A period that goes on keeps its end, whatever the zone: nothing spent is
    /// forgotten when a person names another.
    pub fn turn(&mut self, zone: &Zone, now: Timestamp) {
        for (kind, spent) in [(PeriodKind::Day, &mut self.day), (PeriodKind::Month, &mut self.month)] {
            let period = spent.period.turned(kind, zone, now);
            if spent.period != period {
                *spent = Spent { period, ..Spent::default() };
            }
        }
    }

    /// Adds bytes, and what they cost: exact over many small amounts, as long as the price
    /// stays. Answers what they cost.
    pub fn add(&mut self, bytes: u64, estimated: u64, price: Option<Price>) -> NanoUsd {
        let cost = price.map_or(NanoUsd::ZERO, |price| {
            let before = price.of(self.day.bytes);
            price.of(self.day.bytes.saturating_add(bytes)).saturating_sub(before)
        });
        self.add_at(bytes, estimated, cost);
        cost
    }

    /// Adds bytes that cost so much.
    pub fn add_at(&mut self, bytes: u64, estimated: u64, cost: NanoUsd) {
        for spent in [&mut self.day, &mut self.month] {
            spent.bytes = spent.bytes.saturating_add(bytes);
            spent.estimated = spent.estimated.saturating_add(estimated);
            spent.money = spent.money.saturating_add(cost);
        }
    }

    fn of(&self, kind: PeriodKind) -> Spent {
        match kind {
            PeriodKind::Day => self.day,
            PeriodKind::Month => self.month,
        }
    }

    /// Whether a request may go while those under way hold `held` bytes.
    ///
    /// # Errors
    /// A budget is spent; of several, the one that is to be waited for longest.
    pub fn room(&self, budget: &Budget, price: Option<Price>, held: u64) -> Result<Room, Reached> {
        let mut room = Room::Enough;
        let mut reached: Option<Reached> = None;
        for (kind, limit) in budget.limits() {
            let spent = self.of(kind);
            if is_reached(limit, spent, price, 0) {
                let longer = reached.is_none_or(|known| known.spent.period.ends < spent.period.ends);
                reached = if longer { Some(Reached { kind, limit, spent }) } else { reached };
            } else if is_reached(limit, spent, price, held) {
                room = Room::Held;
            }
        }
        reached.map_or(Ok(room), Err)
    }

    /// A budget of which so much is spent that a person is to be warned, each but once in its period.
    pub fn warning(&mut self, budget: &Budget) -> Option<Reached> {
        for (kind, limit) in budget.limits() {
            let spent = match kind {
                PeriodKind::Day => &mut self.day,
                PeriodKind::Month => &mut self.month,
            };
            if !spent.is_warned && percent(limit, *spent) >= WARNED_AT {
                spent.is_warned = true;
                return Some(Reached { kind, limit, spent: *spent });
            }
        }
        None
    }
}

/// Whether the limit is reached once `more` bytes have come.
fn is_reached(limit: Limit, spent: Spent, price: Option<Price>, more: u64) -> bool {
    match limit {
        Limit::Bytes(most) => spent.bytes.saturating_add(more) >= most,
        // Refused at load without a price; were one to get here, what it costs isn't known, and nothing is sent.
        Limit::Money(most) => price.is_none_or(|price| spent.money.saturating_add(price.of(more)) >= most),
    }
}

/// How many hundredths of a limit are spent; 100 of a limit of 0.
#[must_use]
pub fn percent(limit: Limit, spent: Spent) -> u64 {
    let (part, whole) = match limit {
        Limit::Bytes(most) => (spent.bytes, most),
        Limit::Money(most) => (spent.money.0, most.0),
    };
    if whole == 0 {
        return 100;
    }
    u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(u64::MAX)
}

impl Reached {
    /// What was spent of it, in the limit's own unit: `1.60 GB of 2.00 GB`.
    #[must_use]
    pub fn share(&self) -> String {
        match self.limit {
            Limit::Bytes(most) => format!("{} of {}", Size(self.spent.bytes), Size(most)),
            Limit::Money(most) => format!("{} of {most}", self.spent.money),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price { money: NanoUsd(8_400_000_000), bytes: GB };

    fn turned(now: u64) -> Spending {
        let mut spending = Spending::default();
        spending.turn(&Zone::default(), Timestamp(now));
        spending
    }

    const DAY: u64 = 86_400_000;

    #[test]
    fn a03_small_amounts_add_up_to_what_the_whole_costs() {
        let mut spending = turned(DAY);
        for _ in 0..1_000 {
            spending.add(1_001, 0, Some(PRICE));
        }
        assert_eq!(spending.day.money, PRICE.of(1_001_000));
    }

    #[test]
    fn trap04_a_budget_of_nothing_is_a_budget_and_a_price_that_is_not_known_is_not_zero() {
        let spending = turned(DAY);
        for limit in [Limit::Bytes(0), Limit::Money(NanoUsd::ZERO)] {
            let budget = Budget { day: Some(limit), month: None };
            assert!(spending.room(&budget, Some(PRICE), 0).is_err(), "{limit}");
        }
        let budget = Budget { day: Some(Limit::Money(NanoUsd(5))), month: None };
        assert!(spending.room(&budget, None, 0).is_err());
        assert_eq!(spending.room(&Budget::default(), None, u64::MAX), Ok(Room::Enough));
    }

    #[test]
    fn a_spent_day_begins_anew_and_its_month_goes_on() {
        let mut spending = turned(DAY * 5);
        let budget = Budget { day: Some(Limit::Bytes(100)), month: Some(Limit::Bytes(150)) };
        spending.add(60, 0, None);
        assert_eq!(spending.room(&budget, None, 40), Ok(Room::Held));
        spending.add(40, 0, None);
        let reached = spending.room(&budget, None, 0).unwrap_err();
        assert_eq!((reached.kind, reached.spent.period.ends), (PeriodKind::Day, Timestamp(DAY * 6)));
        spending.turn(&Zone::default(), Timestamp(DAY * 6));
        assert_eq!(spending.room(&budget, None, 0), Ok(Room::Enough));
        spending.add(100, 0, None);
        let reached = spending.room(&budget, None, 0).unwrap_err();
        assert_eq!(reached.kind, PeriodKind::Month, "the longer wait is the one that counts");
        assert_eq!(reached.spent.bytes, 200);
    }

    #[test]
    fn a_person_is_warned_once_a_period() {
        let mut spending = turned(DAY);
        let budget = Budget { day: Some(Limit::Bytes(1_000)), month: None };
        spending.add(799, 0, None);
        assert_eq!(spending.warning(&budget), None);
        spending.add(1, 0, None);
        assert_eq!(spending.warning(&budget).unwrap().share(), "800 B of 1.00 kB");
        spending.add(1, 0, None);
        assert_eq!(spending.warning(&budget), None);
        spending.turn(&Zone::default(), Timestamp(DAY * 2));
        spending.add(900, 0, None);
        assert!(spending.warning(&budget).is_some());
    }

    #[test]
    fn another_time_zone_forgets_nothing_that_was_spent() {
        let mut spending = turned(DAY + 3_600_000);
        spending.add(10, 0, None);
        spending.turn(&Zone::named("Asia/Tokyo").unwrap(), Timestamp(DAY + DAY / 2 + 4 * 3_600_000));
        assert_eq!((spending.day.bytes, spending.day.period.ends), (10, Timestamp(DAY * 2)));
    }
}
