//! The program's way to the host: what the commands start, open and check.

use std::{path::Path, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::watch;
use tollgate_cli::{Checked, CliError, Program, RunRequest, Running};
use tollgate_core::ids::HandlerName;
use tollgate_engine::{Operations, Progress, RunEnded, clock::SystemClock};
use tollgate_sandbox::{
    CompileLimits, Compiler, Sandbox, SandboxOptions,
    compile_child::{self, ChildLimits},
};
use tollgate_store::{LogSetAside, RedbStore, Store as _, StoreError, StoreOptions, VerifyReport};
use tollgate_web::HostFile;

use crate::{
    Host, HostError, check,
    check::{SpecFile, make_folder},
};

/// The program `tollgate` over this crate's host.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tollgate;

/// Handlers are compiled in a child: this same program, with the hidden command for it.
fn compiler() -> Result<Compiler, CliError> {
    let program = std::env::current_exe()
        .map_err(|error| CliError::failed(format!("this program can't find itself: {error}")))?;
    let args = vec![tollgate_cli::COMPILE_COMMAND.to_owned()];
    Ok(Compiler::Child { program, args, limits: CompileLimits::default() })
}

fn refuse(error: HostError) -> CliError {
    match &error {
        HostError::Read { .. } | HostError::Spec(_) => CliError::configuration(error.to_string()),
        HostError::Store(StoreError::InUse(_)) => CliError::in_use(error.to_string()),
        HostError::Listen(refused) if refused.kind() == std::io::ErrorKind::InvalidInput => {
            CliError::configuration(error.to_string())
        }
        _ => CliError::failed(error.to_string()),
    }
}

impl Program for Tollgate {
    fn start(&self, request: RunRequest) -> BoxFuture<'_, Result<Box<dyn Running>, CliError>> {
        async move {
            let mut builder = Host::builder(&request.file).compiler(compiler()?);
            if let Some(data) = request.data {
                builder = builder.data(data);
            }
            if let Some(listen) = request.listen {
                builder = builder.listen(listen);
            }
            if request.until_idle {
                builder = builder.until_idle();
            }
            if let Some(tasks) = request.tasks_max {
                builder = builder.tasks_max(tasks);
            }
            let host = builder.start().await.map_err(refuse)?;
            Ok(Box::new(host) as Box<dyn Running>)
        }
        .boxed()
    }

    fn open(&self, data: &Path, file: &Path) -> Result<Arc<Operations>, CliError> {
        let store = RedbStore::open(data, StoreOptions::default()).map_err(|error| refuse(error.into()))?;
        HostFile::forget(data)?;
        let deployment = SpecFile::read(file).map(|spec| (Arc::new(spec.read.into_deployment()), spec.base));
        let deployment = deployment.map_err(|error| error.to_string());
        let operations = Operations::new(store, Arc::new(SystemClock), data.to_owned());
        Ok(Arc::new(operations.with_deployment(deployment)))
    }

    fn verify<'a>(&'a self, data: &'a Path) -> BoxFuture<'a, Result<VerifyReport, CliError>> {
        async move { verified(RedbStore::open(data, StoreOptions::default())).await }.boxed()
    }

    fn set_log_aside<'a>(&'a self, data: &'a Path) -> BoxFuture<'a, Result<(LogSetAside, VerifyReport), CliError>> {
        async move {
            let opened = RedbStore::open_without_log(data, StoreOptions::default());
            let (store, log) = opened.map_err(|error| refuse(error.into()))?;
            Ok((log, verified(Ok(store)).await?))
        }
        .boxed()
    }

    fn data_folder(&self, file: &Path) -> Result<std::path::PathBuf, CliError> {
        Ok(SpecFile::read(file).map_err(refuse)?.data())
    }

    fn handlers_folder(&self, file: &Path) -> Result<std::path::PathBuf, CliError> {
        let spec = SpecFile::read(file).map_err(refuse)?;
        Ok(spec.base.join(&spec.deployment().host.handlers))
    }

    fn check<'a>(&'a self, file: &'a Path, data: Option<&'a Path>) -> BoxFuture<'a, Result<Checked, CliError>> {
        async move {
            let report = check(file, data, compiler()?).await.map_err(refuse)?;
            Ok(Checked { deployment: report.deployment, jobs: report.jobs })
        }
        .boxed()
    }

    fn load<'a>(
        &'a self,
        name: &'a HandlerName,
        component: &'a Path,
        data: &'a Path,
    ) -> BoxFuture<'a, Result<(), CliError>> {
        async move {
            make_folder(data).map_err(refuse)?;
            let options = SandboxOptions::new(data.join("compiled"), compiler()?);
            let sandbox = Sandbox::new(options).map_err(|error| refuse(error.into()))?;
            sandbox.load(name, component).await.map(drop).map_err(|error| CliError::configuration(error.to_string()))
        }
        .boxed()
    }

    fn compile(&self, (cpu_seconds, memory_bytes): (u64, u64), input: &Path, output: &Path) -> Result<(), CliError> {
        compile_child::main(ChildLimits { cpu_seconds, memory_bytes }, input, output).map_err(CliError::failed)
    }
}

impl Running for Host {
    fn operations(&self) -> Arc<Operations> {
        Self::operations(self).clone()
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        Self::progress(self)
    }

    fn listen(&self) -> std::net::SocketAddr {
        Self::listen(self)
    }

    fn wait(self: Box<Self>) -> BoxFuture<'static, Result<RunEnded, CliError>> {
        async move { Self::wait(*self).await.map_err(refuse) }.boxed()
    }
}

/// Verifies a store that was opened, and closes it.
async fn verified(opened: Result<Arc<RedbStore>, StoreError>) -> Result<VerifyReport, CliError> {
    let refuse = |error: StoreError| refuse(error.into());
    let store = opened.map_err(refuse)?;
    let report = store.verify().await.map_err(refuse)?;
    match store.close().await {
        // Nothing was to be kept, and what was found stands.
        Err(StoreError::Full(error)) => {
            tracing::warn!(%error, "the disk is full: the store is verified, and repaired by whoever opens it next");
        }
        closed => closed.map_err(refuse)?,
    }
    Ok(report)
}
