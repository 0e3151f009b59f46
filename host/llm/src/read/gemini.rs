//! An answer of Gemini: chunks that are each of the same form as a whole one. Ends with a finish reason.

use serde_json::{Value, json};
use tollgate_core::model::Dialect;

use super::{CALLS_MAX, Held, WireError, malformed, text};
use crate::{
    answer::{Answer, Finish},
    prompt::{Said, ToolCall},
    usage::Usage,
};

/// Most parts of one answer, texts that follow each other put together.
const PARTS_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) held: Held,
    /// As they came: signatures belong to the very part that they came with.
    parts: Vec<Value>,
    finish: Option<(String, String)>,
    blocked: Option<String>,
    usage: Value,
    model: String,
    id: String,
}

impl State {
    pub(super) fn chunk(&mut self, mut chunk: Value) -> Result<(), WireError> {
        // Asked without `alt=sse`, a stream is a list.
        if let Value::Array(chunks) = chunk {
            return chunks.into_iter().try_for_each(|chunk| self.chunk(chunk));
        }
        for (kept, field) in [(&mut self.model, "modelVersion"), (&mut self.id, "responseId")] {
            if kept.is_empty() {
                text(&chunk, field).clone_into(kept);
            }
        }
        if let Some(usage) = chunk.get_mut("usageMetadata").filter(|usage| usage.is_object()) {
            self.usage = usage.take();
        }
        if let Some(reason) = chunk.pointer("/promptFeedback/blockReason").and_then(Value::as_str) {
            self.blocked = Some(reason.to_owned());
        }
        let Some(candidate) = chunk.pointer_mut("/candidates/0") else {
            return Ok(());
        };
        let reason = text(candidate, "finishReason");
        if !reason.is_empty() {
            self.finish = Some((reason.to_owned(), text(candidate, "finishMessage").to_owned()));
        }
        if let Some(Value::Array(parts)) = candidate.pointer_mut("/content/parts").map(Value::take) {
            for part in parts {
                self.held.add(text(&part, "text"))?;
                // It may be the largest thing in an answer.
                self.held.keep(text(&part, "thoughtSignature"))?;
                if let Some(call) = part.get("functionCall") {
                    self.held.add(&call.to_string())?;
                }
                self.keep(part)?;
            }
        }
        Ok(())
    }

    /// Keeps a part. Texts of a stream that bear nothing else are put together: there may be thousands.
    fn keep(&mut self, part: Value) -> Result<(), WireError> {
        let is_plain =
            |part: &Value| part.as_object().is_some_and(|fields| fields.len() == 1) && part["text"].is_string();
        if is_plain(&part)
            && let Some(last) = self.parts.last_mut().filter(|last| is_plain(last))
            && let Some(Value::String(own)) = last.get_mut("text")
        {
            own.push_str(text(&part, "text"));
            return Ok(());
        }
        if self.parts.len() == PARTS_MAX {
            return Err(WireError::TooLarge);
        }
        self.parts.push(part);
        Ok(())
    }

    pub(super) fn usage(&self) -> Usage {
        Usage::read(Dialect::Gemini, &self.usage)
    }

    pub(super) fn answer(&mut self) -> Result<Answer, WireError> {
        let is_thought = |part: &&Value| part.get("thought") == Some(&Value::Bool(true));
        let words: String = self.parts.iter().filter(|part| !is_thought(part)).map(|part| text(part, "text")).collect();
        let calls: Vec<_> = self
            .parts
            .iter()
            .filter_map(|part| part.get("functionCall"))
            .map(|call| ToolCall {
                id: text(call, "id").to_owned(),
                name: text(call, "name").to_owned(),
                arguments: call.get("args").cloned().unwrap_or_default(),
            })
            .collect();
        if calls.len() > CALLS_MAX {
            return Err(WireError::TooLarge);
        }
        let finish = match (self.finish.take(), self.blocked.take()) {
            (_, Some(reason)) => Finish::Refused(format!("the prompt is blocked: {reason}")),
            (None, None) => return Err(WireError::CutInTransit),
            (Some((reason, message)), None) => match reason.as_str() {
                "STOP" if calls.is_empty() => Finish::Whole,
                "STOP" => Finish::CallsTools,
                "MAX_TOKENS" => Finish::Cut,
                "SAFETY"
                | "RECITATION"
                | "LANGUAGE"
                | "BLOCKLIST"
                | "PROHIBITED_CONTENT"
                | "SPII"
                | "IMAGE_SAFETY"
                | "IMAGE_PROHIBITED_CONTENT"
                | "IMAGE_RECITATION" => {
                    Finish::Refused(if message.is_empty() { reason } else { format!("{reason}: {message}") })
                }
                // MALFORMED_FUNCTION_CALL, OTHER and what may come: no answer, and no refusal either.
                _ => return Err(malformed("it finishes with", &format!("{reason} {message}"))),
            },
        };
        let usage = self.usage();
        let raw = json!({"role": "model", "parts": std::mem::take(&mut self.parts)});
        let said = Said { dialect: Dialect::Gemini, raw };
        let (model, request_id) = (std::mem::take(&mut self.model), std::mem::take(&mut self.id));
        Ok(Answer { calls, usage, model, request_id, ..Answer::new(words, finish, said) })
    }
}
