//! `[search.NAME]`, `[speech.ALIAS]`, and what all paid services have in common: address, key, limits and budget.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use serde_spanned::Spanned;
use url::Url;

use super::{Reader, amounts::Zero};
use crate::{
    ids::JobName,
    money::NanoUsd,
    spec::{
        ENDPOINT_SCHEME, SearchProvider, SearchSpec, Secret, ServiceSpec, SpeechProvider, SpeechSpec,
        endpoint::is_this_machine,
        raw::{RawAmount, RawEndpoint, RawMoneyBudget, RawSearch, RawSecret, RawSpeech},
        services::{Allowance, AudioPrice, PART_DEFAULT},
        values::parse_allowance,
    },
};

/// The word for what costs nothing.
const FREE: &str = "free";
/// Shortest and longest piece of audio in one request.
const PART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(3));

/// What a service's section says of it, beside what is its kind's own.
pub(super) struct Said<'a> {
    /// Whose section it is: `model cheap`.
    pub(super) what: &'a str,
    /// Where that stands.
    pub(super) span: Range<usize>,
    pub(super) url: Option<&'a Spanned<String>>,
    pub(super) key: Option<&'a Spanned<RawSecret>>,
    /// Requests a time, by the name of its key.
    pub(super) requests: (&'a str, Option<&'a Spanned<RawAmount>>),
    pub(super) timeout: Option<&'a Spanned<RawAmount>>,
    pub(super) budget: Option<&'a Spanned<RawMoneyBudget>>,
}

/// What holds of a provider where its section says nothing.
pub(super) struct Usual {
    /// Its own base address.
    pub(super) url: &'static str,
    /// The variable that bears its key, as its documentation names it.
    pub(super) key: &'static str,
    pub(super) timeout: Duration,
}

type Endpoints = BTreeMap<String, Spanned<RawEndpoint>>;

impl Reader<'_> {
    pub(super) fn service(&mut self, said: &Said<'_>, usual: &Usual, endpoints: &Endpoints) -> Option<ServiceSpec> {
        let requests = said.requests.1.and_then(|value| self.allowance(said.requests.0, value));
        let timeout = self.duration("timeout", said.timeout, Zero::Refused, usual.timeout);
        let budget = self.money_budget(said.budget);
        let key = said.key.and_then(|key| self.key(said.what, key, usual));
        let url = match said.url {
            Some(url) => self.service_url(said.what, url, endpoints)?,
            None => self.or_say(said.span.clone(), "url", Url::parse(usual.url))?,
        };
        let is_local = url.scheme() == ENDPOINT_SCHEME || url.host_str().is_some_and(is_this_machine);
        if said.key.is_none() && !is_local {
            let help = format!(
                "add key = {{ env = \"{}\" }}, or {{ file = \"PATH\" }}; a server of your own that wants none is an \
                 endpoint: url = \"endpoint://NAME/v1\"",
                usual.key
            );
            self.say(said.span.clone(), format!("{} has no key", said.what), Some(help));
        }
        Some(ServiceSpec { url, key, requests, timeout, budget })
    }

    /// A key that stands elsewhere: a jobs.toml is shown around.
    fn key(&mut self, what: &str, raw: &Spanned<RawSecret>, usual: &Usual) -> Option<Secret> {
        let help = || Some(format!("write key = {{ env = \"{}\" }} or {{ file = \"PATH\" }}", usual.key));
        match self.secret("key", raw) {
            Secret::Literal(_) if matches!(raw.as_ref(), RawSecret::Literal(_)) => {
                self.say(raw.span(), format!("the key of {what} stands in the file itself"), help());
                None
            }
            Secret::Env(name) if name.trim().is_empty() => {
                self.say(raw.span(), format!("the key of {what} is in a variable without a name"), help());
                None
            }
            secret => Some(secret),
        }
    }

    fn service_url(&mut self, what: &str, raw: &Spanned<String>, endpoints: &Endpoints) -> Option<Url> {
        let parsed = Url::parse(raw.as_ref()).ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
        let is_known = |url: &Url| matches!(url.scheme(), "http" | "https" | ENDPOINT_SCHEME);
        let Some(url) = parsed.filter(is_known) else {
            let help = "write its base address, such as \"https://api.groq.com/openai/v1\", or \"endpoint://NAME/v1\"";
            self.say(raw.span(), format!("the url of {what} is no address"), Some(help.to_owned()));
            return None;
        };
        let wrong = if !url.username().is_empty() || url.password().is_some() {
            Some(("has a user or password", "leave it out, and write key = { env = \"NAME\" }"))
        } else if url.query().is_some() || url.fragment().is_some() {
            Some(("has a query or a fragment", "leave it out: the host says what it asks for"))
        } else if url.scheme() == ENDPOINT_SCHEME && url.port().is_some() {
            Some(("names an endpoint with a port", "leave it out: the endpoint has its own"))
        } else {
            None
        };
        if let Some((wrong, help)) = wrong {
            self.say(raw.span(), format!("the url of {what} {wrong}"), Some(help.to_owned()));
            return None;
        }
        let host = url.host_str().unwrap_or_default();
        if url.scheme() == ENDPOINT_SCHEME && !endpoints.contains_key(host) {
            let known: Vec<&str> = endpoints.keys().map(String::as_str).collect();
            let add = format!("[endpoint.{host}] with its url");
            self.unknown(raw.span(), ("url", "endpoint", "endpoints"), host, &known, &add);
            return None;
        }
        Some(url)
    }

    pub(super) fn allowance(&mut self, key: &str, value: &Spanned<RawAmount>) -> Option<Allowance> {
        self.or_say(value.span(), key, parse_allowance(&value.as_ref().text()))
    }

    /// A model's name for its provider.
    pub(super) fn provider_s_name(&mut self, what: &str, name: &Spanned<String>) -> String {
        let text = name.as_ref();
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let help = "write it as its provider does, such as \"gemini-flash-lite\"".to_owned();
            self.say(name.span(), format!("the name of {what} is {text:?}"), Some(help));
        }
        text.clone()
    }

    pub(super) fn searches(
        &mut self,
        raw: &BTreeMap<String, Spanned<RawSearch>>,
        endpoints: &Endpoints,
    ) -> Vec<SearchSpec> {
        raw.iter().filter_map(|(name, search)| self.search(name, search, endpoints)).collect()
    }

    fn search(&mut self, name: &str, raw: &Spanned<RawSearch>, endpoints: &Endpoints) -> Option<SearchSpec> {
        let (search, span, what) = (raw.as_ref(), raw.span(), format!("search {name}"));
        let named = self.or_say(span.clone(), &format!("search {name:?}"), JobName::new(name));
        let words = SearchProvider::ALL.map(|provider| (provider.as_str(), provider));
        let provider = self.word("provider", &search.provider, &words);
        let said = Said {
            what: &what,
            span: span.clone(),
            url: search.url.as_ref(),
            key: search.key.as_ref(),
            requests: ("rate", search.rate.as_ref()),
            timeout: search.timeout.as_ref(),
            budget: search.budget.as_ref(),
        };
        let (url, key) = match provider.unwrap_or(SearchProvider::Serper) {
            SearchProvider::Serper => ("https://google.serper.dev", "SERPER_API_KEY"),
            SearchProvider::Brave => ("https://api.search.brave.com/res/v1", "BRAVE_API_KEY"),
        };
        let service = self.service(&said, &Usual { url, key, timeout: Duration::from_secs(30) }, endpoints);
        let help = "write what a query costs, such as \"0.001 USD\", or \"free\"";
        let price = search.price.as_ref().and_then(|price| match price.as_ref().text().as_ref() {
            FREE => Some(NanoUsd::ZERO),
            _ => self.dollars("price", price, help),
        });
        named?;
        Some(SearchSpec { name: name.to_owned(), provider: provider?, service: service?, price, at: self.place(span) })
    }

    pub(super) fn speeches(
        &mut self,
        raw: &BTreeMap<String, Spanned<RawSpeech>>,
        endpoints: &Endpoints,
    ) -> Vec<SpeechSpec> {
        raw.iter().filter_map(|(alias, speech)| self.speech(alias, speech, endpoints)).collect()
    }

    fn speech(&mut self, alias: &str, raw: &Spanned<RawSpeech>, endpoints: &Endpoints) -> Option<SpeechSpec> {
        let (speech, span, what) = (raw.as_ref(), raw.span(), format!("speech {alias}"));
        let named = self.or_say(span.clone(), &format!("speech {alias:?}"), JobName::new(alias));
        let words = SpeechProvider::ALL.map(|provider| (provider.as_str(), provider));
        let provider = self.word("provider", &speech.provider, &words);
        let said = Said {
            what: &what,
            span: span.clone(),
            url: speech.url.as_ref(),
            key: speech.key.as_ref(),
            requests: ("requests", speech.requests.as_ref()),
            timeout: speech.timeout.as_ref(),
            budget: speech.budget.as_ref(),
        };
        let usual = Usual { url: "https://api.openai.com/v1", key: "OPENAI_API_KEY", timeout: Duration::from_mins(5) };
        let service = self.service(&said, &usual, endpoints);
        let price = speech.price.as_ref().and_then(|price| self.audio_price(price));
        let part = self.duration("part", speech.part.as_ref(), Zero::Refused, PART_DEFAULT);
        if let Some(value) = speech.part.as_ref().filter(|_| !(PART.0..=PART.1).contains(&part)) {
            self.say(value.span(), format!("part is {}", value.as_ref()), Some("write 1s to 3h".to_owned()));
        }
        let name = self.provider_s_name(&what, &speech.name);
        named?;
        Some(SpeechSpec {
            alias: alias.to_owned(),
            provider: provider?,
            name,
            service: service?,
            price,
            part,
            at: self.place(span),
        })
    }

    /// `0.04 USD/h`.
    fn audio_price(&mut self, value: &Spanned<RawAmount>) -> Option<AudioPrice> {
        let text = value.as_ref().text();
        if text == FREE {
            return Some(AudioPrice { money: NanoUsd::ZERO, seconds: 1, seconds_min: 0 });
        }
        let found = text.split_once('/').and_then(|(money, unit)| {
            let seconds = match unit.trim() {
                "h" => 3_600,
                "m" | "min" => 60,
                "s" => 1,
                _ => return None,
            };
            Some(AudioPrice { money: money.parse().ok()?, seconds, seconds_min: 0 })
        });
        if found.is_none() {
            let help = "write what an hour of audio costs, such as \"0.04 USD/h\", or \"free\"; h, min and s are known";
            self.say(value.span(), format!("price is {}", value.as_ref()), Some(help.to_owned()));
        }
        found
    }
}

#[cfg(test)]
mod tests;
