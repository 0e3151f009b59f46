//! How often one account may ask one model: requests and tokens a time, and what its provider last said of waiting. Shared by
//! all jobs; who has to wait long is sent away, and holds nothing (R07, trap 9).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tollgate_core::{Clock, Digest, Timestamp, spec::Allowance};

use crate::call::TIME_LEFT_SHARE;

/// Longest wait for a turn within a call. Who waits holds a guest with its memory; a task in the store holds nothing.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);
/// A turn is waited for to the next whole one of these, which is what the clock counts in.
const TICK: Duration = Duration::from_millis(1);
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
    accounts: Arc<Accounts>,
}

type Accounts = Mutex<BTreeMap<Account, Pace>>;

// Nothing that could panic half-way happens under the lock.
fn lock(accounts: &Accounts) -> MutexGuard<'_, BTreeMap<Account, Pace>> {
    accounts.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// What calls under way hold, each from where it stands in the flow, by its number.
    held: BTreeMap<u64, Holding>,
    next: u64,
}

/// A stretch of a flow: its time at the even rate.
#[derive(Debug, Clone, Copy)]
struct Holding {
    begin_us: u64,
    length_us: u64,
}

/// What a call holds of a flow, by its number there.
type Held = (u64, Allowance);

/// A call's turn. Dropped, it gives back what it held and hasn't used: before it is sent that is all of it, its request too.
pub(crate) struct Turn {
    clock: Arc<dyn Clock>,
    accounts: Arc<Accounts>,
    account: Account,
    /// The request that it holds; absent: they aren't limited.
    request: Option<Held>,
    /// The tokens that it holds; absent: they aren't limited.
    tokens: Option<Held>,
    held_tokens: u64,
    used_requests: u64,
    used_tokens: u64,
}

impl Turn {
    /// The call is sent: what it holds is taken to be used, unless its provider says less.
    pub(crate) fn sent(&mut self) {
        self.used_requests = 1;
        self.used_tokens = self.held_tokens;
    }

    /// By its provider's count it has used so many.
    pub(crate) fn used(&mut self, tokens: u64) {
        self.used_tokens = tokens;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.request.is_none() && self.tokens.is_none() {
            return;
        }
        let now = self.clock.now();
        let mut accounts = lock(&self.accounts);
        let Some(pace) = accounts.get_mut(&self.account) else { return };
        if let Some((number, allowance)) = self.request {
            pace.requests.end(number, allowance, self.used_requests, now);
        }
        if let Some((number, allowance)) = self.tokens {
            pace.tokens.end(number, allowance, self.used_tokens, now);
        }
    }
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

fn us_of(now: Timestamp) -> u64 {
    now.0.saturating_mul(1_000)
}

/// The time that so many take at the even rate.
fn length_us(allowance: Allowance, count: u64) -> u64 {
    let us = allowance.per.as_micros() * u128::from(count) / u128::from(allowance.count.max(1));
    u64::try_from(us).unwrap_or(u64::MAX)
}

impl Flow {
    /// How long who wants `count` at `now` has to wait for them.
    fn wait(&self, allowance: Allowance, count: u64, now: Timestamp) -> Duration {
        let now_us = us_of(now);
        // What is more than a whole period's allowance goes when that period is free.
        let period_us = u64::try_from(allowance.per.as_micros()).unwrap_or(u64::MAX);
        let burst_us = period_us.saturating_sub(length_us(allowance, count.min(allowance.count)));
        Duration::from_micros(self.even_us.max(now_us).saturating_sub(burst_us).saturating_sub(now_us))
    }

    /// Takes `count` at `now`, held until their call has ended ([`Flow::end`]); answers the number by which that is said.
    fn hold(&mut self, allowance: Allowance, count: u64, now: Timestamp) -> u64 {
        let begin_us = self.even_us.max(us_of(now));
        self.even_us = begin_us.saturating_add(length_us(allowance, count));
        let number = self.next;
        self.next += 1;
        self.held.insert(number, Holding { begin_us, length_us: self.even_us.saturating_sub(begin_us) });
        number
    }

    /// A call has used so many of what it held. The rest is given back, but for what of it has flowed off by now: that is
    /// gone for everybody, and who was given it again would send more in one period than it allows. What was taken after it
    /// moves up. Who has used more takes that as well.
    fn end(&mut self, number: u64, allowance: Allowance, used: u64, now: Timestamp) {
        let Some(Holding { begin_us, length_us: held_us }) = self.held.remove(&number) else { return };
        let (now_us, used_us) = (us_of(now), length_us(allowance, used));
        if used_us > held_us {
            self.even_us = self.even_us.max(now_us).saturating_add(used_us - held_us);
            return;
        }
        let left_us = begin_us.saturating_add(held_us).saturating_sub(now_us.max(begin_us));
        let back_us = (held_us - used_us).min(left_us);
        self.even_us = self.even_us.saturating_sub(back_us);
        for later in self.held.values_mut().filter(|held| held.begin_us > begin_us) {
            later.begin_us = later.begin_us.saturating_sub(back_us);
        }
    }
}

impl Paces {
    pub(crate) fn new(clock: Arc<dyn Clock>, remembered: Vec<(Account, Cooling)>) -> Self {
        let pace = |(account, cooling)| (account, Pace { cooling: Some(cooling), ..Pace::default() });
        Self { clock, accounts: Arc::new(Mutex::new(remembered.into_iter().map(pace).collect())) }
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<Account, Pace>> {
        lock(&self.accounts)
    }

    /// Until when an account is left alone, and why; absent: it isn't.
    pub(crate) fn cooling(&self, account: &Account) -> Option<Cooling> {
        let now = self.clock.now();
        let cooling = self.accounts().get(account).and_then(|pace| pace.cooling.clone());
        cooling.filter(|cooling| cooling.until > now)
    }

    /// Whether an account is left alone.
    pub(crate) fn check(&self, account: &Account) -> Result<(), Waits> {
        self.cooling(account).map_or(Ok(()), |cooling| Err(Waits::Cools(cooling)))
    }

    /// Waits for the turn of a call that is held to take `tokens`, and that has so much `time` in all. One that is far off, or
    /// would come when too little of that time is left, is refused, and takes none.
    pub(crate) async fn enter(
        &self,
        account: &Account,
        allowed: Allowed,
        tokens: u64,
        time: Duration,
    ) -> Result<Turn, Waits> {
        self.check(account)?;
        let now = self.clock.now();
        let (wait, request, held) = {
            let mut accounts = self.accounts();
            let pace = accounts.entry(account.clone()).or_default();
            let of_requests = allowed.requests.map_or(Duration::ZERO, |most| pace.requests.wait(most, 1, now));
            let of_tokens = allowed.tokens.map_or(Duration::ZERO, |most| pace.tokens.wait(most, tokens, now));
            let wait = of_requests.max(of_tokens);
            let has_time = wait.is_zero() || wait + TICK < time - time / TIME_LEFT_SHARE;
            if wait > TURN_WAIT_MAX || !has_time {
                return Err(Waits::Used(if of_requests >= of_tokens { "requests" } else { "tokens" }, wait));
            }
            let request = allowed.requests.map(|most| (pace.requests.hold(most, 1, now), most));
            (wait, request, allowed.tokens.map(|most| (pace.tokens.hold(most, tokens, now), most)))
        };
        let (clock, accounts, account) = (self.clock.clone(), self.accounts.clone(), account.clone());
        let (used_requests, used_tokens) = (0, 0);
        let turn =
            Turn { clock, accounts, account, request, tokens: held, held_tokens: tokens, used_requests, used_tokens };
        if !wait.is_zero() {
            self.clock.sleep_until(now.after(wait + TICK)).await;
            self.check(&turn.account)?;
        }
        Ok(turn)
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
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture};

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
        let taken = |flow: &mut Flow, allowance: Allowance, count: u64| {
            let wait = flow.wait(allowance, count, NOW);
            flow.hold(allowance, count, NOW);
            wait.as_secs()
        };
        let (mut flow, allowance) = (Flow::default(), Allowance { count: 3, per: MINUTE });
        let waits: Vec<u64> = (0..5).map(|_| taken(&mut flow, allowance, 1)).collect();
        assert_eq!(waits, [0, 0, 0, 20, 40]);
        let (mut flow, allowance) = (Flow::default(), Allowance { count: 100, per: MINUTE });
        assert_eq!(taken(&mut flow, allowance, 250), 0, "more than a period's");
        assert_eq!(taken(&mut flow, allowance, 50), 120);
    }

    #[test]
    fn r07_what_a_call_has_not_used_is_given_back_and_no_more_than_that() {
        let allowance = Allowance { count: 60, per: MINUTE };
        let at = |seconds: u64| NOW.after(Duration::from_secs(seconds));
        // A token a second; each is held to take 50, and takes 5.
        let mut flow = Flow::default();
        let first = flow.hold(allowance, 50, NOW);
        assert_eq!(flow.wait(allowance, 50, at(1)).as_secs(), 39);
        flow.end(first, allowance, 5, at(1));
        assert_eq!(flow.wait(allowance, 50, at(1)), Duration::ZERO, "there is room for the next");
        // In any minute no more are sent than 60 and what flows off in it: of 50 that were held for 30 s, 20 are left.
        let mut flow = Flow::default();
        let (first, second) = (flow.hold(allowance, 50, NOW), flow.hold(allowance, 10, NOW));
        flow.end(first, allowance, 5, at(30));
        assert_eq!(flow.even_us, us_of(at(40)), "what has flowed off is gone");
        // The second has moved up behind it: four of it have flowed off by now, and those it has used.
        flow.end(second, allowance, 4, at(34));
        assert_eq!(flow.even_us, us_of(at(34)));
        // Who has used more takes it.
        let third = flow.hold(allowance, 1, at(100));
        flow.end(third, allowance, 11, at(200));
        assert_eq!(flow.even_us, us_of(at(210)));
        assert!(flow.held.is_empty());
    }

    #[tokio::test]
    async fn r07_who_is_not_sent_gives_all_back_and_who_is_sent_what_its_provider_has_not_counted() {
        let paces = paces();
        let allowed = Allowed { requests: None, tokens: Some(Allowance { count: 100, per: MINUTE }) };
        for _ in 0..3 {
            drop(paces.enter(&account(), allowed, 90, MINUTE).await.unwrap());
        }
        for used in [9, 1] {
            let mut turn = paces.enter(&account(), allowed, 90, MINUTE).await.unwrap();
            turn.sent();
            turn.used(used);
        }
        let mut turn = paces.enter(&account(), allowed, 90, MINUTE).await.unwrap();
        turn.sent();
        drop(turn);
        let waits = paces.enter(&account(), allowed, 90, MINUTE).await.err();
        assert_eq!(waits, Some(Waits::Used("tokens", Duration::from_secs(54))), "100 were used");
    }

    #[tokio::test]
    async fn r07_a_request_that_is_not_sent_is_given_back_and_one_that_is_sent_is_not() {
        let paces = paces();
        let allowed = Allowed { requests: Some(Allowance { count: 2, per: MINUTE }), tokens: None };
        for _ in 0..3 {
            drop(paces.enter(&account(), allowed, 10, MINUTE).await.unwrap());
        }
        // One that isn't sent makes room for who came after it, too.
        let first = paces.enter(&account(), allowed, 10, MINUTE).await.unwrap();
        let mut second = paces.enter(&account(), allowed, 10, MINUTE).await.unwrap();
        drop(first);
        second.sent();
        // Its provider refuses it and counts no tokens: a request it was all the same.
        second.used(0);
        drop(second);
        paces.enter(&account(), allowed, 10, MINUTE).await.unwrap().sent();
        let waits = paces.enter(&account(), allowed, 10, MINUTE).await.err();
        assert_eq!(waits, Some(Waits::Used("requests", MINUTE / 2)), "two were sent");
    }

    #[tokio::test]
    async fn a_turn_that_comes_when_little_of_the_calls_time_is_left_is_refused_at_once_and_takes_none() {
        let paces = paces();
        let allowed = Allowed { requests: Some(Allowance { count: 12, per: MINUTE }), tokens: None };
        for _ in 0..12 {
            paces.enter(&account(), allowed, 10, MINUTE).await.unwrap().sent();
        }
        let five = Duration::from_secs(5);
        for time in [1, 5, 6].map(Duration::from_secs) {
            for _ in 0..3 {
                let waits = paces.enter(&account(), allowed, 10, time).await.err();
                assert_eq!(waits, Some(Waits::Used("requests", five)), "within {time:?}");
            }
        }
        // A quarter of it is left.
        let longer = Duration::from_secs(7);
        assert!(paces.enter(&account(), allowed, 10, longer).now_or_never().is_none(), "it is waited for");
    }

    #[tokio::test]
    async fn trap09_who_is_sent_away_has_taken_nothing_and_a_refusal_is_everybodys() {
        let paces = paces();
        let allowed = Allowed { requests: Some(Allowance { count: 1, per: MINUTE }), tokens: None };
        paces.enter(&account(), allowed, 10, MINUTE).await.unwrap().sent();
        for _ in 0..3 {
            let waits = paces.enter(&account(), allowed, 10, MINUTE).await.err();
            assert_eq!(waits, Some(Waits::Used("requests", MINUTE)));
        }
        let cooling = |seconds| Cooling {
            until: NOW.after(Duration::from_secs(seconds)),
            reason: "slow down".to_owned(),
            is_terminal: false,
        };
        assert_eq!(paces.cool(&account(), cooling(5)), Some(cooling(5)));
        assert_eq!(paces.cool(&account(), cooling(3)), None, "a longer one stands");
        assert_eq!(paces.check(&account()), Err(Waits::Cools(cooling(5))));
        assert_eq!(paces.cooling(&account()), Some(cooling(5)));
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
