//! The money of one attempt: what it may spend, what it has paid for, and which of that it is given again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tollgate_core::{
    ClaimToken, Digest, ItemId, JobId, StageIx, Timestamp,
    budget::Budget,
    ledger::{Budgets, Call, CallEnd, CallId, Caller, Cost, Paid, Reservation},
    task::Tally,
};
use tollgate_llm::hosting::{Kept, NotReserved, Purse};
use tollgate_store::{AnswerKey, KeptAnswer, Reserved};

use super::{Services, kept::TaskAnswers, lengths, told::Counted};
use crate::plan::JobPlan;

/// Who pays.
#[derive(Debug, Clone)]
pub(crate) struct Payer {
    pub(crate) job: JobId,
    /// As people know it.
    pub(crate) name: String,
    pub(crate) budget: Budget,
    /// Absent: the job's discovery.
    pub(crate) task: Option<(ItemId, StageIx)>,
    /// The attempt's number.
    pub(crate) attempt: u32,
    /// Answers since then are those of attempts since the task was opened. Absent: there are none.
    pub(crate) since: Option<Timestamp>,
    /// All of those attempts only had to wait: what they were answered is taken again, and not only parts of answers.
    pub(crate) has_only_waited: bool,
    /// Answers of attempts up to this one are taken again: a person asked for that.
    pub(crate) reuses: Option<u32>,
    pub(crate) claim: ClaimToken,
}

/// Which attempt pays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PayingAttempt {
    claim: ClaimToken,
    attempt: u32,
    since: Option<Timestamp>,
    has_only_waited: bool,
    reuses: Option<u32>,
}

impl PayingAttempt {
    /// A page of discovery.
    pub(crate) fn discovery(claim: ClaimToken) -> Self {
        Self { claim, attempt: 0, since: None, has_only_waited: true, reuses: None }
    }

    /// The next attempt of a task, whose attempts take `timeout` at the most. What those before it have paid for is not
    /// paid for again, where each of them only had to wait: for a site, a limit, a budget; or where who opened the task
    /// wants that. Where one of them has failed, that holds of parts of an answer alone.
    pub(crate) fn task(claim: ClaimToken, tally: Tally, timeout: Duration) -> Self {
        let has_only_waited = tally.counted == 0 && tally.crashes == 0;
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let begin = |ended: Timestamp| Timestamp(ended.0.saturating_sub(millis));
        let (since, attempt) = (tally.first_at.map(begin), tally.attempts.saturating_add(1));
        Self { claim, attempt, since, has_only_waited, reuses: tally.reuses }
    }
}

impl Payer {
    /// A task of a job, or its discovery.
    pub(crate) fn of(job: &JobPlan, task: Option<(ItemId, StageIx)>, paying: PayingAttempt) -> Self {
        let PayingAttempt { claim, attempt, since, has_only_waited, reuses } = paying;
        let (name, budget) = (job.spec.name.to_string(), job.spec.budget.into());
        Self { job: job.declared.id, name, budget, task, attempt, since, has_only_waited, reuses, claim }
    }
}

pub(super) struct AttemptPurse {
    services: Arc<Services>,
    payer: Payer,
    asker: String,
    /// Absent: the job's discovery, which asks the same each time that it wants to know what is new.
    answers: Option<Arc<TaskAnswers>>,
    calls: AtomicU32,
    given: Mutex<Given>,
}

/// What an attempt was answered. Who asks the same again wants another answer, so the second to the same request is
/// kept beside the first, and a run after the host's end finds each in its turn.
#[derive(Default)]
struct Given {
    times: BTreeMap<Digest, u32>,
    under_way: BTreeMap<CallId, UnderWay>,
}

/// A call that is reserved.
struct UnderWay {
    request: Digest,
    /// How the gate is told of it; absent: it isn't.
    counted: Option<Counted>,
}

impl Given {
    /// By what the next answer to a request is kept.
    fn next(&self, request: Digest) -> Digest {
        match self.times.get(&request) {
            None => request,
            Some(times) => Digest::of(format!("{request} again, {times}").as_bytes()),
        }
    }

    fn give(&mut self, request: Digest) {
        *self.times.entry(request).or_default() += 1;
    }
}

impl Purse for AttemptPurse {
    fn asker(&self) -> &str {
        &self.asker
    }

    fn kept(&self, request: Digest, which: Kept) -> BoxFuture<'_, Result<Option<String>, String>> {
        async move {
            let Payer { job, task, attempt, since, has_only_waited, reuses, .. } = self.payer;
            let (Some(answers), Some(task)) = (&self.answers, task) else { return Ok(None) };
            let (store, next) = (&self.services.store, self.given().next(request));
            let may_have = answers.may_have(next, store.kept_requests(job, task)).await;
            if !may_have.map_err(|error| error.to_string())? {
                return Ok(None);
            }
            let kept = store.kept_answer(AnswerKey { job, task: Some(task), request: next }).await;
            let kept = kept.map_err(|error| error.to_string())?;
            // Of this attempt, when it ran before and the host ended; of those that had to wait before it; or of what
            // ran before a person asked for a run with the answers that there were. Any other one may have failed of
            // its answer, or is what somebody wants to have made anew. A part of an answer is no reason to fail: the
            // rest is what was missing.
            let since = since.filter(|_| has_only_waited || which == Kept::Part);
            let is_own = |kept: &KeptAnswer| {
                kept.attempt == attempt
                    || since.is_some_and(|since| kept.at >= since)
                    || reuses.is_some_and(|last| kept.attempt <= last)
            };
            let kept = kept.filter(is_own).map(|kept| kept.json);
            if kept.is_some() {
                self.given().give(request);
            }
            Ok(kept)
        }
        .boxed()
    }

    fn reserve(&self, paid: Paid, request: Digest, estimate: Cost) -> BoxFuture<'_, Result<CallId, NotReserved>> {
        async move {
            let Payer { job, task, attempt, claim, budget, .. } = self.payer;
            let Services { store, clock, zone, everything, paid: budgets, .. } = &*self.services;
            let of_paid = budgets.get(&(paid.kind, paid.alias.clone())).copied().unwrap_or_default();
            let number = self.calls.fetch_add(1, Relaxed);
            let caller = Caller { job, task, attempt, number };
            let next = self.given().next(request);
            self.answers.iter().for_each(|answers| answers.asked(next));
            let at = clock.now();
            let call = Call { caller, paid, request: next, at, estimate };
            let budgets = Budgets { everything: *everything, job: budget, paid: of_paid };
            let reserved = store.reserve_call(Reservation { call, claim, budgets, zone: zone.clone() }).await;
            match reserved.map_err(|error| NotReserved::Storage(error.to_string()))? {
                Reserved::Made { call, warned } => {
                    for warned in warned {
                        let of = warned.scope.called(&self.payer.name);
                        tracing::warn!(budget = of, spent = %warned.reached.share(), "a budget is nearly spent");
                    }
                    let counted = self.services.told.as_ref().map(|told| told.reserved(at, estimate));
                    self.given().under_way.insert(call, UnderWay { request, counted });
                    Ok(call)
                }
                Reserved::Refused(why) => {
                    let message = why.tell(&self.payer.name, zone);
                    Err(NotReserved::Budget(message, Box::new(why)))
                }
            }
        }
        .boxed()
    }

    fn settle(&self, call: CallId, end: CallEnd, answer: Option<String>) -> BoxFuture<'_, Result<(), String>> {
        let is_answered = answer.is_some();
        async move {
            let store = &self.services.store;
            let (is_settled, error) = match store.settle_call(call, end.clone(), answer).await {
                Ok(_) => (true, None),
                // What it cost is known, though its answer can't be kept.
                Err(error) if is_answered => {
                    let again = store.settle_call(call, end.clone(), None).await;
                    if let Err(and) = &again {
                        tracing::error!(call = call.0, error = %and, "a call can't be settled: it holds its estimate until the next start");
                    }
                    (again.is_ok(), Some(error))
                }
                Err(error) => (false, Some(error)),
            };
            let under_way = if is_settled { self.given().under_way.remove(&call) } else { None };
            if let (Some(told), Some(UnderWay { counted: Some(counted), .. })) = (&self.services.told, &under_way) {
                told.settled(counted, end.cost);
            }
            if let Some(error) = error {
                return Err(error.to_string());
            }
            if let Some(UnderWay { request, .. }) = under_way.filter(|_| is_answered) {
                self.given().give(request);
            }
            Ok(())
        }
        .boxed()
    }
}

impl AttemptPurse {
    pub(super) fn new(services: Arc<Services>, payer: Payer, answers: Option<Arc<TaskAnswers>>) -> Self {
        let asker = lengths::asker(payer.job, payer.task);
        Self { services, payer, asker, answers, calls: AtomicU32::new(0), given: Mutex::default() }
    }

    // Nothing that could panic half-way happens under the lock.
    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
