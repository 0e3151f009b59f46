//! `.or_reject("…")` and its kin: ends a stage with a word of its own where a value is missing.

use std::fmt;

use crate::error::{Result, StageError};

/// Ends a stage with a word of its own where a value is missing.
///
/// ```
/// # use tollgate_sdk::prelude::*;
/// fn title(found: Option<String>) -> Result<String> {
///     found.or_reject("no title on the page")
/// }
/// assert_eq!(title(None), Err(StageError::reject("no title on the page")));
/// ```
pub trait OrEnd<T>: Sized {
    /// The value, or the end that `make` makes of the reason.
    ///
    /// # Errors
    /// There is no value.
    fn or_end(self, make: impl FnOnce(Option<String>) -> StageError) -> Result<T>;

    /// Without it the item isn't wanted: its later stages don't run, and nothing failed.
    ///
    /// # Errors
    /// There is no value.
    fn or_reject(self, reason: &str) -> Result<T> {
        self.or_end(|cause| StageError::Reject(with_cause(reason, cause)))
    }

    /// Without it there is nothing of this kind, and that is fine.
    ///
    /// # Errors
    /// There is no value.
    fn or_nothing(self, reason: &str) -> Result<T> {
        self.or_end(|cause| StageError::NothingHere(with_cause(reason, cause)))
    }

    /// Without it the item can never succeed.
    ///
    /// # Errors
    /// There is no value.
    fn or_permanent(self, reason: &str) -> Result<T> {
        self.or_end(|cause| StageError::Permanent(with_cause(reason, cause)))
    }

    /// Without it the stage has failed, and is tried again up to its bound.
    ///
    /// # Errors
    /// There is no value.
    fn or_fail(self, reason: &str) -> Result<T> {
        self.or_end(|cause| StageError::Failed(with_cause(reason, cause)))
    }

    /// Without it this isn't the time.
    ///
    /// # Errors
    /// There is no value.
    fn or_later(self, reason: &str) -> Result<T> {
        self.or_end(|cause| StageError::retry_later(with_cause(reason, cause)))
    }
}

fn with_cause(reason: &str, cause: Option<String>) -> String {
    cause.map_or_else(|| reason.to_owned(), |cause| format!("{reason}: {cause}"))
}

impl<T> OrEnd<T> for Option<T> {
    fn or_end(self, make: impl FnOnce(Option<String>) -> StageError) -> Result<T> {
        self.ok_or_else(|| make(None))
    }
}

impl<T, E: fmt::Display> OrEnd<T> for std::result::Result<T, E> {
    fn or_end(self, make: impl FnOnce(Option<String>) -> StageError) -> Result<T> {
        self.map_err(|error| make(Some(error.to_string())))
    }
}
