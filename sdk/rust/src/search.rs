//! Web search through the host: one behaviour, whichever provider answers.

use crate::{backend, error::ServiceError};

/// A page that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Its title.
    pub title: String,
    /// Its address.
    pub url: String,
    /// A line or two of it.
    pub snippet: String,
}

/// Searches the web for up to `limit` pages.
///
/// # Errors
/// The host or the provider gave no answer.
pub fn web(query: &str, limit: u32) -> Result<Vec<Hit>, ServiceError> {
    backend::search_web(query, limit)
}
