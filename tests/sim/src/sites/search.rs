//! Web search over the sim's own catalogue, in the formats of two services, with what they would have billed.
//!
//! | service | host | request |
//! |---|---|---|
//! | [`Serper`] | `google.serper.dev` | POST `/search`, `X-API-KEY`, `{"q", "num"}` |
//! | [`Brave`] | `api.search.brave.com` | GET `/res/v1/web/search?q=&count=`, `X-Subscription-Token` |
//!
//! Serper answers `{"organic": [{"title", "link", "snippet", "position"}], "credits"}`, Brave
//! `{"web": {"results": [{"title", "url", "description"}]}}`.
//!
//! Hits are items of [`catalogue`], the best first, always the same for a query; there are always some. A
//! search that is answered is billed, whether the answer arrives or not; a refusal costs nothing.

mod brave;
mod serper;

pub use brave::{Brave, BraveFormat};
pub use serper::{Serper, SerperFormat};

use super::bill::Billed;
use super::catalogue::{self, ITEMS};
use super::desk::Desk;
use crate::answer::Answer;
use crate::site::{Answering, Request, Site};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use tollgate_core::money::NanoUsd;

/// How a service is asked, and answers.
pub trait Format: Send + Sync + Sized + 'static {
    /// The host name of the real one.
    const HOST: &'static str;

    /// The answer to a request.
    fn search(search: &Search<Self>, request: &Request) -> impl Future<Output = Answer> + Send;
}

/// A search service in somebody's format.
pub struct Search<F> {
    seed: u64,
    /// Of a credit.
    price: NanoUsd,
    /// What goes wrong next, and what was billed: a row for each search that was answered.
    pub desk: Desk,
    format: PhantomData<F>,
}

impl<F: Format> Search<F> {
    /// The host name of the real one.
    pub const HOST: &'static str = F::HOST;

    /// Over the catalogue of a seed, at this price of a credit; it takes any key.
    pub fn new(seed: u64, price: NanoUsd) -> Self {
        Self { seed, price, desk: Desk::default(), format: PhantomData }
    }

    /// The same, which takes these keys alone.
    #[must_use]
    pub fn keys<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.desk.set_keys(keys);
        self
    }
}

impl<F: Format> Site for Search<F> {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move { F::search(self, &request).await })
    }

    fn reset(&self) {
        self.desk.reset();
    }

    fn bill(&self) -> Vec<Billed> {
        self.desk.bill()
    }
}

/// One page that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its title.
    pub title: String,
    /// Its address.
    pub url: String,
    /// What it says where the query fits.
    pub snippet: String,
}

/// What a query finds in the catalogue of a seed: the items that share most words with it, the best first.
pub fn hits(seed: u64, query: &str, count: usize) -> Vec<Hit> {
    let query = query.to_lowercase();
    let wanted = words(&query);
    let mut ranked: Vec<(Reverse<usize>, u64, Hit)> = (0..ITEMS)
        .map(|number| {
            let facts = catalogue::facts(seed, number);
            let snippet = format!("{} {}, EUR {:.2}. {}", facts.sku, facts.title, facts.price, facts.prose[0]);
            let (title, text) = (facts.title.to_lowercase(), snippet.to_lowercase());
            // A title's words stand in the snippet as well: they count twice.
            let shared = wanted.intersection(&words(&title)).count() + wanted.intersection(&words(&text)).count();
            let mut hasher = DefaultHasher::new();
            (&query, number).hash(&mut hasher);
            let url = format!("https://{}/item/{number}", catalogue::HOST);
            (Reverse(shared), hasher.finish(), Hit { title: facts.title, url, snippet })
        })
        .collect();
    ranked.sort_by_key(|(shared, chance, _)| (*shared, *chance));
    ranked.into_iter().take(count).map(|(.., hit)| hit).collect()
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}
