//! Chat completions, as OpenAI speaks them, and Groq, OpenRouter and local servers after it.

mod read;

use super::Models;
use super::asked::Asked;
use super::format::{Format, Refusal, Reply, Trouble, pieces};
use super::said::Ending;
use crate::site::Request;
use bytes::Bytes;
use serde_json::{Value, json};

/// When every answer was made: the sim has no clock.
const CREATED: u64 = 1_764_288_000;

/// The format.
pub(super) struct OpenAi;

/// A body of OpenAI's errors.
fn error(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}

/// 400.
fn invalid(message: &str, param: Option<&str>, code: Option<&str>) -> Refusal {
    Refusal::new(400, error(message, "invalid_request_error", param, code))
}

impl Format for OpenAi {
    fn read(&self, request: &Request, models: &Models) -> Result<Asked, Refusal> {
        read::read(self, request, models)
    }

    fn whole(&self, reply: &Reply<'_>) -> Value {
        let said = reply.said;
        let mut message = json!({"role": "assistant", "content": said.text, "refusal": null, "annotations": []});
        match said.ending {
            Ending::Refused => {
                message["content"] = Value::Null;
                message["refusal"] = json!(said.text);
            }
            Ending::Calls => {
                message["content"] = Value::Null;
                let calls = said.calls.iter().enumerate().map(|(at, (name, arguments))| {
                    let function = json!({"name": name, "arguments": arguments.to_string()});
                    json!({"id": call_id(reply, at), "type": "function", "function": function})
                });
                message["tool_calls"] = calls.collect();
            }
            _ => {}
        }
        let mut body = json!({
            "id": id(reply), "object": "chat.completion", "created": CREATED, "model": reply.asked.model,
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish(said.ending)}],
            "service_tier": "default", "system_fingerprint": "fp_sim",
        });
        if let Some(usage) = usage(reply) {
            body["usage"] = usage;
        }
        body
    }

    fn events(&self, reply: &Reply<'_>) -> Vec<Bytes> {
        let said = reply.said;
        let mut deltas = vec![json!({"role": "assistant", "content": "", "refusal": null})];
        let field = if said.ending == Ending::Refused { "refusal" } else { "content" };
        deltas.extend(pieces(&said.text).into_iter().map(|piece| json!({field: piece})));
        for (at, (name, arguments)) in said.calls.iter().enumerate() {
            let function = json!({"name": name, "arguments": ""});
            let call = json!({"index": at, "id": call_id(reply, at), "type": "function", "function": function});
            deltas.push(json!({ "tool_calls": [call] }));
            let arguments = arguments.to_string();
            let part = |piece| json!({"tool_calls": [{"index": at, "function": {"arguments": piece}}]});
            deltas.extend(pieces(&arguments).into_iter().map(part));
        }
        let choice = |delta: Value, finish: Option<&str>| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
        let mut chunks: Vec<Value> =
            deltas.into_iter().map(|delta| chunk(reply.asked, &id(reply), choice(delta, None))).collect();
        chunks.push(chunk(reply.asked, &id(reply), choice(json!({}), Some(finish(said.ending)))));
        if reply.asked.has_usage {
            for chunk in &mut chunks {
                chunk["usage"] = Value::Null;
            }
            if let Some(usage) = usage(reply) {
                let mut last = chunk(reply.asked, &id(reply), json!([]));
                last["usage"] = usage;
                chunks.push(last);
            }
        }
        let mut events = Vec::new();
        if is_open_router(reply.asked) {
            // So that nobody in between takes the connection for dead.
            events.push(Bytes::from_static(b": OPENROUTER PROCESSING\n\n"));
        }
        events.extend(chunks.iter().map(event));
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        events
    }

    fn refusal(&self, trouble: &Trouble, model: &str) -> Refusal {
        let busy = |more: &str| {
            let message = format!(
                "Rate limit reached for {model} in organization org-sim on requests per min (RPM): Limit 500, Used \
                 500, Requested 1.{more} Visit https://platform.openai.com/account/rate-limits to learn more."
            );
            Refusal::new(429, error(&message, "requests", None, Some("rate_limit_exceeded")))
        };
        match trouble {
            Trouble::NoKey => Refusal::new(
                401,
                error(
                    "You didn't provide an API key. You need to provide your API key in an Authorization header using \
                     Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from \
                     https://platform.openai.com/account/api-keys.",
                    "invalid_request_error",
                    None,
                    None,
                ),
            ),
            Trouble::WrongKey(key) => {
                let message = format!(
                    "Incorrect API key provided: {}. You can find your API key at \
                     https://platform.openai.com/account/api-keys.",
                    starred(key)
                );
                Refusal::new(401, error(&message, "invalid_request_error", None, Some("invalid_api_key")))
            }
            Trouble::NoSuchPath => Refusal::new(404, error("Invalid URL", "invalid_request_error", None, None)),
            Trouble::NotJson => invalid(
                "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP \
                 library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
                None,
                None,
            ),
            Trouble::UnknownModel(name) => {
                let message = format!("The model `{name}` does not exist or you do not have access to it.");
                Refusal::new(404, error(&message, "invalid_request_error", None, Some("model_not_found")))
            }
            Trouble::Busy(after) => busy("").retry_after(*after),
            Trouble::BusyInWords(after) => busy(&format!(" Please try again in {}s.", after.as_secs_f64())),
            Trouble::Quota => Refusal::new(
                429,
                error(
                    "You exceeded your current quota, please check your plan and billing details. For more information \
                     on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
                    "insufficient_quota",
                    None,
                    Some("insufficient_quota"),
                ),
            ),
            Trouble::Credit => {
                let message = "Insufficient credits. Add more using https://openrouter.ai/settings/credits";
                Refusal::new(402, json!({"error": {"message": message, "code": 402}}))
            }
            Trouble::RampingUp => {
                Refusal::new(429, error("Slow down: your requests rose too fast.", "requests", None, Some("slow_down")))
            }
            Trouble::Overloaded => {
                let message = "The server is currently overloaded with other requests. Sorry about that!";
                Refusal::new(503, error(message, "server_error", None, Some("server_is_overloaded")))
            }
            Trouble::Broken => {
                let message = "The server had an error while processing your request. Sorry about that!";
                Refusal::new(500, error(message, "server_error", None, None))
            }
        }
    }

    fn error_body(&self) -> Value {
        let metadata = json!({"provider_name": "Sim", "raw": "upstream error"});
        let error = json!({"message": "Provider returned error", "code": 502, "metadata": metadata});
        json!({"error": error, "user_id": "user_sim"})
    }

    fn error_event(&self, asked: &Asked, _is_first: bool) -> Bytes {
        let choices = json!([{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]);
        let mut last = chunk(asked, "gen-sim", choices);
        last["error"] = json!({"code": "server_error", "message": "Provider disconnected unexpectedly"});
        event(&last)
    }
}

fn chunk(asked: &Asked, id: &str, choices: Value) -> Value {
    json!({
        "id": id, "object": "chat.completion.chunk", "created": CREATED, "model": asked.model,
        "service_tier": "default", "system_fingerprint": "fp_sim", "choices": choices,
    })
}

fn event(chunk: &Value) -> Bytes {
    format!("data: {chunk}\n\n").into()
}

fn id(reply: &Reply<'_>) -> String {
    format!("chatcmpl-sim{:08}", reply.number)
}

fn call_id(reply: &Reply<'_>, at: usize) -> String {
    format!("call_sim{:08}{at:02}", reply.number)
}

fn is_open_router(asked: &Asked) -> bool {
    asked.host.contains("openrouter")
}

fn finish(ending: Ending) -> &'static str {
    match ending {
        Ending::Whole | Ending::Refused => "stop",
        Ending::Calls => "tool_calls",
        Ending::Limit | Ending::Context | Ending::Paused => "length",
        Ending::Filtered => "content_filter",
    }
}

fn usage(reply: &Reply<'_>) -> Option<Value> {
    let Some(told) = reply.told()? else {
        return Some(Value::Null);
    };
    let sent = reply.told_sent(&told);
    let mut details = json!({"cached_tokens": told.cache_read, "audio_tokens": 0});
    if told.cache_write > 0 {
        details["cache_write_tokens"] = json!(told.cache_write);
    }
    let made = json!({
        "reasoning_tokens": reply.told_thought(&told), "audio_tokens": 0,
        "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
    });
    Some(json!({
        "prompt_tokens": sent, "completion_tokens": told.output, "total_tokens": sent + told.output,
        "prompt_tokens_details": details, "completion_tokens_details": made,
    }))
}

/// A key as OpenAI shows a wrong one.
fn starred(key: &str) -> String {
    let shown = |from: usize, to: usize| key.get(from..to).unwrap_or("");
    let length = key.len();
    if length < 12 {
        return "*".repeat(length);
    }
    format!("{}{}{}", shown(0, 8), "*".repeat(length - 12), shown(length - 4, length))
}
