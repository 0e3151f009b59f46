//! Models, search and speech as their providers speak: a neutral prompt becomes the request of a provider's format, and
//! the bytes that come back become an answer, a refusal and a count of tokens. [`Models`] asks by them, over what its
//! host gives it (`hosting`): a way out, which is the gate's, and a purse, which is the ledger's.
//!
//! The adapters are our own and no library's: a golden request has to be the exact bytes that are sent, a count that is
//! missing has to be told from 0, and a provider's error bodies, one in the middle of a stream included, have to reach
//! us unchanged. A library that hides any of these, or retries below us, can't stand under a ledger.

pub mod answer;
mod call;
pub mod estimate;
pub mod hosting;
mod models;
mod pace;
pub mod prices;
pub mod prompt;
pub mod read;
pub mod refusal;
pub mod search;
pub mod speech;
#[cfg(test)]
mod testing;
pub mod usage;
pub mod wire;

pub use answer::{Answer, AnswerError, Finish};
pub use call::Calls;
pub use hosting::{PaceMemory, Searches};
pub use models::{LENGTHS_NEEDED, Models, first_call};
pub use pace::{Account, Cooling};
pub use prices::Prices;
pub use prompt::{Document, Media, Prompt, Said, ToolCall, ToolResult, Turn};
pub use read::{Reader, WireError};
pub use refusal::{ProviderError, Reset};
pub use search::Search;
pub use speech::Speech;
pub use usage::Usage;
pub use wire::{RequestError, WireModel, WireRequest};
