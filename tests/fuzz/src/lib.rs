//! Fuzz targets: what each does with one input. `cargo xtask soak fuzz` has libFuzzer make the inputs.
#![expect(clippy::unwrap_used, reason = "a target that can't go on is a finding")]

mod handler_outputs;
mod http_responses;
mod jobs_toml;
mod stored_rows;
#[cfg(test)]
mod tests;

pub use handler_outputs::HandlerOutputs;
pub use http_responses::HttpResponses;
pub use jobs_toml::JobsToml;
pub use stored_rows::{StoredRows, stored_row_seeds};

/// What inputs are tried on. Made once, for any number of inputs.
pub trait Target {
    /// Sets up what an input needs.
    fn new() -> Self;

    /// Tries one input. Panics where the host doesn't keep its word; what it refuses is well.
    fn run(&self, input: &[u8]);
}
