//! Messages, as Anthropic speaks them.

mod read;

use super::Models;
use super::asked::Asked;
use super::format::{Format, Refusal, Reply, Trouble, pieces};
use super::said::Ending;
use crate::site::Request;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// What Anthropic says to wait for where waiting doesn't help.
const QUOTA_WAIT: Duration = Duration::from_secs(600);

/// The format.
pub(super) struct Anthropic;

/// A body of Anthropic's errors.
fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_sim"})
}

/// 400.
fn invalid(message: &str) -> Refusal {
    Refusal::new(400, error("invalid_request_error", message))
}

impl Format for Anthropic {
    fn read(&self, request: &Request, models: &Models) -> Result<Asked, Refusal> {
        read::read(self, request, models)
    }

    fn whole(&self, reply: &Reply<'_>) -> Value {
        let mut message = message(reply, content(reply), Some(stop_reason(reply.said.ending)));
        if let Some(usage) = usage(reply, None) {
            message["usage"] = usage;
        }
        message
    }

    fn events(&self, reply: &Reply<'_>) -> Vec<Bytes> {
        let mut first = message(reply, json!([]), None);
        // A snapshot: one token is made so far. What comes at the end replaces it.
        if let Some(usage) = usage(reply, Some(1)) {
            first["usage"] = usage;
        }
        let mut events = vec![event("message_start", &json!({"type": "message_start", "message": first}))];
        for (index, block) in content(reply).as_array().into_iter().flatten().enumerate() {
            let (empty, deltas) = parts(block);
            let start = json!({"type": "content_block_start", "index": index, "content_block": empty});
            events.push(event("content_block_start", &start));
            if index == 0 {
                events.push(event("ping", &json!({"type": "ping"})));
            }
            for delta in deltas {
                let delta = json!({"type": "content_block_delta", "index": index, "delta": delta});
                events.push(event("content_block_delta", &delta));
            }
            events.push(event("content_block_stop", &json!({"type": "content_block_stop", "index": index})));
        }
        let ending = json!({
            "stop_reason": stop_reason(reply.said.ending), "stop_sequence": null, "stop_details": stop_details(reply),
        });
        let mut last = json!({"type": "message_delta", "delta": ending});
        if let Some(usage) = usage(reply, None) {
            last["usage"] = usage;
        }
        events.push(event("message_delta", &last));
        events.push(event("message_stop", &json!({"type": "message_stop"})));
        events
    }

    fn refusal(&self, trouble: &Trouble, _model: &str) -> Refusal {
        let limit = "This request would exceed your organization's rate limit of 50 requests per minute.";
        match trouble {
            Trouble::NoKey => Refusal::new(401, error("authentication_error", "x-api-key header is required")),
            Trouble::WrongKey(_) => Refusal::new(401, error("authentication_error", "invalid x-api-key")),
            Trouble::NoSuchPath => Refusal::new(404, error("not_found_error", "Not found")),
            Trouble::NotJson => invalid("The request body is not valid JSON"),
            Trouble::UnknownModel(name) => Refusal::new(404, error("not_found_error", &format!("model: {name}"))),
            Trouble::Busy(after) => Refusal::new(429, error("rate_limit_error", limit)).retry_after(*after),
            Trouble::RampingUp => Refusal::new(429, error("rate_limit_error", limit)),
            Trouble::BusyInWords(after) => {
                let message = format!("{limit} Please try again in {}s.", after.as_secs_f64());
                Refusal::new(429, error("rate_limit_error", &message))
            }
            Trouble::Quota => {
                let message = "This request would exceed your account's monthly spend limit. Please try again later.";
                let mut body = error("rate_limit_error", message);
                body["error"]["details"] = json!({"error_code": "enforced_spend_limit_reached"});
                Refusal::new(429, body).retry_after(Some(QUOTA_WAIT))
            }
            Trouble::Credit => invalid(
                "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade \
                 or purchase credits.",
            ),
            Trouble::Overloaded => Refusal::new(529, error("overloaded_error", "Overloaded")),
            Trouble::Broken => Refusal::new(500, error("api_error", "Internal server error")),
        }
    }

    fn error_body(&self) -> Value {
        error("overloaded_error", "Overloaded")
    }

    fn error_event(&self, _asked: &Asked, _is_first: bool) -> Bytes {
        let error = json!({"details": null, "type": "overloaded_error", "message": "Overloaded"});
        event("error", &json!({"type": "error", "error": error, "request_id": "req_sim"}))
    }
}

fn event(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

fn message(reply: &Reply<'_>, content: Value, stop_reason: Option<&str>) -> Value {
    json!({
        "id": format!("msg_sim{:08}", reply.number), "type": "message", "role": "assistant", "model": reply.asked.model,
        "content": content, "stop_reason": stop_reason, "stop_sequence": null,
        "stop_details": if stop_reason.is_some() { stop_details(reply) } else { Value::Null },
    })
}

/// What it says of a refusal.
fn stop_details(reply: &Reply<'_>) -> Value {
    match reply.said.ending {
        Ending::Refused | Ending::Filtered => {
            json!({"type": "refusal", "category": null, "explanation": "This request was refused."})
        }
        _ => Value::Null,
    }
}

fn content(reply: &Reply<'_>) -> Value {
    let said = reply.said;
    let mut blocks = Vec::new();
    if !said.text.is_empty() {
        blocks.push(json!({"type": "text", "text": said.text}));
    }
    for (at, (name, arguments)) in said.calls.iter().enumerate() {
        let id = format!("toolu_sim{:08}{at:02}", reply.number);
        blocks.push(json!({"type": "tool_use", "id": id, "name": name, "input": arguments}));
    }
    Value::Array(blocks)
}

/// A block as it begins, and what then comes of it.
fn parts(block: &Value) -> (Value, Vec<Value>) {
    let mut empty = block.clone();
    if let Some(text) = block["text"].as_str() {
        empty["text"] = json!("");
        return (empty, pieces(text).into_iter().map(|text| json!({"type": "text_delta", "text": text})).collect());
    }
    empty["input"] = json!({});
    let input = block["input"].to_string();
    let delta = |part| json!({"type": "input_json_delta", "partial_json": part});
    // The first one is empty, as the real ones begin.
    let deltas = std::iter::once("").chain(pieces(&input)).map(delta).collect();
    (empty, deltas)
}

fn stop_reason(ending: Ending) -> &'static str {
    match ending {
        Ending::Whole => "end_turn",
        Ending::Calls => "tool_use",
        Ending::Limit => "max_tokens",
        Ending::Context => "model_context_window_exceeded",
        Ending::Refused | Ending::Filtered => "refusal",
        Ending::Paused => "pause_turn",
    }
}

/// What was used, with `output` in place of what is made in the end.
fn usage(reply: &Reply<'_>, output: Option<u64>) -> Option<Value> {
    let Some(told) = reply.told()? else {
        return Some(Value::Null);
    };
    let (minutes, hour) = (told.cache_write, told.cache_write_long);
    Some(json!({
        "input_tokens": told.input, "cache_creation_input_tokens": minutes + hour,
        "cache_read_input_tokens": told.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": minutes, "ephemeral_1h_input_tokens": hour},
        "output_tokens": output.map_or(told.output, |output| output.min(told.output)), "service_tier": "standard",
    }))
}
