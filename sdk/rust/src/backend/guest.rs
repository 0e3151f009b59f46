//! Host calls from wasm: the imports of the interface.

mod services;

pub(crate) use services::{llm_complete, search_web, speech_transcribe, tools_run};

use std::time::Duration;

use serde_json::Value;

use crate::{
    artifacts::Saved,
    bindings::tollgate::handler::{artifacts, http, log, state, types},
    error::{ArtifactError, HttpError, StateError},
    http::Request,
    log::Level,
    state::{Change, Entry, Keys},
};

/// A response, held by the host until it is dropped.
pub(crate) struct RawResponse(http::Response);

impl RawResponse {
    pub(crate) fn status(&self) -> u16 {
        self.0.status()
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.0.header(name)
    }

    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        self.0.headers()
    }

    pub(crate) fn size(&self) -> u64 {
        self.0.size()
    }

    pub(crate) fn bytes(&self) -> Result<Vec<u8>, HttpError> {
        self.0.bytes().map_err(http_error)
    }

    pub(crate) fn save(&self, name: &str) -> Result<Saved, HttpError> {
        self.0.save(name).map(saved).map_err(http_error)
    }
}

fn request(request: Request) -> http::Request {
    http::Request {
        method: request.method,
        url: request.url,
        headers: request.headers,
        body: request.body,
        timeout: request.timeout.map(millis),
        options: None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn fetch(of: Request) -> Result<RawResponse, HttpError> {
    http::fetch(&request(of)).map(RawResponse).map_err(http_error)
}

pub(crate) fn fetch_all(of: Vec<Request>) -> Vec<Result<RawResponse, HttpError>> {
    let requests: Vec<_> = of.into_iter().map(request).collect();
    http::fetch_all(&requests).into_iter().map(|answer| answer.map(RawResponse).map_err(http_error)).collect()
}

pub(crate) fn zip_members(url: &str) -> Result<Vec<String>, HttpError> {
    http::list_zip_members(url).map_err(http_error)
}

pub(crate) fn zip_member(url: &str, member: &str) -> Result<RawResponse, HttpError> {
    http::fetch_zip_member(url, member).map(RawResponse).map_err(http_error)
}

pub(crate) fn artifact_put(name: &str, content_type: &str, body: &[u8]) -> Result<Saved, ArtifactError> {
    artifacts::put(name, content_type, body).map(saved).map_err(artifact_error)
}

pub(crate) fn artifact_get(stage: &str, name: &str) -> Result<Vec<u8>, ArtifactError> {
    artifacts::get(stage, name).map_err(artifact_error)
}

pub(crate) fn artifact_range(stage: &str, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, ArtifactError> {
    artifacts::get_range(stage, name, offset, length).map_err(artifact_error)
}

pub(crate) fn artifact_list() -> Vec<Saved> {
    artifacts::list_all().into_iter().map(saved).collect()
}

pub(crate) fn state_get(key: &str) -> Result<Option<Entry>, StateError> {
    let entry = state::get(key).map_err(state_error)?;
    Ok(entry.map(|state::Entry { value, version }| Entry { value, version }))
}

pub(crate) fn state_apply(changes: &[Change]) -> Result<(), StateError> {
    let changes: Vec<_> = changes
        .iter()
        .map(|change| state::Change { key: change.key.clone(), value: change.value.clone(), expect: change.expect })
        .collect();
    state::apply(&changes).map_err(state_error)
}

pub(crate) fn state_keys(prefix: &str, cursor: Option<&str>) -> Result<Keys, StateError> {
    let page = state::list_keys(prefix, cursor).map_err(state_error)?;
    Ok(Keys { keys: page.keys, cursor: page.cursor })
}

pub(crate) fn log_event(level: Level, message: &str, fields: Vec<(String, Value)>) {
    let level = match level {
        Level::Trace => log::Level::Trace,
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    log::event(level, message, &fields);
}

fn saved(of: types::Artifact) -> Saved {
    Saved { stage: of.stage, name: of.name, content_type: of.content_type, size: of.size, digest: of.digest }
}

fn http_error(error: http::HttpError) -> HttpError {
    match error {
        http::HttpError::Denied(text) => HttpError::Denied(text),
        http::HttpError::Timeout(text) => HttpError::Timeout(text),
        http::HttpError::Connection(text) => HttpError::Connection(text),
        http::HttpError::RateLimited(after) => HttpError::RateLimited(after.map(Duration::from_millis)),
        http::HttpError::Blocked(text) => HttpError::Blocked(text),
        http::HttpError::LoginRequired(text) => HttpError::LoginRequired(text),
        http::HttpError::NotContent(text) => HttpError::NotContent(text),
        http::HttpError::TooLarge(bytes) => HttpError::TooLarge(bytes),
        http::HttpError::InvalidRequest(text) => HttpError::InvalidRequest(text),
        http::HttpError::Storage(text) => HttpError::Storage(text),
        http::HttpError::Other(text) => HttpError::Other(text),
    }
}

fn artifact_error(error: artifacts::ArtifactError) -> ArtifactError {
    match error {
        artifacts::ArtifactError::Missing(name) => ArtifactError::Missing(name),
        artifacts::ArtifactError::TooLarge(bytes) => ArtifactError::TooLarge(bytes),
        artifacts::ArtifactError::Storage(text) => ArtifactError::Storage(text),
    }
}

fn state_error(error: state::StateError) -> StateError {
    match error {
        state::StateError::Conflict(key) => StateError::Conflict(key),
        state::StateError::TooLarge(bytes) => StateError::TooLarge(bytes),
        state::StateError::Storage(text) => StateError::Storage(text),
    }
}
