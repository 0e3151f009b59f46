//! `generateContent`, as Gemini takes it. Its cache needs no marks.

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

pub(super) fn path(model: &WireModel) -> Result<String, RequestError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let is_name = !model.name.is_empty() && model.name.bytes().all(is_plain) && !model.name.contains("..");
    if !is_name {
        return Err(RequestError::ModelName(model.name.clone()));
    }
    let folder = if model.name.contains('/') { "" } else { "models/" };
    let action = if model.is_streamed { "streamGenerateContent?alt=sse" } else { "generateContent" };
    Ok(format!("v1beta/{folder}{}:{action}", model.name))
}

pub(super) fn body(model: &WireModel, prompt: &Prompt, fitted: &Fitted) -> Result<JsonObject, RequestError> {
    // Models before Gemini 3 refuse a schema beside a tool, so then it is written out for all of them.
    let native = native_schema(model, prompt).filter(|_| !prompt.can_search);
    let native = native.and_then(|given| fitted.of(given, Grammar::Gemini));
    let written_out = prompt.schema.as_ref().filter(|_| native.is_none()).and_then(|given| fitted.given(given));

    let mut parts = Vec::new();
    for blob in blocks::blobs(prompt) {
        if blob.media == Media::Gif {
            let (name, media_type) = (blob.name.to_owned(), blob.media.as_str());
            return Err(RequestError::Media { name, media_type, model: model.name.clone() });
        }
        parts.push(text_part(blob.label()));
        let data = [("mimeType", blob.media.as_str().into()), ("data", blob.base64.into())];
        parts.push([("inlineData", data.into())].into());
    }
    parts.push(text_part(instruction(prompt, written_out)));
    let mut contents = vec![JsonPart::from([("role", "user".into()), ("parts", parts.into())])];
    for turn in &prompt.turns {
        contents.push((&turn.said.raw).into());
        let results: Vec<_> = turn.results.iter().map(result).collect();
        if !results.is_empty() {
            contents.push([("role", "user".into()), ("parts", results.into())].into());
        }
    }
    let mut body: JsonFields<'_> = vec![("contents", contents.into())];
    if let Some(system) = blocks::system(prompt) {
        body.push(("systemInstruction", [("parts", vec![text_part(system)].into())].into()));
    }
    let mut config = JsonFields::new();
    if let Some(schema) = native {
        config.push(("responseMimeType", "application/json".into()));
        config.push(("responseJsonSchema", schema.into()));
    }
    if let Some(temperature) = temperature(model, prompt) {
        config.push(("temperature", temperature.into()));
    }
    if !config.is_empty() {
        body.push(("generationConfig", config.into()));
    }
    if prompt.can_search {
        let (name, description, parameters) = search_tool();
        let function = json!({"name": name, "description": description, "parametersJsonSchema": parameters});
        body.push(("tools", json!([{"functionDeclarations": [function]}]).into()));
        if prompt.has_to_answer {
            body.push(("toolConfig", json!({"functionCallingConfig": {"mode": "NONE"}}).into()));
        }
    }
    Ok(JsonObject::of_parts(&body))
}

fn text_part<'a>(text: impl Into<Cow<'a, str>>) -> JsonPart<'a> {
    [("text", text.into().into())].into()
}

/// The host's answer to a call.
fn result(result: &ToolResult) -> JsonPart<'_> {
    let key = if result.is_error { "error" } else { "output" };
    let said = [(key, result.text.as_str().into())];
    let mut response: JsonFields<'_> = vec![("name", result.call.name.as_str().into()), ("response", said.into())];
    if !result.call.id.is_empty() {
        response.push(("id", result.call.id.as_str().into()));
    }
    [("functionResponse", response.into())].into()
}

#[cfg(test)]
mod tests {
    use tollgate_core::model::Dialect;

    use super::*;
    use crate::prompt::Document;

    #[test]
    fn a_name_that_would_lead_elsewhere_is_refused() {
        let path = |name: &str| path(&WireModel::new(Dialect::Gemini, name));
        assert_eq!(path("gemini-2.5-pro").unwrap(), "v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse");
        assert_eq!(path("models/g").unwrap(), "v1beta/models/g:streamGenerateContent?alt=sse");
        for bad in ["", "a?b", "a#b", "../files", "a b", "a:b"] {
            assert_eq!(path(bad), Err(RequestError::ModelName(bad.to_owned())));
        }
    }

    #[test]
    fn a_picture_that_it_does_not_take_is_refused_by_name() {
        let documents = vec![Document::blob("moving", "image/gif", "x".into(), false).unwrap()];
        let prompt = Prompt { documents, ..Prompt::default() };
        let error = body(&WireModel::new(Dialect::Gemini, "g"), &prompt, &Fitted::default()).unwrap_err();
        assert!(error.to_string().contains("\"moving\" is of type image/gif"), "{error}");
    }
}
