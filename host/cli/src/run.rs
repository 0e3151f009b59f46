//! `tollgate run`: the host, its progress, and a summary at its end.

use std::{io::IsTerminal, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tollgate_core::item::ItemStatus;
use tollgate_engine::{Operations, operations::Overview};

use crate::{
    CliError, Program,
    args::{Global, RunArgs},
    logging, output,
    program::{RunRequest, Running},
    status,
};

/// Time between two looks at the progress.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) async fn run(program: &dyn Program, global: &Global, args: RunArgs) -> Result<(), CliError> {
    logging::of_a_run();
    let request = RunRequest {
        file: global.file.clone(),
        data: global.data.clone(),
        listen: args.listen,
        until_idle: args.until_idle,
        tasks_max: args.limit,
    };
    let host = program.start(request).await?;
    let operations = host.operations();
    eprintln!("running; the overview is at http://{}/ , Ctrl-C stops in good order", host.listen());
    let watching = tokio::spawn(watch(operations.clone(), host.progress()));
    let stopping = tokio::spawn(stop_on_signal(operations.clone()));
    let end = finish(host, &operations).await;
    watching.abort();
    stopping.abort();
    let (overview, settled) = end?;
    output::print(&status::text(&overview))?;
    eprintln!("{settled} tasks run");
    match standing(&overview) {
        Some(why) if args.until_idle => Err(CliError::standing(why)),
        _ => Ok(()),
    }
}

/// The jobs that stand still: paused, or refused and unknown to the store but for the reason.
fn standing(overview: &Overview) -> Option<String> {
    let paused = overview.jobs.iter().filter(|job| job.pause.is_some()).map(|job| &job.name);
    let unknown = overview.attention.iter().filter_map(|attention| attention.job.as_ref());
    let unknown = unknown.filter(|name| overview.jobs.iter().all(|job| job.name != **name));
    let standing: Vec<&str> = paused.chain(unknown).map(|name| name.as_str()).collect();
    (!standing.is_empty())
        .then(|| format!("at a standstill: {}; `tollgate status` and `tollgate check` say why", standing.join(", ")))
}

/// Waits for the host's end. The overview is read before the store closes with it.
async fn finish(host: Box<dyn Running>, operations: &Operations) -> Result<(Overview, u64), CliError> {
    let mut progress = host.progress();
    // The sender goes when the dispatcher has ended; the store is still open then.
    while progress.changed().await.is_ok() {}
    let overview = operations.overview().await;
    let ended = host.wait().await?;
    let overview = overview.map_err(|error| CliError::failed(error.to_string()))?;
    Ok((overview, ended.settled))
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
