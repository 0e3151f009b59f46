//! Keeping what was spent, so that a restart knows of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use tollgate_core::{Clock, budget::Spending};

use crate::site::SiteMemory;

/// What was spent is kept after so long at the latest.
const KEPT_EVERY: Duration = Duration::from_secs(1);
/// Or after so many bytes.
const KEPT_BYTES: u64 = 1 << 20;

/// Keeps what was spent: at most one write at a time, and a second between two unless much has come.
pub(super) struct Keeper {
    memory: Arc<dyn SiteMemory>,
    pub(super) clock: Arc<dyn Clock>,
    state: Mutex<Unkept>,
    hurry: Notify,
    /// Held while rows are written, so that what is written last is the latest.
    keeping: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Unkept {
    rows: BTreeMap<String, Spending>,
    bytes: u64,
    is_running: bool,
}

impl Keeper {
    pub(super) fn new(memory: Arc<dyn SiteMemory>, clock: Arc<dyn Clock>) -> Self {
        Self { memory, clock, state: Mutex::default(), hurry: Notify::new(), keeping: tokio::sync::Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, Unkept> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(self: Arc<Self>, name: &str, spending: Spending, bytes: u64) {
        let mut state = self.state();
        match state.rows.get_mut(name) {
            Some(row) => *row = spending,
            None => drop(state.rows.insert(name.to_owned(), spending)),
        }
        state.bytes += bytes;
        if state.bytes >= KEPT_BYTES {
            self.hurry.notify_one();
        }
        // Without a runtime nothing is transferred either, and the end of the host keeps what is left.
        if !state.is_running
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            state.is_running = true;
            drop(state);
            runtime.spawn(async move { self.run().await });
        }
    }

    async fn run(&self) {
        loop {
            self.keep().await;
            tokio::select! {
                () = self.clock.sleep_until(self.clock.now().after(KEPT_EVERY)) => {}
                () = self.hurry.notified() => {}
            }
            let mut state = self.state();
            if state.rows.is_empty() {
                state.is_running = false;
                return;
            }
        }
    }

    pub(super) async fn keep(&self) {
        let _in_turn = self.keeping.lock().await;
        let rows: Vec<(String, Spending)> = {
            let mut state = self.state();
            state.bytes = 0;
            std::mem::take(&mut state.rows).into_iter().collect()
        };
        if rows.is_empty() || self.memory.keep_spending(rows.clone()).await.is_ok() {
            return;
        }
        let mut state = self.state();
        for (name, spending) in rows {
            // What was counted meanwhile is later.
            state.rows.entry(name).or_insert(spending);
        }
    }
}
