//! `generateContent`, as Gemini speaks it.

mod read;

use super::Models;
use super::asked::Asked;
use super::format::{Format, Refusal, Reply, Trouble, pieces};
use super::said::Ending;
use crate::site::Request;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// The format.
pub(super) struct Gemini;

/// What Gemini says to wait for where the day has to end.
const QUOTA_WAIT: Duration = Duration::new(45, 837_906_927);

/// A body of Google's errors.
fn error(code: u16, status: &str, message: &str, details: Value) -> Refusal {
    let mut error = json!({"code": code, "message": message, "status": status});
    if !details.is_null() {
        error["details"] = details;
    }
    Refusal::new(code, json!({ "error": error }))
}

/// 400.
fn invalid(message: &str) -> Refusal {
    error(400, "INVALID_ARGUMENT", message, Value::Null)
}

/// 429, of a limit by the minute or by the day.
fn exhausted(model: &str, period: &str, after: Option<Duration>, is_in_words: bool) -> Refusal {
    let metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests";
    let mut message = format!(
        "You exceeded your current quota, please check your plan and billing details. For more information on this \
         error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.\n\
         * Quota exceeded for metric: {metric}, limit: 20, model: {model}"
    );
    let links = json!([{"description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs/rate-limits"}]);
    let violation = json!({
        "quotaMetric": metric, "quotaId": format!("GenerateRequests{period}PerProjectPerModel-FreeTier"),
        "quotaDimensions": {"location": "global", "model": model}, "quotaValue": "20",
    });
    let mut details = vec![
        json!({"@type": "type.googleapis.com/google.rpc.Help", "links": links}),
        json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}),
    ];
    if let Some(after) = after {
        let delay = seconds(after);
        message += &format!("\nPlease retry in {delay}.");
        if !is_in_words {
            details.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}));
        }
    }
    error(429, "RESOURCE_EXHAUSTED", &message, Value::Array(details))
}

/// A time as Google writes it: `45.837906927s`, `2s`.
fn seconds(after: Duration) -> String {
    match after.subsec_nanos() {
        0 => format!("{}s", after.as_secs()),
        nanos => format!("{}.{nanos:09}s", after.as_secs()),
    }
}

impl Format for Gemini {
    fn read(&self, request: &Request, models: &Models) -> Result<Asked, Refusal> {
        read::read(self, request, models)
    }

    fn whole(&self, reply: &Reply<'_>) -> Value {
        let said = reply.said;
        let parts = if said.calls.is_empty() { vec![json!({"text": said.text})] } else { calls(reply) };
        chunk(reply, parts, true)
    }

    fn events(&self, reply: &Reply<'_>) -> Vec<Bytes> {
        let said = reply.said;
        let mut parts: Vec<Vec<Value>> =
            pieces(&said.text).into_iter().map(|piece| vec![json!({"text": piece})]).collect();
        if !said.calls.is_empty() {
            parts.push(calls(reply));
        }
        let last = parts.pop().unwrap_or_else(|| vec![json!({"text": ""})]);
        let mut chunks: Vec<Value> = parts.into_iter().map(|parts| chunk(reply, parts, false)).collect();
        chunks.push(chunk(reply, last, true));
        if !reply.asked.is_list {
            return chunks.iter().map(event).collect();
        }
        // Without `alt=sse` it is one list, an answer at a time.
        let count = chunks.len();
        let list = chunks.iter().enumerate().map(|(at, chunk)| {
            let (before, after) = (if at == 0 { "[" } else { ",\r\n" }, if at + 1 == count { "]" } else { "" });
            Bytes::from(format!("{before}{chunk}{after}"))
        });
        list.collect()
    }

    fn refusal(&self, trouble: &Trouble, model: &str) -> Refusal {
        match trouble {
            Trouble::NoKey => error(
                403,
                "PERMISSION_DENIED",
                "Method doesn't allow unregistered callers (callers without established identity). Please use API Key \
                 or other form of API consumer identity to call this API.",
                Value::Null,
            ),
            Trouble::WrongKey(_) => error(
                400,
                "INVALID_ARGUMENT",
                "API key not valid. Please pass a valid API key.",
                json!([{
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"},
                }]),
            ),
            Trouble::NoSuchPath => error(404, "NOT_FOUND", "Requested entity was not found.", Value::Null),
            Trouble::NotJson => invalid("Invalid JSON payload received. Unexpected token."),
            Trouble::UnknownModel(name) => {
                let message = format!(
                    "models/{name} is not found for API version v1beta, or is not supported for generateContent. Call \
                     ListModels to see the list of available models and their supported methods."
                );
                error(404, "NOT_FOUND", &message, Value::Null)
            }
            Trouble::Busy(after) => exhausted(model, "PerMinute", *after, false),
            Trouble::RampingUp => exhausted(model, "PerMinute", None, false),
            Trouble::BusyInWords(after) => exhausted(model, "PerMinute", Some(*after), true),
            Trouble::Quota | Trouble::Credit => exhausted(model, "PerDay", Some(QUOTA_WAIT), false),
            Trouble::Overloaded => {
                error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.", Value::Null)
            }
            Trouble::Broken => {
                let message = "An internal error has occurred. Please retry or report in \
                               https://developers.generativeai.google/guide/troubleshooting";
                error(500, "INTERNAL", message, Value::Null)
            }
        }
    }

    fn error_body(&self) -> Value {
        self.refusal(&Trouble::Overloaded, "").body
    }

    fn error_event(&self, asked: &Asked, is_first: bool) -> Bytes {
        let error = self.error_body();
        match (asked.is_list, is_first) {
            (true, true) => format!("[{error}]").into(),
            (true, false) => format!(",\r\n{error}]").into(),
            (false, _) => event(&error),
        }
    }
}

fn event(chunk: &Value) -> Bytes {
    format!("data: {chunk}\r\n\r\n").into()
}

fn calls(reply: &Reply<'_>) -> Vec<Value> {
    let parts = reply.said.calls.iter().enumerate().map(|(at, (name, arguments))| {
        let mut part = json!({"functionCall": {"name": name, "args": arguments}});
        // One that thinks signs the first of its calls.
        if at == 0 && reply.said.thought > 0 {
            part["thoughtSignature"] = json!(read::SIGNATURE);
        }
        part
    });
    parts.collect()
}

fn chunk(reply: &Reply<'_>, parts: Vec<Value>, is_last: bool) -> Value {
    let ending = reply.said.ending;
    let mut body = json!({
        "modelVersion": reply.asked.model, "responseId": format!("sim{:08}", reply.number),
    });
    if ending == Ending::Filtered {
        body["promptFeedback"] = json!({"blockReason": "PROHIBITED_CONTENT"});
    } else {
        let mut candidate = json!({"index": 0});
        let is_bare = parts.iter().all(|part| part["text"] == "");
        if ending != Ending::Refused && !(is_bare && ending == Ending::Limit) {
            candidate["content"] = json!({"parts": parts, "role": "model"});
        } else if ending != Ending::Refused {
            candidate["content"] = json!({"role": "model"});
        }
        if is_last {
            candidate["finishReason"] = json!(finish(ending));
        }
        body["candidates"] = json!([candidate]);
    }
    if let Some(usage) = usage(reply) {
        body["usageMetadata"] = usage;
    }
    body
}

fn finish(ending: Ending) -> &'static str {
    match ending {
        Ending::Whole | Ending::Calls => "STOP",
        Ending::Limit | Ending::Context | Ending::Paused => "MAX_TOKENS",
        Ending::Refused | Ending::Filtered => "SAFETY",
    }
}

fn usage(reply: &Reply<'_>) -> Option<Value> {
    let Some(told) = reply.told()? else {
        return Some(Value::Null);
    };
    let (sent, thought) = (reply.told_sent(&told), reply.told_thought(&told));
    let mut usage = json!({
        "promptTokenCount": sent, "totalTokenCount": sent + told.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": sent}],
    });
    // What is none isn't there.
    for (name, count) in [
        ("candidatesTokenCount", told.output - thought),
        ("thoughtsTokenCount", thought),
        ("cachedContentTokenCount", told.cache_read),
    ] {
        if count > 0 {
            usage[name] = json!(count);
        }
    }
    Some(usage)
}
