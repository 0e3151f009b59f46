//! `[model.ALIAS]`: its provider, its prices, and the models that are asked in its place.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_spanned::Spanned;

use super::{
    Reader,
    services::{Said, Usual},
};
use crate::{
    ids::JobName,
    model::{Dialect, ModelPrices, SaidPrices, TemperatureRule, TokenPrices},
    spec::{
        ModelSpec,
        raw::{RawAmount, RawEndpoint, RawModel, RawModelPrice, RawPrices},
    },
};

/// Most tokens of one answer: more is a slip.
const OUTPUT_MAX: u64 = 10_000_000;
/// Most tokens of a bound between two tiers of prices.
const ABOVE_MAX: u64 = 100_000_000;
/// What is possible in place of a price.
const A_PRICE: &str = "write dollars for a million tokens, such as \"0.10 USD\"; \"0 USD\" is a price";

type RawModels = BTreeMap<String, Spanned<RawModel>>;

impl Reader<'_> {
    pub(super) fn models(
        &mut self,
        raw: &RawModels,
        endpoints: &BTreeMap<String, Spanned<RawEndpoint>>,
    ) -> Vec<ModelSpec> {
        let models = raw.iter().filter_map(|(alias, model)| self.model(alias, model, raw, endpoints)).collect();
        self.fall_backs_end(raw);
        models
    }

    fn model(
        &mut self,
        alias: &str,
        raw: &Spanned<RawModel>,
        all: &RawModels,
        endpoints: &BTreeMap<String, Spanned<RawEndpoint>>,
    ) -> Option<ModelSpec> {
        let (model, span, what) = (raw.as_ref(), raw.span(), format!("model {alias}"));
        // It stands in grants, stages and messages.
        let named = self.or_say(span.clone(), &format!("model {alias:?}"), JobName::new(alias));
        let words = Dialect::ALL.map(|dialect| (dialect.as_str(), dialect));
        let dialect = self.word("provider", &model.provider, &words);
        let name = self.provider_s_name(&what, &model.name);
        let said = Said {
            what: &what,
            span: span.clone(),
            url: model.url.as_ref(),
            key: model.key.as_ref(),
            requests: ("requests", model.requests.as_ref()),
            timeout: model.timeout.as_ref(),
            budget: model.budget.as_ref(),
        };
        let (url, key) = match dialect.unwrap_or(Dialect::OpenAi) {
            Dialect::OpenAi => ("https://api.openai.com/v1", "OPENAI_API_KEY"),
            Dialect::Anthropic => ("https://api.anthropic.com", "ANTHROPIC_API_KEY"),
            Dialect::Gemini => ("https://generativelanguage.googleapis.com", "GEMINI_API_KEY"),
        };
        let service = self.service(&said, &Usual { url, key, timeout: Duration::from_mins(3) }, endpoints);
        let output_max = model.output_max.as_ref();
        let output_max = output_max.map(|value| self.count("output-max", Some(value), 1..=OUTPUT_MAX, 1));
        let temperature = self.temperature(model.temperature.as_ref());
        let tokens = model.tokens.as_ref().and_then(|value| self.allowance("tokens", value));
        let prices = model.price.as_ref().and_then(|price| self.model_prices(price, dialect?));
        let fall_back = self.fall_back(alias, model, all);
        named?;
        Some(ModelSpec {
            alias: alias.to_owned(),
            dialect: dialect?,
            name,
            service: service?,
            temperature,
            output_max,
            prices,
            tokens,
            fall_back,
            at: self.place(span),
        })
    }

    fn temperature(&mut self, value: Option<&Spanned<RawAmount>>) -> TemperatureRule {
        let Some(value) = value else {
            return TemperatureRule::default();
        };
        if !matches!(value.as_ref(), RawAmount::Text(word) if word == "fixed") {
            let help = "write \"fixed\" for a model that takes none, or leave it out: a handler's call says which";
            self.say(value.span(), format!("temperature is {}", value.as_ref()), Some(help.to_owned()));
        }
        TemperatureRule::Fixed
    }

    /// Prices of a model; absent after saying what is wrong.
    fn model_prices(&mut self, raw: &Spanned<RawModelPrice>, dialect: Dialect) -> Option<ModelPrices> {
        let prices = match raw.as_ref() {
            RawModelPrice::Table(prices) => prices,
            RawModelPrice::Word(word) if word == "free" => {
                return Some(ModelPrices::FREE);
            }
            RawModelPrice::Word(word) => {
                let help = "write { input = \"0.10 USD\", output = \"0.40 USD\" } for a million tokens, or \"free\"";
                self.say(raw.span(), format!("price is {word:?}"), Some(help.to_owned()));
                return None;
            }
        };
        let usual = self.token_prices("price", raw, prices, dialect);
        match (&prices.above, &prices.long) {
            (None, None) => Some(ModelPrices { usual: usual?, long: None }),
            (Some(above), Some(long)) => {
                let bound = self.count("above", Some(above), 1..=ABOVE_MAX, 1);
                let tier = long.as_ref().as_ref();
                if tier.above.is_some() || tier.long.is_some() {
                    let help = "there are two tiers: up to `above`, and more".to_owned();
                    self.say(long.span(), "long has a tier of its own", Some(help));
                }
                let long = self.token_prices("long", long, tier, dialect);
                Some(ModelPrices { usual: usual?, long: Some((bound, long?)) })
            }
            _ => {
                let help = "write above = 200000, long = { input = \"0.20 USD\", output = \"0.80 USD\" }, or neither";
                self.say(raw.span(), "`above` and `long` go together", Some(help.to_owned()));
                None
            }
        }
    }

    fn token_prices<T>(
        &mut self,
        key: &str,
        around: &Spanned<T>,
        raw: &RawPrices,
        dialect: Dialect,
    ) -> Option<TokenPrices> {
        for (name, missing) in [("input", raw.input.is_none()), ("output", raw.output.is_none())] {
            if missing {
                self.say(around.span(), format!("{key} has no {name}"), Some(A_PRICE.to_owned()));
            }
        }
        let mut dollars = |key, value: &Option<Spanned<RawAmount>>| match value {
            Some(value) => self.dollars(key, value, A_PRICE).map(Some),
            None => Some(None),
        };
        let (input, output) = (dollars("input", &raw.input), dollars("output", &raw.output));
        let read = dollars("cache-read", &raw.cache_read);
        let write = dollars("cache-write", &raw.cache_write);
        let hour = dollars("cache-write-hour", &raw.cache_write_hour);
        let (input, output, cache_read) = (input??, output??, read?);
        let said = SaidPrices { input, output, cache_read, cache_write: write?, cache_write_hour: hour? };
        Some(said.whole(dialect))
    }

    /// Models to ask in its place, which there are.
    fn fall_back(&mut self, alias: &str, model: &RawModel, all: &RawModels) -> Vec<String> {
        let mut named = BTreeSet::new();
        for other in &model.fall_back {
            let name = other.as_ref().as_str();
            if !all.contains_key(name) {
                let known: Vec<&str> = all.keys().map(String::as_str).filter(|known| *known != alias).collect();
                let add = format!("[model.{name}] with its provider and name");
                self.unknown(other.span(), ("fall-back", "model", "other models"), name, &known, &add);
            } else if !named.insert(name) {
                self.say(other.span(), format!("fall-back names {name} twice"), Some("keep one of them".to_owned()));
            }
        }
        model.fall_back.iter().map(|name| name.as_ref().clone()).collect()
    }

    /// No fall-back leads back to where it came from.
    fn fall_backs_end(&mut self, raw: &RawModels) {
        let edges = raw.iter().map(|(alias, model)| {
            let known = model.as_ref().fall_back.iter().map(|other| other.as_ref().as_str());
            (alias.as_str(), known.filter(|other| raw.contains_key(*other)).collect())
        });
        let Some(round) = round(&edges.collect()) else {
            return;
        };
        let (Some(first), Some(last)) = (round.first(), round.last()) else {
            return;
        };
        let closing = raw
            .get(*last)
            .and_then(|model| model.as_ref().fall_back.iter().find(|other| other.as_ref() == first).map(Spanned::span));
        let message = format!("fall-back goes round: {}, {first}", round.join(", "));
        self.say(closing.unwrap_or_default(), message, Some(format!("take {first} out of it")));
    }
}

/// Names that lead from one to the next, and from the last to the first, if there are such. Every edge's end is a key.
fn round<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut ended = BTreeSet::new();
    for start in edges.keys() {
        // The way from there, each name with how many of its edges were gone.
        let mut way = vec![(*start, 0)];
        while let Some((name, gone)) = way.last_mut() {
            let Some(next) = edges.get(name).and_then(|others| others.get(*gone)).copied() else {
                ended.insert(*name);
                way.pop();
                continue;
            };
            *gone += 1;
            if ended.contains(next) {
                continue;
            }
            if let Some(at) = way.iter().position(|(name, _)| *name == next) {
                return Some(way.into_iter().skip(at).map(|(name, _)| name).collect());
            }
            way.push((next, 0));
        }
    }
    None
}

#[cfg(test)]
mod tests;
