//! A small internet on loopback: a proxy with its own certificate authority, and the sites behind it.
//!
//! Tests and the demo reach every site through [`Sim::proxy_url`], as they would reach the real internet. Host
//! names exist only inside the sim: a name it doesn't know answers 502. Every request is counted, so a test can
//! hold what the host says it did against what was really asked, and each site also listens "naked" on a port
//! of its own, so that a test can show that nothing went around the proxy.

pub mod answer;
mod admin;
mod authority;
pub mod counts;
mod proxy;
mod serve;
pub mod sim;
pub mod site;
pub mod sites;
mod wire;

pub use answer::{Answer, AnswerBody};
pub use counts::{Counts, HostCounts, PathCounts};
pub use sim::{Builder, Sim, SimError};
pub use site::{Answering, Request, Scheme, Site, Via};
