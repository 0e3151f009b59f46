//! A message: events that begin, extend and end its blocks. Ends with `message_stop`.

use serde_json::{Map, Value};
use tollgate_core::model::Dialect;

use super::{Held, WireError, malformed, text};
use crate::{
    answer::{Answer, Finish},
    prompt::{Said, ToolCall},
    usage::Usage,
};

/// Most blocks of one message.
const BLOCKS_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) held: Held,
    blocks: Vec<Value>,
    /// The arguments of the block that is being told, as far as they have come.
    arguments: String,
    stop: Value,
    is_stopped: bool,
    /// The last count of each kind: a snapshot each time, never a difference.
    usage: Map<String, Value>,
    /// The count came with the end. The one at the begin knows nothing of the output.
    has_last_usage: bool,
    model: String,
    id: String,
}

impl State {
    pub(super) fn event(&mut self, mut event: Value) -> Result<(), WireError> {
        match text(&event, "type") {
            "message_start" => self.head(event.get("message").unwrap_or(&Value::Null)),
            "content_block_start" => {
                let block = event.get_mut("content_block").map(Value::take).unwrap_or_default();
                if !block.is_object() {
                    return Err(WireError::Malformed("a block that is no object".to_owned()));
                }
                self.held.add(text(&block, "text"))?;
                if self.blocks.len() >= BLOCKS_MAX {
                    return Err(WireError::TooLarge);
                }
                self.blocks.push(block);
                self.arguments.clear();
            }
            "content_block_delta" => self.delta(event.get("delta").unwrap_or(&Value::Null))?,
            "content_block_stop" => self.end_block()?,
            "message_delta" => {
                if let Some(delta) = event.get("delta").filter(|delta| !text(delta, "stop_reason").is_empty()) {
                    self.stop = delta.clone();
                }
                self.has_last_usage |= self.count(event.get("usage"));
            }
            "message_stop" => self.is_stopped = true,
            // `ping`, and what may be added: the format asks to ignore what isn't known.
            _ => {}
        }
        Ok(())
    }

    pub(super) fn whole(&mut self, whole: &Value) -> Result<(), WireError> {
        self.head(whole);
        self.has_last_usage = whole.get("usage").is_some_and(Value::is_object);
        let blocks = whole.get("content").and_then(Value::as_array);
        let blocks = blocks.ok_or_else(|| WireError::Malformed("it has no content".to_owned()))?;
        self.blocks.clone_from(blocks);
        blocks.iter().try_for_each(|block| self.held.add(text(block, "text")))?;
        self.stop = whole.clone();
        self.is_stopped = true;
        Ok(())
    }

    fn head(&mut self, message: &Value) {
        text(message, "model").clone_into(&mut self.model);
        text(message, "id").clone_into(&mut self.id);
        self.count(message.get("usage"));
    }

    /// Takes in a count; whether there was one.
    fn count(&mut self, usage: Option<&Value>) -> bool {
        let Some(usage) = usage.and_then(Value::as_object) else {
            return false;
        };
        for (key, value) in usage.iter().filter(|(_, value)| !value.is_null()) {
            self.usage.insert(key.clone(), value.clone());
        }
        true
    }

    fn delta(&mut self, delta: &Value) -> Result<(), WireError> {
        // Blocks are told one after another, so that a delta is of the last one.
        let Some(block) = self.blocks.last_mut() else {
            return Err(WireError::Malformed("a delta before its block".to_owned()));
        };
        let (field, more) = match text(delta, "type") {
            "text_delta" => ("text", text(delta, "text")),
            "thinking_delta" => ("thinking", text(delta, "thinking")),
            "signature_delta" => ("signature", text(delta, "signature")),
            "input_json_delta" => {
                let more = text(delta, "partial_json");
                self.arguments.push_str(more);
                return self.held.add(more);
            }
            _ => return Ok(()),
        };
        match block.get_mut(field) {
            Some(Value::String(own)) => own.push_str(more),
            _ => block[field] = Value::from(more),
        }
        if field == "signature" { self.held.keep(more) } else { self.held.add(more) }
    }

    /// The arguments of a call are JSON once its block has ended; one that was cut may have none.
    fn end_block(&mut self) -> Result<(), WireError> {
        let arguments = std::mem::take(&mut self.arguments);
        let Some(block) = self.blocks.last_mut() else {
            return Err(WireError::Malformed("a block ends that hasn't begun".to_owned()));
        };
        if !arguments.is_empty() {
            block["input"] = serde_json::from_str(&arguments).unwrap_or(Value::Null);
        }
        Ok(())
    }

    pub(super) fn usage(&self) -> Usage {
        if self.usage.is_empty() {
            return Usage::default();
        }
        let mut usage = Usage::read(Dialect::Anthropic, &Value::Object(self.usage.clone()));
        if !self.has_last_usage {
            usage.doubts.push("the count at the end is missing".to_owned());
        }
        usage
    }

    pub(super) fn answer(&mut self) -> Result<Answer, WireError> {
        let reason = text(&self.stop, "stop_reason");
        if !self.is_stopped || reason.is_empty() {
            return Err(WireError::CutInTransit);
        }
        let finish = match reason {
            "end_turn" | "stop_sequence" => Finish::Whole,
            "max_tokens" | "model_context_window_exceeded" => Finish::Cut,
            "tool_use" => Finish::CallsTools,
            "pause_turn" => Finish::Paused,
            "refusal" => {
                let why = self.stop.pointer("/stop_details/explanation").and_then(Value::as_str);
                Finish::Refused(why.unwrap_or(reason).to_owned())
            }
            other => return Err(malformed("it stops for", other)),
        };
        let of_type = |kind: &'static str| self.blocks.iter().filter(move |block| text(block, "type") == kind);
        let words = of_type("text").map(|block| text(block, "text")).collect();
        let calls: Vec<_> = of_type("tool_use")
            .map(|block| ToolCall {
                id: text(block, "id").to_owned(),
                name: text(block, "name").to_owned(),
                arguments: block.get("input").cloned().unwrap_or_default(),
            })
            .collect();
        if finish == Finish::CallsTools && calls.is_empty() {
            return Err(WireError::Malformed("it calls no tool that it names".to_owned()));
        }
        let usage = self.usage();
        let said = Said { dialect: Dialect::Anthropic, raw: Value::Array(std::mem::take(&mut self.blocks)) };
        let (model, request_id) = (std::mem::take(&mut self.model), std::mem::take(&mut self.id));
        Ok(Answer { calls, usage, model, request_id, ..Answer::new(words, finish, said) })
    }
}
