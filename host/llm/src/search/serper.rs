//! Serper's format: Google's results, paid by credits, which its answer tells.

use serde_json::{Value, json};
use tollgate_core::{JsonObject, Timestamp, model::Dialect, service::SearchHit};

use crate::{ProviderError, Reset, WireError, refusal, wire::KeyHeader};

const KEY: KeyHeader = KeyHeader { name: "x-api-key", prefix: "" };

/// Below the base address, how the key is sent, and the body.
pub(super) fn request(query: &str, limit: u32) -> (String, KeyHeader, Option<String>) {
    let body = json!({"q": query, "num": limit});
    let body = body.as_object().map(JsonObject::of);
    ("search".to_owned(), KEY, body.map(|body| body.as_str().to_owned()))
}

/// What was found, and the credits that it took, as far as they are told.
pub(super) fn read(answer: &Value) -> Result<(Vec<SearchHit>, Option<u64>), WireError> {
    // Where nothing is found, the list may be left out; what was searched for never is.
    if !answer.is_object() || (answer.get("organic").is_none() && answer.get("searchParameters").is_none()) {
        return Err(WireError::Malformed("it has neither results nor what was searched for".to_owned()));
    }
    let hits = super::hits(answer.get("organic"), "link", "snippet");
    Ok((hits, answer.get("credits").and_then(Value::as_u64)))
}

/// `{"message": …, "statusCode": …}`. An account without credits is a bad request in its eyes (trap 8).
pub(super) fn refusal(status: u16, headers: &[(&str, &str)], said: &[u8], now: Timestamp) -> ProviderError {
    let body: Value = serde_json::from_slice(said).unwrap_or_default();
    let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
    if (400..=499).contains(&status) && message.to_ascii_lowercase().contains("not enough credits") {
        return ProviderError::Terminal { reason: refusal::tidy(message), until: Reset::Unknown };
    }
    refusal::read(Dialect::OpenAi, status, headers, said, now)
}
