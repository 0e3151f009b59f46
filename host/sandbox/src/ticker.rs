//! The epoch's clock: a thread that ticks while a guest computes, and rests while none does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::Engine;

use crate::SandboxError;

/// Time between two ticks: how long a guest that spins may hold a thread before it yields.
const TICK: Duration = Duration::from_millis(5);

/// The thread; ends with this.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

/// Counts without a lock: each poll of each guest passes here.
#[derive(Default)]
struct Shared {
    /// Guests whose call is being polled. One that waits for the host is none of them.
    computing: AtomicUsize,
    resting: AtomicBool,
    over: AtomicBool,
}

/// A guest computes as long as this lives.
pub(crate) struct Ticking<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> Result<Self, SandboxError> {
        let shared = Arc::new(Shared::default());
        let (engine, seen) = (engine.weak(), shared.clone());
        let tick = move || {
            while !seen.over.load(SeqCst) {
                // Said before the count is read, and read after the count is raised: one of the two sees the other.
                seen.resting.store(true, SeqCst);
                while seen.computing.load(SeqCst) == 0 && !seen.over.load(SeqCst) {
                    thread::park();
                }
                seen.resting.store(false, SeqCst);
                thread::sleep(TICK);
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                engine.increment_epoch();
            }
        };
        let spawned = thread::Builder::new().name("tollgate-epoch".to_owned()).spawn(tick);
        let spawned = spawned.map_err(|error| SandboxError::Engine(format!("no thread for the epoch: {error}")))?;
        Ok(Self { shared, thread: spawned.thread().clone() })
    }

    pub(crate) fn tick(&self) -> Ticking<'_> {
        self.shared.computing.fetch_add(1, SeqCst);
        if self.shared.resting.load(SeqCst) {
            self.thread.unpark();
        }
        Ticking(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.computing.fetch_sub(1, SeqCst);
    }
}
