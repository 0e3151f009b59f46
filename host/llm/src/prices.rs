//! The pinned table of prices (`prices.toml`), and what else is known of models. A name is found as it is written or
//! not at all: a typo is unpriced, and never priced like what it resembles (trap 4).

use std::collections::BTreeMap;

use serde::Deserialize;
use tollgate_core::{
    model::{Dialect, ModelPrices, SaidPrices, TemperatureRule},
    money::{self, NanoUsd},
    spec::{AudioPrice, ModelSpec},
};

use crate::{estimate::IMAGE_TOKENS, wire::WireModel};

/// The table, as text.
const PINNED: &str = include_str!("prices.toml");
/// Before a name of Gemini's, its interface may have this.
const GEMINI_FOLDER: &str = "models/";

/// A table of prices.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    checked: String,
    sources: Vec<String>,
    providers: Vec<Provider>,
    /// By provider and name; a model of several dates stands under each.
    models: BTreeMap<(String, String), ModelFacts>,
    speech: BTreeMap<(String, String), AudioPrice>,
    search: BTreeMap<String, SearchPrice>,
}

/// Why a table can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PricesError {
    /// Not of the table's form.
    #[error("the table of prices: {0}")]
    Form(String),
    /// A name stands there twice.
    #[error("the table of prices has {0:?} twice")]
    Twice(String),
    /// A model of a provider that isn't named.
    #[error("the table of prices has models of {0:?}, and no such provider")]
    Provider(String),
}

/// What is known of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelFacts {
    /// What its tokens cost.
    pub prices: ModelPrices,
    /// The most tokens that it can make.
    pub output_max: Option<u64>,
    /// Whether it takes a temperature.
    pub temperature: TemperatureRule,
    /// The fewest tokens of a begin that its provider's cache keeps.
    pub cached_min: Option<u64>,
    /// The most tokens that a picture counts for.
    pub image_tokens: u64,
}

impl ModelFacts {
    /// The model, as requests have to know it.
    #[must_use]
    pub fn wire(&self, dialect: Dialect, name: &str) -> WireModel {
        WireModel {
            temperature: self.temperature,
            output_max: self.output_max,
            cached_min: self.cached_min,
            ..WireModel::new(dialect, name)
        }
    }
}

/// What search costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SearchPrice {
    /// A credit.
    #[serde(deserialize_with = "money::said")]
    pub credit: NanoUsd,
    /// Results that a query gives for one; absent: however many.
    pub results_a_credit: Option<u32>,
}

impl SearchPrice {
    /// What a query costs that asks for so many results. What it did cost is the answer's to say, in credits.
    #[must_use]
    pub fn of_results(&self, results: u32) -> NanoUsd {
        self.of_credits(self.credits(results))
    }

    /// Credits of a query that asks for so many results.
    #[must_use]
    pub fn credits(&self, results: u32) -> u64 {
        u64::from(self.results_a_credit.map_or(1, |each| results.div_ceil(each.max(1)).max(1)))
    }

    /// What so many credits cost.
    #[must_use]
    pub fn of_credits(&self, credits: u64) -> NanoUsd {
        self.credit.for_part(credits, 1)
    }
}

impl Prices {
    /// The table that this version comes with.
    ///
    /// # Errors
    /// It is broken, which a test holds against.
    pub fn pinned() -> Result<Self, PricesError> {
        Self::parse(PINNED)
    }

    /// Reads a table.
    ///
    /// # Errors
    /// It isn't of the form, or names something twice.
    pub fn parse(text: &str) -> Result<Self, PricesError> {
        let table: Table = toml::from_str(text).map_err(|error| PricesError::Form(error.to_string()))?;
        let mut prices = Self {
            checked: table.checked,
            sources: table.sources,
            providers: table.provider,
            models: BTreeMap::new(),
            speech: BTreeMap::new(),
            search: BTreeMap::new(),
        };
        for model in table.model {
            let Some(dialect) = prices.dialect(&model.provider) else {
                return Err(PricesError::Provider(model.provider));
            };
            let facts = model.facts(dialect)?;
            let dated = model.dates.iter().map(|date| format!("{}-{date}", model.name));
            for name in std::iter::once(model.name.clone()).chain(dated) {
                put(&mut prices.models, (model.provider.clone(), name.clone()), facts, &name)?;
            }
        }
        for Named { provider, name, hour, seconds_min } in table.speech {
            let price = AudioPrice { money: hour, seconds: 3_600, seconds_min };
            put(&mut prices.speech, (provider, name.clone()), price, &name)?;
        }
        for Searched { provider, price } in table.search {
            put(&mut prices.search, provider.clone(), price, &provider)?;
        }
        Ok(prices)
    }

    /// The day on which the prices were looked up, `2026-11-28`.
    #[must_use]
    pub fn checked(&self) -> &str {
        &self.checked
    }

    /// Where they were looked up.
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Whose prices hold at a host, for who names a base URL and no provider.
    #[must_use]
    pub fn provider_at(&self, dialect: Dialect, host: &str) -> Option<&str> {
        let is_it = |provider: &&Provider| {
            provider.dialect == dialect && provider.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
        };
        self.providers.iter().find(is_it).map(|provider| provider.name.as_str())
    }

    /// The format that a provider of the table speaks.
    #[must_use]
    pub fn dialect(&self, provider: &str) -> Option<Dialect> {
        self.providers.iter().find(|own| own.name == provider).map(|own| own.dialect)
    }

    /// A model, by its provider and its name, with one of its dates or none.
    #[must_use]
    pub fn model(&self, provider: &str, name: &str) -> Option<&ModelFacts> {
        let name = match self.dialect(provider) {
            Some(Dialect::Gemini) => name.strip_prefix(GEMINI_FOLDER).unwrap_or(name),
            _ => name,
        };
        self.models.get(&(provider.to_owned(), name.to_owned()))
    }

    /// What is known of a model of jobs.toml, by where it is asked and its name.
    #[must_use]
    pub fn facts(&self, spec: &ModelSpec) -> Option<&ModelFacts> {
        let host = spec.service.url.host_str().unwrap_or_default();
        self.provider_at(spec.dialect, host).and_then(|provider| self.model(provider, &spec.name))
    }

    /// What a model of jobs.toml costs: as that says, else as the table does. Absent: it is
    /// unpriced, which is not free.
    #[must_use]
    pub fn of(&self, spec: &ModelSpec) -> Option<ModelPrices> {
        spec.prices.or(self.facts(spec).map(|facts| facts.prices))
    }

    /// Names of a provider's models, for who wrote one wrong.
    pub fn model_names(&self, provider: &str) -> impl Iterator<Item = &str> {
        self.models.keys().filter(move |(own, _)| own == provider).map(|(_, name)| name.as_str())
    }

    /// A model of speech.
    #[must_use]
    pub fn speech(&self, provider: &str, name: &str) -> Option<&AudioPrice> {
        self.speech.get(&(provider.to_owned(), name.to_owned()))
    }

    /// A provider's search.
    #[must_use]
    pub fn search(&self, provider: &str) -> Option<&SearchPrice> {
        self.search.get(provider)
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V, name: &str) -> Result<(), PricesError> {
    if map.insert(key, value).is_some() {
        return Err(PricesError::Twice(name.to_owned()));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    checked: String,
    sources: Vec<String>,
    provider: Vec<Provider>,
    model: Vec<Model>,
    speech: Vec<Named>,
    search: Vec<Searched>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    name: String,
    dialect: Dialect,
    hosts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Model {
    provider: String,
    name: String,
    /// Its versions that cost the same; one that costs another price is a model of its own.
    #[serde(default)]
    dates: Vec<String>,
    usual: SaidPrices,
    /// What a call costs that sends more than `above`: the two go together.
    above: Option<u64>,
    long: Option<SaidPrices>,
    output_max: Option<u64>,
    #[serde(default)]
    temperature: TemperatureRule,
    cached_min: Option<u64>,
    image_tokens: Option<u64>,
}

impl Model {
    fn facts(&self, dialect: Dialect) -> Result<ModelFacts, PricesError> {
        if self.above.is_some() != self.long.is_some() {
            return Err(PricesError::Form(format!("`above` and `long` of {} go together", self.name)));
        }
        let long = self.above.zip(self.long).map(|(above, long)| (above, long.whole(dialect)));
        Ok(ModelFacts {
            prices: ModelPrices { usual: self.usual.whole(dialect), long },
            output_max: self.output_max,
            temperature: self.temperature,
            cached_min: self.cached_min,
            image_tokens: self.image_tokens.unwrap_or(IMAGE_TOKENS),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Named {
    provider: String,
    name: String,
    /// What an hour of it costs.
    #[serde(deserialize_with = "money::said")]
    hour: NanoUsd,
    #[serde(default)]
    seconds_min: u64,
}

#[derive(Deserialize)]
struct Searched {
    provider: String,
    #[serde(flatten)]
    price: SearchPrice,
}

#[cfg(test)]
mod tests;
