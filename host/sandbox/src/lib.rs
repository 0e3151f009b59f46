//! Runs handlers: wasmtime, bindings, capabilities, limits, load checks, compiled-code cache.
