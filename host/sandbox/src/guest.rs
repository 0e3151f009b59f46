//! What belongs to one running guest: its gates, its limits, its WASI.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tollgate_core::{JobName, task::clean_message};
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::{
    call::CallLimits,
    engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX},
    gates::{Gates, LogEvent, LogLevel},
    stdio::GuestOutput,
};

/// Handles that a guest may hold: responses, streams and pollables.
const HANDLES_MAX: usize = 2_000;
/// Random bytes of one call of WASI's random.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// A limit was reached: ends the call with that reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitReached(pub(crate) String);

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LimitReached {}

/// A running guest, as wasmtime's store holds it.
pub(crate) struct Guest {
    pub(crate) gates: Gates,
    /// For messages: the job whose grant is missing.
    pub(crate) job: Option<JobName>,
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryLimiter,
    pub(crate) log: Arc<LogBudget>,
    transfer_left: u64,
    transfer_bytes: u64,
    wasi: WasiCtx,
}

impl Guest {
    pub(crate) fn new(gates: Gates, job: Option<JobName>, limits: &CallLimits) -> Self {
        let log = Arc::new(LogBudget::new(gates.log.clone(), limits.log_bytes));
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let mut wasi = WasiCtxBuilder::new();
        // Nothing of this process is a guest's: no environment, no arguments, no folder, no socket (trap 24).
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false).max_random_size(RANDOM_BYTES_MAX);
        wasi.stdout(GuestOutput::new(log.clone(), LogLevel::Info));
        wasi.stderr(GuestOutput::new(log.clone(), LogLevel::Warn));
        Self {
            gates,
            job,
            table,
            memory: MemoryLimiter { limit: limits.memory_bytes, used: 0, peak: 0, refused: None },
            log,
            transfer_left: limits.transfer_bytes,
            transfer_bytes: limits.transfer_bytes,
            wasi: wasi.build(),
        }
    }

    /// Takes bytes that cross the border into account.
    pub(crate) fn transfer(&mut self, bytes: usize) -> Result<(), LimitReached> {
        match self.transfer_left.checked_sub(bytes as u64) {
            Some(left) => {
                self.transfer_left = left;
                Ok(())
            }
            None => {
                let limit = self.transfer_bytes;
                Err(LimitReached(format!("host calls moved more than {limit} bytes; read large bodies in parts")))
            }
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Memory of one guest, summed over all its memories.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    limit: u64,
    used: u64,
    pub(crate) peak: u64,
    /// What was refused, so that the trap that follows says why.
    pub(crate) refused: Option<String>,
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let used = self.used.saturating_add(more);
        if used > self.limit {
            self.refused = Some(format!("it wanted {used} bytes of memory; {} is the limit (guest-memory under [host])", self.limit));
            return Ok(false);
        }
        self.used = used;
        self.peak = self.peak.max(used);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, _desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Bounded by the pool's own `table_elements`.
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

/// The log of one guest, with its budget.
pub(crate) struct LogBudget {
    gate: Arc<dyn crate::gates::LogGate>,
    inner: Mutex<LogInner>,
    limit: u64,
}

struct LogInner {
    left: u64,
    /// The end of what went to stderr: a panic's words.
    stderr_tail: String,
}

/// Bytes of stderr kept for the message of a panic.
const STDERR_TAIL: usize = 4_000;

impl LogBudget {
    fn new(gate: Arc<dyn crate::gates::LogGate>, limit: u64) -> Self {
        Self { gate, limit, inner: Mutex::new(LogInner { left: limit, stderr_tail: String::new() }) }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, LogInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs an event, within the budget.
    pub(crate) fn event(&self, mut event: LogEvent) -> Result<(), LimitReached> {
        let size = event.message.len()
            + event.fields.iter().map(|(name, value)| name.len() + value.as_str().map_or(8, str::len)).sum::<usize>();
        let mut inner = self.inner();
        let Some(left) = inner.left.checked_sub(size as u64 + 1) else {
            inner.left = 0;
            return Err(LimitReached(format!("it logged more than {} bytes", self.limit)));
        };
        inner.left = left;
        drop(inner);
        event.message = clean_message(&event.message);
        self.gate.event(event);
        Ok(())
    }

    /// Logs a line of stdout or stderr.
    pub(crate) fn line(&self, level: LogLevel, line: &str) -> Result<(), LimitReached> {
        if level == LogLevel::Warn {
            let mut inner = self.inner();
            inner.stderr_tail.push_str(line);
            inner.stderr_tail.push('\n');
            let too_long = inner.stderr_tail.len().saturating_sub(STDERR_TAIL);
            if too_long > 0 {
                let cut = (too_long..=inner.stderr_tail.len()).find(|at| inner.stderr_tail.is_char_boundary(*at));
                inner.stderr_tail.drain(..cut.unwrap_or(0));
            }
        }
        if line.trim().is_empty() {
            return Ok(());
        }
        self.event(LogEvent { level, message: line.to_owned(), fields: Vec::new() })
    }

    /// A panic's own words, if stderr ends with some.
    pub(crate) fn panic(&self) -> Option<String> {
        let inner = self.inner();
        let start = inner.stderr_tail.rfind("panicked at ")?;
        let lines = inner.stderr_tail[start..].lines().take_while(|line| !line.starts_with("note: "));
        Some(clean_message(&lines.map(str::trim).collect::<Vec<_>>().join(" ")).trim().to_owned())
    }
}
