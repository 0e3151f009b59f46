//! What a call needs of the host: a way out, a purse, and searches. Traits, since this crate knows neither gate nor
//! store.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use tollgate_core::{
    Digest,
    ledger::{CallEnd, CallId, Cost, NoBudget, Paid},
    outcome::Refusal,
    service::{SearchHit, ServiceError},
    spec::ServiceSpec,
};

use crate::{
    pace::{Account, Cooling},
    wire::KeyHeader,
};

/// A request to a paid service.
#[derive(Debug, Clone)]
pub struct Sending {
    /// Where and how it is asked.
    pub service: Arc<ServiceSpec>,
    /// Below its base address.
    pub path: Cow<'static, str>,
    /// Headers beside the key.
    pub headers: Vec<(&'static str, &'static str)>,
    /// How its key is sent.
    pub key: KeyHeader,
    /// The body with its media type; absent: it only asks.
    pub body: Option<(Bytes, Cow<'static, str>)>,
    /// From when it is asked for, before it waits for its turn, to the end of its answer. Never longer than the
    /// service's own.
    pub time: Duration,
    /// With less than so much of its time left it isn't sent: it would be paid for, and cut off.
    pub time_min: Duration,
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
    /// Sends a request, once: nothing below tries again (trap 6). Answers when status and headers are there. `may_go` is
    /// asked when it has waited for all that stands before it, whether it is sent still: if not, it is
    /// [`SendError::NotSent`].
    fn send<'a>(
        &'a self,
        request: Sending,
        may_go: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> BoxFuture<'a, Result<Box<dyn Answering>, SendError>>;
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

/// Which answers that a task has paid for are taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Those that can't be why an attempt failed: of this attempt, when it ran before and the host ended, of those
    /// before it that only had to wait, and of what a person wants to be taken.
    Safe,
    /// Those of all attempts since the task was opened: the answer is a part of a whole, and it is the rest that was
    /// missing.
    Part,
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallPhase {
    /// It waits for its turn, for a place, or for the host's own work. Nothing was sent.
    Waits,
    /// It is being sent, and its answer received.
    Runs,
}

/// The money of one attempt: what it is held to cost before a call, what it cost after, and what it has paid for
/// already.
pub trait Purse: Send + Sync {
    /// Who asks, such as `job ideas, stage enrich`: answers to one stage are of like length.
    fn asker(&self) -> &str;
    /// An answer to this request that the task has paid for.
    fn kept(&self, request: Digest, which: Kept) -> BoxFuture<'_, Result<Option<String>, String>>;
    /// Takes room for a call. Durable once answered.
    fn reserve(&self, paid: Paid, request: Digest, estimate: Cost) -> BoxFuture<'_, Result<CallId, NotReserved>>;
    /// Settles a call, and keeps its answer. Durable once answered.
    fn settle(&self, call: CallId, end: CallEnd, answer: Option<String>) -> BoxFuture<'_, Result<(), String>>;
    /// What it pays for (`model cheap`) is so far: who asks may be out of time meanwhile. It must not block.
    fn reached(&self, _about: &str, _phase: CallPhase) {}
}

/// Keeps what providers said of waiting over a restart.
pub trait PaceMemory: Send + Sync {
    /// Keeps why an account is left alone. Who can't says so itself.
    fn keep(&self, account: Account, cooling: Cooling) -> BoxFuture<'_, ()>;
}

/// What a model's searches are answered by; each is paid for by itself.
pub trait Searches: Send + Sync {
    /// Searches the web.
    fn search(&self, query: String) -> BoxFuture<'_, Result<Vec<SearchHit>, Refused>>;
}

/// Audio, as it lies in the store. It is large: who has no more use for it lets go of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeechInput {
    /// All of it.
    pub bytes: Bytes,
    /// Its media type, as the site or the handler gave it.
    pub content_type: String,
    /// Its name, such as `talk.m4a`: its ending tells its format where the media type doesn't.
    pub name: String,
    /// How long it is, where that is known.
    pub length: Option<Duration>,
}

/// A piece of audio: a file of its own, of a format that services take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioPiece {
    /// Its size.
    pub bytes: u64,
    /// Its media type.
    pub content_type: String,
    /// Where it begins within the whole.
    pub begin: Duration,
    /// How long it is.
    pub length: Duration,
}

/// Audio that is cut, and waits to be sent.
pub trait AudioPieces: Send + Sync {
    /// The pieces, one after the other.
    fn pieces(&self) -> &[AudioPiece];
    /// What is in one of them: all of them together may be more than memory holds.
    fn read(&self, at: usize) -> BoxFuture<'_, Result<Bytes, CutError>>;
}

/// Why audio can't be cut.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CutError {
    /// It is no audio that can be read.
    #[error("{0}")]
    Audio(String),
    /// Nothing says that the program may run; the text names what to add to jobs.toml.
    #[error("{0}")]
    Denied(String),
    /// There is no place for it now: what the call is refused with.
    #[error("{}", .0.error)]
    NoPlace(Refused),
    /// The program ran and failed, or took too long: it may do better another time, and not without end.
    #[error("{0}")]
    Failed(String),
    /// The program that would cut it can't run now, in words that say what to do.
    #[error("{message}")]
    Tool {
        /// Why.
        message: String,
        /// What that means for the attempt; absent: the stage's own word counts.
        refusal: Option<Refusal>,
    },
}

/// Cuts audio: the host's ffmpeg.
pub trait AudioCutter: Send + Sync {
    /// The whole, in pieces of at most `part`, one after the other; what is no longer than that is one piece. The same
    /// audio is always cut at the same places: what was heard of a piece is found again by where it begins and ends.
    /// `audio` isn't held any longer than the cutting needs it.
    fn cut(&self, audio: SpeechInput, part: Duration) -> BoxFuture<'_, Result<Box<dyn AudioPieces>, CutError>>;
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
