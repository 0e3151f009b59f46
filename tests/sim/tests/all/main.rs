//! The small internet, asked as a client would ask it.
#![expect(clippy::unwrap_used, reason = "a test's helpers panic as its own lines do")]

mod anthropic;
mod catalogue;
mod client;
mod counts;
mod faults;
mod folder;
mod gemini;
mod ideas;
mod models;
mod openai;
mod program;
mod proxy;
mod receptions;
mod scripted;
mod search;
mod service;
mod transcription;
mod video;
