//! The paid services as they stand in the real internet: each under its own host name.

use super::bill::Billed;
use super::joined::Joined;
use super::models::{ModelFacts, ModelFaults, Models, usual_models};
use super::search::{Brave, Serper};
use super::transcription::{SpeechFacts, Transcription, usual_speech};
use crate::sim::Builder;
use crate::site::Site;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tollgate_core::{model::Dialect, money::NanoUsd};

/// Host names under which the services stand: chat and speech, chat alone, the other two formats, and search.
pub const HOSTS: [&str; 7] = [
    "api.openai.com",
    "api.groq.com",
    "openrouter.ai",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
    Serper::HOST,
    Brave::HOST,
];

/// What the services have and what that costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ServiceFacts {
    /// Language models.
    pub models: Vec<ModelFacts>,
    /// Models that hear.
    pub speech: Vec<SpeechFacts>,
    /// A credit of Serper.
    pub serper_credit: NanoUsd,
    /// A search of Brave.
    pub brave_search: NanoUsd,
}

impl Default for ServiceFacts {
    /// By round prices, which are nobody's.
    fn default() -> Self {
        Self {
            models: usual_models(),
            speech: usual_speech(),
            serper_credit: NanoUsd(1_000_000),
            brave_search: NanoUsd(5_000_000),
        }
    }
}

/// All of them. They take any key.
pub struct Services {
    /// The language models, of all three formats.
    pub models: Arc<Models>,
    /// What hears.
    pub speech: Arc<Transcription>,
    /// Search, as Serper.
    pub serper: Arc<Serper>,
    /// Search, as Brave.
    pub brave: Arc<Brave>,
}

impl Services {
    /// With these models and prices, over the catalogue of a seed.
    pub fn new(seed: u64, facts: ServiceFacts) -> Self {
        Self {
            models: Arc::new(Models::new(facts.models)),
            speech: Arc::new(Transcription::new(facts.speech)),
            serper: Arc::new(Serper::new(seed, facts.serper_credit)),
            brave: Arc::new(Brave::new(seed, facts.brave_search)),
        }
    }

    /// Makes the models fail by seed.
    pub fn set_faults(&self, faults: Option<ModelFaults>) {
        self.models.set_faults(faults);
    }

    /// What stands under one of [`HOSTS`]; nothing under another name.
    pub fn site(&self, host: &str) -> Option<Arc<dyn Site>> {
        let chat = || self.models.site(Dialect::OpenAi);
        Some(match host {
            "api.openai.com" | "api.groq.com" => Arc::new(Joined::new(chat()).with("/audio/", self.speech.clone())),
            "openrouter.ai" => chat(),
            "api.anthropic.com" => self.models.site(Dialect::Anthropic),
            "generativelanguage.googleapis.com" => self.models.site(Dialect::Gemini),
            Serper::HOST => self.serper.clone(),
            Brave::HOST => self.brave.clone(),
            _ => return None,
        })
    }

    /// Puts all of them under their names.
    #[must_use]
    pub fn mount(&self, builder: Builder) -> Builder {
        HOSTS.iter().fold(builder, |builder, host| match self.site(host) {
            Some(site) => builder.site(host, site),
            None => builder,
        })
    }

    /// What all of them would have billed.
    pub fn bill(&self) -> Vec<Billed> {
        [self.models.bill(), self.speech.desk.bill(), self.serper.desk.bill(), self.brave.desk.bill()].concat()
    }
}
