//! What a call needs of the host: a way out, a purse, and searches. Traits, since this crate knows neither gate nor store.

use bytes::Bytes;
use futures::future::BoxFuture;
use tollgate_core::{
    Digest,
    ledger::{CallEnd, CallId, Cost, NoBudget, Paid},
    outcome::Refusal,
    service::ServiceError,
    spec::ServiceSpec,
};

use crate::wire::KeyHeader;

/// A request to a paid service.
#[derive(Debug, Clone)]
pub struct Sending {
    /// Where and how it is asked.
    pub service: ServiceSpec,
    /// Below its base address.
    pub path: String,
    /// Headers beside the key.
    pub headers: Vec<(String, String)>,
    /// How its key is sent.
    pub key: KeyHeader,
    /// The body with its media type; absent: it only asks.
    pub body: Option<(Bytes, String)>,
    /// From its start to the end of its answer. Never longer than the service's own.
    pub time: std::time::Duration,
    /// Most bytes of the answer.
    pub body_max: u64,
}

/// Why there is no whole answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// Nothing was sent, and nothing is billed.
    #[error("{message}")]
    NotSent {
        /// Why.
        message: String,
        /// What the gate says that it means for the attempt; absent: the request itself is at fault.
        refusal: Option<Refusal>,
    },
    /// It was sent, and what came of it is lost. It may be billed.
    #[error("{0}")]
    Lost(String),
    /// It was sent, and not answered in time. It may be billed.
    #[error("{0}")]
    Late(String),
}

/// The only way out.
pub trait Transport: Send + Sync {
    /// Sends a request, once: nothing below tries again (trap 6). Answers when status and headers are there.
    fn send(&self, request: Sending) -> BoxFuture<'_, Result<Box<dyn Answering>, SendError>>;
}

/// An answer whose body is on its way.
pub trait Answering: Send {
    /// Its status.
    fn status(&self) -> u16;
    /// Its headers.
    fn headers(&self) -> &[(String, String)];
    /// The next bytes of the body; absent: it is whole.
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, SendError>>;
}

/// Why nothing is reserved.
#[derive(Debug, Clone)]
pub enum NotReserved {
    /// A budget has no room for the call. In words, and why.
    Budget(String, Box<NoBudget>),
    /// The ledger can't be written: no call is made (trap 3).
    Storage(String),
}

/// The money of one attempt: what it is held to cost before a call, what it cost after, and what it has paid for already.
pub trait Purse: Send + Sync {
    /// An answer to this request that the task has paid for.
    fn kept(&self, request: Digest) -> BoxFuture<'_, Result<Option<String>, String>>;
    /// Takes room for a call. Durable once answered.
    fn reserve(&self, paid: Paid, request: Digest, estimate: Cost) -> BoxFuture<'_, Result<CallId, NotReserved>>;
    /// Settles a call, and keeps its answer. Durable once answered.
    fn settle(&self, call: CallId, end: CallEnd, answer: Option<String>) -> BoxFuture<'_, Result<(), String>>;
}

/// Why a call gave nothing: what its handler is told, and what its attempt is judged by.
#[derive(Debug, Clone)]
pub struct Refused {
    /// For the handler.
    pub error: ServiceError,
    /// For the attempt; absent: the stage's own word counts.
    pub refusal: Option<Refusal>,
}

impl Refused {
    pub(crate) fn plain(error: ServiceError) -> Self {
        Self { error, refusal: None }
    }
}
