//! Language models behind the APIs of three providers, in their own formats, with what they would have billed.
//!
//! | format | host | address |
//! |---|---|---|
//! | OpenAI | `api.openai.com`, `api.groq.com`, `openrouter.ai`, any | POST `…/chat/completions` |
//! | Anthropic | `api.anthropic.com` | POST `/v1/messages` |
//! | Gemini | `generativelanguage.googleapis.com` | POST `/v1beta/models/NAME:generateContent` |
//!
//! Gemini streams from `:streamGenerateContent`: events with `?alt=sse`, else a list.
//!
//! [`Models`] is the service, one for all hosts or one each; [`Models::site`] is what stands under a host name.
//! Requests are checked as the provider checks them, and refused in its words. Without a script the model answers from
//! what it was asked ([`Say::Usual`]), always the same. A token is four bytes ([`tokens_of`]), an image or other file a
//! thousand. What is in the prompt cache is found again by the same key and model alone: behind marks at Anthropic, in
//! steps of 128 tokens elsewhere. At OpenAI and Anthropic a schema stands before all else that the model reads: with
//! another schema nothing is found. Whatever is answered with a 200 is billed, whether it arrives or not;
//! a refusal costs nothing.

mod anthropic;
mod api;
mod asked;
mod cache;
mod example;
mod facts;
mod format;
mod gemini;
mod openai;
mod pattern;
mod said;
mod script;
mod seeded;

pub(crate) use format::{Refusal, Trouble, header};

pub use asked::{Asked, Block, Mark, Offered, Part, tokens_of};
pub use facts::{ModelFacts, usual_models};
pub use said::SEARCH_TOOL;
pub use script::{ModelFault, Say, Turn, UsageLie};
pub use seeded::ModelFaults;

use crate::site::Site;
use crate::sites::bill::{Bill, Billed, sum};
use api::Api;
use cache::PromptCache;
use script::Script;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tollgate_core::{model::Dialect, money::NanoUsd};

/// Requests that the service remembers. A test that looks at more should look at the bill.
pub const ASKED_MAX: usize = 10_000;

/// A service of language models.
pub struct Models {
    facts: Vec<ModelFacts>,
    /// The keys that are taken; absent, any.
    keys: Option<Vec<String>>,
    script: Script,
    cache: PromptCache,
    bill: Arc<Bill>,
    asked: Mutex<Vec<Asked>>,
    answered: AtomicU64,
}

/// A refusal in OpenAI's words, of a service beside its chat completions.
pub(crate) fn openai_refusal(trouble: &Trouble, model: &str) -> Refusal {
    format::of(Dialect::OpenAi).refusal(trouble, model)
}

impl Models {
    /// A service of these models, which takes any key.
    pub fn new(facts: impl IntoIterator<Item = ModelFacts>) -> Self {
        Self {
            facts: facts.into_iter().collect(),
            keys: None,
            script: Script::default(),
            cache: PromptCache::default(),
            bill: Arc::default(),
            asked: Mutex::default(),
            answered: AtomicU64::new(0),
        }
    }

    /// The same, which takes these keys alone.
    #[must_use]
    pub fn keys<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.keys = Some(keys.into_iter().map(str::to_owned).collect());
        self
    }

    /// The same, with faults by seed.
    #[must_use]
    pub fn faults(self, faults: ModelFaults) -> Self {
        self.set_faults(Some(faults));
        self
    }

    /// What stands under a host name and speaks this format.
    pub fn site(self: &Arc<Self>, dialect: Dialect) -> Arc<dyn Site> {
        Arc::new(Api { dialect, models: self.clone() })
    }

    /// From now on, whoever says `matching` anywhere in a request is answered so; the newest rule that fits wins.
    pub fn answer(&self, matching: &str, say: Say) {
        self.script.rule(matching, say);
    }

    /// What happens to the next requests, one after the other, before any rule or fault by seed. A turn whose model
    /// says what is usual says what the rules have.
    pub fn next<T: Into<Turn>>(&self, turns: impl IntoIterator<Item = T>) {
        self.next_for("", turns);
    }

    /// What happens to the next requests that say `matching`, one after the other.
    pub fn next_for<T: Into<Turn>>(&self, matching: &str, turns: impl IntoIterator<Item = T>) {
        self.script.next(matching, turns.into_iter().map(Into::into));
    }

    /// Sets or ends the faults by seed.
    pub fn set_faults(&self, faults: Option<ModelFaults>) {
        self.script.set_faults(faults);
    }

    /// Forgets every prefix, as the provider does after its time.
    pub fn forget_cache(&self) {
        self.cache.forget();
    }

    /// The requests that were read and taken, in order, those included that a fault then refused; the first
    /// [`ASKED_MAX`] since the start or the last reset.
    pub fn asked(&self) -> Vec<Asked> {
        self.remembered().clone()
    }

    /// What was billed, a row for each answer that was begun, in order.
    pub fn bill(&self) -> Vec<Billed> {
        self.bill.rows()
    }

    /// Waits until so much was billed: a request is counted before it is read, and read before it is billed.
    pub async fn billed(&self, rows: usize) {
        self.bill.billed(rows).await;
    }

    /// What all of it costs.
    pub fn sum(&self) -> NanoUsd {
        sum(&self.bill.rows())
    }

    /// What was asked with one key costs.
    pub fn sum_of_key(&self, key: &str) -> NanoUsd {
        sum(self.bill.rows().iter().filter(|row| row.key == key))
    }

    fn facts(&self, dialect: Dialect, name: &str) -> Option<&ModelFacts> {
        self.facts.iter().find(|facts| facts.dialect == dialect && facts.name == name)
    }

    fn takes(&self, key: &str) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.iter().any(|taken| taken == key))
    }

    // Nothing that could panic half-way happens under the lock.
    fn remembered(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, asked: &Asked) {
        let mut remembered = self.remembered();
        if remembered.len() < ASKED_MAX {
            remembered.push(asked.clone());
        }
    }

    fn number(&self) -> u64 {
        self.answered.fetch_add(1, Ordering::Relaxed)
    }

    /// As if just started: rules and faults by seed stay, what was to come is gone.
    fn reset(&self) {
        self.script.reset();
        self.cache.forget();
        self.bill.clear();
        self.remembered().clear();
        self.answered.store(0, Ordering::Relaxed);
    }
}
