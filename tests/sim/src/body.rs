//! A response's body: whole, or broken in one of the ways in which real servers break them.

use crate::counts::Meter;
use crate::release::Release;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A response's body.
#[derive(Debug)]
pub struct AnswerBody {
    kind: Kind,
    /// Counts bytes as they go, where their number isn't known beforehand.
    meter: Option<Box<Meter>>,
    /// Told once all of it was handed to the connection.
    note: Option<Note>,
}

/// What is done once so many more bytes have gone.
struct Note {
    left: usize,
    act: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Note").field("left", &self.left).finish_non_exhaustive()
    }
}

enum Kind {
    Whole(Bytes),
    Endless(Bytes),
    Broken { bytes: Bytes, promised: Option<u64>, end: End, state: BrokenState },
    Held { first: Bytes, rest: Rest },
    Computed { next: Next, promised: Option<u64> },
    Dripping { chunk: Bytes, every: Duration, left: u32, sleep: Pin<Box<Sleep>> },
}

type Next = Box<dyn FnMut() -> Option<Bytes> + Send>;
type Rest = Pin<Box<dyn Future<Output = Bytes> + Send>>;

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole(_) => "Whole",
            Self::Endless(_) => "Endless",
            Self::Broken { .. } => "Broken",
            Self::Held { .. } => "Held",
            Self::Computed { .. } => "Computed",
            Self::Dripping { .. } => "Dripping",
        })
    }
}

/// How a broken body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Close,
    Reset,
}

#[derive(Debug, PartialEq, Eq)]
enum BrokenState {
    Bytes,
    Flushing,
    End,
}

/// The error inside hyper that ends a connection whose answer was meant to break off.
#[derive(Debug, thiserror::Error)]
#[error("broken off on purpose")]
pub(crate) struct Broken(pub(crate) End);

impl AnswerBody {
    /// All of it, with its length.
    pub fn whole(body: impl Into<Bytes>) -> Self {
        Kind::Whole(body.into()).into()
    }

    /// `chunk` again and again, without a length, until the client goes away. An empty chunk counts as one zero byte.
    pub fn endless(chunk: impl Into<Bytes>) -> Self {
        Kind::Endless(never_empty(chunk.into())).into()
    }

    /// `body`, under a Content-Length of `promised` bytes, then a close. `promised` must exceed the body's length.
    pub fn truncated(body: impl Into<Bytes>, promised: u64) -> Self {
        Self::broken(body.into(), Some(promised), End::Close)
    }

    /// `body`, chunked, then a TCP reset.
    pub fn reset_after(body: impl Into<Bytes>) -> Self {
        Self::broken(body.into(), None, End::Reset)
    }

    /// `body`, chunked, then a close before the last chunk.
    pub fn cut_after(body: impl Into<Bytes>) -> Self {
        Self::broken(body.into(), None, End::Close)
    }

    /// `first` at once, `rest` when the test releases it; without a length.
    pub fn held(first: impl Into<Bytes>, release: &Release, rest: impl Into<Bytes>) -> Self {
        let (release, rest) = (release.clone(), rest.into());
        let rest: Rest = Box::pin(async move {
            release.released().await;
            rest
        });
        Kind::Held { first: first.into(), rest }.into()
    }

    /// `chunk` `times` times, each after a pause of `every`; without a length. An empty chunk counts as one zero byte.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its clock on.
    pub fn dripping(chunk: impl Into<Bytes>, every: Duration, times: u32) -> Self {
        let sleep = Box::pin(tokio::time::sleep(every));
        Kind::Dripping { chunk: never_empty(chunk.into()), every, left: times, sleep }.into()
    }

    /// What `next` gives until it gives nothing, made as the client takes it; with a length where one is promised,
    /// which must be the true one.
    pub fn computed(promised: Option<u64>, next: impl FnMut() -> Option<Bytes> + Send + 'static) -> Self {
        Kind::Computed { next: Box::new(next), promised }.into()
    }

    /// The same body, and `act` once `bytes` of it were handed to the connection; never, where it ends before.
    pub(crate) fn noting(self, bytes: usize, act: impl FnOnce() + Send + 'static) -> Self {
        Self { note: Some(Note { left: bytes, act: Box::new(act) }), ..self }
    }

    fn broken(bytes: Bytes, promised: Option<u64>, end: End) -> Self {
        Kind::Broken { bytes, promised, end, state: BrokenState::Bytes }.into()
    }

    /// The same body, broken off half-way if it is a whole one that can be.
    pub(crate) fn broken_off(self) -> Self {
        match self.kind {
            Kind::Whole(bytes) if !bytes.is_empty() => {
                Self::truncated(bytes.slice(..bytes.len() / 2), bytes.len() as u64)
            }
            kind => Self { kind, ..self },
        }
    }

    fn go(&mut self, bytes: usize) {
        if let Some(mut note) = self.note.take() {
            note.left = note.left.saturating_sub(bytes);
            if note.left == 0 {
                (note.act)();
            } else {
                self.note = Some(note);
            }
        }
    }

    /// How many bytes a whole body has; `None` where that shows only as they go.
    pub(crate) fn known_bytes(&self) -> Option<u64> {
        match &self.kind {
            Kind::Whole(bytes) => Some(bytes.len() as u64),
            _ => None,
        }
    }

    pub(crate) fn metered(self, meter: Meter) -> Self {
        Self { meter: Some(Box::new(meter)), ..self }
    }
}

fn never_empty(chunk: Bytes) -> Bytes {
    if chunk.is_empty() { Bytes::from_static(&[0]) } else { chunk }
}

impl From<Kind> for AnswerBody {
    fn from(kind: Kind) -> Self {
        Self { kind, meter: None, note: None }
    }
}

impl Kind {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Self::Endless(chunk) => Poll::Ready(Some(Ok(chunk.clone()))),
            Self::Broken { bytes, end, state, .. } => match state {
                BrokenState::Bytes if !bytes.is_empty() => {
                    *state = BrokenState::Flushing;
                    Poll::Ready(Some(Ok(std::mem::take(bytes))))
                }
                // Hyper flushes what it has when a body pauses, but not when it fails: without this turn the
                // client would see no byte at all.
                BrokenState::Bytes | BrokenState::Flushing => {
                    *state = BrokenState::End;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                BrokenState::End => Poll::Ready(Some(Err(io::Error::other(Broken(*end))))),
            },
            Self::Held { first, .. } if !first.is_empty() => Poll::Ready(Some(Ok(std::mem::take(first)))),
            Self::Held { rest: waiting, .. } => {
                let rest = ready!(waiting.as_mut().poll(cx));
                // Nothing comes after it.
                *self = Self::Whole(Bytes::new());
                Poll::Ready(Some(Ok(rest)))
            }
            Self::Computed { next, .. } => Poll::Ready(next().map(Ok)),
            Self::Dripping { left: 0, .. } => Poll::Ready(None),
            Self::Dripping { chunk, every, left, sleep } => {
                ready!(sleep.as_mut().poll(cx));
                *left -= 1;
                sleep.as_mut().reset(Instant::now() + *every);
                Poll::Ready(Some(Ok(chunk.clone())))
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = ready!(self.kind.poll(cx));
        if let (Some(Ok(bytes)), Some(meter)) = (&polled, &mut self.meter) {
            meter.add(bytes.len() as u64);
        }
        if let Some(Ok(bytes)) = &polled {
            self.go(bytes.len());
        }
        Poll::Ready(polled.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.kind, Kind::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Broken { promised: Some(promised), .. } | Kind::Computed { promised: Some(promised), .. } => {
                SizeHint::with_exact(*promised)
            }
            _ => SizeHint::default(),
        }
    }
}

/// Whether a connection ended because an answer was to reset it.
pub(crate) fn asks_reset(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<io::Error>()
            && let Some(Broken(end)) = io.get_ref().and_then(|inner| inner.downcast_ref::<Broken>())
        {
            return *end == End::Reset;
        }
        if let Some(Broken(end)) = current.downcast_ref::<Broken>() {
            return *end == End::Reset;
        }
        source = current.source();
    }
    false
}
