//! Runs handlers: wasmtime, bindings, capabilities, limits, load checks and the compiled-code cache.
//!
//! What a handler may call is handed in with each task as [`Gates`]; this crate knows no network and no store.

pub mod call;
pub mod gates;
