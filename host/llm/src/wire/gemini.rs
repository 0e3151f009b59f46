//! `generateContent`, as Gemini takes it. Its cache needs no marks.

use serde_json::{Map, Value, json};

use super::{
    RequestError, WireModel, blocks, instruction, native_schema, object,
    schema::{Fitted, Grammar},
    search_tool, temperature,
};
use crate::prompt::{Media, Prompt};

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

pub(super) fn body(model: &WireModel, prompt: &Prompt, fitted: &Fitted) -> Result<Map<String, Value>, RequestError> {
    // Models before Gemini 3 refuse a schema beside a tool, so then it is written out for all of them.
    let native = native_schema(model, prompt).filter(|_| !prompt.can_search);
    let fitted = native.and_then(|given| fitted.of(given, Grammar::Gemini));
    let written_out = prompt.schema.as_ref().filter(|_| fitted.is_none());

    let mut parts = Vec::new();
    for blob in blocks::blobs(prompt) {
        if blob.media == Media::Gif {
            let (name, media_type) = (blob.name.to_owned(), blob.media.as_str());
            return Err(RequestError::Media { name, media_type, model: model.name.clone() });
        }
        parts.push(json!({"text": blob.label()}));
        parts.push(json!({"inlineData": {"mimeType": blob.media.as_str(), "data": blob.base64}}));
    }
    parts.push(json!({"text": instruction(prompt, written_out)}));
    let mut contents = vec![json!({"role": "user", "parts": parts})];
    for turn in &prompt.turns {
        contents.push(turn.said.raw.clone());
        let results = turn.results.iter().map(|result| {
            let key = if result.is_error { "error" } else { "output" };
            let mut response = json!({"name": result.call.name, "response": {key: result.text}});
            if !result.call.id.is_empty() {
                response["id"] = Value::from(result.call.id.as_str());
            }
            json!({"functionResponse": response})
        });
        let results: Vec<_> = results.collect();
        if !results.is_empty() {
            contents.push(json!({"role": "user", "parts": results}));
        }
    }
    let mut body = object(json!({"contents": contents}));
    if let Some(system) = blocks::system(prompt) {
        body.insert("systemInstruction".to_owned(), json!({"parts": [{"text": system}]}));
    }
    let mut config = Map::new();
    if let Some(schema) = fitted {
        config.insert("responseMimeType".to_owned(), Value::from("application/json"));
        config.insert("responseJsonSchema".to_owned(), schema.clone());
    }
    if let Some(temperature) = temperature(model, prompt) {
        config.insert("temperature".to_owned(), json!(temperature));
    }
    if !config.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(config));
    }
    if prompt.can_search {
        let (name, description, parameters) = search_tool();
        let function = json!({"name": name, "description": description, "parametersJsonSchema": parameters});
        body.insert("tools".to_owned(), json!([{"functionDeclarations": [function]}]));
        if prompt.has_to_answer {
            body.insert("toolConfig".to_owned(), json!({"functionCallingConfig": {"mode": "NONE"}}));
        }
    }
    Ok(body)
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
