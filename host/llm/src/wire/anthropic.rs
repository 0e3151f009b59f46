//! Messages, as Anthropic takes them.

use serde_json::{Map, Value, json};

use super::{
    RequestError, WireModel, blocks, instruction, native_schema, object,
    schema::{Fitted, Grammar},
    search_tool, temperature,
};
use crate::prompt::{Media, Prompt};

/// Of its interface.
pub(super) const VERSION: &str = "2023-06-01";
/// Marks for the cache that one request may bear.
const MARKS_MAX: usize = 4;

pub(super) fn body(model: &WireModel, prompt: &Prompt, fitted: &Fitted) -> Result<Map<String, Value>, RequestError> {
    let output_max = model.output_max.ok_or_else(|| RequestError::OutputMax(model.name.clone()))?;
    let fitted = native_schema(model, prompt).and_then(|given| fitted.of(given, Grammar::Anthropic));
    let written_out = prompt.schema.as_ref().filter(|_| fitted.is_none());

    let mut system: Vec<_> =
        blocks::texts(prompt).into_iter().map(|(text, shared)| (text_block(&text), shared)).collect();
    if !system.is_empty() {
        system.insert(0, (text_block(blocks::PREAMBLE), false));
    }
    let mut content = Vec::new();
    for blob in blocks::blobs(prompt) {
        let kind = if blob.media == Media::Pdf { "document" } else { "image" };
        let source = json!({"type": "base64", "media_type": blob.media.as_str(), "data": blob.base64});
        content.push((text_block(&blob.label()), false));
        content.push((json!({"type": kind, "source": source}), blob.is_shared));
    }
    content.push((text_block(&instruction(prompt, written_out)), false));
    mark(system.iter_mut().chain(content.iter_mut()));
    let plain = |blocks: Vec<(Value, bool)>| blocks.into_iter().map(|(block, _)| block).collect::<Vec<_>>();

    let mut messages = vec![json!({"role": "user", "content": plain(content)})];
    for turn in &prompt.turns {
        messages.push(json!({"role": "assistant", "content": turn.said.raw}));
        let results = turn.results.iter().map(|result| {
            json!({"type": "tool_result", "tool_use_id": result.call.id, "content": result.text, "is_error": result.is_error})
        });
        let results: Vec<_> = results.collect();
        if !results.is_empty() {
            messages.push(json!({"role": "user", "content": results}));
        }
    }
    let mut body = object(json!({"model": model.name, "max_tokens": output_max, "messages": messages, "stream": true}));
    if !system.is_empty() {
        body.insert("system".to_owned(), Value::Array(plain(system)));
    }
    if let Some(schema) = fitted {
        body.insert("output_config".to_owned(), json!({"format": {"type": "json_schema", "schema": schema}}));
    }
    if let Some(temperature) = temperature(model, prompt) {
        body.insert("temperature".to_owned(), json!(temperature));
    }
    if prompt.can_search {
        let (name, description, parameters) = search_tool();
        body.insert(
            "tools".to_owned(),
            json!([{"name": name, "description": description, "input_schema": parameters}]),
        );
        if prompt.has_to_answer {
            body.insert("tool_choice".to_owned(), json!({"type": "none"}));
        }
    }
    Ok(body)
}

fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// Marks the shared blocks for the cache: the last of them, where there are more than marks, since a mark is for all
/// that stands before it. What only one call reads bears none, since writing costs more than reading anew.
fn mark<'a>(blocks: impl DoubleEndedIterator<Item = &'a mut (Value, bool)>) {
    for (block, _) in blocks.rev().filter(|(_, is_shared)| *is_shared).take(MARKS_MAX) {
        block["cache_control"] = json!({"type": "ephemeral"});
    }
}

#[cfg(test)]
mod tests {
    use tollgate_core::model::Dialect;

    use super::*;
    use crate::prompt::Document;

    #[test]
    fn m06_shared_documents_alone_are_marked_and_four_at_most() {
        let model = WireModel { output_max: Some(64_000), ..WireModel::new(Dialect::Anthropic, "m") };
        let mut documents: Vec<_> = (0..6).map(|n| Document::text(n.to_string(), "text", n != 0)).collect();
        documents.push(Document::blob("p", "application/pdf", "x".into(), true).unwrap());
        let body = body(&model, &Prompt { documents, ..Prompt::default() }, &Fitted::default()).unwrap();
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
