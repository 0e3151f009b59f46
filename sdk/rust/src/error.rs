//! Errors: what a stage may end with, what the host may refuse, and how `?` turns the one into the other.

use std::{fmt, time::Duration};

/// What a stage or a discovery returns.
pub type Result<T, E = StageError> = std::result::Result<T, E>;

/// Why a stage made no output. The case decides what the host does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageError {
    /// Not ready, or not now: tried again after the time named, or when the host thinks fit. Uses no attempt.
    RetryLater {
        /// Shown to people.
        reason: String,
        /// When to try again.
        after: Option<Duration>,
    },
    /// There is nothing of this kind for this item, and that is fine.
    NothingHere(String),
    /// The item isn't wanted: its later stages don't run, and nothing failed.
    Reject(String),
    /// The site refuses us: it is left alone for a while, whichever job asks.
    Blocked(String),
    /// The site wants a session that we don't have.
    LoginRequired(String),
    /// This item can never succeed: gone, malformed. Not tried again.
    Permanent(String),
    /// Anything else: tried again up to the stage's bound.
    Failed(String),
}

impl StageError {
    /// Not now; the host decides when.
    pub fn retry_later(reason: impl Into<String>) -> Self {
        Self::RetryLater { reason: reason.into(), after: None }
    }

    /// With a time to wait, for what comes later: `StageError::retry_later("no specs yet").after(WAIT)`. Other errors
    /// have none, and stay as they are.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        match self {
            Self::RetryLater { reason, .. } => Self::RetryLater { reason, after: Some(wait) },
            other => other,
        }
    }

    /// The site refuses us.
    pub fn blocked(reason: impl Into<String>) -> Self {
        Self::Blocked(reason.into())
    }

    /// The site wants a session that we don't have.
    pub fn login_required(reason: impl Into<String>) -> Self {
        Self::LoginRequired(reason.into())
    }

    /// Something went wrong; worth another try.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into())
    }

    /// This item can never succeed.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent(reason.into())
    }

    /// The item isn't wanted.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(reason.into())
    }

    /// There is nothing of this kind here.
    pub fn nothing_here(reason: impl Into<String>) -> Self {
        Self::NothingHere(reason.into())
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RetryLater { reason, after: None } => write!(f, "retry later: {reason}"),
            Self::RetryLater { reason, after: Some(after) } => write!(f, "retry after {after:?}: {reason}"),
            Self::NothingHere(reason) => write!(f, "nothing here: {reason}"),
            Self::Reject(reason) => write!(f, "rejected: {reason}"),
            Self::Blocked(reason) => write!(f, "blocked: {reason}"),
            Self::LoginRequired(reason) => write!(f, "login required: {reason}"),
            Self::Permanent(reason) => write!(f, "permanent: {reason}"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

impl std::error::Error for StageError {}

/// Why the gate gave no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpError {
    /// No policy lets this job reach that address; the text names the missing line of jobs.toml.
    Denied(String),
    /// The site's time limit ran out.
    Timeout(String),
    /// Connect, TLS, DNS at the proxy, reset.
    Connection(String),
    /// The site cools down for every job.
    RateLimited(Option<Duration>),
    /// A guard or the site's circuit.
    Blocked(String),
    /// The site wants a session.
    LoginRequired(String),
    /// A guard found a page that isn't the content asked for.
    NotContent(String),
    /// The body is larger than the site's limit, in bytes.
    TooLarge(u64),
    /// The request itself is wrong.
    InvalidRequest(String),
    /// The host could not keep the body.
    Storage(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(text) => write!(f, "denied: {text}"),
            Self::Timeout(text) => write!(f, "timed out: {text}"),
            Self::Connection(text) => write!(f, "connection failed: {text}"),
            Self::RateLimited(None) => f.write_str("rate limited"),
            Self::RateLimited(Some(after)) => write!(f, "rate limited for {after:?}"),
            Self::Blocked(text) => write!(f, "blocked: {text}"),
            Self::LoginRequired(text) => write!(f, "login required: {text}"),
            Self::NotContent(text) => write!(f, "not content: {text}"),
            Self::TooLarge(limit) => write!(f, "body larger than {limit} bytes"),
            Self::InvalidRequest(text) => write!(f, "invalid request: {text}"),
            Self::Storage(text) => write!(f, "storage: {text}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for HttpError {}

impl From<HttpError> for StageError {
    fn from(error: HttpError) -> Self {
        let reason = error.to_string();
        match error {
            HttpError::RateLimited(after) => Self::RetryLater { reason, after },
            HttpError::Timeout(_) | HttpError::Connection(_) => Self::RetryLater { reason, after: None },
            HttpError::Blocked(text) => Self::Blocked(text),
            HttpError::LoginRequired(text) => Self::LoginRequired(text),
            HttpError::TooLarge(_) | HttpError::InvalidRequest(_) => Self::Permanent(reason),
            HttpError::Denied(_) | HttpError::NotContent(_) | HttpError::Storage(_) | HttpError::Other(_) => {
                Self::Failed(reason)
            }
        }
    }
}

/// Why an artifact can't be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactError {
    /// A missing artifact is an error, never an empty one.
    Missing(String),
    /// Larger than the guest may take, in bytes.
    TooLarge(u64),
    /// The store refused.
    Storage(String),
}

impl fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "artifact {name} is missing"),
            Self::TooLarge(bytes) => write!(f, "an artifact of {bytes} bytes is too large to read at once"),
            Self::Storage(text) => write!(f, "storage: {text}"),
        }
    }
}

impl std::error::Error for ArtifactError {}

impl From<ArtifactError> for StageError {
    fn from(error: ArtifactError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Why the job's state can't be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateError {
    /// Another writer came first; read again. Names the key.
    Conflict(String),
    /// Larger than the store takes, in bytes.
    TooLarge(u64),
    /// The store refused.
    Storage(String),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(key) => write!(f, "state {key:?} was changed by another writer"),
            Self::TooLarge(bytes) => write!(f, "state of {bytes} bytes is too large"),
            Self::Storage(text) => write!(f, "storage: {text}"),
        }
    }
}

impl std::error::Error for StateError {}

impl From<StateError> for StageError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Conflict(_) => Self::retry_later(error.to_string()),
            StateError::TooLarge(_) | StateError::Storage(_) => Self::Failed(error.to_string()),
        }
    }
}

/// Why a paid service gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceError {
    /// The job may not use that model or service, or names none.
    Denied(String),
    /// The budget refuses the call; nothing was sent.
    Budget(String),
    /// The provider cools down for every job.
    RateLimited(Option<Duration>),
    /// The model's time limit ran out.
    Timeout(String),
    /// The provider is down.
    Unavailable(String),
    /// The answer stopped at a limit: never parsed.
    Truncated(String),
    /// The answer doesn't satisfy the schema.
    InvalidAnswer(String),
    /// The model or the provider won't.
    Refused(String),
    /// The request itself is wrong.
    InvalidRequest(String),
    /// The host could not keep the answer.
    Storage(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(text) => write!(f, "denied: {text}"),
            Self::Budget(text) => write!(f, "over budget: {text}"),
            Self::RateLimited(None) => f.write_str("rate limited"),
            Self::RateLimited(Some(after)) => write!(f, "rate limited for {after:?}"),
            Self::Timeout(text) => write!(f, "timed out: {text}"),
            Self::Unavailable(text) => write!(f, "unavailable: {text}"),
            Self::Truncated(text) => write!(f, "the answer was cut: {text}"),
            Self::InvalidAnswer(text) => write!(f, "the answer breaks its schema: {text}"),
            Self::Refused(text) => write!(f, "refused: {text}"),
            Self::InvalidRequest(text) => write!(f, "invalid request: {text}"),
            Self::Storage(text) => write!(f, "storage: {text}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ServiceError {}

impl From<ServiceError> for StageError {
    fn from(error: ServiceError) -> Self {
        let reason = error.to_string();
        match error {
            ServiceError::RateLimited(after) => Self::RetryLater { reason, after },
            ServiceError::Budget(_) | ServiceError::Timeout(_) | ServiceError::Unavailable(_) => {
                Self::RetryLater { reason, after: None }
            }
            ServiceError::InvalidRequest(_) => Self::Permanent(reason),
            ServiceError::Denied(_)
            | ServiceError::Truncated(_)
            | ServiceError::InvalidAnswer(_)
            | ServiceError::Refused(_)
            | ServiceError::Storage(_)
            | ServiceError::Other(_) => Self::Failed(reason),
        }
    }
}

/// Why a tool gave no output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolError {
    /// The job may not run it.
    Denied(String),
    /// Its time limit ran out.
    Timeout(String),
    /// It could not connect.
    Connection(String),
    /// The site cools down for every job.
    RateLimited(Option<Duration>),
    /// The site refuses us.
    Blocked(String),
    /// The site wants a session.
    LoginRequired(String),
    /// The program isn't installed.
    Missing(String),
    /// Its output or its complaints say that it failed.
    Failed(String),
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(text) => write!(f, "denied: {text}"),
            Self::Timeout(text) => write!(f, "timed out: {text}"),
            Self::Connection(text) => write!(f, "connection failed: {text}"),
            Self::RateLimited(None) => f.write_str("rate limited"),
            Self::RateLimited(Some(after)) => write!(f, "rate limited for {after:?}"),
            Self::Blocked(text) => write!(f, "blocked: {text}"),
            Self::LoginRequired(text) => write!(f, "login required: {text}"),
            Self::Missing(text) => write!(f, "not installed: {text}"),
            Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ToolError {}

impl From<ToolError> for StageError {
    fn from(error: ToolError) -> Self {
        let reason = error.to_string();
        match error {
            ToolError::RateLimited(after) => Self::RetryLater { reason, after },
            ToolError::Timeout(_) | ToolError::Connection(_) => Self::RetryLater { reason, after: None },
            ToolError::Blocked(text) => Self::Blocked(text),
            ToolError::LoginRequired(text) => Self::LoginRequired(text),
            ToolError::Denied(_) | ToolError::Missing(_) | ToolError::Failed(_) => Self::Failed(reason),
        }
    }
}

impl From<serde_json::Error> for StageError {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(format!("JSON: {error}"))
    }
}

impl From<std::str::Utf8Error> for StageError {
    fn from(error: std::str::Utf8Error) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_may_name_its_time() {
        let wait = Duration::from_secs(3);
        let later = StageError::retry_later("no specs yet").after(wait);
        assert_eq!(later, StageError::RetryLater { reason: "no specs yet".to_owned(), after: Some(wait) });
        assert_eq!(StageError::failed("x").after(wait), StageError::failed("x"));
    }
}
