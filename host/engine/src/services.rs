//! Paid services of a host: its models over the gate, its ledger over the store, and the budgets that bound them.

mod kept;
mod lengths;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use tollgate_core::{
    ClaimToken, Clock, Digest, ItemId, JobId, StageIx, Timestamp,
    budget::Budget,
    calendar::Zone,
    circuit::{Circuit, Cooling as SiteCooling, CoolingKind},
    ledger::{Budgets, Call, CallEnd, CallId, Caller, Cost, Paid, PaidKind, Reservation, Scope},
    outcome::RefusalKind,
    spec::{Deployment, SearchSpec, SpeechSpec},
    task::Tally,
    time::Short,
};
use tollgate_egress::{Gate, ServiceAnswer, ServiceFailure, ServiceKey, ServiceRequest};
use tollgate_llm::{
    Account, Cooling, Models, PaceMemory, Prices, Search, Speech,
    hosting::{Answering, NotReserved, Purse, SendError, Sending, Transport},
};
use tollgate_store::{AnswerKey, KeptAnswer, Reserved, Store, StoreError};

use crate::{EngineError, plan::JobPlan};
use kept::{TaskAnswers, TasksAnswers};

/// How the name of an account's circuit begins in the store, where those of sites are.
const ACCOUNT: &str = "model ";

/// A paid service that is left alone: a model, a search, a speech.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCooling {
    /// What it is.
    pub kind: PaidKind,
    /// Its name in jobs.toml.
    pub name: String,
    /// It isn't asked before then.
    pub until: Timestamp,
    /// What its provider said.
    pub reason: String,
    /// A quota or a spend limit is reached, or the key isn't taken: no wait before that helps.
    pub is_terminal: bool,
}

impl ServiceCooling {
    /// A sentence for people. `ago` says how a time until then is written.
    #[must_use]
    pub fn sentence(&self, now: Timestamp, ago: impl Fn(Short) -> String) -> String {
        let left = ago(Short(self.until.since(now)));
        format!("{} {} is left alone for another {left}: {}", self.kind.as_str(), self.name, self.reason)
    }
}

/// Paid services of a host.
pub struct Services {
    pub(crate) models: Arc<Models>,
    /// By name.
    pub(crate) searches: BTreeMap<String, Arc<Search>>,
    /// By alias.
    pub(crate) speeches: BTreeMap<String, Arc<Speech>>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    zone: Zone,
    everything: Budget,
    paid: BTreeMap<(PaidKind, String), Budget>,
    answers: TasksAnswers,
    /// What holds requests by proxies against the budget of everything; absent: none costs money, or there is no budget.
    told: Option<Told>,
}

/// The gate, which is told what calls are charged.
struct Told {
    gate: Arc<Gate>,
    /// Held while it is told, so that it hears the latest last.
    in_turn: tokio::sync::Mutex<()>,
}

impl Services {
    /// Those of a jobs.toml. What an earlier process left under way is settled at its estimate, before the first call.
    ///
    /// # Errors
    /// The ledger can't be read or written, or the table of prices is broken.
    pub async fn new(
        deployment: &Deployment,
        store: Arc<dyn Store>,
        gate: Arc<Gate>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, EngineError> {
        let prices = Prices::pinned().map_err(|error| EngineError::Invalid(error.to_string()))?;
        let lost = store.expire_reservations(clock.now()).await?;
        if lost.calls > 0 {
            tracing::warn!(calls = lost.calls, cost = %lost.cost, "calls that were under way when the host ended are settled at their estimates");
        }
        let mut remembered = Vec::new();
        for (name, circuit) in store.circuits(clock.now()).await? {
            if let (Some(account), Some(cooling)) = (name.strip_prefix(ACCOUNT), circuit.last()) {
                let is_terminal = cooling.kind == CoolingKind::Blocked;
                let cooling = Cooling { until: cooling.until, reason: cooling.reason.clone(), is_terminal };
                remembered.push((Account(account.to_owned()), cooling));
            }
        }
        let has_paid_proxy = deployment.proxies.iter().any(|proxy| proxy.price.is_some());
        let is_told = has_paid_proxy && Budget::from(deployment.budget) != Budget::default();
        let told = is_told.then(|| Told { gate: gate.clone(), in_turn: tokio::sync::Mutex::default() });
        let (transport, memory) = (Arc::new(OverGate(gate)), Arc::new(StoredPaces(store.clone(), clock.clone())));
        let models = Models::new(deployment, &prices, transport, clock.clone(), memory, remembered);
        if !deployment.models.is_empty() {
            lengths::remember(&models, &*store).await;
        }
        let search = |spec: &SearchSpec| (spec.name.clone(), Search::new(spec, &prices, models.calls()));
        let searches = deployment.searches.iter().map(search).collect();
        let speech = |spec: &SpeechSpec| (spec.alias.clone(), Speech::new(spec, &prices, models.calls()));
        let speeches = deployment.speeches.iter().map(speech).collect();
        let of_models = deployment.models.iter();
        let of_models = of_models.map(|model| ((PaidKind::Model, model.alias.clone()), model.service.budget));
        let of_searches = deployment.searches.iter();
        let of_searches = of_searches.map(|search| ((PaidKind::Search, search.name.clone()), search.service.budget));
        let of_speeches = deployment.speeches.iter();
        let of_speeches = of_speeches.map(|speech| ((PaidKind::Speech, speech.alias.clone()), speech.service.budget));
        let paid = of_models.chain(of_searches).chain(of_speeches).map(|(key, budget)| (key, budget.into()));
        let services = Self {
            models,
            searches,
            speeches,
            store,
            clock,
            zone: deployment.host.zone.clone(),
            everything: deployment.budget.into(),
            paid: paid.collect(),
            answers: TasksAnswers::default(),
            told,
        };
        services.tell_gate().await?;
        Ok(Arc::new(services))
    }

    /// Tells the gate what calls are charged by now.
    async fn tell_gate(&self) -> Result<(), StoreError> {
        let Some(told) = &self.told else { return Ok(()) };
        let _in_turn = told.in_turn.lock().await;
        let accounts = self.store.accounts().await?;
        let everything = accounts.into_iter().find(|view| view.scope == Scope::Everything);
        told.gate.calls_are_charged(everything.map(|view| view.account).unwrap_or_default());
        Ok(())
    }

    /// The same after a call was settled, which stands whatever becomes of this.
    async fn keep_gate_told(&self) {
        if let Err(error) = self.tell_gate().await {
            tracing::error!(%error, "requests by proxies are held against an older state of the budget of everything");
        }
    }

    /// Services that are left alone now: models, searches, speech, each by name.
    pub(crate) fn cooling(&self) -> Vec<ServiceCooling> {
        let of = |kind, name: &String, cooling| {
            let Cooling { until, reason, is_terminal } = cooling;
            ServiceCooling { kind, name: name.clone(), until, reason, is_terminal }
        };
        let models = self.models.left_alone().into_iter();
        let models = models.map(|(alias, cooling)| of(PaidKind::Model, &alias, cooling));
        let searches = self.searches.iter();
        let searches = searches.filter_map(|(name, one)| Some(of(PaidKind::Search, name, one.left_alone()?)));
        let speeches = self.speeches.iter();
        let speeches = speeches.filter_map(|(alias, one)| Some(of(PaidKind::Speech, alias, one.left_alone()?)));
        models.chain(searches).chain(speeches).collect()
    }

    /// The money of one attempt.
    pub(crate) fn purse(self: &Arc<Self>, payer: Payer) -> Arc<dyn Purse> {
        let answers = payer.task.map(|(item, stage)| self.answers.of((payer.job, item, stage)));
        let asker = lengths::asker(payer.job, payer.task);
        let (services, calls, given) = (self.clone(), AtomicU32::new(0), Mutex::default());
        Arc::new(AttemptPurse { services, payer, asker, answers, calls, given })
    }
}

/// Whether what is kept under that name is an account's, and no site's.
pub(crate) fn is_account(name: &str) -> bool {
    name.starts_with(ACCOUNT)
}

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
    /// Answers since then are those of attempts that only had to wait: they are taken again. Absent: there are none.
    pub(crate) since: Option<Timestamp>,
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
    reuses: Option<u32>,
}

impl PayingAttempt {
    /// A page of discovery.
    pub(crate) fn discovery(claim: ClaimToken) -> Self {
        Self { claim, attempt: 0, since: None, reuses: None }
    }

    /// The next attempt of a task, whose attempts take `timeout` at the most. What those before it have paid for is not paid
    /// for again, where each of them only had to wait: for a site, a limit, a budget; or where who opened the task wants that.
    pub(crate) fn task(claim: ClaimToken, tally: Tally, timeout: Duration) -> Self {
        let has_only_waited = tally.counted == 0 && tally.crashes == 0;
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let begin = |ended: Timestamp| Timestamp(ended.0.saturating_sub(millis));
        let since = tally.first_at.filter(|_| has_only_waited).map(begin);
        Self { claim, attempt: tally.attempts.saturating_add(1), since, reuses: tally.reuses }
    }
}

impl Payer {
    /// A task of a job, or its discovery.
    pub(crate) fn of(job: &JobPlan, task: Option<(ItemId, StageIx)>, paying: PayingAttempt) -> Self {
        let PayingAttempt { claim, attempt, since, reuses } = paying;
        let (name, budget) = (job.spec.name.to_string(), job.spec.budget.into());
        Self { job: job.declared.id, name, budget, task, attempt, since, reuses, claim }
    }
}

struct AttemptPurse {
    services: Arc<Services>,
    payer: Payer,
    asker: String,
    /// Absent: the job's discovery, which asks the same each time that it wants to know what is new.
    answers: Option<Arc<TaskAnswers>>,
    calls: AtomicU32,
    given: Mutex<Given>,
}

/// What an attempt was answered. Who asks the same again wants another answer, so the second to the same request is kept
/// beside the first, and a run after the host's end finds each in its turn.
#[derive(Default)]
struct Given {
    times: BTreeMap<Digest, u32>,
    under_way: BTreeMap<CallId, Digest>,
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

    fn kept(&self, request: Digest) -> BoxFuture<'_, Result<Option<String>, String>> {
        async move {
            let Payer { job, task, attempt, since, reuses, .. } = self.payer;
            let (Some(answers), Some(task)) = (&self.answers, task) else { return Ok(None) };
            let (store, next) = (&self.services.store, self.given().next(request));
            let may_have = answers.may_have(next, store.kept_requests(job, task)).await;
            if !may_have.map_err(|error| error.to_string())? {
                return Ok(None);
            }
            let kept = store.kept_answer(AnswerKey { job, task: Some(task), request: next }).await;
            let kept = kept.map_err(|error| error.to_string())?;
            // Of this attempt, when it ran before and the host ended; of those that had to wait before it; or of what ran before
            // a person asked for a run with the answers that there were. Any other one may have failed of its answer, or is
            // what somebody wants to have made anew.
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
            let Payer { job, task, attempt, claim, budget, .. } = self.payer.clone();
            let Services { store, clock, zone, everything, paid: budgets, .. } = &*self.services;
            let of_paid = budgets.get(&(paid.kind, paid.alias.clone())).copied().unwrap_or_default();
            let number = self.calls.fetch_add(1, Relaxed);
            let caller = Caller { job, task, attempt, number };
            let next = self.given().next(request);
            self.answers.iter().for_each(|answers| answers.asked(next));
            let call = Call { caller, paid, request: next, at: clock.now(), estimate };
            let budgets = Budgets { everything: *everything, job: budget, paid: of_paid };
            let reserved = store.reserve_call(Reservation { call, claim, budgets, zone: zone.clone() }).await;
            match reserved.map_err(|error| NotReserved::Storage(error.to_string()))? {
                Reserved::Made { call, warned } => {
                    for warned in warned {
                        let of = warned.scope.called(&self.payer.name);
                        tracing::warn!(budget = of, spent = %warned.reached.share(), "a budget is nearly spent");
                    }
                    self.given().under_way.insert(call, request);
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
            if let Err(error) = store.settle_call(call, end.clone(), answer).await {
                // What it cost is known, though its answer can't be kept.
                if is_answered && let Err(and) = store.settle_call(call, end, None).await {
                    tracing::error!(call = call.0, error = %and, "a call can't be settled: it holds its estimate until the next start");
                }
                self.services.keep_gate_told().await;
                return Err(error.to_string());
            }
            self.services.keep_gate_told().await;
            let mut given = self.given();
            if let Some(request) = given.under_way.remove(&call).filter(|_| is_answered) {
                given.give(request);
            }
            Ok(())
        }
        .boxed()
    }
}

impl AttemptPurse {
    // Nothing that could panic half-way happens under the lock.
    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests to paid services go out by the gate.
struct OverGate(Arc<Gate>);

impl Transport for OverGate {
    fn send(&self, request: Sending) -> BoxFuture<'_, Result<Box<dyn Answering>, SendError>> {
        async move {
            let Sending { service, path, headers, key, body, time, body_max } = request;
            let url = service.address(&path);
            let key = service.key.clone().map(|secret| ServiceKey { header: key.name, before: key.prefix, secret });
            let request = ServiceRequest { url, headers, key, body, time, body_max };
            let answer = self.0.ask_service(request).await.map_err(send_error)?;
            Ok(Box::new(Coming(answer)) as Box<dyn Answering>)
        }
        .boxed()
    }
}

struct Coming(ServiceAnswer);

impl Answering for Coming {
    fn status(&self) -> u16 {
        self.0.status
    }

    fn headers(&self) -> &[(String, String)] {
        &self.0.headers
    }

    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, SendError>> {
        self.0.chunk().map(|chunk| chunk.map_err(send_error)).boxed()
    }
}

fn send_error(failure: ServiceFailure) -> SendError {
    match failure {
        ServiceFailure::NotSent(refused) => {
            let message = refused.error.to_string();
            // A connection that was not made is the service's trouble as a whole, and no item's.
            let refusal = refused.refusal.map(|mut refusal| {
                if refusal.kind == RefusalKind::Transport {
                    refusal.kind = RefusalKind::Down;
                }
                *refusal
            });
            SendError::NotSent { message, refusal }
        }
        ServiceFailure::Lost(text) => SendError::Lost(text),
        ServiceFailure::Late(text) => SendError::Late(text),
    }
}

/// What providers said of waiting is kept where what sites said is.
struct StoredPaces(Arc<dyn Store>, Arc<dyn Clock>);

impl PaceMemory for StoredPaces {
    fn keep(&self, account: Account, cooling: Cooling) -> BoxFuture<'_, ()> {
        async move {
            let kind = if cooling.is_terminal { CoolingKind::Blocked } else { CoolingKind::RateLimited };
            let cooling = SiteCooling { until: cooling.until, kind, reason: cooling.reason };
            let (name, circuit) = (format!("{ACCOUNT}{}", account.0), Circuit::remembered(Some(cooling), 0));
            if let Err(error) = self.0.keep_circuit(name, circuit, self.1.now()).await {
                tracing::error!(account = account.0, %error, "a model's cool-down can't be kept: it ends with this process");
            }
        }
        .boxed()
    }
}
