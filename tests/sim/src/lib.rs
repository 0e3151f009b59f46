//! A small internet on loopback: a proxy with its own certificate authority, and the sites behind it.
//!
//! Tests and the demo reach every site through [`Sim::proxy_url`], as they would reach the real internet. Host
//! names exist only inside the sim: a name it doesn't know answers 502. Every request is counted, so a test can
//! hold what the host says it did against what was really asked, and each site also listens "naked" on a port
//! of its own, so that a test can show that nothing went around the proxy.

mod admin;
pub mod answer;
mod authority;
pub mod body;
pub mod counts;
pub mod faults;
pub mod handshake;
pub mod inside;
mod proxy;
pub mod raw;
pub mod real_program;
pub mod real_proxy;
pub mod release;
mod serve;
pub mod sim;
pub mod site;
pub mod sites;
pub mod speech;
mod wire;

pub use answer::Answer;
pub use authority::AuthorityError;
pub use body::AnswerBody;
pub use counts::{Counts, HostCounts, PathCounts};
pub use faults::{Fault, Faults, Faulty};
pub use handshake::Reception;
pub use raw::Raw;
pub use real_proxy::{RealKind, RealProxy};
pub use release::Release;
pub use sim::{Builder, Sim, SimError};
pub use site::{Answering, Request, Scheme, Site, Via};
pub use speech::ProxyKind;
