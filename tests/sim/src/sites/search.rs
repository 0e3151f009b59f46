//! Web search over the sim's own catalogue, in the formats of two services, with what they would have billed.
//!
//! | service | host | request | answer |
//! |---|---|---|---|
//! | [`Serper`] | `google.serper.dev` | POST `/search`, `X-API-KEY`, `{"q", "num"}` | `{"organic": [{"title", "link", "snippet", "position"}], "credits"}` |
//! | [`Brave`] | `api.search.brave.com` | GET `/res/v1/web/search?q=&count=`, `X-Subscription-Token` | `{"web": {"results": [{"title", "url", "description"}]}}` |
//!
//! Hits are items of [`catalogue`], the best first, always the same for a query; there are always some. A
//! search that is answered is billed, whether the answer arrives or not; a refusal costs nothing.

mod brave;
mod serper;

pub use brave::Brave;
pub use serper::Serper;

use super::catalogue::{self, ITEMS};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

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
