//! Instances that are kept between the tasks of one stage, where its author says `reuse = N`.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use wasmtime::Store;

use crate::{bindings::v0_1, guest::Guest};

/// Of its limit of memory, an instance that holds more than this part isn't kept: the next task would begin in want.
const MEMORY_SHARE_MAX: u64 = 4;

/// Memory that kept instances may hold, of all stages of a host together.
#[derive(Debug, Clone)]
pub struct KeptMemory {
    left: Arc<AtomicU64>,
}

impl Default for KeptMemory {
    /// 256 MiB: some dozens of pages' trees, and no more than a few guests at their limit would take.
    fn default() -> Self {
        Self::new(256 << 20)
    }
}

impl KeptMemory {
    /// So many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(bytes)) }
    }

    fn take(&self, bytes: u64) -> Option<Share> {
        let taken = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        taken.ok().map(|_| Share { of: self.clone(), bytes })
    }
}

/// A part of the memory, until it is dropped.
struct Share {
    of: KeptMemory,
    bytes: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.left.fetch_add(self.bytes, Relaxed);
    }
}

/// Instances of one handler for one stage of a job: no other's task comes into them, and what a stage that reads whole
/// pages takes of memory isn't taken by those that don't. Without `reuse` nothing is kept: each task has a fresh one,
/// and none sees what another left.
///
/// Those that are kept have places of the pool of their own. There are enough: a stage keeps and runs no more of them
/// than may run side by side, for which the pool is made.
pub struct Instances {
    reuse: u32,
    kept_max: usize,
    memory: KeptMemory,
    kept: Mutex<Vec<Kept>>,
}

/// An instance between two tasks.
struct Kept {
    store: Store<Guest>,
    handler: v0_1::Handler,
    /// Tasks that it has served.
    tasks: u32,
    _share: Share,
}

impl fmt::Debug for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instances").field("reuse", &self.reuse).field("kept", &self.kept().len()).finish()
    }
}

impl Instances {
    /// For the tasks of a stage, of which `concurrency` run side by side, and one instance serves
    /// `reuse`, one after the other.
    #[must_use]
    pub fn new(reuse: u32, concurrency: usize, memory: KeptMemory) -> Self {
        // All of them: a commit answers for many tasks at once, whose followers begin together.
        Self { reuse, kept_max: concurrency, memory, kept: Mutex::default() }
    }

    /// For one task alone.
    pub(crate) fn none() -> Self {
        Self::new(1, 0, KeptMemory::new(0))
    }

    /// Lets all of them go: nothing is to be done for a while, or what they made is no good.
    pub fn clear(&self) {
        let kept = std::mem::take(&mut *self.kept());
        drop(kept);
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        // Nothing panics while it holds the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self) -> Option<(Store<Guest>, v0_1::Handler, u32)> {
        self.kept().pop().map(|kept| (kept.store, kept.handler, kept.tasks))
    }

    /// Keeps an instance whose task has ended in good order, if it may serve another.
    pub(crate) fn keep(&self, mut store: Store<Guest>, handler: v0_1::Handler, tasks: u32, memory_bytes: u64) {
        let guest = store.data_mut();
        let used = guest.memory.used();
        if tasks >= self.reuse || used > memory_bytes / MEMORY_SHARE_MAX || !guest.is_clean() {
            return;
        }
        let mut all = self.kept();
        if all.len() < self.kept_max
            && let Some(share) = self.memory.take(used)
        {
            all.push(Kept { store, handler, tasks, _share: share });
        }
    }
}
