//! The child process that compiles: limits on itself first, then one component (trap 22).

use std::{fs, path::Path};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::engine;

/// What a child may take. Beyond, the system ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildLimits {
    /// Processor time, in seconds, over all its threads.
    pub cpu_seconds: u64,
    /// Address space beyond what the engine reserves at once, in bytes.
    pub memory_bytes: u64,
}

/// Largest file of compiled code, in bytes: what the largest component that may be dropped comes to, and some more.
const CODE_BYTES_MAX: u64 = 1 << 30;

/// Compiles `input` to `output`.
///
/// # Errors
/// What went wrong, for a person. A process that reaches its limits is ended by the system.
pub fn main(limits: ChildLimits, input: &Path, output: &Path) -> Result<(), String> {
    let limit = |resource, most| {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| format!("the compiler's limits can't be set: {error}"))
    };
    limit(Resource::Cpu, limits.cpu_seconds)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, CODE_BYTES_MAX)?;
    // One place: the configuration decides whether the code fits, the number of places doesn't.
    let engine = engine::engine(1).map_err(|error| error.to_string())?;
    limit(Resource::As, reserved_bytes().saturating_add(limits.memory_bytes))?;
    let bytes = fs::read(input).map_err(|error| format!("the component can't be read: {error}"))?;
    let compiled = engine.precompile_component(&bytes).map_err(|error| format!("{error:#}"))?;
    fs::write(output, compiled).map_err(|error| format!("its code can't be written: {error}"))
}

/// Address space that this process has now. Where the system doesn't say, as much as the engine is known to reserve.
fn reserved_bytes() -> u64 {
    const PAGE: u64 = 4_096;
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = statm.split(' ').next().and_then(|pages| pages.parse().ok());
    pages.map_or(64 << 30, |pages| pages * PAGE)
}
