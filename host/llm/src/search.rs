//! Web search with one behaviour, whoever searches and whichever model asks: the query goes out once, is paid by the
//! credit, and what was found is kept with it.

mod brave;
mod serper;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_core::{
    Timestamp,
    ledger::{Cost, PaidKind, Units},
    model::Tokens,
    service::{SEARCH_HITS_MAX, SearchHit, ServiceError},
    spec::{SearchProvider, SearchSpec},
};

use crate::{
    Cooling, Prices, ProviderError, WireError,
    call::{self, Bill, Calls, Ended, Exchange, Payee, Request, Whole},
    hosting::{Kept, Purse, Refused, Searches, Sending},
    prices::SearchPrice,
};

/// Longest query, in bytes: no provider takes as much.
pub const QUERY_BYTES_MAX: usize = 2_000;
/// Most bytes of an answer: that of the most hits has a tenth of it.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Hits of a query that a model asks: one page of results, and one credit.
const MODEL_HITS: u32 = 10;

/// One search of jobs.toml.
pub struct Search {
    spec: SearchSpec,
    price: Option<SearchPrice>,
    payee: Arc<Payee>,
    calls: Arc<Calls>,
}

/// What a query found, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Found {
    /// What was searched for.
    query: String,
    hits: Vec<SearchHit>,
    /// What it took, by the provider's own word; absent: it says nothing of it.
    credits: Option<u64>,
}

impl Search {
    /// `calls`: those of the host's models, of which searches are a part ([`Models::calls`](crate::Models::calls)).
    #[must_use]
    pub fn new(spec: &SearchSpec, prices: &Prices, calls: &Arc<Calls>) -> Arc<Self> {
        let provider = spec.provider.as_str();
        let known = prices.search(provider).copied();
        let own = |credit| SearchPrice { credit, results_a_credit: known.and_then(|known| known.results_a_credit) };
        let paid = call::paid(PaidKind::Search, provider, &spec.name, provider);
        Arc::new(Self {
            price: spec.price.map(own).or(known),
            payee: Arc::new(Payee::new(paid, &spec.service, None)),
            calls: calls.clone(),
            spec: spec.clone(),
        })
    }

    /// Until when it is left alone, and why; absent: it isn't.
    #[must_use]
    pub fn left_alone(&self) -> Option<Cooling> {
        self.calls.left_alone(&self.payee)
    }

    /// Searches the web: at most `limit` hits, the best first; none, if nothing was found, which is billed all the
    /// same. What the task has paid for already isn't asked again.
    ///
    /// # Errors
    /// The query can't be sent or paid for, the provider refused it, or its answer can't be read.
    pub async fn web(&self, query: &str, limit: u32, purse: &Arc<dyn Purse>) -> Result<Vec<SearchHit>, Refused> {
        let request = self.request(query.trim(), limit)?;
        let exchange = SearchExchange {
            provider: self.spec.provider,
            price: self.price,
            query: query.trim().to_owned(),
            limit,
            body: Whole::up_to(ANSWER_BYTES_MAX),
        };
        let ended = call::run(&self.calls, &self.payee, request, exchange, purse).await;
        let Ended { answer, .. } = ended.map_err(|unanswered| unanswered.refused)?;
        Ok(answer.hits)
    }

    /// What a model's searches are answered by, paid from that purse.
    #[must_use]
    pub fn of_models(self: &Arc<Self>, purse: Arc<dyn Purse>) -> Arc<dyn Searches> {
        Arc::new(OfModels { search: self.clone(), purse })
    }

    fn request(&self, query: &str, limit: u32) -> Result<Request, Refused> {
        let wrong = |text: String| Refused::plain(ServiceError::InvalidRequest(text));
        if query.is_empty() || query.len() > QUERY_BYTES_MAX {
            return Err(wrong(format!("a query has 1 to {QUERY_BYTES_MAX} bytes; this one has {}", query.len())));
        }
        if !(1..=SEARCH_HITS_MAX).contains(&limit) {
            return Err(wrong(format!("a search gives 1 to {SEARCH_HITS_MAX} hits, not {limit}")));
        }
        let service = &self.spec.service;
        let (path, key, body) = match self.spec.provider {
            SearchProvider::Serper => serper::request(query, limit),
            SearchProvider::Brave => brave::request(query, limit),
        };
        let digest = call::digest(service, &path, body.as_deref().unwrap_or_default());
        let sending = Sending {
            service: self.payee.service.clone(),
            path: path.into(),
            headers: vec![("accept", "application/json")],
            key,
            body: body.map(|body| (body.into(), "application/json".into())),
            time: service.timeout,
            time_min: call::time_min(service.timeout),
            body_max: ANSWER_BYTES_MAX as u64,
        };
        let estimate = self.price.map_or(Cost::Unpriced, |price| Cost::Known(price.of_results(limit)));
        Ok(Request { sending, digest, estimate, tokens: 0, kept: Kept::Safe })
    }
}

struct OfModels {
    search: Arc<Search>,
    purse: Arc<dyn Purse>,
}

impl Searches for OfModels {
    fn search(&self, query: String) -> BoxFuture<'_, Result<Vec<SearchHit>, Refused>> {
        Box::pin(async move { self.search.web(&query, MODEL_HITS, &self.purse).await })
    }
}

struct SearchExchange {
    provider: SearchProvider,
    price: Option<SearchPrice>,
    query: String,
    limit: u32,
    body: Whole,
}

impl Exchange for SearchExchange {
    type Answer = Found;

    fn refusal(&self, status: u16, headers: &[(&str, &str)], said: &[u8], now: Timestamp) -> ProviderError {
        match self.provider {
            SearchProvider::Serper => serper::refusal(status, headers, said, now),
            SearchProvider::Brave => brave::refusal(status, headers, said, now),
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.body.feed(bytes)
    }

    fn end(&mut self) -> Result<Found, WireError> {
        let answer = self.body.json()?;
        let (mut hits, credits) = match self.provider {
            SearchProvider::Serper => serper::read(&answer)?,
            SearchProvider::Brave => (brave::read(&answer)?, None),
        };
        hits.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        Ok(Found { query: self.query.clone(), hits, credits })
    }

    /// A search is billed once it is answered; none is billed before.
    fn has_begun(&self) -> bool {
        false
    }

    /// It comes in one piece: nothing is known of a part.
    fn cost_of_part(&self) -> Cost {
        Cost::Unpriced
    }

    fn bill(&self, found: &Found, estimate: Cost) -> Bill {
        let held = self.price.map_or(1, |price| price.credits(self.limit));
        let (credits, is_estimate) = match (self.provider, found.credits) {
            // A search that was answered took something, so 0 is no count (trap 4).
            (_, Some(credits)) if credits > 0 => (credits, false),
            (SearchProvider::Serper, _) => (held, true),
            // It bills queries, and says nothing of them.
            (SearchProvider::Brave, _) => (held, false),
        };
        let counted = self.price.map_or(Cost::Unpriced, |price| Cost::Known(price.of_credits(credits)));
        let cost = if is_estimate { estimate } else { counted };
        let units = Units { credits, ..Units::default() };
        Bill { cost, is_estimate, tokens: Tokens::default(), units, provider_request: None }
    }
}

/// Hits of a list, by the names of their fields. What has no address is no page.
fn hits(list: Option<&Value>, url: &str, snippet: &str) -> Vec<SearchHit> {
    let text = |hit: &Value, field: &str| hit.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let hit = |hit: &Value| SearchHit { title: text(hit, "title"), url: text(hit, url), snippet: text(hit, snippet) };
    let hits = list.and_then(Value::as_array).into_iter().flatten().map(hit);
    hits.filter(|hit| !hit.url.is_empty()).collect()
}

#[cfg(test)]
mod tests;
