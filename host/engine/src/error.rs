//! What can go wrong with the engine as a whole; a task's troubles are its own and never end here.

use tollgate_egress::{GateError, SessionError};
use tollgate_store::StoreError;

/// Errors of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store refused; nothing can be settled, so nothing runs.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// A background task ended that should not have.
    #[error("{task} ended: {message}")]
    Task {
        /// Which.
        task: &'static str,
        /// Why.
        message: String,
    },
    /// No job of that name.
    #[error("no job is named {0:?}")]
    UnknownJob(String),
    /// A session can't be tested or renewed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A stopped host's gate can't be set up.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// What a person asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A file of the data folder can't be read or written.
    #[error("{what}: {error}")]
    File {
        /// What was tried.
        what: String,
        /// The system's word.
        error: std::io::Error,
    },
}
