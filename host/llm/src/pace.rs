//! How often one account may ask one model: requests and tokens a time, and what its provider last said of waiting. Shared by
//! all jobs; who has to wait long is sent away, and holds nothing (R07, trap 9).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tollgate_core::{Clock, Digest, Timestamp, spec::Allowance};

/// Longest wait for a turn within a call. Who waits holds a guest with its memory; a task in the store holds nothing.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);
/// Shortest time for which an account is left alone that was refused.
pub(crate) const COOL_DOWN_MIN: Duration = Duration::from_secs(1);

/// Longest name of an account, in bytes: over a restart it is kept where sites are, whose names end at 300.
const ACCOUNT_BYTES_MAX: usize = 256;
/// Bytes of a longer name that are left to be read, before its digest.
const CUT_AT: usize = 160;

/// Who is limited together: a service's address, its key's place, and the model's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(pub String);

impl Account {
    /// The account of that name. One too long to be kept is cut, and told from others by the digest of the whole.
    #[must_use]
    pub fn named(name: String) -> Self {
        if name.len() <= ACCOUNT_BYTES_MAX {
            return Self(name);
        }
        Self(format!("{} … {}", &name[..name.floor_char_boundary(CUT_AT)], Digest::of(name.as_bytes())))
    }
}

/// Why an account is left alone, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cooling {
    /// Until then.
    pub until: Timestamp,
    /// What its provider said.
    pub reason: String,
    /// No wait before that helps: a quota, a spend limit (trap 8).
    pub is_terminal: bool,
}

/// The pace of every account.
pub(crate) struct Paces {
    clock: Arc<dyn Clock>,
    accounts: Mutex<BTreeMap<Account, Pace>>,
}

#[derive(Default)]
struct Pace {
    cooling: Option<Cooling>,
    requests: Flow,
    tokens: Flow,
}

/// An even flow with a burst of what one period allows: when all that was taken would have come at the even rate.
#[derive(Debug, Default)]
struct Flow {
    even_us: u64,
}

/// What an account is allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    pub(crate) requests: Option<Allowance>,
    pub(crate) tokens: Option<Allowance>,
}

/// Why a call has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Its account is left alone.
    Cools(Cooling),
    /// The allowance of jobs.toml is used up for so long.
    Used(&'static str, Duration),
}

impl Flow {
    /// Takes `count` at `now`, and says how long to wait for them.
    fn take(&mut self, allowance: Allowance, count: u64, now: Timestamp) -> Duration {
        let now_us = now.0.saturating_mul(1_000);
        let per_us = u64::try_from(allowance.per.as_micros()).unwrap_or(u64::MAX);
        let each = |count: u64| {
            let us = u128::from(per_us) * u128::from(count) / u128::from(allowance.count.max(1));
            u64::try_from(us).unwrap_or(u64::MAX)
        };
        // What is more than a whole period's allowance goes when that period is free.
        let burst_us = per_us.saturating_sub(each(count.min(allowance.count)));
        let arrival_us = self.even_us.max(now_us);
        self.even_us = arrival_us.saturating_add(each(count));
        Duration::from_micros(arrival_us.saturating_sub(burst_us).saturating_sub(now_us))
    }
}

impl Paces {
    pub(crate) fn new(clock: Arc<dyn Clock>, remembered: Vec<(Account, Cooling)>) -> Self {
        let pace = |(account, cooling)| (account, Pace { cooling: Some(cooling), ..Pace::default() });
        Self { clock, accounts: Mutex::new(remembered.into_iter().map(pace).collect()) }
    }

    // Nothing that could panic half-way happens under the lock.
    fn accounts(&self) -> MutexGuard<'_, BTreeMap<Account, Pace>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an account is left alone.
    pub(crate) fn check(&self, account: &Account) -> Result<(), Waits> {
        let now = self.clock.now();
        let cooling = self.accounts().get(account).and_then(|pace| pace.cooling.clone());
        cooling.filter(|cooling| cooling.until > now).map_or(Ok(()), |cooling| Err(Waits::Cools(cooling)))
    }

    /// Waits for the turn of a call that is held to take `tokens`. One that is far off is refused, and takes none.
    pub(crate) async fn enter(&self, account: &Account, allowed: Allowed, tokens: u64) -> Result<(), Waits> {
        self.check(account)?;
        let now = self.clock.now();
        let wait = {
            let mut accounts = self.accounts();
            let pace = accounts.entry(account.clone()).or_default();
            let (requests, sent) = (pace.requests.even_us, pace.tokens.even_us);
            let of_requests = allowed.requests.map_or(Duration::ZERO, |most| pace.requests.take(most, 1, now));
            let of_tokens = allowed.tokens.map_or(Duration::ZERO, |most| pace.tokens.take(most, tokens, now));
            let wait = of_requests.max(of_tokens);
            if wait > TURN_WAIT_MAX {
                (pace.requests.even_us, pace.tokens.even_us) = (requests, sent);
                return Err(Waits::Used(if of_requests >= of_tokens { "requests" } else { "tokens" }, wait));
            }
            wait
        };
        if !wait.is_zero() {
            // To the next whole millisecond, which is what the clock counts in.
            self.clock.sleep_until(now.after(wait + Duration::from_millis(1))).await;
            self.check(account)?;
        }
        Ok(())
    }

    /// Leaves an account alone; a longer cool-down stands. Answers the one that holds, if it is news.
    pub(crate) fn cool(&self, account: &Account, cooling: Cooling) -> Option<Cooling> {
        let mut accounts = self.accounts();
        let pace = accounts.entry(account.clone()).or_default();
        if pace.cooling.as_ref().is_some_and(|known| known.until >= cooling.until) {
            return None;
        }
        pace.cooling = Some(cooling.clone());
        Some(cooling)
    }

    /// All accounts that are left alone.
    pub(crate) fn cooling(&self) -> Vec<(Account, Cooling)> {
        let now = self.clock.now();
        let accounts = self.accounts();
        let cooling = |(account, pace): (&Account, &Pace)| {
            Some((account.clone(), pace.cooling.clone().filter(|cooling| cooling.until > now)?))
        };
        accounts.iter().filter_map(cooling).collect()
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;

    use super::*;

    /// A clock that stands still.
    struct Still(Timestamp);

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            self.0
        }

        fn sleep_until(&self, _until: Timestamp) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    const NOW: Timestamp = Timestamp(1_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn paces() -> Paces {
        Paces::new(Arc::new(Still(NOW)), Vec::new())
    }

    fn account() -> Account {
        Account("a".to_owned())
    }

    #[test]
    fn a_period_gives_what_it_allows_at_once_and_then_evenly() {
        let (mut flow, allowance) = (Flow::default(), Allowance { count: 3, per: MINUTE });
        let waits: Vec<u64> = (0..5).map(|_| flow.take(allowance, 1, NOW).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 20, 40]);
        let mut flow = Flow::default();
        assert_eq!(flow.take(Allowance { count: 100, per: MINUTE }, 250, NOW), Duration::ZERO, "more than a period's");
        assert_eq!(flow.take(Allowance { count: 100, per: MINUTE }, 50, NOW).as_secs(), 120);
    }

    #[tokio::test]
    async fn trap09_who_is_sent_away_has_taken_nothing_and_a_refusal_is_everybodys() {
        let paces = paces();
        let allowed = Allowed { requests: Some(Allowance { count: 1, per: MINUTE }), tokens: None };
        paces.enter(&account(), allowed, 10).await.unwrap();
        for _ in 0..3 {
            assert_eq!(paces.enter(&account(), allowed, 10).await, Err(Waits::Used("requests", MINUTE)));
        }
        let cooling = |seconds| Cooling {
            until: NOW.after(Duration::from_secs(seconds)),
            reason: "slow down".to_owned(),
            is_terminal: false,
        };
        assert_eq!(paces.cool(&account(), cooling(5)), Some(cooling(5)));
        assert_eq!(paces.cool(&account(), cooling(3)), None, "a longer one stands");
        assert_eq!(paces.check(&account()), Err(Waits::Cools(cooling(5))));
        assert_eq!(paces.cooling(), [(account(), cooling(5))]);
        assert_eq!(paces.check(&Account("b".to_owned())), Ok(()));
    }

    #[test]
    fn trap09_an_account_of_a_long_name_is_one_of_its_own_and_short_enough_to_be_kept() {
        let named = |name: &str| Account::named(name.to_owned());
        assert_eq!(named("https://a.test  m").0, "https://a.test  m");
        let long = format!("https://a.test/{} m", "ä".repeat(ACCOUNT_BYTES_MAX));
        let (one, other) = (named(&long), named(&format!("{long}2")));
        assert!(one.0.len() <= ACCOUNT_BYTES_MAX && one.0.starts_with("https://a.test/ä"), "{one:?}");
        assert_eq!((one == named(&long), one == other), (true, false));
    }
}
