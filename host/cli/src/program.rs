//! What the commands need of the host: handed in, since the host is built on top of them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::BoxFuture;
use tokio::sync::watch;
use tollgate_core::{
    ids::{HandlerName, JobName},
    spec::Deployment,
};
use tollgate_engine::{CheckedJob, Operations, PlanError, Progress, RunEnded};
use tollgate_store::{LogSetAside, VerifyReport};

use crate::CliError;

/// How a host is to be started.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// jobs.toml.
    pub file: PathBuf,
    /// The data folder, in place of the file's.
    pub data: Option<PathBuf>,
    /// The listening address, in place of the file's.
    pub listen: Option<SocketAddr>,
    /// Ends once nothing is left to do.
    pub until_idle: bool,
    /// Ends once so many tasks have run.
    pub tasks_max: Option<u64>,
}

/// What a jobs.toml comes to.
pub struct Checked {
    /// The file, complete.
    pub deployment: Deployment,
    /// Each job with its handler, or all that stands against it.
    pub jobs: Vec<(JobName, Result<CheckedJob, PlanError>)>,
}

/// The host, as the commands use it.
pub trait Program {
    /// Starts a host.
    fn start(&self, request: RunRequest) -> BoxFuture<'_, Result<Box<dyn Running>, CliError>>;
    /// Opens the store of a stopped host, beside the jobs.toml that says what its guards are. A file that can't be read
    /// is no error here: who needs it is told.
    ///
    /// # Errors
    /// It is in use, or can't be opened.
    fn open(&self, data: &Path, file: &Path) -> Result<Arc<Operations>, CliError>;
    /// Verifies the store of a stopped host.
    fn verify<'a>(&'a self, data: &'a Path) -> BoxFuture<'a, Result<VerifyReport, CliError>>;
    /// The same without its ledger's log, which is set aside.
    fn set_log_aside<'a>(&'a self, data: &'a Path) -> BoxFuture<'a, Result<(LogSetAside, VerifyReport), CliError>>;
    /// The data folder that a jobs.toml names.
    ///
    /// # Errors
    /// The file can't be read.
    fn data_folder(&self, file: &Path) -> Result<PathBuf, CliError>;
    /// The drop folder that a jobs.toml names.
    ///
    /// # Errors
    /// The file can't be read.
    fn handlers_folder(&self, file: &Path) -> Result<PathBuf, CliError>;
    /// Checks a jobs.toml with its handlers.
    fn check<'a>(&'a self, file: &'a Path, data: Option<&'a Path>) -> BoxFuture<'a, Result<Checked, CliError>>;
    /// Loads a component as a host would, to see whether it is a handler. `data` is where compiled code is kept.
    fn load<'a>(
        &'a self,
        name: &'a HandlerName,
        component: &'a Path,
        data: &'a Path,
    ) -> BoxFuture<'a, Result<(), CliError>>;
    /// Compiles a component, under limits that the process sets itself: of processor time in seconds, and of memory in
    /// bytes.
    ///
    /// # Errors
    /// It can't be compiled within them.
    fn compile(&self, limits: (u64, u64), input: &Path, output: &Path) -> Result<(), CliError>;
}

/// A running host.
pub trait Running: Send {
    /// What people do with it.
    fn operations(&self) -> Arc<Operations>;
    /// How far it has come.
    fn progress(&self) -> watch::Receiver<Progress>;
    /// Where it listens.
    fn listen(&self) -> SocketAddr;
    /// Waits for its end.
    fn wait(self: Box<Self>) -> BoxFuture<'static, Result<RunEnded, CliError>>;
}
