//! Trap 2 by SIGKILL: the program, a process of its own over a store on disk, is killed at each step of a paid call,
//! again and again, while the small internet lives on and keeps its own bill.
//!
//! A kill waits for what is seen from outside: a page that the handler asks for before or after a call, a tunnel, a
//! request at the provider, half of an answer. Where nothing is seen, a seeded moment passes. Which step it hit is then
//! told by the store that it left and the requests that came. After the last one the job is run to its end, and the
//! ledger is held against the bill.

mod aim;
mod balance;
mod book;
mod campaign;
mod internet;
mod place;
mod step;
mod tap;

pub use balance::Balance;
pub use campaign::{Plan, Report, campaign};
pub use place::Means;
pub use step::{Hits, Step};
