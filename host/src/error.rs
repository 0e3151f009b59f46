//! Why a host can't start or go on.

use std::path::PathBuf;

use tollgate_core::spec::Diagnostic;
use tollgate_egress::GateError;
use tollgate_engine::EngineError;
use tollgate_sandbox::SandboxError;
use tollgate_store::StoreError;

/// Errors of a host as a whole.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// jobs.toml can't be read.
    #[error("{} can't be read: {error}; name another file with --file", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// jobs.toml says what can't be.
    #[error("{}", Diagnostic::all(.0))]
    Spec(Vec<Diagnostic>),
    /// The data folder can't be made or written.
    #[error("the data folder {} can't be used: {error}", folder.display())]
    Data {
        /// The folder.
        folder: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gate can't be set up.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The sandbox can't be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The API can't listen.
    #[error(transparent)]
    Listen(std::io::Error),
}

impl HostError {
    /// The same, or that the disk is full, if that is behind it: whatever met it first, what to do is the same.
    pub(crate) fn or_full_disk(self) -> Self {
        let error = match &self {
            Self::Data { error, .. }
            | Self::Gate(GateError::Spool(error))
            | Self::Engine(EngineError::File { error, .. })
            | Self::Listen(error) => error,
            _ => return self,
        };
        if tollgate_core::is_disk_full(error) { Self::Store(StoreError::Full(self.to_string())) } else { self }
    }
}
