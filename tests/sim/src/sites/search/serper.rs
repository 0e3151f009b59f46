//! Serper's format: Google's results, paid by credits.

use super::hits;
use crate::answer::Answer;
use crate::site::{Answering, Request, Site};
use crate::sites::bill::{Amount, Billed, sum};
use crate::sites::desk::{Desk, Met};
use crate::sites::models::{ModelFault, Refusal, Trouble, UsageLie, header};
use http::Method;
use serde_json::{Value, json};
use tollgate_core::money::NanoUsd;

/// Hits that one credit pays for; more cost a second one.
const PER_CREDIT: u64 = 10;
/// The most hits of one search.
const HITS_MAX: u64 = 100;
/// Hits where nobody says how many.
const HITS: u64 = 10;

/// The service.
pub struct Serper {
    seed: u64,
    per_credit: NanoUsd,
    desk: Desk,
}

impl Serper {
    /// The host name of the real one.
    pub const HOST: &'static str = "google.serper.dev";

    /// Over the catalogue of a seed, at this price of a credit; it takes any key.
    pub fn new(seed: u64, per_credit: NanoUsd) -> Self {
        Self { seed, per_credit, desk: Desk::default() }
    }

    /// The same, which takes these keys alone.
    #[must_use]
    pub fn keys<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.desk.set_keys(keys);
        self
    }

    /// What goes wrong with the next requests, one after the other. `Usage`: no credits are told, or null, or 0.
    pub fn next(&self, faults: impl IntoIterator<Item = ModelFault>) {
        self.desk.next(faults);
    }

    /// What was billed, a row for each search that was answered.
    pub fn bill(&self) -> Vec<Billed> {
        self.desk.bill()
    }

    /// What all of it costs.
    pub fn sum(&self) -> NanoUsd {
        sum(&self.bill())
    }

    async fn search(&self, request: &Request) -> Answer {
        if request.http.method() != Method::POST || request.path() != "/search" {
            return error(404, "Not Found").answer();
        }
        let key = header(request, "x-api-key").unwrap_or_default();
        if key.is_empty() || !self.desk.takes(key) {
            return error(403, "Unauthorized.").answer();
        }
        let Ok(body) = serde_json::from_slice::<Value>(request.http.body()) else {
            return error(400, "Invalid JSON").answer();
        };
        let Some(query) = body["q"].as_str().filter(|query| !query.trim().is_empty()) else {
            return error(400, "Missing query parameter").answer();
        };
        let fault = match self.desk.met().await {
            Met::Trouble(trouble) => return refusal(&trouble).answer(),
            Met::Answer(answer) => return answer,
            Met::Fault(fault) => fault,
        };
        let num = body["num"].as_u64().unwrap_or(HITS).clamp(1, HITS_MAX);
        let credits = if num > PER_CREDIT { 2 } else { 1 };
        let found = hits(self.seed, query, usize::try_from(num).unwrap_or(usize::MAX));
        let organic = found
            .iter()
            .enumerate()
            .map(|(at, hit)| json!({"title": hit.title, "link": hit.url, "snippet": hit.snippet, "position": at + 1}));
        let parameters = json!({"q": query, "type": "search", "num": num, "engine": "google"});
        let mut answer =
            json!({"searchParameters": parameters, "organic": organic.collect::<Value>(), "credits": credits});
        match fault.as_ref().and_then(ModelFault::lie) {
            Some(UsageLie::Missing) => drop(answer.as_object_mut().and_then(|answer| answer.remove("credits"))),
            Some(UsageLie::Null) => answer["credits"] = Value::Null,
            Some(UsageLie::Zero) => answer["credits"] = json!(0),
            Some(UsageLie::CachedOverInput) | None => {}
        }
        let row = Billed {
            host: request.host.to_string(),
            model: "serper".to_owned(),
            key: key.to_owned(),
            amount: Amount::Credits(credits),
            cost: self.per_credit.checked_mul(credits).unwrap_or(NanoUsd(u64::MAX)),
            is_whole: false,
        };
        self.desk.send_json(row, fault, &answer).await
    }
}

impl Site for Serper {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move { self.search(&request).await })
    }

    fn reset(&self) {
        self.desk.reset();
    }

    fn bill(&self) -> Vec<Billed> {
        self.desk.bill()
    }
}

fn error(status: u16, message: &str) -> Refusal {
    Refusal::new(status, json!({"message": message, "statusCode": status}))
}

fn refusal(trouble: &Trouble) -> Refusal {
    match trouble {
        Trouble::Busy(after) => error(429, "Too many requests").retry_after(*after),
        Trouble::BusyInWords(after) => error(429, &format!("Too many requests, retry in {}s", after.as_secs_f64())),
        Trouble::RampingUp => error(429, "Too many requests"),
        Trouble::Quota | Trouble::Credit => error(400, "Not enough credits"),
        Trouble::Overloaded => error(503, "Service Unavailable"),
        _ => error(500, "Internal Server Error"),
    }
}
