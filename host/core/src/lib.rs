//! Pure rules of Tollgate: ids, the job specification, the stage graph, task states, outcomes, retry and contracts.
//!
//! Nothing here does I/O, reads a clock or draws a random number: time and chance come in as arguments,
//! so that every rule can be tested by calling it.

pub mod artifact;
pub mod breaker;
pub mod budget;
pub mod calendar;
pub mod circuit;
pub mod condition;
pub mod contract;
pub mod document;
pub mod gcra;
pub mod graph;
pub mod handler;
pub mod http;
pub mod ids;
pub mod item;
pub mod json;
pub mod model;
pub mod money;
pub mod outcome;
pub mod pause;
pub mod retry;
pub mod service;
pub mod spec;
pub mod task;
pub mod time;
pub mod tool;

pub use artifact::{ArtifactRef, Digest};
pub use document::Document;
pub use ids::{ClaimToken, ItemId, ItemKey, JobId, JobName, Lane, StageIx, StageName};
pub use json::JsonObject;
pub use time::{Clock, Timestamp};

/// Whether the system refused because there is no room, on the disk or for this user: no wait helps, a person does.
#[must_use]
pub fn is_disk_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}
