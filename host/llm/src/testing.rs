//! A host for tests: a way out that answers as it is told, a purse in memory, a clock that a test sets.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tollgate_core::{
    Clock, Digest, Timestamp,
    ledger::{CallEnd, CallId, Cost, How, NoBudget, NoRoom, Paid, Scope},
    money::NanoUsd,
    spec::{Deployment, parse},
};

use crate::{
    Account, Cooling,
    hosting::{Answering, CallPhase, Kept, NotReserved, PaceMemory, Purse, SendError, Sending, Transport},
};

/// The time at which tests begin: 2026-11-28 12:00 UTC.
pub(crate) const NOW: Timestamp = Timestamp(1_795_867_200_000);

pub(crate) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clock that stands where a test sets it.
pub(crate) struct Hand(Mutex<Timestamp>);

impl Hand {
    pub(crate) fn move_by(&self, by: Duration) {
        let mut now = lock(&self.0);
        *now = now.after(by);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *lock(&self.0)
    }

    fn sleep_until(&self, _until: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// What is answered to one request.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The body, in its chunks; what ends it early.
    pub(crate) chunks: VecDeque<Result<Bytes, SendError>>,
    /// The body waits for a permit of it.
    pub(crate) gate: Option<Arc<Semaphore>>,
    /// Reading the body panics.
    pub(crate) panics: bool,
}

impl Reply {
    pub(crate) fn of(status: u16, body: impl ToString) -> Self {
        let chunks = VecDeque::from([Ok(Bytes::from(body.to_string()))]);
        Self { status, headers: Vec::new(), chunks, gate: None, panics: false }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, with its body cut after so many bytes.
    pub(crate) fn cut(mut self, after: usize, error: Option<SendError>) -> Self {
        let body = self.chunks.pop_front().unwrap().unwrap();
        self.chunks = [Ok(body.slice(..after))].into_iter().chain(error.map(Err)).collect();
        self
    }
}

struct Coming(Reply);

impl Answering for Coming {
    fn status(&self) -> u16 {
        self.0.status
    }

    fn headers(&self) -> &[(String, String)] {
        &self.0.headers
    }

    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, SendError>> {
        Box::pin(async {
            if let Some(gate) = self.0.gate.take() {
                gate.acquire().await.unwrap().forget();
            }
            assert!(!self.0.panics, "reading panics, as the test wants it");
            self.0.chunks.pop_front().transpose()
        })
    }
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) attempt: u32,
    pub(crate) paid: Paid,
    pub(crate) request: Digest,
    pub(crate) estimate: Cost,
    pub(crate) end: Option<CallEnd>,
    pub(crate) answer: Option<String>,
}

impl Row {
    /// How it ended, what it cost, whether that is an estimate.
    pub(crate) fn told(&self) -> (How, Cost, bool) {
        let end = self.end.as_ref().expect("the call is settled");
        (end.how, end.cost, end.is_estimate)
    }
}

/// Way out, purse and memory in one.
pub(crate) struct Host {
    pub(crate) clock: Arc<Hand>,
    replies: Mutex<VecDeque<Result<Reply, SendError>>>,
    sent: Mutex<Vec<Sending>>,
    rows: Mutex<Vec<Row>>,
    /// The order of what happened.
    log: Mutex<Vec<&'static str>>,
    /// What was said of how far calls are.
    phases: Mutex<Vec<(String, CallPhase)>>,
    /// The ledger can't be written: to reserve, to settle.
    pub(crate) is_blind: Mutex<(bool, bool)>,
    /// Calls of a budget without room, or of one and no price.
    pub(crate) no_room: Mutex<Option<NoRoom>>,
    pub(crate) cooled: Mutex<Vec<(Account, Cooling)>>,
    /// A permit for each call that is settled.
    pub(crate) settled: Semaphore,
    /// A permit for each request that is sent.
    pub(crate) reached: Semaphore,
    /// Where there is one, the ledger answers by it alone.
    pub(crate) reserving: Mutex<Option<Arc<Reserving>>>,
    /// What comes to pass while the next request waits for its place.
    pub(crate) meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

/// A ledger that makes who reserves wait.
pub(crate) struct Reserving {
    /// A permit for each that waits.
    pub(crate) begun: Semaphore,
    /// Each goes on by a permit of it.
    pub(crate) goes_on: Semaphore,
}

impl Reserving {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { begun: Semaphore::new(0), goes_on: Semaphore::new(0) })
    }
}

impl Host {
    pub(crate) fn new(replies: impl IntoIterator<Item = Result<Reply, SendError>>) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::new(Hand(Mutex::new(NOW))),
            replies: Mutex::new(replies.into_iter().collect()),
            sent: Mutex::default(),
            rows: Mutex::default(),
            log: Mutex::default(),
            phases: Mutex::default(),
            is_blind: Mutex::default(),
            no_room: Mutex::default(),
            cooled: Mutex::default(),
            settled: Semaphore::new(0),
            reached: Semaphore::new(0),
            reserving: Mutex::default(),
            meanwhile: Mutex::default(),
        })
    }

    pub(crate) fn answers(replies: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Self::new(replies.into_iter().map(Ok))
    }

    /// The body of that reply, of those to come, never comes.
    pub(crate) fn hold_reply(&self, at: usize) {
        if let Ok(reply) = &mut lock(&self.replies)[at] {
            reply.gate = Some(Arc::new(Semaphore::new(0)));
        }
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        lock(&self.rows).clone()
    }

    pub(crate) fn sent(&self) -> Vec<Sending> {
        lock(&self.sent).clone()
    }

    pub(crate) fn log(&self) -> Vec<&'static str> {
        lock(&self.log).clone()
    }

    pub(crate) fn phases(&self) -> Vec<(String, CallPhase)> {
        lock(&self.phases).clone()
    }

    /// The money of the task's first attempt; once more: of the same one, which runs again after the host's end.
    pub(crate) fn purse(self: &Arc<Self>) -> Arc<dyn Purse> {
        self.purse_of(1)
    }

    /// The money of an attempt of the task.
    pub(crate) fn purse_of(self: &Arc<Self>, attempt: u32) -> Arc<dyn Purse> {
        Arc::new(AttemptPurse { host: self.clone(), attempt, given: Mutex::default(), under_way: Mutex::default() })
    }

    /// The text of a request's body.
    pub(crate) fn body(&self, at: usize) -> String {
        let (body, _) = self.sent()[at].body.clone().unwrap();
        String::from_utf8_lossy(&body).into_owned()
    }
}

impl Transport for Host {
    fn send<'a>(
        &'a self,
        request: Sending,
        may_go: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> BoxFuture<'a, Result<Box<dyn Answering>, SendError>> {
        lock(&self.meanwhile).take().into_iter().for_each(|meanwhile| meanwhile());
        if !may_go() {
            let not_sent = SendError::NotSent { message: "it is held back".to_owned(), refusal: None };
            return Box::pin(std::future::ready(Err(not_sent)));
        }
        lock(&self.sent).push(request);
        lock(&self.log).push("send");
        self.reached.add_permits(1);
        let reply = lock(&self.replies).pop_front().expect("no more requests than replies");
        Box::pin(async { reply.map(|reply| Box::new(Coming(reply)) as Box<dyn Answering>) })
    }
}

/// Finds what the host's purse does: answers of its own attempt, parts of any other one, and to who asks the same again
/// each in its turn.
struct AttemptPurse {
    host: Arc<Host>,
    attempt: u32,
    /// How often a request was answered.
    given: Mutex<BTreeMap<Digest, u32>>,
    under_way: Mutex<BTreeMap<CallId, Digest>>,
}

impl AttemptPurse {
    /// By what the next answer to a request is kept.
    fn next(&self, request: Digest) -> Digest {
        let again = |times| Digest::of(format!("{request} again, {times}").as_bytes());
        lock(&self.given).get(&request).map_or(request, again)
    }

    fn give(&self, request: Digest) {
        *lock(&self.given).entry(request).or_default() += 1;
    }
}

impl Purse for AttemptPurse {
    fn asker(&self) -> &'static str {
        "a stage"
    }

    fn kept(&self, request: Digest, which: Kept) -> BoxFuture<'_, Result<Option<String>, String>> {
        let next = self.next(request);
        let is_own = |row: &Row| which == Kept::Part || row.attempt == self.attempt;
        let is_it = |row: &&Row| is_own(row) && row.request == next && row.answer.is_some();
        let kept = lock(&self.host.rows).iter().rev().find(is_it).and_then(|row| row.answer.clone());
        if kept.is_some() {
            self.give(request);
        }
        Box::pin(async { Ok(kept) })
    }

    fn reserve(&self, paid: Paid, request: Digest, estimate: Cost) -> BoxFuture<'_, Result<CallId, NotReserved>> {
        Box::pin(async move {
            let Host { log, is_blind, no_room, rows, reserving, .. } = &*self.host;
            lock(log).push("reserve");
            let reserving = lock(reserving).clone();
            if let Some(reserving) = reserving {
                reserving.begun.add_permits(1);
                reserving.goes_on.acquire().await.unwrap().forget();
            }
            if lock(is_blind).0 {
                return Err(NotReserved::Storage("the disk is full".to_owned()));
            }
            let no_room = lock(no_room).filter(|why| *why != NoRoom::Unpriced || estimate == Cost::Unpriced);
            if let Some(why) = no_room {
                let why = NoBudget { scope: Scope::Everything, why, asked: estimate };
                return Err(NotReserved::Budget("no room".to_owned(), Box::new(why)));
            }
            let mut rows = lock(rows);
            let call = CallId(rows.len() as u64);
            let (attempt, next) = (self.attempt, self.next(request));
            rows.push(Row { attempt, paid, request: next, estimate, end: None, answer: None });
            lock(&self.under_way).insert(call, request);
            Ok(call)
        })
    }

    fn settle(&self, call: CallId, end: CallEnd, answer: Option<String>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            lock(&self.host.log).push("settle");
            if lock(&self.host.is_blind).1 {
                return Err("the disk is full".to_owned());
            }
            let mut rows = lock(&self.host.rows);
            let row = &mut rows[usize::try_from(call.0).unwrap()];
            assert_eq!(row.end, None, "a call is settled once");
            let request = lock(&self.under_way).remove(&call).expect("the purse that has reserved a call settles it");
            if answer.is_some() {
                self.give(request);
            }
            (row.end, row.answer) = (Some(end), answer);
            self.host.settled.add_permits(1);
            Ok(())
        })
    }

    fn reached(&self, about: &str, phase: CallPhase) {
        lock(&self.host.phases).push((about.to_owned(), phase));
    }
}

impl PaceMemory for Host {
    fn keep(&self, account: Account, cooling: Cooling) -> BoxFuture<'_, ()> {
        lock(&self.cooled).push((account, cooling));
        Box::pin(std::future::ready(()))
    }
}

/// A jobs.toml of services.
pub(crate) fn deployment(text: &str) -> Deployment {
    parse(text, "jobs.toml").unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

pub(crate) fn usd(text: &str) -> Cost {
    Cost::Known(text.parse::<NanoUsd>().unwrap())
}
