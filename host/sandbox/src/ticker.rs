//! The epoch's clock: a thread that ticks while a guest runs, and rests while none does.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use wasmtime::Engine;

use crate::SandboxError;

/// Time between two ticks: how long a guest that spins may hold a thread before it yields.
const TICK: Duration = Duration::from_millis(5);

/// Counts the guests that run.
pub(crate) struct Ticker(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    over: bool,
}

/// A guest runs as long as this lives.
pub(crate) struct Ticking(Arc<Shared>);

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        drop(state);
        self.changed.notify_one();
    }
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> Result<Self, SandboxError> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let (engine, seen) = (engine.weak(), shared.clone());
        let tick = move || {
            loop {
                let mut state = seen.state.lock().unwrap_or_else(PoisonError::into_inner);
                while state.running == 0 && !state.over {
                    state = seen.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                let over = state.over;
                drop(state);
                let Some(engine) = engine.upgrade().filter(|_| !over) else {
                    return;
                };
                thread::sleep(TICK);
                engine.increment_epoch();
            }
        };
        thread::Builder::new()
            .name("tollgate-epoch".to_owned())
            .spawn(tick)
            .map_err(|error| SandboxError::Engine(format!("no thread for the epoch: {error}")))?;
        Ok(Self(shared))
    }

    pub(crate) fn tick(&self) -> Ticking {
        self.0.change(|state| state.running += 1);
        Ticking(self.0.clone())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.change(|state| state.over = true);
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.change(|state| state.running -= 1);
    }
}
