//! JSON answers: which of them are nothing but word of an error, and what they say.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{markup::Line, text::normalised};

/// Largest body looked at as JSON, in bytes: what only tells of an error is short.
const BYTES_MAX: usize = 16 << 10;
/// Longest text of an error looked at, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Keys, in lower case and without `_` and `-`, of objects that only tell how a request went.
const KEYS: &[&str] = &[
    "ok",
    "success",
    "status",
    "statuscode",
    "state",
    "code",
    "error",
    "errors",
    "errorcode",
    "errcode",
    "errno",
    "errmsg",
    "errormessage",
    "errordescription",
    "message",
    "messages",
    "msg",
    "detail",
    "details",
    "title",
    "type",
    "reason",
    "description",
    "note",
    "information",
    "info",
    "hint",
    "help",
    "data",
    "result",
    "results",
    "retryafter",
    "retryafterms",
    "requestid",
    "traceid",
    "timestamp",
    "time",
    "path",
    "instance",
    "documentationurl",
    "url",
    "proxyerror",
    "zone",
    "extensions",
];

/// What a JSON answer is to guards.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// It is `null`.
    pub(super) is_null: bool,
    /// It tells of an error, and has nothing besides.
    pub(super) is_error: bool,
    /// It says of itself, in so many words, that the request was blocked.
    pub(super) is_blocked: bool,
    /// It is the proxy's.
    pub(super) is_proxys: bool,
    /// What it says, a line for each of its members.
    pub(super) says: Vec<Line>,
    /// How long to wait, in a field.
    pub(super) after: Option<Duration>,
}

/// Reads a body as JSON; absent, if it is none, or is too long to be word of an error.
pub(super) fn read(body: &str) -> Option<Envelope> {
    let body = body.trim();
    if body.len() > BYTES_MAX || !(body.starts_with('{') || body == "null") {
        return None;
    }
    let mut envelope = Envelope::default();
    match serde_json::from_str(body).ok()? {
        Value::Object(members) => {
            envelope.is_error = tells_only_of_an_error(&members);
            envelope.is_blocked = members.get("blocked") == Some(&Value::Bool(true)) && is_flat(&members);
            envelope.is_proxys = members.keys().any(|key| plain(key) == "proxyerror");
            if envelope.is_error || envelope.is_blocked {
                for (key, value) in &members {
                    envelope.listen(key, value);
                }
            }
        }
        _ => envelope.is_null = true,
    }
    Some(envelope)
}

fn plain(key: &str) -> String {
    key.chars().filter(|char| !matches!(char, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Nothing but keys of an envelope, no data, and no mark of success.
fn tells_only_of_an_error(members: &Map<String, Value>) -> bool {
    let is_success = |key: &str, value: &Value| match (key, value) {
        ("ok" | "success", Value::Bool(yes)) => *yes,
        ("status" | "code" | "msg" | "message", Value::String(word)) => {
            matches!(word.as_str(), "ok" | "OK" | "success")
        }
        ("status" | "code" | "statuscode" | "errcode" | "errno", Value::Number(code)) => {
            matches!(code.as_u64(), Some(0 | 200))
        }
        ("error" | "errors", Value::Null | Value::Bool(false)) => true,
        ("error", Value::String(word)) => word.is_empty(),
        ("data" | "result" | "results", value) => {
            !matches!(value, Value::Null | Value::Bool(false)) && !is_empty(value)
        }
        _ => false,
    };
    !members.is_empty()
        && members.iter().all(|(key, value)| {
            let key = plain(key);
            KEYS.contains(&key.as_str()) && !is_success(&key, value)
        })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn is_flat(members: &Map<String, Value>) -> bool {
    members.values().all(|value| !value.is_object() && !value.is_array())
}

impl Envelope {
    /// Takes in what a member says. serde bounds how deep they are nested.
    fn listen(&mut self, key: &str, value: &Value) {
        if plain(key).starts_with("retryafter")
            && let Some(number) = value.as_f64().filter(|number| *number >= 0.0)
        {
            let seconds = if plain(key).ends_with("ms") { number / 1_000.0 } else { number };
            self.after = Duration::try_from_secs_f64(seconds).ok();
        }
        match value {
            Value::String(text) => self.say(text),
            Value::Object(members) => members.iter().for_each(|(key, value)| self.listen(key, value)),
            Value::Array(list) => list.iter().for_each(|value| self.listen(key, value)),
            Value::Bool(true) => self.say(key),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn say(&mut self, text: &str) {
        let told: usize = self.says.iter().map(|line| line.text.len()).sum();
        if told < TEXT_BYTES_MAX {
            self.says.push(Line { text: words(text), heading: false });
        }
    }
}

/// A text, or a name such as `rate_limited` or `AccessDenied`, as words.
pub(super) fn words(text: &str) -> String {
    if text.contains(' ') {
        return normalised(text);
    }
    let mut parted = String::with_capacity(text.len() + 8);
    let mut was_lower = false;
    for char in text.chars() {
        if char.is_uppercase() && was_lower {
            parted.push(' ');
        }
        was_lower = char.is_lowercase();
        parted.push(if matches!(char, '_' | '-' | '/' | '.') { ' ' } else { char });
    }
    normalised(&parted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_of_an_error_is_told_from_data() {
        let is_error = |body: &str| read(body).is_some_and(|envelope| envelope.is_error);
        assert!(is_error("{\"error\":\"rate_limited\",\"retry_after\":37}"));
        assert!(is_error("{\"data\":null,\"errors\":[{\"message\":\"x\"}]}"));
        assert!(!is_error("{\"status\":\"ok\",\"message\":\"Rate limit raised\"}"));
        assert!(!is_error("{\"data\":{\"a\":1},\"errors\":[{\"message\":\"x\"}]}"));
        assert!(!is_error("{\"id\":1,\"error\":\"rate_limited\"}"));
        assert!(!is_error("{}") && !is_error("[]") && read("null").unwrap().is_null);
        assert_eq!(words("AccessDenied"), "access denied");
        assert_eq!(read("{\"error\":\"x\",\"retryAfterMs\":1500}").unwrap().after, Some(Duration::from_millis(1_500)));
    }
}
