//! A prompt as a provider's request: the path, the headers and the exact bytes, without the key.
//!
//! All three formats stream by default. A stalled answer is told by the silence between two events, not by a time-out
//! over the whole of it; what came before a call was dropped is known, and can be billed (trap 7); and there is one way
//! to read. `is_streamed = false` is for servers of OpenAI's format that send no usage in a stream.

mod anthropic;
mod blocks;
mod gemini;
mod openai;
mod schema;

pub(crate) use schema::Fitted;

use std::borrow::Cow;

use serde_json::{Value, json};
use tollgate_core::{
    JsonObject,
    model::{Dialect, TemperatureRule},
};

use crate::{
    estimate::shared_tokens,
    prompt::{Prompt, SEARCH_TOOL},
};

/// A model, as requests have to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireModel {
    /// The format of its provider.
    pub dialect: Dialect,
    /// Its name there.
    pub name: String,
    /// Whether it takes a temperature.
    pub temperature: TemperatureRule,
    /// The most tokens that it can make: Anthropic's format demands a limit, and is sent this one. No other is sent
    /// any.
    pub output_max: Option<u64>,
    /// Its answer is asked for as a stream. Anthropic's always is: its clients refuse long answers in one piece.
    pub is_streamed: bool,
    /// Takes `strict` schemas, in OpenAI's format.
    pub is_strict: bool,
    /// The fewest tokens of a begin that its provider's cache keeps; absent: none is known to be kept.
    pub cached_min: Option<u64>,
}

impl WireModel {
    /// A model of which nothing else is known: it streams, takes a temperature and strict schemas.
    #[must_use]
    pub fn new(dialect: Dialect, name: impl Into<String>) -> Self {
        Self {
            dialect,
            name: name.into(),
            temperature: TemperatureRule::Free,
            output_max: None,
            is_streamed: true,
            is_strict: true,
            cached_min: None,
        }
    }
}

/// A request, ready but for the base URL and the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireRequest {
    /// To be joined to the provider's base URL with a `/`.
    pub path: Cow<'static, str>,
    /// Headers, in lower case, without the key.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body: its text is what is sent, to the byte, and its digest tells one request from another.
    pub body: JsonObject,
    /// How the key is sent.
    pub key: KeyHeader,
}

/// The header of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHeader {
    /// Its name, in lower case.
    pub name: &'static str,
    /// What stands before the key.
    pub prefix: &'static str,
}

impl KeyHeader {
    /// The header of a format.
    #[must_use]
    pub fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenAi => Self { name: "authorization", prefix: "Bearer " },
            Dialect::Anthropic => Self { name: "x-api-key", prefix: "" },
            Dialect::Gemini => Self { name: "x-goog-api-key", prefix: "" },
        }
    }

    /// The header's value.
    #[must_use]
    pub fn value(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// Why a prompt can't be sent to a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Anthropic's format demands a limit, and the model's is not known.
    #[error("the most tokens that {0:?} can make are not known, and its provider has to be told; set `output-max`")]
    OutputMax(String),
    /// The name can't stand in a path.
    #[error("{0:?} is no name of a model")]
    ModelName(String),
    /// The provider doesn't take that type.
    #[error("document {name:?} is of type {media_type}, which the provider of {model:?} doesn't take")]
    Media {
        /// The document.
        name: String,
        /// Its type.
        media_type: &'static str,
        /// The model.
        model: String,
    },
    /// No number that can be sent.
    #[error("{0} is no temperature; a number from 0 to 2 is, and with some providers one from 0 to 1")]
    Temperature(String),
    /// The schema is no JSON object.
    #[error("the schema of the answer is no JSON object")]
    Schema,
    /// Turns of one provider's format can't be sent to another: a fall-back begins anew.
    #[error("a conversation that began with another provider can't go on with {0:?}; begin it anew")]
    ForeignTurn(String),
}

/// Where each provider is, if jobs.toml names no other place.
#[must_use]
pub fn base_url(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => "https://api.openai.com/v1",
        Dialect::Anthropic => "https://api.anthropic.com",
        Dialect::Gemini => "https://generativelanguage.googleapis.com",
    }
}

/// The request of a prompt. A temperature that is asked for is not sent where the model's rule is `Fixed`.
///
/// # Errors
/// The model can't be asked that.
pub fn request(model: &WireModel, prompt: &Prompt) -> Result<WireRequest, RequestError> {
    request_with(model, prompt, &Fitted::default())
}

/// The same, where `fitted` is what was fitted of the prompt's schema before.
pub(crate) fn request_with(model: &WireModel, prompt: &Prompt, fitted: &Fitted) -> Result<WireRequest, RequestError> {
    if prompt.turns.iter().any(|turn| turn.said.dialect != model.dialect) {
        return Err(RequestError::ForeignTurn(model.name.clone()));
    }
    if let Some(temperature) = prompt.temperature.filter(|temperature| !(0.0..=2.0).contains(temperature)) {
        return Err(RequestError::Temperature(temperature.to_string()));
    }
    if prompt.schema.as_ref().is_some_and(|schema| !schema.is_object()) {
        return Err(RequestError::Schema);
    }
    let is_streamed = model.is_streamed || model.dialect == Dialect::Anthropic;
    let (path, body) = match model.dialect {
        Dialect::OpenAi => ("chat/completions".into(), openai::body(model, prompt, fitted)),
        Dialect::Anthropic => ("v1/messages".into(), anthropic::body(model, prompt, fitted)?),
        Dialect::Gemini => (gemini::path(model)?.into(), gemini::body(model, prompt, fitted)?),
    };
    let accept = if is_streamed { "text/event-stream" } else { "application/json" };
    let mut headers = vec![("accept", accept), ("content-type", "application/json")];
    if model.dialect == Dialect::Anthropic {
        headers.push(("anthropic-version", anthropic::VERSION));
    }
    Ok(WireRequest { path, headers, body, key: KeyHeader::of(model.dialect) })
}

/// The temperature that is sent: 0 with a schema (M03), else what is asked for, and none where the model takes none.
fn temperature(model: &WireModel, prompt: &Prompt) -> Option<f64> {
    match model.temperature {
        TemperatureRule::Fixed => None,
        TemperatureRule::Free if prompt.schema.is_some() => Some(0.0),
        TemperatureRule::Free => prompt.temperature,
    }
}

/// What the model is told of the search, and its parameters.
fn search_tool() -> (&'static str, &'static str, Value) {
    let what = "Searches the web and gives titles, addresses and excerpts of pages. Call it once for each query.";
    let parameters = json!({
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What to search for, as typed into a search box."}},
        "required": ["query"],
        "additionalProperties": false,
    });
    (SEARCH_TOOL, what, parameters)
}

/// The schema that the provider may be given as one. None where its cache is to keep what other calls read too: OpenAI
/// and Anthropic write a schema ahead of the system prompt, so that calls with other schemas would find none of the
/// documents (developers.openai.com/api/docs/guides/prompt-caching: it "serves as a prefix to the system message";
/// platform.claude.com/docs/en/build-with-claude/structured-outputs: a changed `output_config.format` will "invalidate
/// any prompt cache"). It stands behind the documents then, in words, and the host holds the answer against it as ever.
/// Of Gemini nothing of the kind is said.
fn native_schema<'a>(model: &WireModel, prompt: &'a Prompt) -> Option<&'a Value> {
    let is_kept = || model.cached_min.is_some_and(|least| shared_tokens(prompt) >= least);
    prompt.schema.as_ref().filter(|_| model.dialect == Dialect::Gemini || !is_kept())
}

/// The user's prompt; with a schema that the provider isn't given as one, it is written out.
fn instruction<'a>(prompt: &'a Prompt, written_out: Option<&JsonObject>) -> Cow<'a, str> {
    match written_out {
        None => prompt.instruction.as_str().into(),
        Some(schema) => format!(
            "{}\n\nAnswer with JSON alone: no words around it, no code fence. It satisfies this JSON Schema:\n{}",
            prompt.instruction,
            schema.as_str()
        )
        .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m02_a_model_that_has_to_answer_is_told_so_by_the_choice_of_tools_and_keeps_them() {
        for (dialect, field, value) in [
            (Dialect::OpenAi, "tool_choice", json!("none")),
            (Dialect::Anthropic, "tool_choice", json!({"type": "none"})),
            (Dialect::Gemini, "toolConfig", json!({"functionCallingConfig": {"mode": "NONE"}})),
        ] {
            let model = WireModel { output_max: Some(1_000), ..WireModel::new(dialect, "m") };
            let body = |prompt: &Prompt| request(&model, prompt).unwrap().body.parse().unwrap();
            let may = Prompt { can_search: true, ..Prompt::default() };
            let (before, last) = (body(&may), body(&Prompt { has_to_answer: true, ..may.clone() }));
            assert_eq!((before.get(field), last.get(field)), (None, Some(&value)));
            assert_eq!(before["tools"], last["tools"]);
            let without = body(&Prompt { has_to_answer: true, ..Prompt::default() });
            assert_eq!((without.get(field), without.get("tools")), (None, None), "there is nothing to choose from");
        }
    }
}
