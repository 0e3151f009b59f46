//! Starts, runs and stops a host.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{sync::watch, task::JoinHandle};
use tollgate_core::Clock;
use tollgate_egress::{Gate, GateOptions};
use tollgate_engine::{
    Dispatcher, EngineError, HeartbeatWriter, Operations, Plan, Progress, RunMode, clock::SystemClock,
};
use tollgate_sandbox::Compiler;
use tollgate_store::{RedbStore, Store, StoreOptions};
use tollgate_web::{HostFile, Server};

use crate::{
    HostError,
    check::{SpecFile, make_folder},
};

/// How a host is set up.
pub struct HostBuilder {
    file: PathBuf,
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    clock: Arc<dyn Clock>,
    compiler: Compiler,
    mode: RunMode,
}

/// A running host.
pub struct Host {
    operations: Arc<Operations>,
    progress: watch::Receiver<Progress>,
    data: PathBuf,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    server: Server,
    heartbeat: JoinHandle<()>,
    dispatcher: JoinHandle<Result<Progress, EngineError>>,
}

impl HostBuilder {
    /// Keeps data here, whatever `[host] data` says.
    #[must_use]
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// Listens here, whatever `[host] listen` says; port 0 takes a free one.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Takes time from here.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Compiles handlers with this; without it, in this process.
    #[must_use]
    pub fn compiler(mut self, compiler: Compiler) -> Self {
        self.compiler = compiler;
        self
    }

    /// Ends once nothing is left to do.
    #[must_use]
    pub fn until_idle(mut self) -> Self {
        self.mode.until_idle = true;
        self
    }

    /// Ends once so many tasks have run.
    #[must_use]
    pub fn tasks_max(mut self, tasks: u64) -> Self {
        self.mode.tasks_max = Some(tasks);
        self
    }

    /// Starts the host.
    ///
    /// # Errors
    /// jobs.toml, the data folder, the store, the sandbox or the listening address is at fault. A job that can't run
    /// is no error: it is paused with the reason, and the others run.
    pub async fn start(self) -> Result<Host, HostError> {
        let spec = SpecFile::read(&self.file)?;
        let data = self.data.unwrap_or_else(|| spec.data());
        make_folder(&data)?;
        let clock = self.clock;
        let store: Arc<dyn Store> = RedbStore::open(&data, StoreOptions::default())?;
        HostFile::forget(&data).map_err(|error| HostError::Data { folder: data.clone(), error })?;
        let options = GateOptions { spool: data.join("spool"), clock: clock.clone(), base: spec.base.clone() };
        let gate = Gate::new(&spec.deployment, options)?;
        let handlers = spec.handlers(data.join("compiled"), self.compiler).await?;
        let plan = Plan::make(&spec.deployment, &spec.name, &handlers, &*store, clock.now()).await?;
        let grace = spec.deployment.host.grace;
        let dispatcher = Dispatcher::new(&plan, store.clone(), gate.clone(), clock.clone(), self.mode, grace).await?;
        let operations = Operations::new(store.clone(), clock.clone(), data.clone());
        let operations = Arc::new(operations.attached(&dispatcher, &plan, gate));
        let listen = self.listen.unwrap_or(spec.deployment.host.listen);
        let server = tollgate_web::serve(operations.clone(), &data, listen).await.map_err(HostError::Listen)?;
        let heartbeat = tokio::spawn(HeartbeatWriter::start(&data, clock.clone())?.run());
        let progress = dispatcher.progress();
        tracing::info!(listen = %server.listen, jobs = plan.jobs.len(), refused = plan.refused.len(), "the host has started");
        let dispatcher = tokio::spawn(dispatcher.run());
        Ok(Host { operations, progress, data, clock, store, server, heartbeat, dispatcher })
    }
}

impl Host {
    /// A host for a jobs.toml.
    #[must_use]
    pub fn builder(file: impl AsRef<Path>) -> HostBuilder {
        HostBuilder {
            file: file.as_ref().to_owned(),
            data: None,
            listen: None,
            clock: Arc::new(SystemClock),
            compiler: Compiler::InProcess,
            mode: RunMode::default(),
        }
    }

    /// What people do with it.
    #[must_use]
    pub fn operations(&self) -> &Arc<Operations> {
        &self.operations
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Where the API and the overview page listen.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.server.listen
    }

    /// Asks it to stop: running tasks may finish within the grace time. [`Host::wait`] tells when it has.
    pub async fn stop(&self) {
        self.operations.stop().await;
    }

    /// Waits for its end: by its mode, by [`Host::stop`], or by an error.
    ///
    /// # Errors
    /// The store failed, or the dispatcher ended with an error. What wasn't settled runs again at the next start.
    pub async fn wait(self) -> Result<Progress, HostError> {
        let ended = self.dispatcher.await;
        let ended =
            ended.unwrap_or_else(|error| Err(EngineError::Task { task: "the dispatcher", message: error.to_string() }));
        self.heartbeat.abort();
        self.server.stop().await.map_err(HostError::Listen)?;
        self.store.close().await?;
        HeartbeatWriter::stopped(&self.data, self.clock.now())?;
        Ok(ended?)
    }
}
