//! Integration tests: the real host and real compiled handlers, against the small internet, as people use them.
//!
//! `cargo xtask test` builds what they need first: the handlers, and the programs `tollgate` and `sim`.
#![expect(clippy::unwrap_used, reason = "a test that can't go on says so by panicking")]

mod architecture;
mod bad_input;
mod clock;
mod crawl;
mod ended;
mod faulty;
mod full_disk;
mod gate;
mod hostile;
mod hostile_artifacts;
#[path = "../lessons/lessons.rs"]
mod lessons;
mod page;
mod paying;
mod program;
mod program_cost;
mod program_recheck;
mod program_retry;
mod program_sessions;
#[cfg(feature = "real-proxies")]
mod real_proxies;
mod routes;
mod wasi_http;
mod world;
