//! The wasmtime engine, as the design sets it up.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use crate::SandboxError;

/// Largest memory that any guest can be given, in bytes: what `guest-memory` may be set to.
pub(crate) const MEMORY_BYTES_MAX: usize = 2 << 30;
/// Memories of one component: a Rust handler has one, Python's and JavaScript's runtimes a few.
pub(crate) const MEMORIES_MAX: u32 = 4;
/// Tables of one component.
pub(crate) const TABLES_MAX: u32 = 32;
/// Elements of all tables of one component: function pointers of a large runtime.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 200_000;
/// Core instances of one component.
pub(crate) const CORE_INSTANCES_MAX: u32 = 64;
/// Bytes that stay mapped between two tasks: what a small handler touches, so that its pages aren't faulted in anew.
const KEEP_RESIDENT: usize = 4 << 20;
/// The same of tables: giving one page back to the system between two tasks interrupts every other core.
const TABLE_KEEP_RESIDENT: usize = 64 << 10;

/// The engine of a host, with room for `instances` guests.
pub(crate) fn engine(instances: u32) -> Result<Engine, SandboxError> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        // As many of each as all guests at their limits take: who has a place finds room, whatever its handler is
        // made of. What isn't used is address space alone.
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(instances.saturating_mul(MEMORIES_MAX))
        .total_tables(instances.saturating_mul(TABLES_MAX))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_memory_size(MEMORY_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        // Trap 20: on 48.x a page scan can show a guest what the last one left.
        .pagemap_scan(Enabled::No);
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        // Threads aren't compiled in (wasmtime's feature of that name).
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        // Native stacks aren't zeroed between tasks: wasm can't read one but through a bug of the compiler, and zeroing
        // costs a tenth of the rate alone and a fifth on two cores (the design's figures).
        .async_stack_zeroing(false);
    Engine::new(&config).map_err(|error| SandboxError::Engine(error.to_string()))
}
