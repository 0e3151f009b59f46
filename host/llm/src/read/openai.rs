//! A chat completion: chunks with deltas, or one object. Ends with `[DONE]`.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use tollgate_core::model::Dialect;

use super::{CALLS_MAX, Held, WireError, malformed, text};
use crate::{
    answer::{Answer, Finish},
    prompt::{Said, ToolCall},
    refusal::ProviderError,
    usage::Usage,
};

/// The end mark.
pub(super) const DONE: &[u8] = b"[DONE]";

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) is_done: bool,
    pub(super) held: Held,
    text: String,
    refusal: String,
    /// As they came, their arguments put together.
    calls: Vec<Map<String, Value>>,
    finish: Option<String>,
    usage: Value,
    model: String,
    id: String,
}

/// A chunk of words, thoughts or an end, and of nothing else that counts, as nearly all are. It is read without a
/// [`Value`] of it, which takes most of the time that is spent on an answer; any other chunk is read as one.
#[derive(Debug, Deserialize)]
pub(super) struct Words<'a> {
    #[serde(borrow, default, deserialize_with = "text_or_null")]
    model: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_null")]
    id: Cow<'a, str>,
    #[serde(borrow)]
    choices: [WordsChoice<'a>; 1],
    #[serde(default)]
    usage: (),
    #[serde(default)]
    x_groq: (),
    #[serde(default)]
    error: (),
}

#[derive(Debug, Deserialize)]
struct WordsChoice<'a> {
    #[serde(borrow)]
    delta: WordsDelta<'a>,
    #[serde(borrow, default, deserialize_with = "text_or_null")]
    finish_reason: Cow<'a, str>,
    #[serde(default)]
    error: (),
}

#[derive(Debug, Deserialize)]
struct WordsDelta<'a> {
    #[serde(borrow, default, deserialize_with = "text_or_null")]
    content: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_null")]
    reasoning: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_null")]
    reasoning_content: Cow<'a, str>,
    #[serde(default)]
    refusal: (),
    #[serde(default)]
    tool_calls: (),
}

/// A text, copied only where it has escapes; null is none.
fn text_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Cow<'de, str>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(Option::<Text<'de>>::deserialize(from)?.map(|text| text.0).unwrap_or_default())
}

impl<'a> Words<'a> {
    /// Absent: it is another chunk, or none.
    pub(super) fn read(chunk: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(chunk).ok()
    }
}

impl State {
    pub(super) fn words(&mut self, words: &Words<'_>) -> Result<(), WireError> {
        let Words { model, id, choices: [choice], usage: (), x_groq: (), error: () } = words;
        let WordsChoice { delta, finish_reason, error: () } = choice;
        let WordsDelta { content, reasoning, reasoning_content, refusal: (), tool_calls: () } = delta;
        self.named(model, id);
        self.say(content)?;
        self.held.add(reasoning)?;
        self.held.add(reasoning_content)?;
        self.ended(finish_reason);
        Ok(())
    }

    pub(super) fn chunk(&mut self, chunk: &Value) -> Result<(), WireError> {
        self.head(chunk);
        let Some(choice) = chunk.pointer("/choices/0") else {
            return Ok(());
        };
        self.message(choice.get("delta").unwrap_or(&Value::Null))?;
        self.ended(text(choice, "finish_reason"));
        Ok(())
    }

    pub(super) fn whole(&mut self, whole: &Value) -> Result<(), WireError> {
        self.head(whole);
        let choice = whole.pointer("/choices/0").ok_or_else(|| WireError::Malformed("it has no choice".to_owned()))?;
        self.message(choice.get("message").unwrap_or(&Value::Null))?;
        self.ended(text(choice, "finish_reason"));
        self.is_done = true;
        Ok(())
    }

    fn head(&mut self, value: &Value) {
        self.named(text(value, "model"), text(value, "id"));
        // Groq's older models count in a place of their own. A later count replaces an earlier one.
        for pointer in ["/usage", "/x_groq/usage"] {
            if let Some(usage) = value.pointer(pointer).filter(|usage| usage.is_object()) {
                self.usage = usage.clone();
                break;
            }
        }
    }

    fn named(&mut self, model: &str, id: &str) {
        for (kept, said) in [(&mut self.model, model), (&mut self.id, id)] {
            if kept.is_empty() {
                said.clone_into(kept);
            }
        }
    }

    fn ended(&mut self, reason: &str) {
        if !reason.is_empty() {
            self.finish = Some(reason.to_owned());
        }
    }

    /// A message, or the next part of one.
    fn message(&mut self, message: &Value) -> Result<(), WireError> {
        // Some servers give a list of parts.
        match message.get("content") {
            Some(Value::String(content)) => self.say(content)?,
            Some(Value::Array(parts)) => parts.iter().try_for_each(|part| self.say(text(part, "text")))?,
            _ => {}
        }
        self.refusal.push_str(text(message, "refusal"));
        self.held.add(text(message, "refusal"))?;
        for thought in ["reasoning", "reasoning_content"] {
            self.held.add(text(message, thought))?;
        }
        let calls = message.get("tool_calls").and_then(Value::as_array);
        calls.into_iter().flatten().try_for_each(|call| self.call(call))
    }

    fn say(&mut self, content: &str) -> Result<(), WireError> {
        self.text.push_str(content);
        self.held.add(content)
    }

    /// A call, or the next part of one: told by its index, or by its id where a server gives no index.
    fn call(&mut self, part: &Value) -> Result<(), WireError> {
        let id = text(part, "id");
        let by_id = || self.calls.iter().position(|call| !id.is_empty() && call.get("id").is_some_and(|own| own == id));
        let at = match part.get("index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok()) {
            Some(index) => index,
            None if id.is_empty() => self.calls.len().saturating_sub(1),
            None => by_id().unwrap_or(self.calls.len()),
        };
        if at >= CALLS_MAX {
            return Err(WireError::TooLarge);
        }
        while self.calls.len() <= at {
            self.calls.push(Map::new());
        }
        let arguments = part.pointer("/function/arguments").and_then(Value::as_str).unwrap_or_default();
        self.held.add(arguments)?;
        let call = &mut self.calls[at];
        for (key, value) in part.as_object().into_iter().flatten() {
            if key != "index" && key != "function" && !value.is_null() {
                call.entry(key.as_str()).or_insert_with(|| value.clone());
            }
        }
        let function = call.entry("function").or_insert_with(|| json!({"name": "", "arguments": ""}));
        for (field, more) in
            [("name", text(part.get("function").unwrap_or(&Value::Null), "name")), ("arguments", arguments)]
        {
            if let Some(Value::String(own)) = function.get_mut(field) {
                own.push_str(more);
            }
        }
        Ok(())
    }

    pub(super) fn usage(&self) -> Usage {
        Usage::read(Dialect::OpenAi, &self.usage)
    }

    pub(super) fn answer(&mut self) -> Result<Answer, WireError> {
        let reason = self.finish.take().filter(|_| self.is_done).ok_or(WireError::CutInTransit)?;
        let refusal = std::mem::take(&mut self.refusal);
        let finish = match reason.as_str() {
            "length" => Finish::Cut,
            "content_filter" => Finish::Refused(if refusal.is_empty() { reason } else { refusal }),
            "error" => return Err(WireError::Provider(ProviderError::Server("it ended with an error".to_owned()))),
            _ if !refusal.is_empty() => Finish::Refused(refusal),
            "stop" | "tool_calls" | "function_call" if !self.calls.is_empty() => Finish::CallsTools,
            "stop" => Finish::Whole,
            other => return Err(malformed("it ends with", other)),
        };
        let text = std::mem::take(&mut self.text);
        let raw_calls = std::mem::take(&mut self.calls);
        let calls = raw_calls.iter().map(|call| {
            let function = call.get("function").unwrap_or(&Value::Null);
            let id = call.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            let arguments = serde_json::from_str(self::text(function, "arguments")).unwrap_or(Value::Null);
            ToolCall { id, name: self::text(function, "name").to_owned(), arguments }
        });
        let calls = calls.collect();
        let content = if text.is_empty() && !raw_calls.is_empty() { Value::Null } else { Value::from(text.as_str()) };
        let mut raw = json!({"role": "assistant", "content": content});
        if !raw_calls.is_empty() {
            raw["tool_calls"] = Value::from(raw_calls);
        }
        let said = Said { dialect: Dialect::OpenAi, raw };
        let (model, request_id) = (std::mem::take(&mut self.model), std::mem::take(&mut self.id));
        let usage = self.usage();
        Ok(Answer { calls, usage, model, request_id, ..Answer::new(text, finish, said) })
    }
}
