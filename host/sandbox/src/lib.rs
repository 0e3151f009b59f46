//! Runs handlers: wasmtime, bindings, capabilities, limits, load checks and the compiled-code cache.
//!
//! What a handler may call is handed in with each task as [`Gates`](gates::Gates); this crate knows no network and no
//! store. A set of handlers is immutable and replaced whole.

mod answer;
mod bindings;
pub mod call;
mod check;
mod compile;
pub mod compile_child;
mod engine;
mod error;
mod formats;
pub mod gates;
mod guest;
mod handler;
mod host;
mod inspect;
mod instances;
mod load;
mod meter;
mod params;
mod set;
mod stdio;
mod ticker;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::Semaphore;

pub use check::{JobStage, StageWork, check_job, job_stages};
pub use compile::{CompileLimits, Compiler};
pub use error::{LoadError, SandboxError};
pub use handler::Handler;
pub use instances::{Instances, KeptMemory};
pub use set::HandlerSet;

/// Guests that may be alive side by side: as many places as all lanes of a plan may ask for together, so that none
/// takes another's (trap 30). A place that isn't used is address space alone.
pub const INSTANCES_MAX: u32 = 1_000;

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Private folder for compiled code. Made, readable by its owner alone, if it isn't there.
    pub cache: PathBuf,
    /// What compiles.
    pub compiler: Compiler,
    /// Guests that may be alive side by side; further calls wait for a place.
    pub instances_max: u32,
}

impl SandboxOptions {
    /// Options with compiled code in `cache`.
    #[must_use]
    pub fn new(cache: PathBuf, compiler: Compiler) -> Self {
        Self { cache, compiler, instances_max: INSTANCES_MAX }
    }
}

/// The engine and what all handlers share.
pub struct Sandbox {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) linker: wasmtime::component::Linker<guest::Guest>,
    pub(crate) compile: compile::Compile,
    pub(crate) running: Arc<Running>,
}

/// What running guests share.
pub(crate) struct Running {
    pub(crate) places: Semaphore,
    pub(crate) ticker: ticker::Ticker,
    pub(crate) turns: meter::Turns,
}

impl Sandbox {
    /// Sets the engine up.
    ///
    /// # Errors
    /// The engine can't reserve its memory, or the cache folder isn't private.
    pub fn new(options: SandboxOptions) -> Result<Arc<Self>, SandboxError> {
        let engine = engine::engine(options.instances_max)?;
        let linker = host::linker(&engine)?;
        let compile = compile::Compile::new(&engine, options.cache, options.compiler)?;
        let places = Semaphore::new(options.instances_max as usize);
        let ticker = ticker::Ticker::start(&engine)?;
        let turns = meter::Turns::of_this_machine();
        Ok(Arc::new(Self { engine, linker, compile, running: Arc::new(Running { places, ticker, turns }) }))
    }
}
