//! `[model.ALIAS]`: a language model, what it costs and how much of it may be asked for.

use std::collections::{BTreeSet, VecDeque};

use super::{Deployment, Place, ServiceSpec, services::Allowance};
use crate::model::{Dialect, ModelPrices, TemperatureRule};

/// `[model.ALIAS]`, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// Its name in jobs.toml and for handlers.
    pub alias: String,
    /// The format that its provider speaks.
    pub dialect: Dialect,
    /// Its name for its provider.
    pub name: String,
    /// Where and how it is asked.
    pub service: ServiceSpec,
    /// Whether it takes a temperature, as jobs.toml says: what is known of it by its name may forbid it all the same.
    pub temperature: TemperatureRule,
    /// Most tokens of one answer; absent: what is known of it by its name.
    pub output_max: Option<u64>,
    /// What its tokens cost. Absent: what the table of prices says of its name, and if that knows none, it is unpriced,
    /// which is not free.
    pub prices: Option<ModelPrices>,
    /// Tokens a time, sent and made.
    pub tokens: Option<Allowance>,
    /// Models that are asked in its place, in this order; each is there, and none leads back.
    pub fall_back: Vec<String>,
    /// Where it stands.
    pub at: Place,
}

impl Deployment {
    /// The model of that alias.
    #[must_use]
    pub fn model(&self, alias: &str) -> Option<&ModelSpec> {
        self.models.iter().find(|model| model.alias == alias)
    }

    /// The model of that alias, then those that are asked in its place, each once: its own fall-backs in their order,
    /// then those of each of them. Empty, if no model has that alias.
    #[must_use]
    pub fn model_chain(&self, alias: &str) -> Vec<&ModelSpec> {
        let mut chain = Vec::new();
        let (mut known, mut next) = (BTreeSet::from([alias]), VecDeque::from([alias]));
        while let Some(model) = next.pop_front().and_then(|alias| self.model(alias)) {
            next.extend(model.fall_back.iter().map(String::as_str).filter(|alias| known.insert(alias)));
            chain.push(model);
        }
        chain
    }
}
