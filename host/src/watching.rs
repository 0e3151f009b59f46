//! Sees jobs.toml change while a host runs.

use std::{path::Path, sync::Arc, time::Duration};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::{sync::mpsc, time::timeout};
use tollgate_engine::Configuration;

/// Nothing changes for so long once a file is whole: an editor writes one in several steps.
const QUIET_TIME: Duration = Duration::from_millis(100);
/// Longest wait for that: a folder in which something is always written must not hold up what a person changes.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(2);

/// A watch over the folder of jobs.toml, since editors and deployments put another file in its place.
pub(crate) struct Watching {
    configuration: Arc<Configuration>,
    changes: mpsc::Receiver<()>,
    /// Watches until it is dropped.
    _watcher: Option<RecommendedWatcher>,
}

impl Watching {
    /// Begins. Where the system can't watch, that is told and shown, and `tollgate reload` is there.
    pub(crate) fn start(file: &Path, folder: &Path, configuration: Arc<Configuration>) -> Self {
        // One is enough to look: what changes meanwhile is seen by that look.
        let (sender, changes) = mpsc::channel(1);
        let watcher = watch(file, folder, sender).map_err(|error| configuration.unwatched(&error.to_string())).ok();
        Self { configuration, changes, _watcher: watcher }
    }

    /// Reads the file again after each change, and once for what came while the host started. Never ends.
    pub(crate) async fn run(mut self) {
        self.look().await;
        while self.changes.recv().await.is_some() {
            let quiet = async { while let Ok(Some(())) = timeout(QUIET_TIME, self.changes.recv()).await {} };
            // Both ends are a reason to look.
            let _waited_long = timeout(QUIET_WAIT_MAX, quiet).await.is_err();
            self.look().await;
        }
        // Without a watcher there is nothing to wait for.
        std::future::pending().await
    }

    async fn look(&self) {
        let configuration = self.configuration.clone();
        if let Err(panic) = tokio::task::spawn_blocking(move || configuration.reload()).await {
            tracing::error!(%panic, "the host panicked while it read jobs.toml again");
        }
    }
}

fn watch(file: &Path, folder: &Path, sender: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.map_or(true, |event| is_change(&event)) {
            // Full: a look is due already.
            let _is_due = sender.try_send(()).is_err();
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    // A link leads to where the file itself is changed.
    let real = file.canonicalize().ok();
    if let Some(beside) = real.as_deref().and_then(Path::parent).filter(|beside| !is_same(beside, folder)) {
        watcher.watch(beside, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Whether something may be another than before. That the host reads the file is none.
fn is_change(event: &Event) -> bool {
    !matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

fn is_same(one: &Path, other: &Path) -> bool {
    other.canonicalize().is_ok_and(|other| one == other)
}
