//! Who answers a check's question about a page, where it isn't a model of jobs.toml (`model_check.rs`).

use std::time::Duration;

use futures::future::BoxFuture;
use tollgate_core::{
    Document, ItemKey, JobName,
    money::NanoUsd,
    outcome::{Outcome, Refusal, RefusalKind, StageError},
};

/// Judges whether a page is what was asked for. Called from many tasks at once; a call that is
/// dropped counts for nothing.
pub trait ContentCheck: Send + Sync {
    /// Answers one question about one page.
    fn judge(&self, request: CheckRequest) -> BoxFuture<'_, Result<CheckAnswer, CheckError>>;
}

/// A question about a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRequest {
    /// Whose job it is.
    pub job: JobName,
    /// Which item.
    pub item: ItemKey,
    /// The question, with the item's own words in it.
    pub question: String,
    /// What the page says, as guards see it: in lower case, without markup.
    pub document: Document,
    /// The model's name; absent: any.
    pub model: Option<String>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckAnswer {
    /// Whether the page is what was asked for.
    pub is_content: bool,
    /// Why, in a sentence.
    pub reason: String,
    /// What the answer cost; absent: nobody knows, which isn't 0.
    pub cost: Option<NanoUsd>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The service asks us to slow down. Uncounted.
    #[error("{about} is rate limited")]
    RateLimited {
        /// The service.
        about: String,
        /// How long to leave it alone, where it said so.
        after: Option<Duration>,
    },
    /// The service as a whole is down or not to be reached. Uncounted.
    #[error("{about} is down: {message}")]
    Down {
        /// The service.
        about: String,
        /// What was met.
        message: String,
    },
    /// The job may not use that model, or there is none of that name. Counted, and moves the
    /// breaker: a person is needed.
    #[error("denied: {0}")]
    Denied(String),
    /// This one question got no answer that can be used. Counted, and moves the breaker.
    #[error("{0}")]
    Failed(String),
}

impl CheckError {
    /// What a check's attempt that ended with it is judged by.
    pub(crate) fn judged(self) -> (Outcome, Option<Refusal>) {
        let message = self.to_string();
        let refusal = match self {
            Self::RateLimited { about, after } => {
                Refusal { kind: RefusalKind::RateLimited, about, message: message.clone(), after }
            }
            Self::Down { about, .. } => {
                Refusal { kind: RefusalKind::Down, about, message: message.clone(), after: None }
            }
            Self::Denied(_) | Self::Failed(_) => return (Outcome::Stage(StageError::Failed(message)), None),
        };
        (Outcome::Stage(StageError::Failed(message)), Some(refusal))
    }
}
