//! Instances that are kept between the tasks of one stage, where its author says `reuse = N`.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use wasmtime::Store;

use crate::{bindings::v0_1, guest::Guest};

/// Bytes of memory of all that a stage keeps: some pages' trees, and no more than a few guests at their limit would take.
const KEPT_BYTES_MAX: u64 = 256 << 20;
/// Of its limit of memory, an instance that holds more than this part isn't kept: the next task would begin in want.
const MEMORY_SHARE_MAX: u64 = 4;

/// Instances of one handler for one stage of a job: no other's task comes into them, and what a stage that reads whole
/// pages takes of memory isn't taken by those that don't. Without `reuse` nothing is kept: each task has a fresh one,
/// and none sees what another left.
pub struct Instances {
    reuse: u32,
    kept_max: usize,
    kept: Mutex<Vec<Kept>>,
}

/// An instance between two tasks.
pub(crate) struct Kept {
    pub(crate) store: Store<Guest>,
    pub(crate) handler: v0_1::Handler,
    /// Tasks that it has served.
    pub(crate) tasks: u32,
}

impl fmt::Debug for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instances").field("reuse", &self.reuse).field("kept", &self.kept().len()).finish()
    }
}

impl Instances {
    /// For the tasks of a stage, of which `concurrency` run side by side, and one instance serves `reuse`, one after the
    /// other.
    #[must_use]
    pub fn new(reuse: u32, concurrency: usize) -> Self {
        // All of them: a commit answers for many tasks at once, whose followers begin together.
        Self { reuse, kept_max: concurrency, kept: Mutex::default() }
    }

    /// For one task alone.
    pub(crate) fn none() -> Self {
        Self::new(1, 0)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        // Nothing panics while it holds the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self) -> Option<Kept> {
        self.kept().pop()
    }

    /// Keeps an instance whose task has ended in good order, if it may serve another.
    pub(crate) fn keep(&self, kept: Kept, memory_bytes: u64) {
        let guest = kept.store.data();
        let is_light = guest.memory.used() <= memory_bytes / MEMORY_SHARE_MAX;
        let has_room = kept.tasks < self.reuse;
        if has_room && is_light && guest.is_clean() {
            let mut all = self.kept();
            let bytes: u64 = all.iter().map(|other| other.store.data().memory.used()).sum();
            if all.len() < self.kept_max && bytes + guest.memory.used() <= KEPT_BYTES_MAX {
                all.push(kept);
            }
        }
    }
}
