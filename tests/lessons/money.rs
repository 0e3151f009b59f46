//! Money: traps 1 to 10 and the lessons of models, through the real host and a real handler, against the
//! small internet's own bill.

mod billed;
mod budgets;
mod checked;
mod kept;
mod killed;
#[cfg(feature = "real-litellm")]
mod litellm;
mod refusals;
mod requests;
mod searched;
mod waiting;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tollgate::Host;
use tollgate_core::{
    item::NewItem,
    ledger::{Cost, Entry, How},
    model::Dialect,
    money::NanoUsd,
};
use tollgate_llm::Prices;
use tollgate_sim::{
    Sim,
    sites::models::{ModelFacts, Models},
};
use tollgate_store::{ItemDetail, LedgerQuery, Store};

use super::ledger::{is_the_bill, sum};
use crate::{
    clock::TestClock,
    faulty::Faulty,
    world::{World, item, open_items, pass},
};

const KEY: &str = "sk-right-key-0001";
/// Where each provider is, as itself.
const HOSTS: [(Dialect, &str); 3] = [
    (Dialect::OpenAi, "api.openai.com"),
    (Dialect::Anthropic, "api.anthropic.com"),
    (Dialect::Gemini, "generativelanguage.googleapis.com"),
];
/// A model of each provider by alias, provider and name, and one that takes no temperature.
const MODELS: [(&str, Dialect, &str, &str); 4] = [
    ("gpt", Dialect::OpenAi, "openai", "gpt-4.1-mini"),
    ("claude", Dialect::Anthropic, "anthropic", "claude-haiku-4-5"),
    ("gemini", Dialect::Gemini, "gemini", "gemini-2.5-flash-lite"),
    ("fixed", Dialect::OpenAi, "openai", "gpt-5-mini"),
];
/// One of each provider.
const EACH: [&str; 3] = ["gpt", "claude", "gemini"];

/// A world in which models can be asked.
struct Shop {
    world: World,
    models: Arc<Models>,
    clock: TestClock,
}

impl Shop {
    async fn new() -> Self {
        Self::with(Vec::new(), |builder| builder).await
    }

    /// With more models, and more of the internet.
    async fn with(more: Vec<ModelFacts>, sites: impl FnOnce(tollgate_sim::Builder) -> tollgate_sim::Builder) -> Self {
        let prices = Prices::pinned().unwrap();
        let facts = MODELS.map(|(_, dialect, provider, name)| {
            let known = prices.model(provider, name).unwrap();
            let usual = ModelFacts::usual(dialect, name, [NanoUsd(0); 3]);
            ModelFacts {
                prices: known.prices,
                temperature: known.temperature,
                output_max: known.output_max.unwrap_or(usual.output_max),
                cache_min: known.cached_min.unwrap_or(usual.cache_min),
                ..usual
            }
        });
        let models = Arc::new(Models::new(facts.into_iter().chain(more)).keys([KEY]));
        let site = |builder: tollgate_sim::Builder, (dialect, host)| builder.site(host, models.site(dialect));
        let world = World::of(sites(HOSTS.into_iter().fold(Sim::builder(), site))).await;
        fs::write(world.path("key"), KEY).unwrap();
        Self { world, models, clock: TestClock::new() }
    }

    /// Writes a jobs.toml of one job that may ask all models: what the models say besides, then more of the job.
    fn file(&self, models: &str, job: &str) -> PathBuf {
        self.world.jobs(&format!("{models}\n{}", paid(job)))
    }

    /// Starts a host over a store that can be looked at.
    async fn start(&self, file: &Path) -> (Host, Arc<Faulty>) {
        let store = Faulty::open(&self.world.path("data"));
        let host = self.world.host(file).await.store(store.clone()).clock(Arc::new(self.clock.clone()));
        (host.start().await.unwrap(), store)
    }

    /// All calls are settled by what their provider counted, and come to what it has billed.
    async fn is_the_bill(&self, store: &Faulty) -> Vec<Entry> {
        let entries = entries(store).await;
        is_the_bill(&entries, &self.models.bill());
        let answered = entries.iter().filter(|entry| entry.end.as_ref().is_some_and(|end| end.how == How::Answered));
        assert_eq!(answered.count(), self.models.bill().len());
        entries
    }

    /// How often a provider was asked for anything.
    fn hits(&self, dialect: Dialect) -> u64 {
        let (_, host) = HOSTS.into_iter().find(|(own, _)| *own == dialect).unwrap();
        self.world.sim.counts().of_host(host)
    }
}

/// A job that may ask all models.
fn paid(job: &str) -> String {
    format!("[job.test]\nkind = \"backfill\"\nhandler = \"paid\"\ngrant = [\"llm\", \"artifacts\"]\n{job}\n")
}

/// A model of [`MODELS`] in jobs.toml, with more lines.
fn model(alias: &str, more: &str) -> String {
    let (_, dialect, _, name) = MODELS.into_iter().find(|(known, ..)| *known == alias).unwrap();
    model_named(alias, dialect, name, more)
}

fn model_named(alias: &str, dialect: Dialect, name: &str, more: &str) -> String {
    let provider = dialect.as_str();
    format!("[model.{alias}]\nprovider = \"{provider}\"\nname = \"{name}\"\nkey = {{ file = \"key\" }}\n{more}\n")
}

/// An item whose first stage makes these calls, one after the other.
fn asks(key: &str, calls: &[Value]) -> NewItem {
    item(key, &json!({ "first": calls }))
}

/// An item that asks for a text, once.
fn asks_one(key: &str) -> NewItem {
    asks(key, &[json!({ "ask": "Is it one?" })])
}

/// The whole ledger, in the order in which calls were made.
async fn entries(store: &Faulty) -> Vec<Entry> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.ledger_entries(LedgerQuery { after, limit: 500, ..LedgerQuery::default() }).await.unwrap();
        all.extend(page.entries.into_iter().map(|view| view.entry));
        after = page.next;
        if after.is_none() {
            all.reverse();
            return all;
        }
    }
}

/// How a row ended, whether its cost is an estimate, and what it is.
fn end(entry: &Entry) -> (How, bool, Cost) {
    let end = entry.end.as_ref().unwrap();
    (end.how, end.is_estimate, end.cost)
}

/// The answers that a stage of `paid` was given.
fn answers<'a>(item: &'a ItemDetail, stage: &str) -> &'a [Value] {
    let output = item.item.outputs.iter().find(|(name, _)| name.as_str() == stage);
    output.unwrap_or_else(|| panic!("{item:#?}")).1["answered"].as_array().unwrap()
}

/// Lets time pass until nothing of the job is queued or retried any more.
async fn finish(host: &Host, clock: &TestClock) {
    pass(host, clock, Duration::from_secs(60), |job| open_items(job) == 0).await;
}
