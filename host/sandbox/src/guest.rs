//! What belongs to one running guest: its gates, its limits, its WASI.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tollgate_core::{JobName, task::clean_message};
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, p2::bindings::random::random};

use crate::{
    call::{CallLimits, host_call_bytes},
    engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX},
    gates::{Gates, LogEvent, LogLevel},
    host::OwnClient,
    stdio::GuestOutput,
};

/// Handles that a guest may hold: responses, streams and pollables.
pub(crate) const HANDLES_MAX: usize = 2_000;
/// Of them, an instance that is kept may still hold one in so many.
const HANDLES_SHARE_MAX: usize = 20;
/// Random bytes of one call of a handler: keys and seeds take a few dozen.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// A limit was reached: ends the call with that reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct LimitReached(pub(crate) String);

/// The host could not do its part, and the interface has no word for it there: ends the call with that reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HostFailed(pub(crate) String);

/// A running guest, as wasmtime's store holds it.
pub(crate) struct Guest {
    pub(crate) gates: Gates,
    /// For messages: the job whose grant is missing.
    pub(crate) job: Option<JobName>,
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryLimiter,
    pub(crate) log: Arc<LogBudget>,
    /// Responses that it holds.
    pub(crate) responses: usize,
    /// What it asks for over `wasi:http`.
    pub(crate) own_client: OwnClient,
    pub(crate) budget: Arc<TransferBudget>,
    random_left: u64,
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
        let budget = Arc::new(TransferBudget::new(limits));
        Self {
            own_client: OwnClient::new(&gates, job.as_ref(), log.clone(), budget.clone()),
            gates,
            job,
            table,
            memory: MemoryLimiter::new(limits.memory_bytes),
            log,
            responses: 0,
            budget,
            random_left: RANDOM_BYTES_MAX,
            wasi: wasi.build(),
        }
    }

    /// Begins another task of the same stage in this instance: nothing of the last one's gates and budgets is left.
    pub(crate) fn begin(&mut self, gates: Gates, job: Option<JobName>, limits: &CallLimits) {
        self.log.begin(gates.log.clone(), limits.log_bytes);
        self.budget = Arc::new(TransferBudget::new(limits));
        self.own_client = OwnClient::new(&gates, job.as_ref(), self.log.clone(), self.budget.clone());
        self.gates = gates;
        self.job = job;
        self.memory.begin(limits.memory_bytes);
        self.random_left = RANDOM_BYTES_MAX;
    }

    /// Whether another task may begin in this instance: no response is held or awaited, no line of output half written,
    /// and few handles are left, which later tasks would have to pay for.
    pub(crate) fn is_clean(&mut self) -> bool {
        let handles = self.table.iter_mut().count();
        let has_response = self.responses > 0 || self.own_client.is_open();
        !has_response && !self.log.has_partial_line() && handles <= HANDLES_MAX / HANDLES_SHARE_MAX
    }

    /// Takes bytes that cross the border into account.
    pub(crate) fn transfer(&mut self, bytes: usize) -> Result<(), LimitReached> {
        self.budget.take(bytes as u64)
    }

    /// Takes random bytes into account.
    fn random(&mut self, bytes: u64) -> wasmtime::Result<usize> {
        let reached = || LimitReached(format!("it asked for more than {RANDOM_BYTES_MAX} random bytes"));
        self.random_left = self.random_left.checked_sub(bytes).ok_or_else(reached)?;
        usize::try_from(bytes).map_err(wasmtime::Error::new)
    }
}

/// Bytes that may cross the border in one call of a handler, both ways together. What runs beside the guest takes of it
/// too: it can't end the call, so the limit that it reached is kept for the end.
pub(crate) struct TransferBudget {
    limit: u64,
    one_max: u64,
    left: AtomicU64,
    reached: OnceLock<LimitReached>,
}

impl TransferBudget {
    pub(crate) fn new(limits: &CallLimits) -> Self {
        let limit = limits.transfer_bytes;
        Self { limit, one_max: host_call_bytes(limits), left: AtomicU64::new(limit), reached: OnceLock::new() }
    }

    /// Takes so many.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), LimitReached> {
        let taken = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        let limit = self.limit;
        let text = || format!("host calls moved more than {limit} bytes; read large bodies in parts");
        taken.map(drop).map_err(|_| self.reach(LimitReached(text())))
    }

    /// Takes `more` for a body of which there are `before`, and which is handed over as one.
    pub(crate) fn take_part(&self, before: u64, more: u64) -> Result<(), LimitReached> {
        if before.saturating_add(more) > self.one_max {
            return Err(self.reach(LimitReached(format!("it handed over more than {} bytes at once", self.one_max))));
        }
        self.take(more)
    }

    /// Keeps a limit that was reached: the first one counts.
    pub(crate) fn reach(&self, limit: LimitReached) -> LimitReached {
        self.reached.get_or_init(|| limit).clone()
    }

    /// The limit that was reached, if one was.
    pub(crate) fn reached(&self) -> Option<&LimitReached> {
        self.reached.get()
    }
}

/// WASI's own random bounds one call; a task has a total. One place also, where a replay will give the bytes again.
impl random::Host for Guest {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        let mut bytes = vec![0; self.random(length)?];
        getrandom::fill(&mut bytes)
            .map_err(|error| HostFailed(format!("the system gives no random bytes: {error}")))?;
        Ok(bytes)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random(8)?;
        getrandom::u64().map_err(|error| HostFailed(format!("the system gives no random bytes: {error}")).into())
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Memory of one guest, summed over all its memories, and its tables, summed too.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    limit: u64,
    used: u64,
    /// What the growth under way takes: given back if the system then refuses it.
    growing: u64,
    table_elements: usize,
    pub(crate) peak: u64,
    /// What was refused, so that the trap that follows says why.
    pub(crate) refused: Option<String>,
}

impl MemoryLimiter {
    fn new(limit: u64) -> Self {
        Self { limit, used: 0, growing: 0, table_elements: 0, peak: 0, refused: None }
    }

    /// Another task begins with what the instance has.
    fn begin(&mut self, limit: u64) {
        self.limit = limit;
        self.peak = self.used;
        self.refused = None;
    }

    /// Bytes of memory that the instance has.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let used = self.used.saturating_add(more);
        if used > self.limit {
            self.refused = Some(format!(
                "it wanted {used} bytes of memory; {} is the limit (guest-memory under [host])",
                self.limit
            ));
            return Ok(false);
        }
        self.used = used;
        self.growing = more;
        self.peak = self.peak.max(used);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.growing));
        self.refused = Some(format!("its memory can't grow: {error}"));
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.table_elements.saturating_add(desired.saturating_sub(current));
        if elements > TABLE_ELEMENTS_MAX {
            self.refused = Some(format!("it wanted {elements} elements of tables; {TABLE_ELEMENTS_MAX} is the limit"));
            return Ok(false);
        }
        self.table_elements = elements;
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
    inner: Mutex<LogInner>,
}

struct LogInner {
    gate: Arc<dyn crate::gates::LogGate>,
    limit: u64,
    left: u64,
    /// Bytes of stdout and stderr that wait for the end of their line.
    partial: usize,
    /// The end of what went to stderr: a panic's words.
    stderr_tail: Vec<u8>,
}

/// What an event takes off the budget beside its texts: an empty one isn't free.
const EVENT_BYTES: u64 = 64;
/// Bytes of stderr kept for the message of a panic.
const STDERR_TAIL: usize = 4_000;

impl LogBudget {
    pub(crate) fn new(gate: Arc<dyn crate::gates::LogGate>, limit: u64) -> Self {
        Self { inner: Mutex::new(LogInner { gate, limit, left: limit, partial: 0, stderr_tail: Vec::new() }) }
    }

    /// Another task begins, with its own gate and budget.
    fn begin(&self, gate: Arc<dyn crate::gates::LogGate>, limit: u64) {
        *self.inner() = LogInner { gate, limit, left: limit, partial: 0, stderr_tail: Vec::new() };
    }

    /// Takes note of bytes that wait for the end of their line: more of them, or fewer.
    pub(crate) fn waits(&self, more: usize, fewer: usize) {
        let inner = &mut *self.inner();
        inner.partial = (inner.partial + more).saturating_sub(fewer);
    }

    fn has_partial_line(&self) -> bool {
        self.inner().partial > 0
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, LogInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `bytes` of an event's texts off the budget.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), LimitReached> {
        let mut inner = self.inner();
        // A call that ignores the refusal gets no further either: nothing is left.
        let left = inner.left.checked_sub(bytes as u64 + EVENT_BYTES);
        inner.left = left.unwrap_or(0);
        let limit = inner.limit;
        left.map(drop).ok_or_else(|| LimitReached(format!("it logged more than {limit} bytes")))
    }

    /// Logs an event whose texts have been taken off the budget.
    pub(crate) fn event(&self, mut event: LogEvent) {
        event.message = one_line(&event.message);
        let gate = self.inner().gate.clone();
        gate.event(event);
    }

    /// Remembers the end of what goes to stderr, for a panic's words.
    pub(crate) fn stderr(&self, bytes: &[u8]) {
        let tail = &mut self.inner().stderr_tail;
        tail.extend_from_slice(bytes.get(bytes.len().saturating_sub(STDERR_TAIL)..).unwrap_or_default());
        let too_long = tail.len().saturating_sub(STDERR_TAIL);
        tail.drain(..too_long);
    }

    /// Logs a line of stdout or stderr.
    pub(crate) fn line(&self, level: LogLevel, line: &str) -> Result<(), LimitReached> {
        self.take(line.len())?;
        if !line.trim().is_empty() {
            self.event(LogEvent { level, message: line.to_owned(), fields: Vec::new() });
        }
        Ok(())
    }

    /// A panic's own words, if stderr ends with some: `panicked at src/lib.rs:1:2: why`.
    pub(crate) fn panic(&self) -> Option<String> {
        let tail = String::from_utf8_lossy(&self.inner().stderr_tail).into_owned();
        let start = tail.rfind("panicked at ")?;
        // What follows the message is advice on backtraces, or one.
        let lines = tail[start..].lines().take_while(|line| !line.starts_with("note: ") && *line != "stack backtrace:");
        Some(clean_message(&lines.map(str::trim).collect::<Vec<_>>().join(" ")).trim().to_owned())
    }
}

/// Makes a guest's text one line, so that none can pass for another event's (trap 23).
pub(crate) fn one_line(text: &str) -> String {
    clean_message(text).replace('\n', " ")
}
