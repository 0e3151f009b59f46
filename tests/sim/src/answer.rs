//! What a site may answer: whole bodies, and the ways in which real servers break them.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How a site answers.
#[derive(Debug)]
pub enum Answer {
    /// With a response.
    Respond(Response<AnswerBody>),
    /// By closing the connection without a byte.
    HangUp,
    /// By resetting the connection (TCP RST) without a byte.
    Reset,
}

impl Answer {
    /// A response with a whole body. `content_type` must be a valid header value.
    pub fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(AnswerBody::whole(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self::Respond(response)
    }

    /// A page with status 200.
    pub fn html(body: impl Into<Bytes>) -> Self {
        Self::whole(StatusCode::OK, "text/html; charset=utf-8", body)
    }

    /// A short text with a status.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::whole(status, "text/plain; charset=utf-8", body)
    }

    /// A redirect. A target that can't stand in a header is the site's mistake and answers 500.
    pub fn redirect(status: StatusCode, target: &str) -> Self {
        match HeaderValue::from_str(target) {
            Ok(target) => Self::text(status, "moved\n").with(LOCATION, target),
            Err(_) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, "redirect target is not a header value\n"),
        }
    }

    /// The same answer with a header set.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if let Self::Respond(response) = &mut self {
            response.headers_mut().insert(name, value);
        }
        self
    }
}

/// A response's body.
#[derive(Debug)]
pub struct AnswerBody(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Bytes),
    Endless(Bytes),
    Broken { bytes: Bytes, promised: Option<u64>, end: End, state: BrokenState },
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

/// The error inside hyper that ends a connection whose body was meant to reset it.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) End);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken off on purpose")
    }
}

impl std::error::Error for Broken {}

impl AnswerBody {
    /// All of it, with its length.
    pub fn whole(body: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(body.into()))
    }

    /// `chunk` again and again, without a length, until the client goes away. An empty chunk counts as one zero byte.
    pub fn endless(chunk: impl Into<Bytes>) -> Self {
        let chunk = chunk.into();
        Self(Kind::Endless(if chunk.is_empty() { Bytes::from_static(&[0]) } else { chunk }))
    }

    /// `body`, under a Content-Length of `promised` bytes, then a close. `promised` must exceed the body's length.
    pub fn truncated(body: impl Into<Bytes>, promised: u64) -> Self {
        Self::broken(body.into(), Some(promised), End::Close)
    }

    /// `body`, chunked, then a TCP reset.
    pub fn reset_after(body: impl Into<Bytes>) -> Self {
        Self::broken(body.into(), None, End::Reset)
    }

    fn broken(bytes: Bytes, promised: Option<u64>, end: End) -> Self {
        Self(Kind::Broken { bytes, promised, end, state: BrokenState::Bytes })
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Endless(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk.clone())))),
            Kind::Broken { bytes, end, state, .. } => match state {
                BrokenState::Bytes if !bytes.is_empty() => {
                    *state = BrokenState::Flushing;
                    Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
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
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Broken { promised: Some(promised), .. } => SizeHint::with_exact(*promised),
            Kind::Endless(_) | Kind::Broken { .. } => SizeHint::default(),
        }
    }
}

/// Whether a connection ended because a body was to reset it.
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
