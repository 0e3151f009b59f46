//! What the three formats have in common: how a request is read, refused and answered.

use super::Models;
use super::asked::Asked;
use super::facts::ModelFacts;
use super::said::Said;
use super::script::UsageLie;
use super::{anthropic::Anthropic, gemini::Gemini, openai::OpenAi};
use crate::answer::Answer;
use crate::site::Request;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;
use tollgate_core::model::{Dialect, Tokens};

/// Bytes of text in one event.
const EVENT_BYTES: usize = 24;

/// A service's refusal.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) status: u16,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Value,
}

impl Refusal {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    /// With the seconds to wait, rounded up.
    pub(crate) fn retry_after(mut self, after: Option<Duration>) -> Self {
        if let Some(after) = after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            self.headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        self
    }

    pub(crate) fn answer(self) -> Answer {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let answer = Answer::whole(status, "application/json", self.body.to_string());
        self.headers.into_iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    }
}

/// Why a request gets no answer, whichever the format.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    NoKey,
    WrongKey(String),
    NoSuchPath,
    NotJson,
    UnknownModel(String),
    Busy(Option<Duration>),
    BusyInWords(Duration),
    Quota,
    Credit,
    RampingUp,
    Overloaded,
    Broken,
}

/// An answer that is to be written down.
pub(super) struct Reply<'a> {
    pub(super) asked: &'a Asked,
    pub(super) said: &'a Said,
    /// What is billed, with what was made.
    pub(super) tokens: Tokens,
    pub(super) lie: Option<UsageLie>,
    /// Tells answers apart.
    pub(super) number: u64,
}

impl Reply<'_> {
    /// What the answer says that it used: `None`, no word; `Some(None)`, null.
    pub(super) fn told(&self) -> Option<Option<Tokens>> {
        match self.lie {
            None => Some(Some(self.tokens)),
            Some(UsageLie::Missing) => None,
            Some(UsageLie::Null) => Some(None),
            Some(UsageLie::Zero) => Some(Some(Tokens::default())),
            Some(UsageLie::CachedOverInput) => {
                Some(Some(Tokens { cache_read: self.tokens.sent() + 1_000, ..self.tokens }))
            }
        }
    }

    /// What the answer says that was sent: the sum of what is told, but for the lie that doesn't add up.
    pub(super) fn told_sent(&self, told: &Tokens) -> u64 {
        if self.lie == Some(UsageLie::CachedOverInput) { self.tokens.sent() } else { told.sent() }
    }

    /// What of the told output was thought.
    pub(super) fn told_thought(&self, told: &Tokens) -> u64 {
        self.said.thought.min(told.output)
    }
}

/// One provider's format.
pub(super) trait Format: Sync {
    /// Reads and checks a request, as the provider does.
    fn read(&self, request: &Request, models: &Models) -> Result<Asked, Refusal>;
    /// The whole answer.
    fn whole(&self, reply: &Reply<'_>) -> Value;
    /// The answer as events.
    fn events(&self, reply: &Reply<'_>) -> Vec<Bytes>;
    /// What a refusal looks like.
    fn refusal(&self, trouble: &Trouble, model: &str) -> Refusal;
    /// An error in a 200 that isn't a stream.
    fn error_body(&self) -> Value;
    /// An error as an event of a stream, which it begins or not.
    fn error_event(&self, asked: &Asked, is_first: bool) -> Bytes;
}

pub(super) fn of(dialect: Dialect) -> &'static dyn Format {
    match dialect {
        Dialect::OpenAi => &OpenAi,
        Dialect::Anthropic => &Anthropic,
        Dialect::Gemini => &Gemini,
    }
}

/// The body of a POST as JSON.
pub(super) fn json(format: &dyn Format, request: &Request) -> Result<Value, Refusal> {
    if request.http.method() != Method::POST {
        return Err(format.refusal(&Trouble::NoSuchPath, ""));
    }
    serde_json::from_slice(request.http.body()).map_err(|_| format.refusal(&Trouble::NotJson, ""))
}

/// The key, if it is one of those that are taken.
pub(super) fn key(format: &dyn Format, models: &Models, key: Option<&str>) -> Result<String, Refusal> {
    match key.filter(|key| !key.is_empty()) {
        None => Err(format.refusal(&Trouble::NoKey, "")),
        Some(key) if models.takes(key) => Ok(key.to_owned()),
        Some(key) => Err(format.refusal(&Trouble::WrongKey(key.to_owned()), "")),
    }
}

/// The model of this name.
pub(super) fn facts<'a>(
    format: &dyn Format,
    models: &'a Models,
    dialect: Dialect,
    name: &str,
) -> Result<&'a ModelFacts, Refusal> {
    let unknown = || format.refusal(&Trouble::UnknownModel(name.to_owned()), name);
    models.facts(dialect, name).ok_or_else(unknown)
}

/// A header's text.
pub(crate) fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.http.headers().get(name)?.to_str().ok()
}

/// The first field of an object that isn't known.
pub(super) fn unknown_field<'a>(object: &'a Value, known: &[&str]) -> Option<&'a str> {
    let mut names = object.as_object()?.keys().map(String::as_str);
    names.find(|name| !known.contains(name))
}

/// Where in a schema an object stands that leaves open which properties there are: the names on the way to it.
pub(super) fn open_object(schema: &Value) -> Option<Vec<String>> {
    match schema {
        Value::Object(fields) => {
            let is_object =
                fields.get("type").is_some_and(|kind| kind == "object") || fields.contains_key("properties");
            if is_object && fields.get("additionalProperties") != Some(&Value::Bool(false)) {
                return Some(Vec::new());
            }
            fields.iter().find_map(|(name, value)| {
                let mut way = open_object(value)?;
                way.insert(0, name.clone());
                Some(way)
            })
        }
        Value::Array(items) => items.iter().find_map(open_object),
        _ => None,
    }
}

/// A text as events carry it.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let (mut rest, mut pieces) = (text, Vec::new());
    while !rest.is_empty() {
        let end = rest.ceil_char_boundary(EVENT_BYTES.min(rest.len()));
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
