//! `llm`, `search` and `speech`: paid services, which the host calls and accounts for.

use std::time::Duration;

use serde_json::{Map, Value};
use tollgate_core::service::{
    CallContent, CallDocument, Completion, ModelCall, SEARCH_HITS_MAX, Segment, ServiceError, SpeechCall, Transcript,
};

use crate::{
    bindings::v0_1::tollgate::handler::{llm, search, speech, types},
    guest::Guest,
};

/// Options by which other hosts' callers bound an answer, whatever the provider's spelling. One that is cut is
/// paid for and useless (M01).
const TOKEN_LIMITS: [&str; 4] = ["max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens"];

impl llm::Host for Guest {
    async fn complete(
        &mut self,
        request: llm::Request,
    ) -> wasmtime::Result<Result<llm::Completion, types::ServiceError>> {
        let texts = |document: &llm::Document| {
            document.name.len()
                + match &document.content {
                    llm::Content::Text(text) => text.len(),
                    llm::Content::Artifact((stage, name)) => stage.len() + name.len(),
                }
        };
        let beside = [&request.model, &request.schema, &request.options];
        let beside: usize = beside.into_iter().flatten().map(String::len).sum();
        self.transfer(request.instruction.len() + request.documents.iter().map(texts).sum::<usize>() + beside)?;
        let Some(gate) = self.gates.models.clone() else {
            let capability = request.model.map_or_else(|| "llm".to_owned(), |model| format!("llm {model}"));
            let grant = self.not_granted(&capability);
            return Ok(Err(types::ServiceError::Denied(format!("language models are {grant}"))));
        };
        let call = match model_call(request) {
            Ok(call) => call,
            Err(wrong) => return Ok(Err(types::ServiceError::InvalidRequest(wrong))),
        };
        match gate.complete(call).await {
            Ok(Completion { text, model, tokens, cost, cut_documents, sources }) => {
                let lists: usize = cut_documents.iter().chain(&sources).map(String::len).sum();
                self.transfer(text.len() + model.len() + lists)?;
                let usage = llm::Usage {
                    input_tokens: tokens.input,
                    cache_read_tokens: tokens.cache_read,
                    cache_write_tokens: tokens.cache_write.saturating_add(tokens.cache_write_long),
                    output_tokens: tokens.output,
                    cost: cost.map(|cost| cost.0),
                };
                Ok(Ok(llm::Completion { text, model, usage, cut_documents, sources }))
            }
            Err(error) => Ok(Err(service_error(error))),
        }
    }
}

/// A call as the guest wrote it; what it can't say is refused.
fn model_call(request: llm::Request) -> Result<ModelCall, String> {
    let llm::Request { model, documents, instruction, schema, web_search, temperature, timeout, options } = request;
    if let Some(options) = options {
        check_options(&options)?;
    }
    let schema = schema.map(|schema| object("the schema", &schema)).transpose()?;
    let document = |document: llm::Document| CallDocument {
        name: document.name,
        content: match document.content {
            llm::Content::Text(text) => CallContent::Text(text),
            llm::Content::Artifact((stage, name)) => CallContent::Artifact { stage, name },
        },
        shared: document.shared,
    };
    Ok(ModelCall {
        model,
        documents: documents.into_iter().map(document).collect(),
        instruction,
        schema: schema.map(Value::Object),
        web_search,
        temperature,
        timeout: timeout.map(Duration::from_millis),
    })
}

fn object(what: &str, text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("{what} is no JSON object: {error}"))
}

/// Nothing is taken yet, and a token limit never will be.
fn check_options(options: &str) -> Result<(), String> {
    let options = object("options", options)?;
    if let Some(limit) = options.keys().find(|key| TOKEN_LIMITS.contains(&key.as_str())) {
        return Err(format!(
            "{limit} would cut the answer; leave it out: the host bounds what a call costs by its budget"
        ));
    }
    match options.keys().next() {
        Some(unknown) => Err(format!("the option {unknown} isn't known; this version takes none")),
        None => Ok(()),
    }
}

impl search::Host for Guest {
    async fn web(
        &mut self,
        query: String,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<search::Hit>, types::ServiceError>> {
        self.transfer(query.len())?;
        let Some(gate) = self.gates.search.clone() else {
            let grant = self.not_granted("search");
            return Ok(Err(types::ServiceError::Denied(format!("web search is {grant}"))));
        };
        match gate.web(query, limit.clamp(1, SEARCH_HITS_MAX)).await {
            Ok(hits) => {
                self.transfer(hits.iter().map(|hit| hit.title.len() + hit.url.len() + hit.snippet.len()).sum())?;
                let hits = hits.into_iter();
                Ok(Ok(hits.map(|hit| search::Hit { title: hit.title, url: hit.url, snippet: hit.snippet }).collect()))
            }
            Err(error) => Ok(Err(service_error(error))),
        }
    }
}

impl speech::Host for Guest {
    async fn transcribe(
        &mut self,
        request: speech::Request,
    ) -> wasmtime::Result<Result<speech::Transcript, types::ServiceError>> {
        let speech::Request { stage, artifact, model, language, speakers } = request;
        self.transfer(stage.len() + artifact.len())?;
        let Some(gate) = self.gates.speech.clone() else {
            let capability = model.map_or_else(|| "speech".to_owned(), |model| format!("speech {model}"));
            let grant = self.not_granted(&capability);
            return Ok(Err(types::ServiceError::Denied(format!("speech is {grant}"))));
        };
        match gate.transcribe(SpeechCall { stage, artifact, model, language, speakers }).await {
            Ok(Transcript { text, segments, seconds, model, cost }) => {
                let stretch = |segment: &Segment| segment.text.len() + segment.speaker.as_ref().map_or(0, String::len);
                self.transfer(text.len() + segments.iter().map(stretch).sum::<usize>())?;
                let segment = |segment: Segment| speech::Segment {
                    start_ms: segment.start_ms,
                    end_ms: segment.end_ms,
                    text: segment.text,
                    speaker: segment.speaker,
                };
                let segments = segments.into_iter().map(segment).collect();
                Ok(Ok(speech::Transcript { text, segments, seconds, model, cost: cost.map(|cost| cost.0) }))
            }
            Err(error) => Ok(Err(service_error(error))),
        }
    }
}

fn service_error(error: ServiceError) -> types::ServiceError {
    match error {
        ServiceError::Denied(text) => types::ServiceError::Denied(text),
        ServiceError::Budget(text) => types::ServiceError::Budget(text),
        ServiceError::RateLimited { after } => {
            let millis = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            types::ServiceError::RateLimited(millis)
        }
        ServiceError::Timeout(text) => types::ServiceError::Timeout(text),
        ServiceError::Unavailable(text) => types::ServiceError::Unavailable(text),
        ServiceError::Truncated(text) => types::ServiceError::Truncated(text),
        ServiceError::InvalidAnswer(text) => types::ServiceError::InvalidAnswer(text),
        ServiceError::Refused(text) => types::ServiceError::Refused(text),
        ServiceError::InvalidRequest(text) => types::ServiceError::InvalidRequest(text),
        ServiceError::Storage(text) => types::ServiceError::Storage(text),
        ServiceError::Other(text) => types::ServiceError::Other(text),
    }
}
