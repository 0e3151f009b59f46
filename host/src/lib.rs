//! The embeddable host: queue, gate, sandbox and engine, wired together.
//!
//! ```no_run
//! # async fn run() -> Result<(), tollgate::HostError> {
//! let host = tollgate::Host::builder("jobs.toml").until_idle().start().await?;
//! println!("the overview is at http://{}/", host.listen());
//! host.wait().await?;
//! # Ok(())
//! # }
//! ```

mod check;
mod error;
mod host;
mod program;
mod watching;

pub use check::{CheckReport, check};
pub use error::HostError;
pub use host::{Host, HostBuilder};
pub use program::Tollgate;
pub use tollgate_engine::{
    CheckAnswer, CheckError, CheckRequest, ConfigurationStatus, ContentCheck, Operations, Progress, RunEnded,
};
