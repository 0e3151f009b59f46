//! Serper's format: Google's results, paid by credits.

use super::{Format, Search, hits};
use crate::answer::Answer;
use crate::site::Request;
use crate::sites::bill::{Amount, Billed};
use crate::sites::desk::Met;
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

/// Its format.
pub struct SerperFormat;

/// A service in Serper's format, paid by the credit.
pub type Serper = Search<SerperFormat>;

impl Format for SerperFormat {
    const HOST: &'static str = "google.serper.dev";

    async fn search(search: &Search<Self>, request: &Request) -> Answer {
        if request.http.method() != Method::POST || request.path() != "/search" {
            return error(404, "Not Found").answer();
        }
        let key = header(request, "x-api-key").unwrap_or_default();
        if key.is_empty() || !search.desk.takes(key) {
            return error(403, "Unauthorized.").answer();
        }
        let Ok(body) = serde_json::from_slice::<Value>(request.http.body()) else {
            return error(400, "Invalid JSON").answer();
        };
        let Some(query) = body["q"].as_str().filter(|query| !query.trim().is_empty()) else {
            return error(400, "Missing query parameter").answer();
        };
        let fault = match search.desk.met().await {
            Met::Trouble(trouble) => return refusal(&trouble).answer(),
            Met::Answer(answer) => return answer,
            Met::Fault(fault) => fault,
        };
        let num = body["num"].as_u64().unwrap_or(HITS).clamp(1, HITS_MAX);
        let credits = if num > PER_CREDIT { 2 } else { 1 };
        let found = hits(search.seed, query, usize::try_from(num).unwrap_or(usize::MAX));
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
            cost: search.price.checked_mul(credits).unwrap_or(NanoUsd(u64::MAX)),
            is_whole: false,
        };
        search.desk.send_json(row, fault, &answer).await
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
