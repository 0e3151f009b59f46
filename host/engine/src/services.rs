//! Paid services of a host: its models over the gate, its ledger over the store, and the budgets that bound them.

mod kept;
mod lengths;
mod purse;
mod told;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tollgate_core::{
    Clock, Timestamp,
    budget::Budget,
    calendar::Zone,
    circuit::{Circuit, Cooling as SiteCooling, CoolingKind},
    ledger::{PaidKind, Scope},
    outcome::RefusalKind,
    spec::{Deployment, SearchSpec, SpeechSpec},
    time::Short,
};
use tollgate_egress::{Gate, ServiceAnswer, ServiceFailure, ServiceKey, ServiceRequest};
use tollgate_llm::{
    Account, Cooling, Models, PaceMemory, Prices, Search, Speech,
    hosting::{Answering, Purse, SendError, Sending, Transport},
};
use tollgate_store::Store;

use crate::EngineError;
use kept::TasksAnswers;
use purse::AttemptPurse;
pub(crate) use purse::{Payer, PayingAttempt};
use told::Told;

/// How the name of an account's circuit begins in the store, where those of sites are.
const ACCOUNT: &str = "model ";
/// Long audio that is read and cut at once: each is in memory meanwhile, up to 512 MiB of it, and keeps a processor
/// busy.
const CUTS_MAX: usize = 2;

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
    /// What holds requests by proxies against the budget of everything; absent: none costs money, or there is no
    /// budget.
    told: Option<Told>,
    /// Places for long audio that is read and cut.
    pub(crate) cuts: Arc<Semaphore>,
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
        let told = if is_told {
            let everything = store.accounts().await?.into_iter().find(|view| view.scope == Scope::Everything);
            let account = everything.map(|view| view.account).unwrap_or_default();
            Some(Told::new(gate.clone(), deployment.host.zone.clone(), account))
        } else {
            None
        };
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
        Ok(Arc::new(Self {
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
            cuts: Arc::new(Semaphore::new(CUTS_MAX)),
        }))
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

    /// The time by which what waits for a service, or for the host's own work for one, waits.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// The money of one attempt.
    pub(crate) fn purse(self: &Arc<Self>, payer: Payer) -> Arc<dyn Purse> {
        let answers = payer.task.map(|(item, stage)| self.answers.of((payer.job, item, stage)));
        Arc::new(AttemptPurse::new(self.clone(), payer, answers))
    }
}

/// Whether what is kept under that name is an account's, and no site's.
pub(crate) fn is_account(name: &str) -> bool {
    name.starts_with(ACCOUNT)
}

/// Requests to paid services go out by the gate.
struct OverGate(Arc<Gate>);

impl Transport for OverGate {
    fn send<'a>(
        &'a self,
        request: Sending,
        may_go: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> BoxFuture<'a, Result<Box<dyn Answering>, SendError>> {
        async move {
            let Sending { service, path, headers, key, body, time, time_min, body_max } = request;
            let url = service.address(&path);
            let key = service.key.clone().map(|secret| ServiceKey { header: key.name, before: key.prefix, secret });
            let request = ServiceRequest { url, headers, key, body, time, time_min, body_max };
            let answer = self.0.ask_service(request, may_go).await.map_err(send_error)?;
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
