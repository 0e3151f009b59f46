//! Starts, runs and stops a host.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
};
use tollgate_core::Clock;
use tollgate_egress::Gate;
use tollgate_engine::{
    Configuration, ConfigurationStatus, ContentCheck, Dispatcher, EngineError, Heartbeat, HeartbeatWriter, Operations,
    Plan, Progress, RunEnded, RunMode, Services, clock::SystemClock, gate_options,
};
use tollgate_sandbox::Compiler;
use tollgate_store::{RedbStore, Store, StoreOptions, Swept};
use tollgate_web::{HostFile, Server};

use crate::{
    HostError,
    check::{SpecFile, make_folder},
    watching::Watching,
};

/// How a host is set up.
pub struct HostBuilder {
    file: PathBuf,
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    clock: Arc<dyn Clock>,
    compiler: Compiler,
    mode: RunMode,
    store: Option<Arc<dyn Store>>,
    content_check: Option<Arc<dyn ContentCheck>>,
}

/// A running host. Dropped, it is asked to stop and does so by itself.
pub struct Host {
    operations: Arc<Operations>,
    progress: watch::Receiver<Progress>,
    configuration: watch::Receiver<ConfigurationStatus>,
    listen: SocketAddr,
    /// Absent: somebody else's store.
    own_store: Option<Arc<RedbStore>>,
    running: JoinHandle<Result<RunEnded, HostError>>,
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

    /// Keeps the queue and what it makes in this store, not in redb in the data folder. The host closes it at its end.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Asks this the questions of checks, and not the models that jobs.toml names for them.
    #[must_use]
    pub fn content_check(mut self, judge: Arc<dyn ContentCheck>) -> Self {
        self.content_check = Some(judge);
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
        self.start_all().await.map_err(HostError::or_full_disk)
    }

    async fn start_all(self) -> Result<Host, HostError> {
        let spec = SpecFile::read(&self.file)?;
        let data = self.data.unwrap_or_else(|| spec.data());
        make_folder(&data)?;
        let clock = self.clock;
        let (store, own_store) = match self.store {
            Some(store) => (store, None),
            None => {
                let own = open_store(data.clone()).await?;
                (own.clone() as Arc<dyn Store>, Some(own))
            }
        };
        HostFile::forget(&data).map_err(|error| HostError::Data { folder: data.clone(), error })?;
        let options = gate_options(&store, &clock, &data, &spec.base).await?;
        let gate = Gate::new(spec.deployment(), options)?;
        let services = Services::new(spec.deployment(), store.clone(), gate.clone(), clock.clone()).await?;
        let handlers = spec.handlers(data.join("compiled"), self.compiler).await?;
        let plan =
            Plan::make(spec.deployment(), &spec.name, &handlers, self.content_check.as_ref(), &*store, clock.now())
                .await?;
        let grace = spec.deployment().host.grace;
        let dispatcher =
            Dispatcher::new(&plan, store.clone(), gate.clone(), services.clone(), clock.clone(), self.mode, grace)
                .await?;
        let operations = Operations::new(store.clone(), clock.clone(), data.clone()).with_services(services);
        let listen = self.listen.unwrap_or(spec.deployment().host.listen);
        let SpecFile { read, text, base, .. } = spec;
        let configuration = Arc::new(Configuration::new(self.file.clone(), text, read, gate.clone(), clock.clone()));
        let watching = Watching::start(&self.file, &base, configuration.clone());
        let operations = Arc::new(operations.attached(&dispatcher, &plan, gate.clone(), configuration.clone()));
        let server = tollgate_web::serve(operations.clone(), &data, listen).await.map_err(HostError::Listen)?;
        let heartbeat = HeartbeatWriter::start(&data, clock.clone())?;
        let (progress, listen) = (dispatcher.progress(), server.listen);
        tracing::info!(%listen, jobs = plan.jobs.len(), refused = plan.refused.len(), "the host has started");
        let parts =
            Parts { operations: operations.clone(), data, clock, store, gate, server, heartbeat, watching, dispatcher };
        let configuration = configuration.watch();
        Ok(Host { operations, progress, configuration, listen, own_store, running: tokio::spawn(parts.run()) })
    }
}

/// Opens the store where it holds nobody up: a killed host's is repaired first, and swept behind that.
async fn open_store(data: PathBuf) -> Result<Arc<RedbStore>, HostError> {
    let opened = tokio::task::spawn_blocking(move || {
        RedbStore::open(&data, StoreOptions { sweep: true, ..StoreOptions::default() })
    })
    .await;
    match opened {
        Ok(store) => Ok(store?),
        Err(error) => Err(HostError::Engine(ended("opening the store", error))),
    }
}

/// What runs beside one another, each with an eye on the others.
struct Parts {
    operations: Arc<Operations>,
    data: PathBuf,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    gate: Arc<Gate>,
    server: Server,
    heartbeat: HeartbeatWriter,
    watching: Watching,
    dispatcher: Dispatcher,
}

impl Parts {
    /// Runs until the dispatcher has ended, or something else has that should not have. Then each is ended, whatever
    /// the one before came to; the first cause is the answer.
    async fn run(self) -> Result<RunEnded, HostError> {
        let Self { operations, data, clock, store, gate, mut server, heartbeat, watching, dispatcher } = self;
        let mut dispatcher = tokio::spawn(dispatcher.run());
        let mut heartbeat = tokio::spawn(heartbeat.run());
        let mut watching = tokio::spawn(watching.run());
        let first = tokio::select! {
            over = &mut dispatcher => Ok(over),
            error = server.failed() => Err(HostError::Listen(error)),
            Err(error) = &mut heartbeat => Err(HostError::Engine(ended("the heartbeat", error))),
            Err(error) = &mut watching => Err(HostError::Engine(ended("the watch over jobs.toml", error))),
        };
        let (cause, over) = match first {
            Ok(over) => (None, over),
            Err(error) => {
                tracing::error!(%error, "the host stops");
                operations.stop().await;
                (Some(error), dispatcher.await)
            }
        };
        let over = over.unwrap_or_else(|error| Err(ended("the dispatcher", error)));
        watching.abort();
        heartbeat.abort();
        if !heartbeat.is_finished() {
            // No beat may come after the mark that it has stopped.
            drop((&mut heartbeat).await);
        }
        let result = match (cause, over) {
            (Some(cause), _) => Err(cause),
            (None, over) => over.map_err(HostError::Engine),
        };
        let overview = operations.overview().await.map_err(HostError::Engine);
        let stopped = server.stop().await.map_err(HostError::Listen);
        gate.keep_spending().await;
        let closed = store.close().await.map_err(HostError::Store);
        let marked = HeartbeatWriter::stopped(&data, clock.now()).map_err(HostError::Engine);
        let result = result.and_then(|progress| Ok((progress, overview?)));
        let result = [stopped, closed, marked].into_iter().fold(result, |result, step| match (result, step) {
            (Err(first), Err(error)) => {
                tracing::error!(%error, "and the host did not stop in good order");
                Err(first)
            }
            (result, step) => result.and_then(|ended| step.map(|()| ended)),
        });
        let (progress, mut overview) = result?;
        overview.liveness = Heartbeat::liveness(&data, clock.now()).map_err(HostError::Engine)?;
        Ok(RunEnded { progress, overview })
    }
}

fn ended(task: &'static str, error: JoinError) -> EngineError {
    EngineError::Task { task, message: error.to_string() }
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
            store: None,
            content_check: None,
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

    /// How jobs.toml stands to what the host goes on by, each time that it is read again.
    #[must_use]
    pub fn configuration(&self) -> watch::Receiver<ConfigurationStatus> {
        self.configuration.clone()
    }

    /// Where the API and the overview page listen.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Waits until what attempts of earlier hosts have kept, and nothing names, is removed from its store, and says how
    /// much that was. Absent: the store is somebody else's, or the host ended first; the next start makes up for it.
    pub async fn swept(&self) -> Option<Swept> {
        self.own_store.as_ref()?.swept().await
    }

    /// Asks it to stop: running tasks may finish within the grace time. [`Host::wait`] tells when it has.
    pub async fn stop(&self) {
        self.operations.stop().await;
    }

    /// Waits for its end: by its mode, by [`Host::stop`], or by an error.
    ///
    /// # Errors
    /// The store failed, or something that runs with it ended. What wasn't settled runs again at the next start.
    pub async fn wait(mut self) -> Result<RunEnded, HostError> {
        match (&mut self.running).await {
            Ok(ended) => ended.map_err(HostError::or_full_disk),
            Err(error) => Err(HostError::Engine(ended("the host", error))),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let operations = self.operations.clone();
        // Without a runtime nothing of it runs any more.
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !self.running.is_finished()
        {
            runtime.spawn(async move { operations.stop().await });
        }
    }
}
