//! Language models, through the host: it picks the provider, holds the key, and keeps the ledger and the budget.
//!
//! ```
//! # use tollgate_sdk::{mock, prelude::*};
//! /// What the model is asked for. Comments on fields go to the model.
//! #[output]
//! struct Verdict {
//!     /// Whether the text is a thesis about the company at all.
//!     genuine: bool,
//!     summary: String,
//! }
//!
//! fn judge(thesis: &str) -> Result<Verdict> {
//!     llm::extract("Is this an investment thesis? Summarise it.").document("thesis", thesis).call()
//! }
//!
//! let host = mock::Host::new().llm(r#"{"genuine": true, "summary": "Cheap."}"#);
//! assert!(host.run(|| judge("…")).unwrap().genuine);
//! ```
//!
//! No token limit can be set, and an answer that was cut is an error, never parsed.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    artifacts::Artifact,
    backend,
    error::{Result, ServiceError},
};

/// What a document holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// An image or a PDF of the item.
    Artifact(Artifact),
}

/// A document that a call reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// By which the instruction can speak of it.
    pub name: String,
    /// What is in it.
    pub content: Content,
    /// More than one call will read it: it is marked for the provider's prompt cache.
    pub shared: bool,
}

/// A call, as the host gets it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// An alias from jobs.toml; absent: the stage's or the job's own.
    pub model: Option<String>,
    /// In the system prompt.
    pub documents: Vec<Document>,
    /// The user prompt.
    pub instruction: String,
    /// JSON Schema of the answer.
    pub schema: Option<Value>,
    /// Whether the model may search the web, through the host.
    pub web_search: bool,
    /// Absent: 0 with a schema, the provider's own without.
    pub temperature: Option<f64>,
    /// Absent: the model's own limit.
    pub timeout: Option<Duration>,
}

/// What a call took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens read, cached ones left out.
    pub input_tokens: u64,
    /// Tokens read from the provider's cache.
    pub cache_read_tokens: u64,
    /// Tokens written to the provider's cache.
    pub cache_write_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Billionths of a US dollar; absent: nobody has said what the model costs. That isn't 0.
    pub cost_nano_usd: Option<u64>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// JSON where a schema was given.
    pub text: String,
    /// The model that answered.
    pub model: String,
    /// What it took.
    pub usage: Usage,
    /// Names of documents that were cut to the size limit.
    pub cut_documents: Vec<String>,
    /// Pages that a web search used.
    pub sources: Vec<String>,
}

/// A call in the making: [`extract`] and [`ask`] begin one.
#[must_use = "nothing is asked before `.call()`"]
pub struct Call<T> {
    request: Request,
    read: fn(&str) -> Result<T, ServiceError>,
}

/// Asks for an answer of the shape of `T`, at temperature 0.
pub fn extract<T: DeserializeOwned + JsonSchema>(instruction: impl Into<String>) -> Call<T> {
    let schema = Some(schemars::schema_for!(T).into());
    Call {
        request: Request { instruction: instruction.into(), schema, ..Request::default() },
        read: |text| serde_json::from_str(text).map_err(|error| ServiceError::InvalidAnswer(error.to_string())),
    }
}

/// Asks for text.
pub fn ask(instruction: impl Into<String>) -> Call<String> {
    Call {
        request: Request { instruction: instruction.into(), ..Request::default() },
        read: |text| Ok(text.to_owned()),
    }
}

impl<T> Call<T> {
    /// Adds a document.
    pub fn document(self, name: &str, text: impl Into<String>) -> Self {
        self.with(name, Content::Text(text.into()), false)
    }

    /// Adds a document that other calls read too: it is marked for the provider's prompt cache. Where that keeps it, an
    /// extraction's schema is told the model in words behind it, since calls with other schemas would find nothing
    /// there. Calls that share a document should all search the web, or none: that a model may stands before its
    /// documents.
    pub fn shared_document(self, name: &str, text: impl Into<String>) -> Self {
        self.with(name, Content::Text(text.into()), true)
    }

    /// Adds an image or a PDF of the item.
    pub fn artifact(self, name: &str, artifact: &Artifact) -> Self {
        self.with(name, Content::Artifact(artifact.clone()), false)
    }

    fn with(mut self, name: &str, content: Content, shared: bool) -> Self {
        self.request.documents.push(Document { name: name.to_owned(), content, shared });
        self
    }

    /// Picks a model of jobs.toml by its alias.
    pub fn model(mut self, alias: impl Into<String>) -> Self {
        self.request.model = Some(alias.into());
        self
    }

    /// Lets the model search the web through the host.
    pub fn web_search(mut self) -> Self {
        self.request.web_search = true;
        self
    }

    /// Sets the temperature.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.request.temperature = Some(temperature);
        self
    }

    /// Shortens the model's time limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout = Some(timeout);
        self
    }

    /// Makes the call. A document that was cut is logged as a warning.
    ///
    /// # Errors
    /// The host or the provider gave no answer, or one of another shape.
    pub fn call(self) -> Result<T> {
        let (value, completion) = self.call_in_full()?;
        if !completion.cut_documents.is_empty() {
            crate::warn!("documents were cut to the size limit", documents = completion.cut_documents);
        }
        Ok(value)
    }

    /// Makes the call, and says which model answered, at what cost, from which sources.
    ///
    /// # Errors
    /// As [`Call::call`].
    pub fn call_in_full(self) -> Result<(T, Completion), ServiceError> {
        let completion = backend::llm_complete(self.request)?;
        Ok(((self.read)(&completion.text)?, completion))
    }
}
