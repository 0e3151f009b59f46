//! The header Retry-After of an answer.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use tollgate_core::{Timestamp, http::retry_after};

/// How long a site asks to be left alone.
pub(crate) fn read(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}
