//! Asks models: the chain of an alias and its fall-backs, rounds of searches and pauses, and what becomes of the
//! answer.

mod contracts;
mod exchange;
mod lengths;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tollgate_core::{
    Clock,
    ledger::{Cost, Paid, PaidKind},
    model::{ModelPrices, Tokens},
    money::NanoUsd,
    service::{Completion, ServiceError},
    spec::{Deployment, ModelSpec},
};

use crate::{
    Answer, AnswerError, Finish, Prices, Prompt, ToolCall, ToolResult, WireModel,
    call::{
        self, Calls, Ended, Payee,
        unanswered::{self, Unanswered},
    },
    estimate::{IMAGE_TOKENS, input_tokens},
    hosting::{PaceMemory, Purse, Refused, Searches, Transport},
    pace::{Account, Cooling},
    wire::Fitted,
};
use contracts::{Contracts, Known};
use exchange::ModelExchange;
pub use lengths::LENGTHS_NEEDED;
use lengths::Lengths;

/// Most requests for one answer: searches and pauses, each a request of its own. In the last the model may only answer:
/// else all that was paid would be thrown away.
const ROUNDS_MAX: usize = 12;
/// Most searches for one answer.
const SEARCHES_MAX: usize = 20;
/// Tokens that an answer is held to make whose model's maximum isn't known, until it has made some.
const OUTPUT_UNKNOWN: u64 = 16_384;

/// One model of jobs.toml, with what is known of it by its name.
pub(crate) struct Model {
    pub(crate) spec: ModelSpec,
    pub(crate) wire: WireModel,
    pub(crate) prices: Option<ModelPrices>,
    payee: Arc<Payee>,
    image_tokens: u64,
    /// Tokens of answers of late, by who asked.
    lengths: Mutex<BTreeMap<String, Lengths>>,
}

/// All models of a jobs.toml.
pub struct Models {
    deployment: Deployment,
    models: BTreeMap<String, Arc<Model>>,
    calls: Arc<Calls>,
    contracts: Contracts,
}

impl Model {
    fn new(spec: &ModelSpec, prices: &Prices) -> Self {
        let host = spec.service.url.host_str().unwrap_or_default();
        let known = prices.provider_at(spec.dialect, host);
        let facts = prices.facts(spec).copied();
        let mut wire = facts.map_or_else(
            || WireModel::new(spec.dialect, spec.name.clone()),
            |facts| facts.wire(spec.dialect, &spec.name),
        );
        if spec.temperature != tollgate_core::model::TemperatureRule::Free {
            wire.temperature = spec.temperature;
        }
        wire.output_max = spec.output_max.or(wire.output_max);
        let provider = known.map_or_else(|| host.to_owned(), str::to_owned);
        let paid = call::paid(PaidKind::Model, &provider, &spec.alias, &spec.name);
        Self {
            payee: Arc::new(Payee::new(paid, &spec.service, spec.tokens)),
            prices: prices.of(spec),
            image_tokens: facts.map_or(IMAGE_TOKENS, |facts| facts.image_tokens),
            spec: spec.clone(),
            lengths: Mutex::default(),
            wire,
        }
    }

    /// Tokens that an answer is held to make: nearly all of those of late made no more, or the most that it can.
    fn output_tokens(&self, asker: &str) -> u64 {
        let lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        match lengths.get(asker).and_then(Lengths::most) {
            None => self.wire.output_max.unwrap_or(OUTPUT_UNKNOWN),
            Some(most) => self.wire.output_max.map_or(most, |max| most.min(max)),
        }
    }

    pub(crate) fn made(&self, asker: &str, tokens: u64) {
        let mut lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        match lengths.get_mut(asker) {
            Some(lengths) => lengths.add(tokens),
            None => lengths.entry(asker.to_owned()).or_default().add(tokens),
        }
    }

    /// What tokens cost here.
    pub(crate) fn cost(&self, tokens: &Tokens) -> Cost {
        self.prices.map_or(Cost::Unpriced, |prices| Cost::Known(prices.of(tokens)))
    }

    /// What a prompt is held to take. Writing it to the cache may cost more than reading it, so it is held to be the
    /// dearest of what it may be.
    pub(crate) fn estimate(&self, prompt: &Prompt, fitted: &Fitted, asker: &str) -> (Tokens, Cost) {
        let (sent, output) = (input_tokens(prompt, fitted, self.image_tokens), self.output_tokens(asker));
        let anew = Tokens { input: sent, output, ..Tokens::default() };
        let written = Tokens { cache_write: sent, output, ..Tokens::default() };
        let costs = [self.cost(&anew), self.cost(&written)];
        let dearest = costs.into_iter().map(Cost::known).max().flatten();
        (anew, dearest.map_or(Cost::Unpriced, Cost::Known))
    }
}

/// What a call of a model that says next to nothing is held to take and to cost, as long as nobody knows how long its
/// answers are: no call is held to less before [`LENGTHS_NEEDED`] of them are known.
#[must_use]
pub fn first_call(spec: &ModelSpec, prices: &Prices) -> (Tokens, Cost) {
    Model::new(spec, prices).estimate(&Prompt::default(), &Fitted::default(), "")
}

impl Models {
    /// Those of a jobs.toml. `remembered`: who was left alone before the start.
    #[must_use]
    pub fn new(
        deployment: &Deployment,
        prices: &Prices,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        memory: Arc<dyn PaceMemory>,
        remembered: Vec<(Account, Cooling)>,
    ) -> Arc<Self> {
        let model = |spec: &ModelSpec| (spec.alias.clone(), Arc::new(Model::new(spec, prices)));
        Arc::new(Self {
            deployment: deployment.clone(),
            models: deployment.models.iter().map(model).collect(),
            calls: Calls::new(transport, clock, memory, remembered),
            contracts: Contracts::default(),
        })
    }

    /// Counts an answer that an earlier process was given, `output` tokens long, so that the next ones' length is told
    /// from it. Told from the oldest to the newest. What `paid` names isn't asked any more, or as another model: it
    /// says nothing.
    pub fn remember(&self, asker: &str, paid: &Paid, output: u64) {
        if let Some(model) = self.models.get(&paid.alias).filter(|model| model.payee.paid == *paid) {
            model.made(asker, output);
        }
    }

    /// What searches and speech share with the models: the way out, and what providers said of waiting.
    #[must_use]
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Models that are left alone now, by alias: until when, and why.
    #[must_use]
    pub fn left_alone(&self) -> Vec<(String, Cooling)> {
        let of = |(alias, model): (&String, &Arc<Model>)| Some((alias.clone(), self.calls.left_alone(&model.payee)?));
        self.models.iter().filter_map(of).collect()
    }

    /// Asks the model of that alias, or those in its place, until one has answered: the next one only where it is
    /// certain that the one before has cost nothing. An answer that was paid for is the last, whatever it is. `timeout`
    /// is of all of it; without one, each model has its own.
    ///
    /// # Errors
    /// No model may be asked, none answered, or what was answered is no answer.
    pub async fn complete(
        self: &Arc<Self>,
        alias: &str,
        mut prompt: Prompt,
        timeout: Option<Duration>,
        purse: Arc<dyn Purse>,
        searches: Option<Arc<dyn Searches>>,
    ) -> Result<Completion, Refused> {
        let schema = prompt.schema.as_ref().map(|schema| self.contracts.of(schema)).transpose();
        let schema =
            schema.map_err(|error| Refused::plain(ServiceError::InvalidRequest(format!("the schema is {error}"))))?;
        let chain = self.deployment.model_chain(alias);
        let mut refused = Refused::plain(ServiceError::Denied(format!("no model is named {alias:?}")));
        let of_call = timeout.map(|time| Instant::now() + time);
        let given_turns = prompt.turns.len();
        for spec in chain {
            let Some(model) = self.models.get(&spec.alias) else { continue };
            let (schema, searches) = (schema.as_deref(), searches.as_deref());
            let mut asking = Asking { models: self, model, schema, purse: &purse, searches, spent: Spent::default() };
            // What another model has said before is nothing to this one.
            prompt.turns.truncate(given_turns);
            match asking.answer(&mut prompt, of_call).await {
                Ok(answer) => return asking.completion(&prompt, &answer),
                Err(next) if next.is_free && asking.spent.requests == 0 => {
                    tracing::info!(model = spec.alias, error = %next.refused.error, "a model gave no answer; the next one is asked");
                    // Of several that said no, what helps soonest is worth most to know: the first is the one that was
                    // wanted.
                    if matches!(refused.error, ServiceError::Denied(_)) {
                        refused = next.refused;
                    }
                }
                Err(last) => return Err(last.refused),
            }
        }
        Err(refused)
    }
}

/// What the requests for one answer came to.
#[derive(Default)]
struct Spent {
    requests: u32,
    tokens: Tokens,
    cost: Option<NanoUsd>,
    is_unpriced: bool,
    sources: BTreeSet<String>,
    searches: usize,
}

struct Asking<'a> {
    models: &'a Arc<Models>,
    model: &'a Arc<Model>,
    /// The prompt's; absent: it has none.
    schema: Option<&'a Known>,
    purse: &'a Arc<dyn Purse>,
    searches: Option<&'a dyn Searches>,
    spent: Spent,
}

impl Asking<'_> {
    /// Asks until the model has said all that it has to say, or until its time is over, whatever it does in it.
    async fn answer(&mut self, prompt: &mut Prompt, of_call: Option<Instant>) -> Result<Answer, Unanswered> {
        let own = Instant::now() + self.model.spec.service.timeout;
        let deadline = of_call.map_or(own, |of_call| of_call.min(own));
        let (nothing, asker) = (Fitted::default(), self.purse.asker());
        let fitted = self.schema.map_or(&nothing, |schema| &schema.fitted);
        for round in 1..=ROUNDS_MAX {
            let time = deadline.saturating_duration_since(Instant::now());
            if time.is_zero() {
                return Err(self.late());
            }
            prompt.has_to_answer = round == ROUNDS_MAX;
            let request = exchange::request(self.model, prompt, fitted, time, asker)?;
            let exchange = ModelExchange::new(self.model, self.purse);
            let Ended { answer, cost } =
                call::run(&self.models.calls, &self.model.payee, request, exchange, self.purse).await?;
            self.spent.requests += 1;
            self.spent.tokens = self.spent.tokens.and(&answer.usage.tokens.unwrap_or_default());
            match cost {
                Cost::Known(cost) => {
                    self.spent.cost = Some(self.spent.cost.unwrap_or(NanoUsd::ZERO).saturating_add(cost));
                }
                Cost::Unpriced => self.spent.is_unpriced = true,
            }
            let turn = match &answer.finish {
                Finish::Whole | Finish::Cut | Finish::Refused(_) => return Ok(answer),
                Finish::Paused => answer.turn(Vec::new()),
                Finish::CallsTools => {
                    let mut results = Vec::with_capacity(answer.calls.len());
                    for call in &answer.calls {
                        let result = timeout_at(deadline, self.result(call.clone())).await;
                        results.push(result.unwrap_or_else(|_| Err(self.late()))?);
                    }
                    answer.turn(results)
                }
            };
            prompt.turns.push(turn);
        }
        let message = format!("the model was still searching after {ROUNDS_MAX} requests");
        Err(Unanswered::maybe_paid(ServiceError::InvalidAnswer(message), None))
    }

    /// No time is left. What it has said so far is paid.
    fn late(&self) -> Unanswered {
        let about = self.model.payee.about();
        let message = format!("{about} was still searching when its time was over");
        let mut late = unanswered::transport(&about, message.clone());
        late.refused.error = ServiceError::Timeout(message);
        Unanswered { is_free: self.spent.requests == 0, ..late }
    }

    /// The host's answer to a call of the model.
    async fn result(&mut self, call: ToolCall) -> Result<ToolResult, Unanswered> {
        let failed = |call, text: String| Ok(ToolResult { call, text, is_error: true });
        let Some(query) = call.query().map(str::to_owned) else {
            let text = format!("there is no {}: web_search, with a query, is the only tool", call.name);
            return failed(call, text);
        };
        let Some(searches) = self.searches else {
            return failed(call, "there is no web search here".to_owned());
        };
        if self.spent.searches >= SEARCHES_MAX {
            return failed(
                call,
                format!("{SEARCHES_MAX} searches are the most for one answer; answer by what you have"),
            );
        }
        self.spent.searches += 1;
        match searches.search(query).await {
            Ok(hits) => {
                self.spent.sources.extend(hits.iter().map(|hit| hit.url.clone()));
                let text = serde_json::to_string(&hits);
                let text =
                    text.map_err(|error| Unanswered::maybe_paid(ServiceError::Other(error.to_string()), None))?;
                Ok(ToolResult { call, text, is_error: false })
            }
            // What the model has said so far is paid: the whole is tried again when the search works.
            Err(refused) => Err(Unanswered { refused, is_free: false }),
        }
    }

    /// The answer as its handler gets it: of JSON, as its schema says.
    fn completion(self, prompt: &Prompt, answer: &Answer) -> Result<Completion, Refused> {
        let text = match self.schema {
            Some(schema) => answer.json(&schema.contract).map(|value| value.to_string()),
            None => answer.text().map(str::to_owned),
        };
        let text = text.map_err(|error| {
            Refused::plain(match error {
                AnswerError::Cut => ServiceError::Truncated(error.to_string()),
                AnswerError::Refused(why) => ServiceError::Refused(why),
                error => ServiceError::InvalidAnswer(error.to_string()),
            })
        })?;
        let Spent { tokens, cost, is_unpriced, sources, .. } = self.spent;
        let model = if answer.model.is_empty() { self.model.spec.name.clone() } else { answer.model.clone() };
        Ok(Completion {
            text,
            model,
            tokens,
            cost: cost.filter(|_| !is_unpriced),
            cut_documents: prompt.cut_documents(),
            sources: sources.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests;
