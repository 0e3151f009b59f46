//! The dispatcher: lanes, executors, discovery, retries, pauses and a graceful stop.
//!
//! Data flows one way: the [`Plan`] says what may run, the dispatcher owns the lanes and takes events, executors run
//! one task each and settle it in the store. Nothing polls: work is picked up by event or at its due time.

mod attempt;
pub mod clock;
mod configuration;
mod content_check;
mod digest;
mod discovery;
mod dispatcher;
mod error;
mod executor;
mod explain;
mod heartbeat;
mod model_check;
pub mod operations;
mod plan;
mod pricing;
mod recheck;
mod services;
mod sites;
mod supervise;

pub use configuration::{Configuration, ConfigurationStatus};
pub use content_check::{CheckAnswer, CheckError, CheckRequest, ContentCheck};
pub use dispatcher::{Dispatcher, Progress, RunMode};
pub use error::EngineError;
pub use explain::explain;
pub use heartbeat::{HEARTBEAT_FILE, Heartbeat, HeartbeatWriter, Liveness};
pub use operations::{Operations, RunEnded};
pub use plan::{CheckPlan, CheckedJob, JobPlan, Plan, PlanError, StagePlan, check};
pub use pricing::{BoundedBy, PricedModel, Refused, priced_models};
pub use recheck::RecheckedPart;
pub use services::{ServiceCooling, Services};
pub use sites::gate_options;
pub use tollgate_egress::{SessionError, SessionSource, SessionStatus, SessionTest};
pub use tollgate_llm::LENGTHS_NEEDED;
