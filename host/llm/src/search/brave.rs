//! Brave's format: an index of its own, paid by the query. Its headers say what is left of each of its windows.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_core::{Timestamp, http::RETRY_AFTER_MAX, model::Dialect, service::SearchHit};

use crate::{ProviderError, Reset, WireError, refusal, wire::KeyHeader};

const KEY: KeyHeader = KeyHeader { name: "x-subscription-token", prefix: "" };
/// A window that is longer is a plan's quota, and no pace.
const PACE_WINDOW_MAX: Duration = Duration::from_hours(1);

/// Below the base address, how the key is sent, and no body. Pages only, and their words without marks.
pub(super) fn request(query: &str, limit: u32) -> (String, KeyHeader, Option<String>) {
    let query = encoded(query);
    let path = format!("web/search?q={query}&count={limit}&result_filter=web&text_decorations=false");
    (path, KEY, None)
}

/// What was found: without a list of pages, nothing.
pub(super) fn read(answer: &Value) -> Result<Vec<SearchHit>, WireError> {
    if answer.get("type").and_then(Value::as_str) != Some("search") {
        return Err(WireError::Malformed("it isn't of type `search`".to_owned()));
    }
    Ok(super::hits(answer.pointer("/web/results"), "url", "description"))
}

/// `{"type": "ErrorResponse", "error": {"code", "detail", "meta"}}`.
pub(super) fn refusal(status: u16, headers: &[(&str, &str)], said: &[u8], now: Timestamp) -> ProviderError {
    let body: Value = serde_json::from_slice(said).unwrap_or_default();
    let Some(error) = body.get("error").filter(|error| error.is_object()) else {
        return refusal::read(Dialect::OpenAi, status, headers, said, now);
    };
    let text = |field: &str| error.get(field).and_then(Value::as_str).unwrap_or_default();
    let (code, detail) = (text("code"), refusal::tidy(text("detail")));
    let said = if detail.is_empty() { code } else { &detail };
    // A token that it doesn't know is a request that it can't process in its eyes: 422.
    if code.starts_with("SUBSCRIPTION_") {
        return ProviderError::Auth(format!("{said} ({status})"));
    }
    let empty = status == 429 || status == 402;
    let (quota, pace) = windows(headers);
    if empty && (quota.is_some() || status == 402 || is_used_up(error)) {
        let until = quota.map_or(Reset::Unknown, Reset::In);
        return ProviderError::Terminal { reason: said.to_owned(), until };
    }
    let usual = json!({"error": {"message": said, "code": code}}).to_string();
    match refusal::read(Dialect::OpenAi, status, headers, usual.as_bytes(), now) {
        ProviderError::RateLimited { after } => ProviderError::RateLimited { after: after.or(pace) },
        other => other,
    }
}

/// Of the windows that are used up, the longest wait: of quotas, and of paces. The headers name all windows in one
/// order, `X-RateLimit-Policy: 1;w=1, 2000;w=2592000`.
fn windows(headers: &[(&str, &str)]) -> (Option<Duration>, Option<Duration>) {
    let list = |wanted: &str| {
        let value = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map_or("", |(_, value)| value);
        value.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>()
    };
    let (left, resets) = (list("x-ratelimit-remaining"), list("x-ratelimit-reset"));
    let policies = list("x-ratelimit-policy");
    let (mut quota, mut pace) = (None, None);
    for (at, (left, reset)) in left.iter().zip(&resets).enumerate() {
        let Some(wait) = reset.parse().ok().map(Duration::from_secs).filter(|_| left == "0") else { continue };
        let window = policies.get(at).and_then(|policy| policy.split_once("w=")?.1.parse().ok());
        let window = window.map_or(wait, Duration::from_secs);
        let longest = if window > PACE_WINDOW_MAX { &mut quota } else { &mut pace };
        *longest = (*longest).max(Some(wait.min(RETRY_AFTER_MAX)));
    }
    (quota, pace)
}

/// Its own figures say that the plan's quota is gone.
fn is_used_up(error: &Value) -> bool {
    let figure = |field: &str| error.get("meta")?.get(field)?.as_u64();
    let (limit, current) = (figure("quota_limit").filter(|limit| *limit > 0), figure("quota_current"));
    limit.zip(current).is_some_and(|(limit, current)| current >= limit)
}

/// A text as it stands in a query's value.
fn encoded(text: &str) -> String {
    let hex = |digit: u8| char::from(b"0123456789ABCDEF"[usize::from(digit)]);
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.extend(['%', hex(byte >> 4), hex(byte & 0xf)]),
        }
    }
    encoded
}
