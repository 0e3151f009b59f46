//! How often one account may ask one model: requests and tokens a time, and what its provider last said of waiting.
//! Shared by all jobs; who has to wait long is sent away, and holds nothing (R07, trap 9).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tollgate_core::{Clock, Digest, Timestamp, spec::Allowance};

use crate::call::time_min;

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

/// A call's turn. Dropped, it gives back what it held and hasn't used: before it is sent that is all of it, its request
/// too.
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

    /// It wasn't sent after all.
    pub(crate) fn not_sent(&mut self) {
        self.used_requests = 0;
        self.used_tokens = 0;
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

    /// Takes `count` at `now`, held until their call has ended ([`Flow::end`]); answers the number by which that is
    /// said.
    fn hold(&mut self, allowance: Allowance, count: u64, now: Timestamp) -> u64 {
        let begin_us = self.even_us.max(us_of(now));
        self.even_us = begin_us.saturating_add(length_us(allowance, count));
        let number = self.next;
        self.next += 1;
        self.held.insert(number, Holding { begin_us, length_us: self.even_us.saturating_sub(begin_us) });
        number
    }

    /// A call has used so many of what it held. The rest is given back, but for what of it has flowed off by now: that
    /// is gone for everybody, and who was given it again would send more in one period than it allows. What was taken
    /// after it moves up. Who has used more takes that as well.
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

    /// Waits for the turn of a call that is held to take `tokens`, and that has so much `time` in all. One that is far
    /// off, or would come when too little of that time is left, is refused, and takes none.
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
            let has_time = wait.is_zero() || wait + TICK < time - time_min(time);
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
mod tests;
