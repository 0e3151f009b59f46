//! The bare loop that tasks are measured against: wasmtime as the sandbox sets it up, a fresh instance, one call, and
//! nothing else.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

wasmtime::component::bindgen!({ path: "../../wit/0.1.0", world: "handler" });

/// How long each number of threads is measured.
const TIME: Duration = Duration::from_secs(2);
/// As the sandbox has it.
const KEEP_RESIDENT: usize = 4 << 20;

struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Calls a second of the better of one thread and two.
pub(crate) fn calls_per_second(component: &Path) -> Result<f64> {
    let loops = Loops::new(component).map_err(|error| anyhow!("the bare loop: {error:#}"))?;
    loops.measure(1)?;
    let (one, two) = (loops.measure(1)?, loops.measure(2)?);
    eprintln!("bare loop: {one:.0} calls/s on one thread, {two:.0} on two");
    Ok(one.max(two))
}

struct Loops {
    engine: Engine,
    handler: HandlerPre<Guest>,
}

impl Loops {
    fn new(component: &Path) -> wasmtime::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.max_memory_size(2 << 30)
            .linear_memory_keep_resident(KEEP_RESIDENT)
            .table_keep_resident(64 << 10)
            .pagemap_scan(Enabled::No);
        let mut config = Config::new();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            .memory_init_cow(true)
            .epoch_interruption(true)
            .concurrency_support(false)
            .wasm_relaxed_simd(false)
            .wasm_memory64(false);
        let engine = Engine::new(&config)?;
        let component = Component::from_file(&engine, component)?;
        let mut linker = Linker::<Guest>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        linker.define_unknown_imports_as_traps(&component)?;
        let handler = HandlerPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, handler })
    }

    /// Calls a second of so many threads together.
    fn measure(&self, threads: usize) -> Result<f64> {
        let begun = Instant::now();
        let count = || -> wasmtime::Result<u64> {
            let mut calls = 0;
            while begun.elapsed() < TIME {
                self.call(calls)?;
                calls += 1;
            }
            Ok(calls)
        };
        let calls: Vec<_> = thread::scope(|scope| {
            let all: Vec<_> = (0..threads).map(|_| scope.spawn(count)).collect();
            all.into_iter().map(|one| one.join()).collect()
        });
        let mut sum = 0;
        for one in calls {
            sum += one.map_err(|_| anyhow!("the bare loop panicked"))?.map_err(|error| anyhow!("{error:#}"))?;
        }
        Ok(sum as f64 / begun.elapsed().as_secs_f64())
    }

    fn call(&self, number: u64) -> wasmtime::Result<()> {
        let guest = Guest { wasi: WasiCtxBuilder::new().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, guest);
        store.set_epoch_deadline(u64::MAX / 2);
        let handler = self.handler.instantiate(&mut store)?;
        let task = exports::tollgate::handler::stages::Task {
            job: "test".to_owned(),
            stage: "one".to_owned(),
            item_key: format!("item-{number}"),
            data: format!("{{\"number\": {number}}}"),
            inputs: "{}".to_owned(),
            params: "{}".to_owned(),
            attempt: 1,
            time_left: 300_000,
        };
        let made = handler.tollgate_handler_stages().call_process_stage(&mut store, &task)?;
        std::hint::black_box(made.map_err(|error| wasmtime::Error::msg(format!("{error:?}")))?);
        Ok(())
    }
}

/// Where the handler lies that `cargo xtask build-handlers` made.
pub(crate) fn component(name: &str) -> Result<std::path::PathBuf> {
    let file = crate::world::test_handlers()?.join(format!("{name}.wasm"));
    file.is_file().then_some(file).with_context(|| format!("{name}.wasm isn't built; run `cargo xtask bench`"))
}
