//! Messages, as Anthropic takes them.

use std::borrow::Cow;

use serde_json::json;
use tollgate_core::{
    JsonObject,
    json::{JsonFields, JsonPart},
};

use super::{
    RequestError, WireModel, blocks, instruction, native_schema,
    schema::{Fitted, Grammar},
    search_tool, temperature,
};
use crate::prompt::{Media, Prompt, ToolResult};

/// Of its interface.
pub(super) const VERSION: &str = "2023-06-01";
/// Marks for the cache that one request may bear.
const MARKS_MAX: usize = 4;

pub(super) fn body(model: &WireModel, prompt: &Prompt, fitted: &Fitted) -> Result<JsonObject, RequestError> {
    let output_max = model.output_max.ok_or_else(|| RequestError::OutputMax(model.name.clone()))?;
    let native = native_schema(model, prompt).and_then(|given| fitted.of(given, Grammar::Anthropic));
    let written_out = prompt.schema.as_ref().filter(|_| native.is_none()).and_then(|given| fitted.given(given));

    let mut system: Vec<_> = blocks::texts(prompt).into_iter().map(|(text, shared)| text_block(text, shared)).collect();
    if !system.is_empty() {
        system.insert(0, text_block(blocks::PREAMBLE, false));
    }
    let mut content = Vec::new();
    for blob in blocks::blobs(prompt) {
        let kind = if blob.media == Media::Pdf { "document" } else { "image" };
        content.push(text_block(blob.label(), false));
        let (media, data) = (blob.media.as_str().into(), blob.base64.into());
        let source = [("type", "base64".into()), ("media_type", media), ("data", data)];
        content.push((vec![("type", kind.into()), ("source", source.into())], blob.is_shared));
    }
    content.push(text_block(instruction(prompt, written_out), false));
    mark(system.iter_mut().chain(content.iter_mut()));

    let mut messages = vec![JsonPart::from([("role", "user".into()), ("content", plain(content))])];
    for turn in &prompt.turns {
        messages.push([("role", "assistant".into()), ("content", (&turn.said.raw).into())].into());
        let results: Vec<_> = turn.results.iter().map(result).collect();
        if !results.is_empty() {
            messages.push([("role", "user".into()), ("content", results.into())].into());
        }
    }
    let mut body: JsonFields<'_> = vec![
        ("model", model.name.as_str().into()),
        ("max_tokens", output_max.into()),
        ("messages", messages.into()),
        ("stream", true.into()),
    ];
    if !system.is_empty() {
        body.push(("system", plain(system)));
    }
    if let Some(schema) = native {
        let format = [("type", "json_schema".into()), ("schema", schema.into())];
        body.push(("output_config", [("format", format.into())].into()));
    }
    if let Some(temperature) = temperature(model, prompt) {
        body.push(("temperature", temperature.into()));
    }
    if prompt.can_search {
        let (name, description, parameters) = search_tool();
        let tool = json!({"name": name, "description": description, "input_schema": parameters});
        body.push(("tools", json!([tool]).into()));
        if prompt.has_to_answer {
            body.push(("tool_choice", json!({"type": "none"}).into()));
        }
    }
    Ok(JsonObject::of_parts(&body))
}

/// A block of what is sent, with whether it is shared.
type Block<'a> = (JsonFields<'a>, bool);

fn text_block<'a>(text: impl Into<Cow<'a, str>>, is_shared: bool) -> Block<'a> {
    (vec![("type", "text".into()), ("text", text.into().into())], is_shared)
}

fn plain(blocks: Vec<Block<'_>>) -> JsonPart<'_> {
    blocks.into_iter().map(|(block, _)| JsonPart::Fields(block)).collect::<Vec<_>>().into()
}

/// The host's answer to a call.
fn result(result: &ToolResult) -> JsonPart<'_> {
    [
        ("type", "tool_result".into()),
        ("tool_use_id", result.call.id.as_str().into()),
        ("content", result.text.as_str().into()),
        ("is_error", result.is_error.into()),
    ]
    .into()
}

/// Marks the shared blocks for the cache: the last of them, where there are more than marks, since a mark is for all
/// that stands before it. What only one call reads bears none, since writing costs more than reading anew.
fn mark<'a, 'b: 'a>(blocks: impl DoubleEndedIterator<Item = &'a mut Block<'b>>) {
    for (block, _) in blocks.rev().filter(|(_, is_shared)| *is_shared).take(MARKS_MAX) {
        block.push(("cache_control", json!({"type": "ephemeral"}).into()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tollgate_core::model::Dialect;

    use super::*;
    use crate::prompt::Document;

    #[test]
    fn m06_shared_documents_alone_are_marked_and_four_at_most() {
        let model = WireModel { output_max: Some(64_000), ..WireModel::new(Dialect::Anthropic, "m") };
        let mut documents: Vec<_> = (0..6).map(|n| Document::text(n.to_string(), "text", n != 0)).collect();
        documents.push(Document::blob("p", "application/pdf", "x".into(), true).unwrap());
        let body =
            body(&model, &Prompt { documents, ..Prompt::default() }, &Fitted::default()).unwrap().parse().unwrap();
        let is_marked = |block: &Value| block.get("cache_control").is_some();
        let system: Vec<_> = body["system"].as_array().unwrap().iter().map(is_marked).collect();
        assert_eq!(system, [false, false, false, true, true, true, false], "the unshared one comes last");
        let user: Vec<_> = body["messages"][0]["content"].as_array().unwrap().iter().map(is_marked).collect();
        assert_eq!(user, [false, true, false]);
    }

    #[test]
    fn m01_a_model_whose_maximum_is_unknown_is_not_asked() {
        let model = WireModel::new(Dialect::Anthropic, "m");
        assert_eq!(body(&model, &Prompt::default(), &Fitted::default()), Err(RequestError::OutputMax("m".to_owned())));
    }
}
