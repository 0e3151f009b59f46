//! Why the gate can't be set up, or refuses a request.

use std::time::Duration;

use tollgate_core::{
    http::HttpError,
    outcome::{Refusal, RefusalKind},
};

use crate::{Denial, guard::GuardedPage};

/// Errors in setting the gate up.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The scratch folder can't be used.
    #[error("the scratch folder for bodies can't be used: {0}")]
    Spool(std::io::Error),
    /// The client can't be made.
    #[error("the HTTP client can't be made: {0}")]
    Client(String),
}

/// A refused request.
#[derive(Debug)]
pub struct Refused {
    /// What the handler is told.
    pub error: HttpError,
    /// What the attempt is judged by; absent where the request itself was at fault.
    pub refusal: Option<Box<Refusal>>,
    /// Bytes of bodies received for them.
    pub bytes_received: u64,
    /// There was no room on the disk for the body: no wait helps, a person does.
    pub disk_full: bool,
    /// The page that guards found to be no content: to be kept apart, and never served.
    pub guarded: Option<Box<GuardedPage>>,
    /// Policy let it not pass, and why.
    pub denial: Option<Denial>,
}

impl Refused {
    fn new(error: HttpError, refusal: Option<Refusal>) -> Self {
        let refusal = refusal.map(Box::new);
        Self { error, refusal, bytes_received: 0, disk_full: false, guarded: None, denial: None }
    }

    /// No policy lets the job reach that address.
    pub(crate) fn denied(why: Denial, text: impl Into<String>) -> Self {
        Self { denial: Some(why), ..Self::new(HttpError::Denied(text.into()), None) }
    }

    /// The request itself is wrong.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(HttpError::InvalidRequest(text.into()), None)
    }

    /// The proxy is down or not configured: uncounted, and nothing was sent.
    pub(crate) fn down(about: &str, text: String, after: Duration) -> Self {
        let refusal = refusal(RefusalKind::Down, about, &text, Some(after));
        Self::new(HttpError::Connection(text), Some(refusal))
    }

    /// One address failed while its site works, as far as we know: counted.
    pub(crate) fn transport(about: &str, text: String) -> Self {
        let refusal = refusal(RefusalKind::Transport, about, &text, None);
        Self::new(HttpError::Connection(text), Some(refusal))
    }

    /// The site's time limit ran out: counted, as a failure of that address.
    pub(crate) fn timeout(about: &str, text: String) -> Self {
        let refusal = refusal(RefusalKind::Transport, about, &text, None);
        Self::new(HttpError::Timeout(text), Some(refusal))
    }

    /// The site cools down.
    pub(crate) fn rate_limited(about: &str, text: &str, after: Duration) -> Self {
        let refusal = refusal(RefusalKind::RateLimited, about, text, Some(after));
        Self::new(HttpError::RateLimited { after: Some(after) }, Some(refusal))
    }

    /// A budget is spent: uncounted, and nothing more is sent for `after`.
    pub(crate) fn budget(about: &str, text: String, after: Duration) -> Self {
        let refusal = refusal(RefusalKind::Budget, about, &text, Some(after));
        Self::new(HttpError::RateLimited { after: Some(after) }, Some(refusal))
    }

    /// The site is left alone because it blocks us.
    pub(crate) fn blocked(about: &str, text: &str, after: Duration) -> Self {
        let refusal = refusal(RefusalKind::Blocked, about, text, Some(after));
        Self::new(HttpError::Blocked(text.to_owned()), Some(refusal))
    }

    /// The site wants an account or a session.
    pub(crate) fn login_required(about: &str, text: &str) -> Self {
        let refusal = refusal(RefusalKind::LoginRequired, about, text, None);
        Self::new(HttpError::LoginRequired(text.to_owned()), Some(refusal))
    }

    /// The page isn't the one asked for: counted as a failure of that address, so that it is bounded and seen, and
    /// neither another address nor the lane's breaker answers for it.
    pub(crate) fn not_content(about: &str, text: &str) -> Self {
        let refusal = refusal(RefusalKind::Transport, about, text, None);
        Self::new(HttpError::NotContent(text.to_owned()), Some(refusal))
    }

    /// The same, with the page that a guard caught.
    pub(crate) fn with_page(self, page: GuardedPage) -> Self {
        Self { guarded: Some(Box::new(page)), ..self }
    }

    /// The body is larger than the site's limit.
    pub(crate) fn too_large(limit: u64) -> Self {
        Self::new(HttpError::TooLarge(limit), None)
    }

    /// An answer came, and isn't what was asked for: the site works, so the attempt's own word for it counts.
    pub(crate) fn unfit(error: HttpError) -> Self {
        Self::new(error, None)
    }

    /// The site answered a 5xx to a request whose status the guest doesn't see: counted, as a failure of that address.
    pub(crate) fn server_error(about: &str, text: String) -> Self {
        let refusal = refusal(RefusalKind::ServerError, about, &text, None);
        Self::new(HttpError::Other(text), Some(refusal))
    }

    /// The body could not be spooled.
    pub(crate) fn storage(error: &std::io::Error) -> Self {
        let text = format!("the scratch folder: {error}");
        let refusal = refusal(RefusalKind::Down, "the scratch folder", &text, None);
        let disk_full = tollgate_core::is_disk_full(error);
        Self { disk_full, ..Self::new(HttpError::Storage(text), Some(refusal)) }
    }

    /// Whether the site wants a login, or its session can't be had.
    pub(crate) fn is_login(&self) -> bool {
        matches!(self.error, HttpError::LoginRequired(_))
    }

    /// Of two ways that are shut, what is said of the one that is open sooner.
    pub(crate) fn or_sooner(self, other: Self) -> Self {
        let wait = |refused: &Self| refused.refusal.as_ref().and_then(|refusal| refusal.after).unwrap_or(Duration::MAX);
        if wait(&other) < wait(&self) { other } else { self }
    }

    /// The same for another who waited for it: without what was received, and without the page.
    pub(crate) fn repeat(&self) -> Self {
        let refusal = self.refusal.as_deref().cloned();
        Self { disk_full: self.disk_full, denial: self.denial, ..Self::new(self.error.clone(), refusal) }
    }

    /// The same login that is required, with what else is to be said of it.
    pub(crate) fn saying(mut self, more: &str) -> Self {
        if let HttpError::LoginRequired(text) = &mut self.error {
            text.push_str("; ");
            text.push_str(more);
            if let Some(refusal) = &mut self.refusal {
                text.clone_into(&mut refusal.message);
            }
        }
        self
    }

    /// The same, with what was received before.
    pub(crate) fn after(mut self, bytes_received: u64) -> Self {
        self.bytes_received = self.bytes_received.saturating_add(bytes_received);
        self
    }
}

pub(crate) fn refusal(kind: RefusalKind, about: &str, message: &str, after: Option<Duration>) -> Refusal {
    Refusal { kind, about: about.to_owned(), message: message.to_owned(), after }
}
