//! A paid service, asked as a client of it would ask: JSON there, JSON or events back.

use crate::client::{Client, Reply};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use std::sync::Arc;
use tollgate_core::model::Dialect;
use tollgate_sim::sites::models::{ModelFacts, Models, usual_models};
use tollgate_sim::{Sim, Site};

pub(crate) const OPENAI: &str = "api.openai.com";
pub(crate) const ANTHROPIC: &str = "api.anthropic.com";
pub(crate) const GEMINI: &str = "generativelanguage.googleapis.com";
pub(crate) const KEY: &str = "sk-right-key-0001";

pub(crate) struct Asker {
    pub(crate) sim: Sim,
    client: Client,
}

impl Asker {
    pub(crate) async fn new(sites: Vec<(&str, Arc<dyn Site>)>) -> Self {
        let builder = sites.into_iter().fold(Sim::builder(), |builder, (host, site)| builder.site(host, site));
        let sim = builder.start().await.unwrap();
        let client = Client::new(&sim);
        Self { sim, client }
    }

    /// The models under the hosts of their three providers.
    pub(crate) async fn of_models(models: &Arc<Models>) -> Self {
        let site = |dialect| models.site(dialect);
        Self::new(vec![
            (OPENAI, site(Dialect::OpenAi)),
            (ANTHROPIC, site(Dialect::Anthropic)),
            (GEMINI, site(Dialect::Gemini)),
        ])
        .await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, crate::client::Failure> {
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, host).body(Full::new(body.into()))?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            request.headers_mut().insert(HeaderName::try_from(*name)?, HeaderValue::from_str(value)?);
        }
        self.client.tunnel(host).await?.send(request).await
    }

    pub(crate) async fn post(&self, host: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        self.send(Method::POST, host, path, headers, body.to_string()).await.unwrap()
    }

    /// Chat completions with the right key.
    pub(crate) async fn chat(&self, body: &Value) -> Reply {
        self.post(OPENAI, "/v1/chat/completions", &[("authorization", &format!("Bearer {KEY}"))], body).await
    }

    /// Messages with the right key.
    pub(crate) async fn message(&self, body: &Value) -> Reply {
        self.post(ANTHROPIC, "/v1/messages", &[("x-api-key", KEY), ("anthropic-version", "2023-06-01")], body).await
    }

    /// `generateContent`, or another method of a model, with the right key.
    pub(crate) async fn generate(&self, model: &str, method: &str, body: &Value) -> Reply {
        let path = format!("/v1beta/models/{model}:{method}");
        self.post(GEMINI, &path, &[("x-goog-api-key", KEY)], body).await
    }
}

/// The usual models, with one key.
pub(crate) fn models() -> Arc<Models> {
    Arc::new(Models::new(usual_models()).keys([KEY]))
}

/// One of the usual models, changed.
pub(crate) fn model(name: &str, change: impl FnOnce(&mut ModelFacts)) -> Arc<Models> {
    let mut facts = usual_models().into_iter().find(|facts| facts.name == name).unwrap();
    change(&mut facts);
    Arc::new(Models::new([facts]))
}

pub(crate) fn json_of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

/// The data of a stream's events, in order; what isn't JSON as a string.
pub(crate) fn events(reply: &Reply) -> Vec<Value> {
    assert!(reply.header("content-type").starts_with("text/event-stream"), "{reply:?}");
    let data = reply.text().lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

/// A schema as all three providers take it.
pub(crate) fn schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["title", "is_long", "score"],
        "properties": {"title": {"type": "string"}, "is_long": {"type": "boolean"}, "score": {"type": "integer"}},
    })
}

/// A document of so many tokens.
pub(crate) fn document(tokens: usize) -> String {
    let text = "<document name=\"page\">Arlen Bearings sells spare parts to old customers. ";
    text.chars().chain("and more of it ".chars().cycle()).take(tokens * 4).collect()
}
