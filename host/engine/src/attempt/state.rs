//! The job's key-value state, as one attempt sees it.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use tollgate_core::JobId;
use tollgate_sandbox::gates::{StateError, StateGate, StateKeys, StateWrite};
use tollgate_store::{StateChange, Store, StoreError};

/// Keys on one page.
const KEYS_PAGE: usize = 1_000;

pub(super) struct JobState {
    store: Arc<dyn Store>,
    job: JobId,
}

impl JobState {
    pub(super) fn new(store: Arc<dyn Store>, job: JobId) -> Self {
        Self { store, job }
    }
}

impl StateGate for JobState {
    fn get(&self, key: String) -> BoxFuture<'_, Result<Option<(Vec<u8>, u64)>, StateError>> {
        let entry = self.store.state_get(self.job, key);
        entry.map(|entry| entry.map(|entry| entry.map(|entry| (entry.value, entry.version))).map_err(refuse)).boxed()
    }

    fn apply(&self, changes: Vec<StateWrite>) -> BoxFuture<'_, Result<(), StateError>> {
        let changes =
            changes.into_iter().map(|StateWrite { key, value, expect }| StateChange { key, value, expect }).collect();
        self.store.state_apply(self.job, changes).map(|done| done.map_err(refuse)).boxed()
    }

    fn keys(&self, prefix: String, cursor: Option<String>) -> BoxFuture<'_, Result<StateKeys, StateError>> {
        let page = self.store.state_keys(self.job, prefix, cursor, KEYS_PAGE);
        page.map(|page| page.map(|page| (page.entries, page.next)).map_err(refuse)).boxed()
    }
}

fn refuse(error: StoreError) -> StateError {
    match error {
        StoreError::Conflict(key) => StateError::Conflict(key),
        StoreError::TooLarge { bytes, .. } => StateError::TooLarge(bytes),
        other => StateError::Storage(other.to_string()),
    }
}
