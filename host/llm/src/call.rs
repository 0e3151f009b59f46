//! One request to a paid service: reserved, sent once, read to its end, settled, its answer kept. It runs in a task of its
//! own, so that a guest which is dropped meanwhile leaves no call unsettled and no answer unkept (traps 2 and 7). Models,
//! search and speech all ask so; what differs between them is an [`Exchange`].

pub(crate) mod unanswered;

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use tollgate_core::{
    Clock, Digest, Timestamp,
    ledger::{CallEnd, Cost, How, Paid, PaidKind, Units},
    model::Tokens,
    money::NanoUsd,
    outcome::Refusal,
    service::ServiceError,
    spec::{Allowance, ServiceSpec},
};

use crate::{
    ProviderError, WireError,
    hosting::{Answering, Kept, PaceMemory, Purse, Sending, Transport},
    pace::{Account, Allowed, COOL_DOWN_MIN, Cooling, Paces, Turn, Waits},
    refusal::Billing,
};
use unanswered::{Came, Unanswered, consequence, not_reserved, not_sent, too_late, transport, waits};

/// What has to be left of a call's time when it is sent, as the part of it that one is of so many: one with less would be
/// paid for, and cut off.
pub(crate) const TIME_LEFT_SHARE: u32 = 4;
/// Bytes of a body that says why there is no answer.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// What all calls of a host share: its way out, and the pace of each account.
pub struct Calls {
    pub(crate) paces: Paces,
    transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    memory: Arc<dyn PaceMemory>,
    /// How many are under way.
    under_way: watch::Sender<usize>,
}

/// A call that is under way, until it is dropped.
struct UnderWay(Arc<Calls>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|calls| *calls -= 1);
    }
}

impl Calls {
    /// `remembered`: who was left alone before the start.
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        memory: Arc<dyn PaceMemory>,
        remembered: Vec<(Account, Cooling)>,
    ) -> Arc<Self> {
        let (paces, under_way) = (Paces::new(clock.clone(), remembered), watch::Sender::default());
        Arc::new(Self { paces, transport, clock, memory, under_way })
    }

    /// Waits until no call is under way: each is settled, those too that nobody waits for any more. Who stops a host waits for
    /// it, since what isn't settled then is settled at an estimate by the next one (trap 2).
    pub async fn all_settled(&self) {
        let mut under_way = self.under_way.subscribe();
        while *under_way.borrow_and_update() > 0 && under_way.changed().await.is_ok() {}
    }

    /// How many calls are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        *self.under_way.borrow()
    }

    /// Until when a payee is left alone, and why; absent: it may be asked.
    pub(crate) fn left_alone(&self, payee: &Payee) -> Option<Cooling> {
        self.paces.cooling(&payee.account)
    }

    fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.send_modify(|calls| *calls += 1);
        UnderWay(self.clone())
    }
}

/// Who is asked, and paid for it.
#[derive(Debug)]
pub(crate) struct Payee {
    pub(crate) service: Arc<ServiceSpec>,
    pub(crate) paid: Paid,
    pub(super) account: Account,
    tokens: Option<Allowance>,
}

impl Payee {
    pub(crate) fn new(paid: Paid, service: &ServiceSpec, tokens: Option<Allowance>) -> Self {
        let key = service.key.as_ref().map_or_else(String::new, |key| format!("{key:?}"));
        let account = Account::named(format!("{} {key} {}", service.url, paid.model));
        Self { service: Arc::new(service.clone()), paid, account, tokens }
    }

    /// As refusals name it: `model cheap`.
    pub(crate) fn about(&self) -> String {
        format!("{} {}", self.paid.kind.as_str(), self.paid.alias)
    }

    /// Its section of jobs.toml.
    fn section(&self) -> String {
        format!("[{}.{}]", self.paid.kind.as_str(), self.paid.alias)
    }

    fn allowed(&self) -> Allowed {
        Allowed { requests: self.service.requests, tokens: self.tokens }
    }
}

/// A request, and what it is held to take.
pub(crate) struct Request {
    pub(crate) sending: Sending,
    /// Of all that the answer depends on: who is asked, and every byte of what.
    pub(crate) digest: Digest,
    pub(crate) estimate: Cost,
    /// Tokens, sent and made; 0 where there are none.
    pub(crate) tokens: u64,
    /// Which answers that were paid for are taken in place of one.
    pub(crate) kept: Kept,
}

/// The digest of a request to a service: `what` is all else that its answer depends on.
pub(crate) fn digest(service: &ServiceSpec, path: &str, what: &str) -> Digest {
    Digest::of(format!("{}\n{path}\n{what}", service.url).as_bytes())
}

/// What an answer came to.
pub(crate) struct Bill {
    pub(crate) cost: Cost,
    /// The provider didn't say all of it.
    pub(crate) is_estimate: bool,
    pub(crate) tokens: Tokens,
    pub(crate) units: Units,
    pub(crate) provider_request: Option<String>,
}

/// How one answer is read and billed.
pub(crate) trait Exchange: Send + Sync + 'static {
    /// What is kept and given out.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// What an answer says whose status isn't 200.
    fn refusal(&self, status: u16, headers: &[(&str, &str)], said: &[u8], now: Timestamp) -> ProviderError;
    /// Takes the next bytes of an answer of status 200, and holds no more than a bound of them.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), WireError>;
    /// The answer, once its body is whole.
    fn end(&mut self) -> Result<Self::Answer, WireError>;
    /// Whether what came so far may be billed, though a refusal follows it.
    fn has_begun(&self) -> bool;
    /// What came so far costs at the least, where it broke off.
    fn cost_of_part(&self) -> Cost;
    /// What it came to, where it was held to cost `estimate`.
    fn bill(&self, answer: &Self::Answer, estimate: Cost) -> Bill;
}

/// An answer, and what it cost.
#[derive(Debug)]
pub(crate) struct Ended<A> {
    pub(crate) answer: A,
    pub(crate) cost: Cost,
}

/// Asks once. An answer that the task has paid for is taken as it was.
pub(crate) async fn run<E: Exchange>(
    calls: &Arc<Calls>,
    payee: &Arc<Payee>,
    request: Request,
    exchange: E,
    purse: &Arc<dyn Purse>,
) -> Result<Ended<E::Answer>, Unanswered> {
    let storage = |error: String| Unanswered::free(ServiceError::Storage(error), None);
    // Its time begins here: what it waits for its turn and for the ledger is a part of it.
    let began = calls.clock.now();
    if let Some(kept) = purse.kept(request.digest, request.kept).await.map_err(storage)? {
        let answer: E::Answer = serde_json::from_str(&kept).map_err(|error| storage(error.to_string()))?;
        let cost = exchange.bill(&answer, request.estimate).cost;
        return Ok(Ended { answer, cost });
    }
    let entered = calls.paces.enter(&payee.account, payee.allowed(), request.tokens, request.sending.time).await;
    let turn = entered.map_err(|stands| waits(&payee.about(), &payee.section(), stands, calls.clock.now()))?;
    let making = Making { calls: calls.clone(), payee: payee.clone(), purse: purse.clone(), exchange };
    let under_way = calls.begin();
    let made = async move {
        let made = making.make(request, turn, began).await;
        drop(under_way);
        made
    };
    match tokio::spawn(made).await {
        Ok(made) => made,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(error) => Err(Unanswered::maybe_paid(ServiceError::Other(error.to_string()), None)),
    }
}

struct Making<E> {
    calls: Arc<Calls>,
    payee: Arc<Payee>,
    purse: Arc<dyn Purse>,
    exchange: E,
}

/// What a request came to: for the ledger, to be kept, and for who asked.
struct Made<A> {
    end: CallEnd,
    kept: Option<String>,
    result: Result<Ended<A>, Unanswered>,
}

impl<E: Exchange> Making<E> {
    async fn make(
        mut self,
        request: Request,
        mut turn: Turn,
        began: Timestamp,
    ) -> Result<Ended<E::Answer>, Unanswered> {
        let Request { mut sending, digest, estimate, .. } = request;
        let reserved = self.purse.reserve(self.payee.paid.clone(), digest, estimate).await;
        let call = reserved.map_err(|refused| not_reserved(refused, self.calls.clock.now()))?;
        if let Err(refused) = self.may_still_go(&mut sending, began) {
            drop(turn);
            let settled = self.purse.settle(call, nothing(self.calls.clock.now()), None).await;
            settled.map_err(|error| Unanswered::free(ServiceError::Storage(error), None))?;
            return Err(refused);
        }
        turn.sent();
        // What panics while an answer is read has been paid for: else it would hold its room until the next start (trap 2).
        let Made { end, kept, result } = match AssertUnwindSafe(self.send(sending, estimate)).catch_unwind().await {
            Ok(made) => made,
            Err(panic) => {
                let lost = CallEnd::lost(estimate, self.calls.clock.now());
                if let Err(error) = self.purse.settle(call, lost, None).await {
                    tracing::error!(call = call.0, error, "a call whose answer can't be read can't be settled either");
                }
                resume_unwind(panic)
            }
        };
        match end.how {
            How::Refused => turn.used(0),
            How::Answered if !end.is_estimate => turn.used(end.tokens.sent().saturating_add(end.tokens.output)),
            How::Answered | How::Lost | How::Cancelled => {}
        }
        drop(turn);
        // An answer that can't be kept isn't given out: the task would pay for it again.
        let settled = self.purse.settle(call, end, kept).await;
        settled.map_err(|error| Unanswered::maybe_paid(ServiceError::Storage(error), None))?;
        result
    }

    /// Whether what held when the call began still does, and what is left of its time.
    fn may_still_go(&self, sending: &mut Sending, began: Timestamp) -> Result<(), Unanswered> {
        let now = self.calls.clock.now();
        // Who was refused while this one waited for the ledger was refused for all (trap 9).
        let checked = self.calls.paces.check(&self.payee.account);
        checked.map_err(|stands| waits(&self.payee.about(), &self.payee.section(), stands, now))?;
        let whole = sending.time;
        sending.time = whole.saturating_sub(now.since(began));
        let has_time = sending.time >= whole / TIME_LEFT_SHARE && !sending.time.is_zero();
        if has_time { Ok(()) } else { Err(too_late(&self.payee.about(), whole)) }
    }

    /// Sends the request, and reads and bills what comes of it.
    async fn send(&mut self, sending: Sending, estimate: Cost) -> Made<E::Answer> {
        let came = self.exchange(sending).await;
        let at = self.calls.clock.now();
        let none = |end, unanswered| Made { end, kept: None, result: Err(unanswered) };
        match came {
            Ok(answer) => {
                let (end, kept) = (self.end_of(&answer, estimate, at), serde_json::to_string(&answer));
                let cost = end.cost;
                match kept {
                    Ok(kept) => Made { end, kept: Some(kept), result: Ok(Ended { answer, cost }) },
                    Err(error) => none(end, Unanswered::maybe_paid(ServiceError::Other(error.to_string()), None)),
                }
            }
            Err(Came::Nothing(unanswered)) => none(nothing(at), unanswered),
            Err(Came::Part(unanswered)) => {
                let most = match (estimate, self.exchange.cost_of_part()) {
                    (Cost::Known(held), Cost::Known(came)) => Cost::Known(held.max(came)),
                    (held, _) => held,
                };
                none(CallEnd::lost(most, at), unanswered)
            }
        }
    }

    fn end_of(&self, answer: &E::Answer, estimate: Cost, at: Timestamp) -> CallEnd {
        let Bill { cost, is_estimate, tokens, units, provider_request } = self.exchange.bill(answer, estimate);
        if is_estimate {
            let about = self.payee.about();
            tracing::warn!(about, "an answer whose cost its provider doesn't tell is settled at an estimate");
        }
        CallEnd { at, how: How::Answered, cost, is_estimate, tokens, units, provider_request }
    }

    async fn exchange(&mut self, sending: Sending) -> Result<E::Answer, Came> {
        let about = self.payee.about();
        let mut coming = self.calls.transport.send(sending).await.map_err(|error| not_sent(error, &about))?;
        let status = coming.status();
        if status != 200 {
            let said = read_refusal(&mut *coming).await;
            let headers: Vec<(&str, &str)> =
                coming.headers().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let error = self.exchange.refusal(status, &headers, &said, self.calls.clock.now());
            let billing = Billing::of_answer(status, &error);
            return Err(self.refused(error, billing).await);
        }
        let wrong = loop {
            match coming.chunk().await {
                Ok(Some(bytes)) => match self.exchange.feed(&bytes) {
                    Ok(()) => {}
                    Err(wrong) => break wrong,
                },
                Ok(None) => match self.exchange.end() {
                    Ok(answer) => return Ok(answer),
                    Err(wrong) => break wrong,
                },
                // Its status was there: whatever is said of it, the request was sent.
                Err(error) => return Err(not_sent(error, &about).after_status()),
            }
        };
        match wrong {
            // In the middle of an answer, what it made so far may be billed.
            WireError::Provider(error) => {
                let billing = if self.exchange.has_begun() { Billing::Perhaps } else { Billing::of_error(&error) };
                Err(self.refused(error, billing).await)
            }
            wrong => Err(Came::Part(transport(&about, format!("{about}: {wrong}")))),
        }
    }

    /// What follows from a provider's refusal.
    async fn refused(&self, error: ProviderError, billing: Billing) -> Came {
        let (now, about) = (self.calls.clock.now(), self.payee.about());
        let message = format!("{about}: {error}");
        let follows = consequence(&error, now);
        let after = match follows.cool {
            Some(after) => Some(self.cool(&message, after, follows.is_terminal).await),
            None => None,
        };
        let refusal = follows.kind.map(|kind| Refusal { kind, about, message: message.clone(), after });
        let error = match error {
            ProviderError::RateLimited { .. } => ServiceError::RateLimited { after },
            ProviderError::Overloaded { .. } | ProviderError::Server(_) => ServiceError::Unavailable(message),
            ProviderError::Terminal { .. } => ServiceError::Budget(message),
            ProviderError::Auth(_) | ProviderError::ModelUnknown(_) => ServiceError::Denied(message),
            ProviderError::Refused(why) => ServiceError::Refused(why),
            ProviderError::InvalidRequest(why) | ProviderError::TooLarge(why) => ServiceError::InvalidRequest(why),
        };
        match billing {
            Billing::Nothing => Came::Nothing(Unanswered::free(error, refusal)),
            Billing::Perhaps => Came::Part(Unanswered::maybe_paid(error, refusal)),
        }
    }

    /// Leaves the account alone, for everyone. Answers for how long.
    async fn cool(&self, reason: &str, after: Duration, is_terminal: bool) -> Duration {
        let (now, account) = (self.calls.clock.now(), &self.payee.account);
        let cooling = Cooling { until: now.after(after.max(COOL_DOWN_MIN)), reason: reason.to_owned(), is_terminal };
        if let Some(cooling) = self.calls.paces.cool(account, cooling) {
            tracing::warn!(about = self.payee.about(), reason, seconds = after.as_secs(), "a service is left alone");
            self.calls.memory.keep(account.clone(), cooling).await;
        }
        self.calls.paces.check(account).err().map_or(after, |stands| match stands {
            Waits::Cools(cooling) => cooling.until.since(now),
            Waits::Used(_, after) => after,
        })
    }
}

/// The end of a call that its provider refused, or that wasn't sent.
fn nothing(at: Timestamp) -> CallEnd {
    let (cost, tokens, units) = (Cost::Known(NanoUsd::ZERO), Tokens::default(), Units::default());
    CallEnd { at, how: How::Refused, cost, is_estimate: false, tokens, units, provider_request: None }
}

/// Why it was refused, as far as that can be read.
async fn read_refusal(coming: &mut dyn Answering) -> Vec<u8> {
    let mut said = Vec::new();
    while said.len() < REFUSAL_BYTES_MAX {
        match coming.chunk().await {
            Ok(Some(bytes)) => said.extend_from_slice(&bytes),
            // The status says enough.
            Ok(None) | Err(_) => break,
        }
    }
    said.truncate(REFUSAL_BYTES_MAX);
    said
}

/// The body of an answer in one piece, up to a bound.
#[derive(Debug)]
pub(crate) struct Whole {
    held: Vec<u8>,
    bytes_max: usize,
}

impl Whole {
    pub(crate) fn up_to(bytes_max: usize) -> Self {
        Self { held: Vec::new(), bytes_max }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        if self.held.len() + bytes.len() > self.bytes_max {
            return Err(WireError::TooLarge);
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Its JSON.
    pub(crate) fn json(&mut self) -> Result<serde_json::Value, WireError> {
        let held = std::mem::take(&mut self.held);
        if held.trim_ascii().is_empty() {
            return Err(WireError::CutInTransit);
        }
        serde_json::from_slice(&held).map_err(|error| crate::read::broken(&error))
    }
}

/// What is paid, by a service of that kind.
pub(crate) fn paid(kind: PaidKind, provider: &str, alias: &str, model: &str) -> Paid {
    Paid { kind, provider: provider.to_owned(), alias: alias.to_owned(), model: model.to_owned() }
}
