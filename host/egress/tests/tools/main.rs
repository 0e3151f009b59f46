//! Tools through the gate: programs of a temporary folder, and the stand-in for yt-dlp.
#![expect(clippy::unwrap_used, reason = "a test's helpers panic as its own lines do")]

mod budgets;
mod limits;
mod policy;
mod redirects;
mod rules;
mod sessions;
mod world;
