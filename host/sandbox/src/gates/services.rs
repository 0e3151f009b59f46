//! Gates of paid services: models, search, speech.

use futures::future::BoxFuture;
use tollgate_core::service::{Completion, ModelCall, SearchHit, ServiceError, SpeechCall, Transcript};

/// Language models.
pub trait ModelGate: Send + Sync {
    /// Asks one, and waits for the whole answer.
    fn complete(&self, call: ModelCall) -> BoxFuture<'_, Result<Completion, ServiceError>>;
}

/// Web search.
pub trait SearchGate: Send + Sync {
    /// At most `limit` pages.
    fn web(&self, query: String, limit: u32) -> BoxFuture<'_, Result<Vec<SearchHit>, ServiceError>>;
}

/// Speech to text.
pub trait SpeechGate: Send + Sync {
    /// Writes an artifact of the item down.
    fn transcribe(&self, call: SpeechCall) -> BoxFuture<'_, Result<Transcript, ServiceError>>;
}
