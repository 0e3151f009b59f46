//! `tollgate run`: the host, its progress, and a summary at its end.

use std::{
    io::IsTerminal,
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tollgate_core::{JobName, item::ItemStatus};
use tollgate_engine::{Operations, RunEnded, operations::Overview};

use crate::{
    CliError, Program,
    api::LOOK_AGAIN,
    args::{Global, RunArgs},
    logging, output,
    program::{RunRequest, Running},
    status,
};

/// Time between two looks at the progress.
const LOOK: Duration = Duration::from_millis(500);
/// How long a data folder may be in use at the start: a command that only asks has it for a moment.
const IN_USE_TIME: Duration = Duration::from_secs(2);

pub(crate) async fn run(program: &dyn Program, global: &Global, args: RunArgs) -> Result<(), CliError> {
    logging::of_a_run();
    let request = RunRequest {
        file: global.file.clone(),
        data: global.data.clone(),
        listen: args.listen,
        until_idle: args.until_idle,
        tasks_max: args.limit,
    };
    let host = start(program, request).await?;
    let operations = host.operations();
    eprintln!("running; the overview is at http://{}/ , Ctrl-C stops in good order", host.listen());
    let watching = tokio::spawn(watch(operations.clone(), host.progress()));
    let stopping = tokio::spawn(stop_on_signal(operations.clone()));
    let end = host.wait().await;
    watching.abort();
    stopping.abort();
    let RunEnded { overview, progress } = end?;
    output::print(&status::text(&overview))?;
    eprintln!("{} tasks run", progress.settled);
    match standing(&overview) {
        Some(why) if args.until_idle => Err(CliError::standing(why)),
        _ => Ok(()),
    }
}

/// The jobs that stand still: paused, or refused and unknown to the store but for the reason. What jobs.toml doesn't
/// name isn't meant to run.
fn standing(overview: &Overview) -> Option<String> {
    let is_meant = |name: &&JobName| !overview.unnamed.contains(name);
    let paused = overview.jobs.iter().filter(|job| job.pause.is_some()).map(|job| &job.name).filter(is_meant);
    let unknown = overview.attention.iter().filter_map(|attention| attention.job.as_ref());
    let unknown = unknown.filter(|name| overview.jobs.iter().all(|job| job.name != **name));
    let standing: Vec<&str> = paused.chain(unknown).map(|name| name.as_str()).collect();
    (!standing.is_empty())
        .then(|| format!("at a standstill: {}; `tollgate status` and `tollgate check` say why", standing.join(", ")))
}

/// Starts the host, once commands that look at the data folder have let go of it.
async fn start(program: &dyn Program, request: RunRequest) -> Result<Box<dyn Running>, CliError> {
    let deadline = Instant::now() + IN_USE_TIME;
    loop {
        match program.start(request.clone()).await {
            Err(error) if error.is_in_use() && Instant::now() < deadline => tokio::time::sleep(LOOK_AGAIN).await,
            started => return started,
        }
    }
}

async fn stop_on_signal(operations: Arc<Operations>) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::error!(%error, "no signal can be caught: stop the host with SIGKILL; nothing is lost by it");
            return;
        }
    };
    for time in 0.. {
        tokio::select! {
            interrupt = tokio::signal::ctrl_c() => if let Err(error) = interrupt {
                tracing::error!(%error, "Ctrl-C can't be caught");
                return;
            },
            _ = terminate.recv() => {}
        }
        if time > 0 {
            eprintln!("stopped at once; what ran runs again at the next start");
            std::process::exit(130);
        }
        eprintln!("stopping: running tasks may finish; once more stops at once");
        operations.stop().await;
    }
}

/// One line that moves, on a terminal; a line now and then elsewhere would only repeat the log.
async fn watch(operations: Arc<Operations>, progress: tokio::sync::watch::Receiver<tollgate_engine::Progress>) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    loop {
        bar.tick();
        match operations.overview().await {
            Ok(overview) => bar.set_message(line(&overview, progress.borrow().running)),
            Err(error) => bar.set_message(format!("the overview can't be read: {error}")),
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn line(overview: &Overview, running: u64) -> String {
    let jobs = overview.jobs.iter().map(|job| {
        let count = |status: ItemStatus| job.items.get(&status).copied().unwrap_or(0);
        let waiting = count(ItemStatus::Queued) + count(ItemStatus::Retrying);
        let paused = if job.pause.is_some() { ", PAUSED" } else { "" };
        format!(
            "{}: {} done, {waiting} to do, {} failed{paused}",
            job.name,
            count(ItemStatus::Done),
            count(ItemStatus::Failed)
        )
    });
    format!("{running} running | {}", jobs.collect::<Vec<_>>().join(" | "))
}

#[cfg(test)]
mod tests {
    use std::{
        path::{Path, PathBuf},
        sync::atomic::{AtomicU32, Ordering},
    };

    use futures::{FutureExt, future::BoxFuture};
    use tollgate_core::ids::HandlerName;
    use tollgate_store::{LogSetAside, VerifyReport};

    use super::*;
    use crate::{Checked, api::Api, args::Format};

    /// A data folder that is in use when it is first asked for.
    #[derive(Default)]
    struct InUseOnce(AtomicU32);

    impl InUseOnce {
        fn answer(&self) -> CliError {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => CliError::in_use("in use"),
                _ => CliError::failed("free"),
            }
        }
    }

    impl Program for InUseOnce {
        fn start(&self, _request: RunRequest) -> BoxFuture<'_, Result<Box<dyn Running>, CliError>> {
            async { Err(self.answer()) }.boxed()
        }

        fn open(&self, _data: &Path, _file: &Path) -> Result<Arc<Operations>, CliError> {
            Err(self.answer())
        }

        fn verify<'a>(&'a self, _data: &'a Path) -> BoxFuture<'a, Result<VerifyReport, CliError>> {
            async { Err(self.answer()) }.boxed()
        }

        fn set_log_aside<'a>(
            &'a self,
            _data: &'a Path,
        ) -> BoxFuture<'a, Result<(LogSetAside, VerifyReport), CliError>> {
            async { Err(self.answer()) }.boxed()
        }

        fn load<'a>(
            &'a self,
            _name: &'a HandlerName,
            _component: &'a Path,
            _data: &'a Path,
        ) -> BoxFuture<'a, Result<(), CliError>> {
            async { Err(self.answer()) }.boxed()
        }

        fn data_folder(&self, _file: &Path) -> Result<PathBuf, CliError> {
            Ok(PathBuf::from("."))
        }

        fn handlers_folder(&self, _file: &Path) -> Result<PathBuf, CliError> {
            Ok(PathBuf::from("."))
        }

        fn check<'a>(&'a self, _file: &'a Path, _: Option<&'a Path>) -> BoxFuture<'a, Result<Checked, CliError>> {
            async { Err(self.answer()) }.boxed()
        }

        fn compile(&self, _limits: (u64, u64), _input: &Path, _output: &Path) -> Result<(), CliError> {
            Err(self.answer())
        }
    }

    #[tokio::test]
    async fn a_folder_in_use_for_a_moment_is_waited_for() {
        let request =
            RunRequest { file: "jobs.toml".into(), data: None, listen: None, until_idle: true, tasks_max: None };
        let started = start(&InUseOnce::default(), request).await;
        assert_eq!(started.err(), Some(CliError::failed("free")));
        let global = Global { file: "jobs.toml".into(), data: None, output: Format::Table };
        let found = Api::find(&InUseOnce::default(), &global).await;
        assert_eq!(found.err(), Some(CliError::failed("free")));
    }
}
