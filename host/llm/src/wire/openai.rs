//! Chat completions, as OpenAI, Groq, OpenRouter and local servers take them. Their caches need no marks: documents
//! come first and shared ones before the others, so that calls begin alike.

use serde_json::{Map, Value, json};

use super::{
    WireModel, blocks, instruction, native_schema, object,
    schema::{Fitted, Grammar},
    search_tool, temperature,
};
use crate::prompt::{Media, Prompt};

/// What a schema is called there; the format wants a name.
const SCHEMA_NAME: &str = "answer";

pub(super) fn body(model: &WireModel, prompt: &Prompt, fitted: &Fitted) -> Map<String, Value> {
    let native = native_schema(model, prompt);
    let written_out = prompt.schema.as_ref().filter(|_| native.is_none());
    let mut messages = Vec::new();
    if let Some(system) = blocks::system(prompt) {
        messages.push(message("system", Value::from(system)));
    }
    messages.push(message("user", user(prompt, written_out)));
    for turn in &prompt.turns {
        messages.push(turn.said.raw.clone());
        messages.extend(
            turn.results
                .iter()
                .map(|result| json!({"role": "tool", "tool_call_id": result.call.id, "content": result.text})),
        );
    }
    let mut body = object(json!({"model": model.name}));
    body.insert("messages".to_owned(), Value::from(messages));
    if model.is_streamed {
        body.insert("stream".to_owned(), Value::Bool(true));
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    if let Some(given) = native {
        let strict = fitted.of(given, Grammar::OpenAi).filter(|_| model.is_strict);
        let format = Value::from_iter([
            ("name", Value::from(SCHEMA_NAME)),
            ("strict", Value::from(strict.is_some())),
            ("schema", strict.unwrap_or(given).clone()),
        ]);
        let format = Value::from_iter([("type", Value::from("json_schema")), ("json_schema", format)]);
        body.insert("response_format".to_owned(), format);
    }
    if let Some(temperature) = temperature(model, prompt) {
        body.insert("temperature".to_owned(), json!(temperature));
    }
    if prompt.can_search {
        let (name, description, parameters) = search_tool();
        let function = json!({"name": name, "description": description, "parameters": parameters});
        body.insert("tools".to_owned(), json!([{"type": "function", "function": function}]));
        if prompt.has_to_answer {
            body.insert("tool_choice".to_owned(), Value::from("none"));
        }
    }
    body
}

/// Not by `json!`, which copies what it is given: documents are long.
fn message(role: &str, content: Value) -> Value {
    Value::from_iter([("role", Value::from(role)), ("content", content)])
}

/// A text alone is sent as one: some servers take no list of parts.
fn user(prompt: &Prompt, written_out: Option<&Value>) -> Value {
    let mut parts = Vec::new();
    for blob in blocks::blobs(prompt) {
        parts.push(json!({"type": "text", "text": blob.label()}));
        parts.push(match blob.media {
            Media::Pdf => {
                // It goes by the end of the name.
                let name =
                    if blob.name.ends_with(".pdf") { blob.name.to_owned() } else { format!("{}.pdf", blob.name) };
                json!({"type": "file", "file": {"filename": name, "file_data": blob.uri()}})
            }
            _ => json!({"type": "image_url", "image_url": {"url": blob.uri()}}),
        });
    }
    let instruction = instruction(prompt, written_out);
    if parts.is_empty() {
        return Value::from(instruction);
    }
    parts.push(json!({"type": "text", "text": instruction}));
    Value::Array(parts)
}
