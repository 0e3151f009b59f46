//! The sandbox with real handlers, and with hostile ones written in wasm text.
#![expect(clippy::unwrap_used, reason = "a test that can't go on says where")]

mod calls;
mod gates;
mod guests;
mod hostile;
mod jobs;
mod loading;
