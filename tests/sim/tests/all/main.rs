//! The small internet, asked as a client would ask it.
#![expect(clippy::unwrap_used, reason = "a test's helpers panic as its own lines do")]

mod catalogue;
mod client;
mod counts;
mod faults;
mod folder;
mod ideas;
mod program;
mod proxy;
mod receptions;
mod scripted;
