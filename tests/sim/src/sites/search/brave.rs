//! Brave's format: an index of its own, paid by the search.

use super::{Format, Search, hits};
use crate::answer::Answer;
use crate::site::Request;
use crate::sites::bill::{Amount, Billed};
use crate::sites::desk::Met;
use crate::sites::models::{Refusal, Trouble, header};
use http::Method;
use serde_json::{Value, json};

/// The most hits of one search.
const HITS_MAX: usize = 20;

/// Its format.
pub struct BraveFormat;

/// A service in Brave's format, paid by the search.
pub type Brave = Search<BraveFormat>;

impl Format for BraveFormat {
    const HOST: &'static str = "api.search.brave.com";

    async fn search(search: &Search<Self>, request: &Request) -> Answer {
        if request.http.method() != Method::GET || request.path() != "/res/v1/web/search" {
            return error(404, "NOT_FOUND", "No such resource").answer();
        }
        let key = header(request, "x-subscription-token").unwrap_or_default();
        if key.is_empty() || !search.desk.takes(key) {
            let detail = "The provided subscription token is invalid.";
            return error(422, "SUBSCRIPTION_TOKEN_INVALID", detail).answer();
        }
        let query = request.http.uri().query().unwrap_or_default();
        let of_query = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let words = decoded(of_query("q").unwrap_or_default());
        let count = of_query("count").map_or(Ok(HITS_MAX), str::parse);
        let (Ok(count @ 1..=HITS_MAX), false) = (count, words.trim().is_empty()) else {
            return error(422, "VALIDATION", "Unable to validate request parameter(s)").answer();
        };
        let fault = match search.desk.met().await {
            Met::Trouble(trouble) => return refusal(&trouble).answer(),
            Met::Answer(answer) => return answer,
            Met::Fault(fault) => fault,
        };
        let found = hits(search.seed, &words, count);
        let results = found.iter().map(
            |hit| json!({"type": "search_result", "title": hit.title, "url": hit.url, "description": hit.snippet}),
        );
        let answer = json!({
            "type": "search", "query": {"original": words, "more_results_available": false},
            "web": {"type": "search", "results": results.collect::<Value>(), "family_friendly": true},
        });
        let row = Billed {
            host: request.host.to_string(),
            model: "brave".to_owned(),
            key: key.to_owned(),
            amount: Amount::Credits(1),
            cost: search.price,
            is_whole: false,
        };
        search.desk.send_json(row, fault, &answer).await
    }
}

fn error(status: u16, code: &str, detail: &str) -> Refusal {
    let error = json!({"id": "sim", "status": status, "code": code, "detail": detail, "meta": {}});
    Refusal::new(status, json!({"type": "ErrorResponse", "error": error, "time": 1_764_288_000}))
}

fn refusal(trouble: &Trouble) -> Refusal {
    let limited = "Request rate limit exceeded for plan";
    match trouble {
        Trouble::Busy(after) => error(429, "RATE_LIMITED", limited).retry_after(*after),
        Trouble::BusyInWords(_) | Trouble::RampingUp => error(429, "RATE_LIMITED", limited),
        Trouble::Quota | Trouble::Credit => error(402, "USAGE_LIMIT_EXCEEDED", "Usage limit exceeded"),
        Trouble::Overloaded => error(503, "SERVICE_UNAVAILABLE", "Service unavailable"),
        _ => error(500, "INTERNAL", "Internal error"),
    }
}

/// The text of a query's value.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let escaped = escaped.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let (byte, after) = match (first, escaped) {
            (b'+', _) => (b' ', after),
            (b'%', Some(byte)) => (byte, &after[2..]),
            _ => (first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
