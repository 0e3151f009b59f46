//! Chat completions, as OpenAI, Groq, OpenRouter and local servers take them. Their caches need no marks: documents
//! come first and shared ones before the others, so that calls begin alike.

use std::borrow::Cow;

use serde_json::json;
use tollgate_core::{
    JsonObject,
    json::{JsonFields, JsonPart},
};

use super::{
    WireModel, blocks, instruction, native_schema,
    schema::{Fitted, Grammar},
    search_tool, temperature,
};
use crate::prompt::{Media, Prompt};

/// What a schema is called there; the format wants a name.
const SCHEMA_NAME: &str = "answer";

pub(super) fn body(model: &WireModel, prompt: &Prompt, fitted: &Fitted) -> JsonObject {
    let native = native_schema(model, prompt);
    let written_out = prompt.schema.as_ref().filter(|_| native.is_none()).and_then(|given| fitted.given(given));
    let mut messages = Vec::new();
    if let Some(system) = blocks::system(prompt) {
        messages.push(JsonPart::from([("role", "system".into()), ("content", system.into())]));
    }
    messages.push([("role", "user".into()), ("content", user(prompt, written_out))].into());
    for turn in &prompt.turns {
        messages.push((&turn.said.raw).into());
        messages.extend(turn.results.iter().map(|result| {
            let (id, text) = (result.call.id.as_str().into(), result.text.as_str().into());
            JsonPart::from([("role", "tool".into()), ("tool_call_id", id), ("content", text)])
        }));
    }
    let mut body: JsonFields<'_> = vec![("model", model.name.as_str().into()), ("messages", messages.into())];
    if model.is_streamed {
        body.push(("stream", true.into()));
        body.push(("stream_options", json!({"include_usage": true}).into()));
    }
    if let Some(given) = native {
        let strict = if model.is_strict { fitted.of(given, Grammar::OpenAi) } else { None };
        let schema = strict.or_else(|| fitted.given(given));
        let format = JsonPart::from([
            ("name", SCHEMA_NAME.into()),
            ("strict", strict.is_some().into()),
            ("schema", schema.map_or_else(|| given.into(), JsonPart::from)),
        ]);
        body.push(("response_format", [("type", "json_schema".into()), ("json_schema", format)].into()));
    }
    if let Some(temperature) = temperature(model, prompt) {
        body.push(("temperature", temperature.into()));
    }
    if prompt.can_search {
        let (name, description, parameters) = search_tool();
        let function = json!({"name": name, "description": description, "parameters": parameters});
        body.push(("tools", json!([{"type": "function", "function": function}]).into()));
        if prompt.has_to_answer {
            body.push(("tool_choice", "none".into()));
        }
    }
    JsonObject::of_parts(&body)
}

/// A text alone is sent as one: some servers take no list of parts.
fn user<'a>(prompt: &'a Prompt, written_out: Option<&JsonObject>) -> JsonPart<'a> {
    let mut parts = Vec::new();
    for blob in blocks::blobs(prompt) {
        parts.push(text_part(blob.label().into()));
        parts.push(match blob.media {
            Media::Pdf => {
                // It goes by the end of the name.
                let ending = if blob.name.ends_with(".pdf") { "" } else { ".pdf" };
                let name = format!("{}{ending}", blob.name);
                let file = [("filename", name.into()), ("file_data", blob.uri().into())];
                [("type", "file".into()), ("file", file.into())].into()
            }
            _ => [("type", "image_url".into()), ("image_url", [("url", blob.uri().into())].into())].into(),
        });
    }
    let instruction = instruction(prompt, written_out);
    if parts.is_empty() {
        return instruction.into();
    }
    parts.push(text_part(instruction));
    parts.into()
}

fn text_part(text: Cow<'_, str>) -> JsonPart<'_> {
    [("type", "text".into()), ("text", text.into())].into()
}
