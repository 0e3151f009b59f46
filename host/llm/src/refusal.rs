//! What a provider says when it doesn't answer: by the status, the headers and the body, whether to wait, and how long,
//! or whom to ask. Some refusals come with status 200, in the body or in the middle of a stream.

mod billing;
mod delay;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_core::{Timestamp, model::Dialect};

pub use billing::Billing;

/// Characters of a provider's words that are kept.
const SAID_CHARS_MAX: usize = 500;
/// Where Gemini's days begin.
const GEMINI_ZONE: &str = "America/Los_Angeles";
/// Where all others' do.
const UTC: &str = "UTC";

/// Why a provider gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// Too much was asked of it just now; nobody asks it anything for that long.
    #[error("rate limited{}", for_after(*after))]
    RateLimited {
        /// How long, where it says so; a day at most.
        after: Option<Duration>,
    },
    /// It has too much to do, for whomever.
    #[error("overloaded{}", for_after(*after))]
    Overloaded {
        /// How long, where it says so; a day at most.
        after: Option<Duration>,
    },
    /// A quota, a spend limit, an unpaid bill: no retry helps (trap 8).
    #[error("refused until {until}: {reason}")]
    Terminal {
        /// In its words.
        reason: String,
        /// When that ends.
        until: Reset,
    },
    /// It won't have that prompt, whoever asks.
    #[error("the provider refused the prompt: {0}")]
    Refused(String),
    /// The request is wrong, and will be the next time.
    #[error("invalid request: {0}")]
    InvalidRequest(String),
    /// The key, or what it is good for.
    #[error("the key is refused: {0}")]
    Auth(String),
    /// It has no model of that name.
    #[error("no such model: {0}")]
    ModelUnknown(String),
    /// More than the model can hold, or than the account may send at once.
    #[error("the prompt is too large: {0}")]
    TooLarge(String),
    /// It failed.
    #[error("the provider failed: {0}")]
    Server(String),
}

/// When a terminal refusal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reset {
    /// With the provider's next day; in which time zone that begins is [`Reset::zone`].
    NextDay(DayOf),
    /// With the next month, in UTC.
    NextMonth,
    /// In so long; a day at most, after which it is asked once more.
    In(Duration),
    /// When a person has done something about it.
    Unknown,
}

/// Whose day it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DayOf {
    /// Gemini's days begin at midnight in California.
    Gemini,
    /// All others', in UTC.
    Utc,
}

impl Reset {
    /// The time zone, by its IANA name, in which the day or month begins.
    #[must_use]
    pub fn zone(self) -> &'static str {
        match self {
            Self::NextDay(DayOf::Gemini) => GEMINI_ZONE,
            Self::NextDay(DayOf::Utc) | Self::NextMonth | Self::In(_) | Self::Unknown => UTC,
        }
    }
}

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NextDay(_) => "the provider's next day",
            Self::NextMonth => "the next month",
            Self::In(_) => "its quota is renewed",
            Self::Unknown => "somebody sees to it",
        })
    }
}

fn for_after(after: Option<Duration>) -> String {
    after.map_or(String::new(), |after| format!(" for {after:?}"))
}

/// Reads an answer whose status isn't 200. Of `headers` the names may be of any case.
#[must_use]
pub fn read(dialect: Dialect, status: u16, headers: &[(&str, &str)], body: &[u8], now: Timestamp) -> ProviderError {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let parsed = unwrapped(&parsed);
    let mut said = Said::of(status, parsed);
    if said.message.is_empty() {
        said.message = said_by_no_provider(body);
    }
    said.after = delay::of_headers(headers, now).or_else(|| delay::of_body(said.error, &said.message, Some(now)));
    said.judge(dialect)
}

/// The refusal in a body of status 200, or in an event of a stream; absent: it is none.
pub(crate) fn in_body(dialect: Dialect, body: &Value) -> Option<ProviderError> {
    let body = unwrapped(body);
    let in_choice =
        body.pointer("/choices/0").filter(|choice| choice.get("error").is_some_and(|error| !error.is_null()));
    let body = in_choice.unwrap_or(body);
    body.get("error").filter(|error| !error.is_null())?;
    let mut said = Said::of(0, body);
    said.status = said.own_status();
    said.after = delay::of_body(said.error, &said.message, None);
    Some(said.judge(dialect))
}

/// Gemini puts an error into a list where a stream isn't asked for as events.
fn unwrapped(body: &Value) -> &Value {
    body.as_array().and_then(|list| list.first()).unwrap_or(body)
}

/// What stands in a body that no provider's program wrote: a proxy's page, or nothing.
fn said_by_no_provider(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SAID_CHARS_MAX)]);
    let text = text.trim();
    if text.is_empty() {
        "it says nothing".to_owned()
    } else if text.starts_with('<') {
        "it answers with a page".to_owned()
    } else {
        tidy(text)
    }
}

/// A provider's words on one line, at most [`SAID_CHARS_MAX`] characters of them.
pub(crate) fn tidy(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.chars().filter(|char| !char.is_control()).take(SAID_CHARS_MAX).collect()
}

/// An error as a provider says it; the three formats have the same fields for it, or others.
struct Said<'a> {
    status: u16,
    error: &'a Value,
    /// OpenAI's and Anthropic's `type`, Gemini's `status`.
    kind: &'a str,
    /// OpenAI's `code`; Anthropic's, in the details.
    code: &'a str,
    message: String,
    after: Option<Duration>,
}

impl<'a> Said<'a> {
    fn of(status: u16, body: &'a Value) -> Self {
        let error = body.get("error").unwrap_or(body);
        let text = |pointer: &str| error.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let first = |one: &'a str, other: &'a str| if one.is_empty() { other } else { one };
        let message = first(text("/message"), error.as_str().unwrap_or_default());
        Self {
            status,
            error,
            kind: first(text("/type"), text("/status")),
            code: first(text("/details/error_code"), text("/code")),
            message: tidy(message),
            after: None,
        }
    }

    /// The status that it would have come with.
    fn own_status(&self) -> u16 {
        let code = self.error.get("code");
        let number = code.and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
        if let Some(status) = number.and_then(|number| u16::try_from(number).ok()).filter(|status| *status >= 400) {
            return status;
        }
        let of = |word: &str| match word {
            "invalid_request_error" | "INVALID_ARGUMENT" | "FAILED_PRECONDITION" => Some(400),
            "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => Some(401),
            "billing_error" => Some(402),
            "permission_error" | "PERMISSION_DENIED" => Some(403),
            "not_found_error" | "model_not_found" | "NOT_FOUND" => Some(404),
            "request_too_large" => Some(413),
            "rate_limit_error" | "rate_limit_exceeded" | "slow_down" | "RESOURCE_EXHAUSTED" => Some(429),
            "timeout_error" | "DEADLINE_EXCEEDED" => Some(504),
            "overloaded_error" | "server_is_overloaded" | "service_unavailable" | "UNAVAILABLE" => Some(503),
            _ => None,
        };
        of(self.code).or_else(|| of(self.kind)).unwrap_or(500)
    }

    fn has(&self, words: &[&str]) -> bool {
        let message = self.message.to_ascii_lowercase();
        words.iter().any(|word| message.contains(word))
    }

    fn judge(mut self, dialect: Dialect) -> ProviderError {
        if let Some(until) = self.terminal(dialect) {
            return ProviderError::Terminal { reason: std::mem::take(&mut self.message), until };
        }
        let after = self.after;
        let is_overloaded =
            ["overloaded_error", "server_is_overloaded"].iter().any(|word| [self.kind, self.code].contains(word));
        let message =
            if self.status == 0 { self.message.clone() } else { format!("{} ({})", self.message, self.status) };
        match self.status {
            _ if is_overloaded => ProviderError::Overloaded { after },
            413 => ProviderError::TooLarge(message),
            400..=499 if self.is_too_large() => ProviderError::TooLarge(message),
            400..=499 if self.is_refusal() => ProviderError::Refused(message),
            400..=499 if self.is_no_model() => ProviderError::ModelUnknown(message),
            401 | 403 => ProviderError::Auth(message),
            400 if self.is_about_the_account() => ProviderError::Auth(message),
            402 | 429 => ProviderError::RateLimited { after },
            // 498: Groq's word for having no room.
            498 | 503 | 529 => ProviderError::Overloaded { after },
            408 | 409 | 500..=599 => ProviderError::Server(message),
            300..=399 | 404 | 405 => ProviderError::InvalidRequest(format!("{message}; is the base URL right?")),
            _ => ProviderError::InvalidRequest(message),
        }
    }

    /// Whether no retry helps, and until when: looked at before any delay, which is told beside it all the same.
    fn terminal(&self, dialect: Dialect) -> Option<Reset> {
        let is_unpaid = [
            "insufficient_quota",
            "billing_hard_limit_reached",
            "billing_not_active",
            "billing_error",
            "blocked_api_access",
            // A litellm proxy's.
            "budget_exceeded",
        ];
        if is_unpaid.iter().any(|word| [self.kind, self.code].contains(word)) {
            return Some(Reset::Unknown);
        }
        match dialect {
            // OpenRouter's credit; with a delay it is something else.
            Dialect::OpenAi if self.status == 402 && self.after.is_none() => Some(Reset::Unknown),
            // OpenRouter's free models.
            Dialect::OpenAi if self.status == 429 && self.has(&["per-day"]) => Some(Reset::NextDay(DayOf::Utc)),
            Dialect::OpenAi => None,
            Dialect::Anthropic if self.code == "enforced_spend_limit_reached" => Some(Reset::NextMonth),
            Dialect::Anthropic if self.has(&["reached your specified api usage limits"]) => Some(Reset::NextMonth),
            Dialect::Anthropic if self.status == 402 || self.has(&["credit balance is too low"]) => {
                Some(Reset::Unknown)
            }
            Dialect::Anthropic => None,
            Dialect::Gemini if self.has(&["spending cap"]) => Some(Reset::NextMonth),
            Dialect::Gemini if self.has(&["credits are depleted"]) || self.has_no_quota() => Some(Reset::Unknown),
            Dialect::Gemini if self.violations().any(|(id, _)| id.contains("PerDay")) => {
                Some(Reset::NextDay(DayOf::Gemini))
            }
            Dialect::Gemini => None,
        }
    }

    /// Gemini's quotas that are used up: their ids and values.
    fn violations(&self) -> impl Iterator<Item = (&str, &str)> {
        let details = self.error.get("details").and_then(Value::as_array).into_iter().flatten();
        let violations = details.filter_map(|detail| detail.get("violations")?.as_array()).flatten();
        let text = |violation: &'a Value, field| violation.get(field).and_then(Value::as_str).unwrap_or_default();
        violations.map(move |violation| (text(violation, "quotaId"), text(violation, "quotaValue")))
    }

    /// A quota of nothing never fills up again.
    fn has_no_quota(&self) -> bool {
        self.violations().any(|(_, value)| value == "0")
    }

    /// More at once than a model holds, or than an account's whole minute: as it is, it never gets through.
    fn is_too_large(&self) -> bool {
        let words = [
            "prompt is too long",
            "maximum context length",
            "input token count",
            "request too large",
            "exceeds the context window",
            // A litellm proxy, whoever stands behind it.
            "contextwindowexceedederror",
        ];
        ["context_length_exceeded", "request_too_large", "string_above_max_length"].contains(&self.code)
            || self.kind == "request_too_large"
            || self.has(&words)
    }

    fn is_refusal(&self) -> bool {
        let is_flagged = self.error.pointer("/metadata/reasons").is_some();
        let codes = ["content_policy_violation", "content_filter", "moderation_blocked"];
        // A litellm proxy's guardrail, and what it makes of its providers' content filters.
        let is_guarded = self.error.pointer("/provider_specific_fields/guardrail_name").is_some();
        let words = ["blocked by content filtering policy", "contentpolicyviolationerror"];
        is_flagged || is_guarded || codes.contains(&self.code) || self.has(&words)
    }

    fn is_no_model(&self) -> bool {
        let is_missing = self.status == 404 && (self.has(&["model"]) || self.kind == "NOT_FOUND");
        self.code == "model_not_found" || is_missing || self.has(&["not a valid model id"])
    }

    /// Gemini says of a wrong key, and of a country that it doesn't serve, that the request is wrong.
    fn is_about_the_account(&self) -> bool {
        let details = self.error.get("details").and_then(Value::as_array).into_iter().flatten();
        let mut reasons = details.filter_map(|detail| detail.get("reason")?.as_str());
        reasons.any(|reason| reason.starts_with("API_KEY_")) || self.kind == "FAILED_PRECONDITION"
    }
}

#[cfg(test)]
mod tests;
