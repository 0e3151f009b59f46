//! Host calls for models, search, speech and tools.

use std::time::Duration;

use super::{millis, saved};
use crate::{
    bindings::tollgate::handler::{
        llm as wit_llm, search as wit_search, speech as wit_speech, tools as wit_tools, types,
    },
    error::{ServiceError, ToolError},
    llm, search, speech, tools,
};

pub(crate) fn llm_complete(request: llm::Request) -> Result<llm::Completion, ServiceError> {
    let document = |document: llm::Document| wit_llm::Document {
        name: document.name,
        content: match document.content {
            llm::Content::Text(text) => wit_llm::Content::Text(text),
            llm::Content::Artifact(artifact) => {
                wit_llm::Content::Artifact((artifact.stage().to_owned(), artifact.name().to_owned()))
            }
        },
        shared: document.shared,
    };
    let request = wit_llm::Request {
        model: request.model,
        documents: request.documents.into_iter().map(document).collect(),
        instruction: request.instruction,
        schema: request.schema.map(|schema| schema.to_string()),
        web_search: request.web_search,
        temperature: request.temperature,
        timeout: request.timeout.map(millis),
        options: None,
    };
    let completion = wit_llm::complete(&request).map_err(service_error)?;
    Ok(llm::Completion {
        text: completion.text,
        model: completion.model,
        usage: llm::Usage {
            input_tokens: completion.usage.input_tokens,
            cache_read_tokens: completion.usage.cache_read_tokens,
            cache_write_tokens: completion.usage.cache_write_tokens,
            output_tokens: completion.usage.output_tokens,
            cost_nano_usd: completion.usage.cost,
        },
        cut_documents: completion.cut_documents,
        sources: completion.sources,
    })
}

pub(crate) fn search_web(query: &str, limit: u32) -> Result<Vec<search::Hit>, ServiceError> {
    let hits = wit_search::web(query, limit).map_err(service_error)?;
    Ok(hits.into_iter().map(|hit| search::Hit { title: hit.title, url: hit.url, snippet: hit.snippet }).collect())
}

pub(crate) fn speech_transcribe(of: speech::Transcription) -> Result<speech::Transcript, ServiceError> {
    let request = wit_speech::Request {
        stage: of.audio.stage().to_owned(),
        artifact: of.audio.name().to_owned(),
        model: of.model,
        language: of.language,
        speakers: of.speakers,
    };
    let transcript = wit_speech::transcribe(&request).map_err(service_error)?;
    let segment = |segment: wit_speech::Segment| speech::Segment {
        start_ms: segment.start_ms,
        end_ms: segment.end_ms,
        text: segment.text,
        speaker: segment.speaker,
    };
    Ok(speech::Transcript {
        text: transcript.text,
        segments: transcript.segments.into_iter().map(segment).collect(),
        seconds: transcript.seconds,
        model: transcript.model,
        cost_nano_usd: transcript.cost,
    })
}

pub(crate) fn tools_run(run: tools::Run) -> Result<tools::Output, ToolError> {
    let file = |artifact: &crate::Artifact| (artifact.stage().to_owned(), artifact.name().to_owned());
    let request = wit_tools::Request {
        tool: run.tool,
        args: run.args,
        url: run.url,
        files: run.files.iter().map(file).collect(),
        stdin: run.stdin,
        timeout: run.timeout.map(millis),
    };
    let output = wit_tools::run(&request).map_err(tool_error)?;
    Ok(tools::Output {
        exit_code: output.exit_code,
        stdout: output.stdout,
        stderr: output.stderr,
        warnings: output.warnings,
        profile: output.profile,
        files: output.files.into_iter().map(saved).collect(),
    })
}

fn service_error(error: types::ServiceError) -> ServiceError {
    match error {
        types::ServiceError::Denied(text) => ServiceError::Denied(text),
        types::ServiceError::Budget(text) => ServiceError::Budget(text),
        types::ServiceError::RateLimited(after) => ServiceError::RateLimited(after.map(Duration::from_millis)),
        types::ServiceError::Timeout(text) => ServiceError::Timeout(text),
        types::ServiceError::Unavailable(text) => ServiceError::Unavailable(text),
        types::ServiceError::Truncated(text) => ServiceError::Truncated(text),
        types::ServiceError::InvalidAnswer(text) => ServiceError::InvalidAnswer(text),
        types::ServiceError::Refused(text) => ServiceError::Refused(text),
        types::ServiceError::InvalidRequest(text) => ServiceError::InvalidRequest(text),
        types::ServiceError::Storage(text) => ServiceError::Storage(text),
        types::ServiceError::Other(text) => ServiceError::Other(text),
    }
}

fn tool_error(error: wit_tools::ToolError) -> ToolError {
    match error {
        wit_tools::ToolError::Denied(text) => ToolError::Denied(text),
        wit_tools::ToolError::Timeout(text) => ToolError::Timeout(text),
        wit_tools::ToolError::Connection(text) => ToolError::Connection(text),
        wit_tools::ToolError::RateLimited(after) => ToolError::RateLimited(after.map(Duration::from_millis)),
        wit_tools::ToolError::Blocked(text) => ToolError::Blocked(text),
        wit_tools::ToolError::LoginRequired(text) => ToolError::LoginRequired(text),
        wit_tools::ToolError::Missing(text) => ToolError::Missing(text),
        wit_tools::ToolError::Failed(text) => ToolError::Failed(text),
    }
}
