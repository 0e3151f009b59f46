//! A request and its refusals, as the sandbox asks and the gate answers.

use std::time::{Duration, UNIX_EPOCH};

use crate::Timestamp;

/// Longest wait taken from a header: a service that says more is looked at again after a day.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// Headers that the host owns: authority, connection, credentials.
const HOST_HEADERS: [&str; 14] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header, named in lower case, is the host's own: no guest sends it.
#[must_use]
pub fn is_host_header(lower: &str) -> bool {
    HOST_HEADERS.contains(&lower) || lower.starts_with("proxy-")
}

/// How long a value of Retry-After asks to wait: seconds or a date, RFC 9110 section 10.2.3;
/// [`RETRY_AFTER_MAX`] at most.
#[must_use]
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let after = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            let millis = date.duration_since(UNIX_EPOCH).ok()?.as_millis();
            Timestamp(u64::try_from(millis).ok()?).since(now)
        }
    };
    Some(after.min(RETRY_AFTER_MAX))
}

/// A request as a guest made it; nothing of it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// An absolute http or https URL.
    pub url: String,
    /// Headers; those that the host owns are dropped by the gate.
    pub headers: Vec<(String, String)>,
    /// The body, if any.
    pub body: Option<Vec<u8>>,
    /// Absent: the site's own limit. Never longer than that.
    pub timeout: Option<Duration>,
}

/// Why the gate gave no response: the interface's `http-error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// No policy lets this job reach that address; the text names the missing line.
    #[error("denied: {0}")]
    Denied(String),
    /// The time for it ran out; says which part.
    #[error("timed out: {0}")]
    Timeout(String),
    /// Connect, TLS, DNS at the proxy, reset.
    #[error("connection failed: {0}")]
    Connection(String),
    /// The site cools down for every job.
    #[error("rate limited{}", after.map_or(String::new(), |after| format!(" for {after:?}")))]
    RateLimited {
        /// How long, where the site said so.
        after: Option<Duration>,
    },
    /// A guard, or the site's circuit.
    #[error("blocked: {0}")]
    Blocked(String),
    /// The site wants a session.
    #[error("login required: {0}")]
    LoginRequired(String),
    /// A guard found a page that isn't the content asked for.
    #[error("not content: {0}")]
    NotContent(String),
    /// The body is larger than the site's `body-max`, in bytes.
    #[error("body larger than {0} bytes")]
    TooLarge(u64),
    /// The request itself is wrong.
    #[error("invalid request: {0}")]
    InvalidRequest(String),
    /// The host could not keep the body.
    #[error("storage: {0}")]
    Storage(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r07_seconds_and_dates_are_read() {
        let of = |text| retry_after(text, Timestamp(784_111_777_000));
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(of("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(of("999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(of("soon"), None);
    }
}
