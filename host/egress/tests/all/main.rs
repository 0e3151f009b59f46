//! The gate against the small internet, without a host around it.
#![expect(clippy::unwrap_used, reason = "a test's helpers panic as its own lines do")]

mod archive;
mod bombs;
mod budgets;
mod denials;
mod endpoints;
mod errors;
mod lies;
mod places;
mod redirects;
mod services;
mod sessions;
mod world;
