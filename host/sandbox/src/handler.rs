//! A loaded handler: complete, immutable, and a fresh instance for each call but where a job says `reuse`.

use std::{collections::BTreeSet, fmt, future::Future, pin::pin, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use serde_json::Value;
use tollgate_core::{
    JobName,
    handler::{Capability, HandlerDigests, HandlerInfo},
    ids::HandlerName,
    outcome::StageError,
    task::clean_message,
};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, component::ResourceTableError};

use crate::{
    Running,
    answer::{new_items, output, stage_error},
    bindings::v0_1::{self, HandlerPre, exports::tollgate::handler::stages, tollgate::handler::types},
    call::{
        CallFailure, CallLimits, DiscoverCall, DiscoverReport, Discovered, Report, StageCall, StageReport,
        host_call_bytes,
    },
    gates::{Gates, Late},
    guest::{Guest, HANDLES_MAX, HostFailed, LimitReached},
    instances::Instances,
    meter::{Meter, Metered},
};

/// Longest cursor of a discovery, in bytes: a place in a list, not the list.
const CURSOR_BYTES_MAX: usize = 1 << 20;

/// A loaded handler.
pub struct Handler {
    name: HandlerName,
    info: HandlerInfo,
    digests: HandlerDigests,
    imports: BTreeSet<Capability>,
    parts: Parts,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("name", &self.name).field("digests", &self.digests).finish_non_exhaustive()
    }
}

/// What running a handler takes.
pub(crate) struct Parts {
    pub(crate) pre: HandlerPre<Guest>,
    pub(crate) engine: Engine,
    pub(crate) running: Arc<Running>,
}

impl Handler {
    pub(crate) fn new(
        name: HandlerName,
        info: HandlerInfo,
        digests: HandlerDigests,
        imports: BTreeSet<Capability>,
        parts: Parts,
    ) -> Self {
        Self { name, info, digests, imports, parts }
    }

    /// The stem of its file: the name in jobs.toml.
    #[must_use]
    pub fn name(&self) -> &HandlerName {
        &self.name
    }

    /// What it says of itself.
    #[must_use]
    pub fn info(&self) -> &HandlerInfo {
        &self.info
    }

    /// Its digests.
    #[must_use]
    pub fn digests(&self) -> HandlerDigests {
        self.digests
    }

    /// The capabilities that it imports.
    #[must_use]
    pub fn imports(&self) -> &BTreeSet<Capability> {
        &self.imports
    }

    /// Runs one task in a fresh instance.
    pub async fn run_stage(&self, call: StageCall, gates: Gates, limits: &CallLimits) -> StageReport {
        self.run_stage_in(&Instances::none(), call, gates, limits).await
    }

    /// Runs one task in an instance that `instances` kept, or in a fresh one.
    pub async fn run_stage_in(
        &self,
        instances: &Instances,
        call: StageCall,
        gates: Gates,
        limits: &CallLimits,
    ) -> StageReport {
        let job = call.job.clone();
        let task = types::Task {
            job: call.job.to_string(),
            stage: call.stage.to_string(),
            item_key: call.key.to_string(),
            data: call.data.as_str().to_owned(),
            inputs: call.inputs.as_str().to_owned(),
            params: call.params.as_str().to_owned(),
            attempt: call.attempt,
            time_left: u64::try_from(limits.wall_time.as_millis()).unwrap_or(u64::MAX),
        };
        let run: Run<_> = Box::new(move |handler, store| {
            async move { handler.tollgate_handler_stages().call_process_stage(store, &task).await }.boxed()
        });
        let check = |answer: Result<types::Output, types::StageError>| match answer {
            Ok(made) => output(made).map(Ok),
            Err(error) => Ok(Err(stage_error(error))),
        };
        self.parts.call(Some(job), gates, limits, instances, run, check).await
    }

    /// Runs one page of discovery in a fresh instance.
    pub async fn discover(&self, call: DiscoverCall, gates: Gates, limits: &CallLimits) -> DiscoverReport {
        let job = call.job.clone();
        let context = stages::DiscoverContext {
            job: call.job.to_string(),
            params: Value::Object(call.params).to_string(),
            cursor: call.cursor,
        };
        let run: Run<_> = Box::new(move |handler, store| {
            async move { handler.tollgate_handler_stages().call_discover(store, &context).await }.boxed()
        });
        let check = |answer: Result<stages::Discovery, types::StageError>| match answer {
            Ok(found) => {
                let (long, items) = (found.cursor.as_ref().map_or(0, String::len), new_items(found.items)?);
                if long > CURSOR_BYTES_MAX {
                    let text = format!("the cursor has {long} bytes; {CURSOR_BYTES_MAX} is the limit");
                    return Err(CallFailure::Invalid(text));
                }
                Ok(Ok(Discovered { items, cursor: found.cursor }))
            }
            Err(error) => Ok(Err(stage_error(error))),
        };
        self.parts.call(Some(job), gates, limits, &Instances::none(), run, check).await
    }
}

/// One call of an export.
type Run<T> =
    Box<dyn for<'a> FnOnce(&'a v0_1::Handler, &'a mut Store<Guest>) -> BoxFuture<'a, wasmtime::Result<T>> + Send>;

/// Whether an instance has done nothing that speaks against it: what it answered can be used, or says that there was
/// nothing to do.
fn is_good<U>(answer: &Result<Result<U, StageError>, CallFailure>) -> bool {
    matches!(answer, Ok(Ok(_) | Err(StageError::NothingHere(_) | StageError::Reject(_))))
}

impl Parts {
    pub(crate) async fn describe(&self, gates: Gates, limits: &CallLimits) -> Result<stages::HandlerInfo, CallFailure> {
        let run: Run<_> = Box::new(|handler, store| {
            async move { handler.tollgate_handler_stages().call_describe(store).await }.boxed()
        });
        let report = self.call(None, gates, limits, &Instances::none(), run, |info| Ok(Ok(info))).await;
        report.result.and_then(|answer| answer.map_err(|error| CallFailure::Invalid(format!("{error:?}"))))
    }

    /// Makes a call, and checks what it answers.
    async fn call<T, U>(
        &self,
        job: Option<JobName>,
        gates: Gates,
        limits: &CallLimits,
        instances: &Instances,
        run: Run<T>,
        check: impl FnOnce(T) -> Result<Result<U, StageError>, CallFailure>,
    ) -> Report<U> {
        let no_place = |error: tokio::sync::AcquireError| CallFailure::Host(error.to_string());
        let _place = match self.running.places.acquire().await.map_err(no_place) {
            Ok(place) => place,
            Err(failure) => {
                return Report { result: Err(failure), guest_us: 0, memory_peak_bytes: 0 };
            }
        };
        let (mut store, kept, tasks) = match instances.take() {
            Some((mut store, handler, tasks)) => {
                store.data_mut().begin(gates, job, limits);
                (store, Some(handler), tasks)
            }
            None => (Store::new(&self.engine, Guest::new(gates, job, limits)), None, 0),
        };
        let (meter, late) = (Meter::new(), store.data().gates.late.clone());
        set_limits(&mut store, limits, meter.clone());
        let pre = &self.pre;
        let result = {
            let store = &mut store;
            let call = async move {
                let handler = match kept {
                    Some(handler) => handler,
                    None => pre.instantiate_async(&mut *store).await?,
                };
                run(&handler, store).await.map(|answer| (answer, handler))
            };
            let Running { ticker, turns, .. } = &*self.running;
            in_time(Metered::new(call, meter.clone(), ticker, turns), limits, &late).await
        };
        let guest_us = u64::try_from(meter.spent().as_micros()).unwrap_or(u64::MAX);
        let memory_peak_bytes = store.data().memory.peak;
        let result = match result {
            Ok(Ok((answer, handler))) => {
                let reached = store.data().budget.reached().map(|LimitReached(text)| CallFailure::Limit(text.clone()));
                let answer = reached.map_or_else(|| check(answer), Err);
                if is_good(&answer) {
                    instances.keep(store, handler, tasks + 1, limits.memory_bytes);
                }
                answer
            }
            // Whatever went wrong, the instance goes with it.
            Ok(Err(error)) => Err(failure(&error, store.data(), limits)),
            Err(late) => Err(late),
        };
        Report { result, guest_us, memory_peak_bytes }
    }
}

/// The limits of one call: what it may move at once, and how long it may compute.
fn set_limits(store: &mut Store<Guest>, limits: &CallLimits, meter: Arc<Meter>) {
    let limit = limits.guest_time;
    store.limiter(|guest| &mut guest.memory);
    store.set_hostcall_fuel(usize::try_from(host_call_bytes(limits)).unwrap_or(usize::MAX));
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        if meter.spent() > limit {
            return Err(OutOfTime.into());
        }
        // Others come first for a moment: a guest that spins wedges nobody (R08). tokio's own yield, since with
        // any other one its timers and sockets would be looked at but once in 61 polls.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
}

/// Ends a call at its wall-clock limit. Dropping it mid-way is safe (trap 19).
async fn in_time<T>(call: impl Future<Output = T>, limits: &CallLimits, late: &Late) -> Result<T, CallFailure> {
    let mut call = pin!(call);
    tokio::time::timeout(limits.wall_time, call.as_mut()).await.map_err(|_| {
        late.set();
        CallFailure::Timeout(format!("it took longer than {:?}, waits included", limits.wall_time))
    })
}

/// The guest used up its processor time.
#[derive(Debug, thiserror::Error)]
#[error("out of processor time")]
struct OutOfTime;

/// How wasmtime says that one transfer was too large: it has no type for it. A test holds the words.
const FUEL_WORDS: &str = "too much data is being copied";

/// What a trap at the memory's edge mostly is: languages such as Rust and C keep a stack of their own there.
const OWN_STACK: &str = "mostly a guest that recurses too deep for the stack in its memory \
                         (256 KiB as `tollgate build` makes it)";

/// Why a call trapped, in the clearest words that are known.
fn failure(error: &wasmtime::Error, guest: &Guest, limits: &CallLimits) -> CallFailure {
    if error.downcast_ref::<OutOfTime>().is_some() {
        return CallFailure::Timeout(format!("it computed for longer than {:?}", limits.guest_time));
    }
    if let Some(LimitReached(text)) = error.downcast_ref() {
        return CallFailure::Limit(text.clone());
    }
    // A guest that panics at the refusal, or exits, has reached it all the same.
    if let Some(LimitReached(text)) = guest.budget.reached() {
        return CallFailure::Limit(text.clone());
    }
    if let Some(HostFailed(text)) = error.downcast_ref() {
        return CallFailure::Host(text.clone());
    }
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return CallFailure::Host(full.to_string());
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return CallFailure::Limit(format!("it holds {HANDLES_MAX} handles, which is the limit; drop what is read"));
    }
    if error.root_cause().to_string().contains(FUEL_WORDS) {
        let text = format!("it handed over more than {} bytes at once", host_call_bytes(limits));
        return CallFailure::Limit(text);
    }
    if let Some(refused) = &guest.memory.refused {
        return CallFailure::Limit(refused.clone());
    }
    if let Some(panic) = guest.log.panic() {
        return CallFailure::Trap(panic);
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return CallFailure::Trap(format!("it called exit({})", exit.0));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => CallFailure::Limit("its stack is full: it recursed too deep".to_owned()),
        Some(trap @ Trap::MemoryOutOfBounds) => CallFailure::Trap(format!("{trap}; {OWN_STACK}")),
        Some(trap) => CallFailure::Trap(trap.to_string()),
        None => CallFailure::Trap(clean_message(&error.root_cause().to_string())),
    }
}
