//! One request to a paid service: reserved, sent once, read to its end, settled, its answer kept. It runs in a task of
//! its own, so that a guest which is dropped meanwhile leaves no call unsettled and no answer unkept (traps 2 and 7).
//! Models, search and speech all ask so; what differs between them is an [`Exchange`].

mod making;
pub(crate) mod unanswered;

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use tollgate_core::{
    Clock, Digest, Timestamp,
    ledger::{Cost, Paid, PaidKind, Units},
    model::Tokens,
    service::ServiceError,
    spec::{Allowance, ServiceSpec},
};

use crate::{
    ProviderError, WireError,
    hosting::{CallPhase, Kept, PaceMemory, Purse, Sending, Transport},
    pace::{Account, Allowed, Cooling, Paces},
};
use making::Making;
use unanswered::{Unanswered, waits};

/// What has to be left of a call's time when it is sent, as the part of it that one is of so many: one with less would
/// be paid for, and cut off.
const TIME_LEFT_SHARE: u32 = 4;

/// Of a call with so much time: the least that has to be left when it is sent.
pub(crate) fn time_min(time: Duration) -> Duration {
    time / TIME_LEFT_SHARE
}

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

    /// Waits until no call is under way: each is settled, those too that nobody waits for any more. Who stops a host
    /// waits for it, since what isn't settled then is settled at an estimate by the next one (trap 2).
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
    let about = payee.about();
    purse.reached(&about, CallPhase::Waits);
    if let Some(kept) = purse.kept(request.digest, request.kept).await.map_err(storage)? {
        let answer: E::Answer = serde_json::from_str(&kept).map_err(|error| storage(error.to_string()))?;
        let cost = exchange.bill(&answer, request.estimate).cost;
        return Ok(Ended { answer, cost });
    }
    let entered = calls.paces.enter(&payee.account, payee.allowed(), request.tokens, request.sending.time).await;
    let turn = entered.map_err(|stands| waits(&about, &payee.section(), stands, calls.clock.now()))?;
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
