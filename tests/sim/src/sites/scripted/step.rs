//! One answer of a script, written down by a test.

use crate::answer::Answer;
use crate::body::AnswerBody;
use crate::raw::Raw;
use crate::release::Release;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use std::time::Duration;

/// One answer of a script.
#[derive(Clone, Debug)]
pub struct Step {
    end: StepEnd,
    delay: Duration,
    release: Option<Release>,
}

#[derive(Clone, Debug)]
enum StepEnd {
    Respond { status: StatusCode, headers: HeaderMap, body: StepBody },
    HangUp,
    Reset,
    Raw(Raw),
}

#[derive(Clone, Debug)]
enum StepBody {
    Whole(Bytes),
    Endless(Bytes),
    Truncated { bytes: Bytes, promised: u64 },
    ResetAfter(Bytes),
    CutAfter(Bytes),
    Held { first: Bytes, release: Release, rest: Bytes },
    Dripping { chunk: Bytes, every: Duration, times: u32 },
}

impl Step {
    /// A page with status 200.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::status(StatusCode::OK).body(body).header(CONTENT_TYPE, "text/html; charset=utf-8")
    }

    /// A status with an empty body.
    pub fn status(status: StatusCode) -> Self {
        Self::end(StepEnd::Respond { status, headers: HeaderMap::new(), body: StepBody::Whole(Bytes::new()) })
    }

    /// A redirect to `target`.
    pub fn redirect(status: StatusCode, target: impl AsRef<str>) -> Self {
        Self::status(status).header(LOCATION, target)
    }

    /// The connection closes without a byte of answer.
    pub fn hang_up() -> Self {
        Self::end(StepEnd::HangUp)
    }

    /// The connection is reset (TCP RST) without a byte of answer.
    pub fn reset() -> Self {
        Self::end(StepEnd::Reset)
    }

    /// These bytes in place of an answer, whatever they are, and then a close.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::end(StepEnd::Raw(Raw { first: bytes.into(), again: Bytes::new() }))
    }

    /// These bytes in place of an answer, and then the second ones again and again until the client goes away.
    pub fn raw_endless(first: impl Into<Bytes>, again: impl Into<Bytes>) -> Self {
        Self::end(StepEnd::Raw(Raw { first: first.into(), again: again.into() }))
    }

    fn end(end: StepEnd) -> Self {
        Self { end, delay: Duration::ZERO, release: None }
    }

    /// With a header, in place of any of the same name.
    ///
    /// # Panics
    /// When the value can't stand in a header: a mistake in the test that wrote it.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let StepEnd::Respond { headers, .. } = &mut self.end {
            headers.insert(name, header_value(value.as_ref()));
        }
        self
    }

    /// With a header beside others of the same name: a second cookie.
    ///
    /// # Panics
    /// As [`Step::header`].
    #[must_use]
    pub fn add_header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let StepEnd::Respond { headers, .. } = &mut self.end {
            headers.append(name, header_value(value.as_ref()));
        }
        self
    }

    /// With this whole body.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.with_body(StepBody::Whole(body.into()))
    }

    /// With a body that repeats `chunk` and never ends.
    #[must_use]
    pub fn endless(self, chunk: impl Into<Bytes>) -> Self {
        self.with_body(StepBody::Endless(chunk.into()))
    }

    /// With a body that ends before the `promised` bytes that its Content-Length names.
    #[must_use]
    pub fn truncated(self, body: impl Into<Bytes>, promised: u64) -> Self {
        self.with_body(StepBody::Truncated { bytes: body.into(), promised })
    }

    /// With a body that is cut by a TCP reset after these bytes.
    #[must_use]
    pub fn reset_after(self, body: impl Into<Bytes>) -> Self {
        self.with_body(StepBody::ResetAfter(body.into()))
    }

    /// With a chunked body that is closed after these bytes, before its last chunk.
    #[must_use]
    pub fn cut_after(self, body: impl Into<Bytes>) -> Self {
        self.with_body(StepBody::CutAfter(body.into()))
    }

    /// With a body that stops after `first` and goes on with `rest` when the test releases it.
    #[must_use]
    pub fn held(self, first: impl Into<Bytes>, release: &Release, rest: impl Into<Bytes>) -> Self {
        self.with_body(StepBody::Held { first: first.into(), release: release.clone(), rest: rest.into() })
    }

    /// With a body of `times` chunks, each after a pause of `every`.
    #[must_use]
    pub fn dripping(self, chunk: impl Into<Bytes>, every: Duration, times: u32) -> Self {
        self.with_body(StepBody::Dripping { chunk: chunk.into(), every, times })
    }

    fn with_body(mut self, with: StepBody) -> Self {
        if let StepEnd::Respond { body, .. } = &mut self.end {
            *body = with;
        }
        self
    }

    /// After this long: headers and all.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Not before the test releases it (and after the delay, if it has one): headers and all.
    #[must_use]
    pub fn hang_until(mut self, release: &Release) -> Self {
        self.release = Some(release.clone());
        self
    }

    pub(crate) async fn play(self) -> Answer {
        if let Some(release) = &self.release {
            release.released().await;
        }
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let (status, headers, body) = match self.end {
            StepEnd::Respond { status, headers, body } => (status, headers, body),
            StepEnd::HangUp => return Answer::HangUp,
            StepEnd::Reset => return Answer::Reset,
            StepEnd::Raw(raw) => return Answer::Raw(raw),
        };
        let mut response = Response::new(match body {
            StepBody::Whole(bytes) => AnswerBody::whole(bytes),
            StepBody::Endless(chunk) => AnswerBody::endless(chunk),
            StepBody::Truncated { bytes, promised } => AnswerBody::truncated(bytes, promised),
            StepBody::ResetAfter(bytes) => AnswerBody::reset_after(bytes),
            StepBody::CutAfter(bytes) => AnswerBody::cut_after(bytes),
            StepBody::Held { first, release, rest } => AnswerBody::held(first, &release, rest),
            StepBody::Dripping { chunk, every, times } => AnswerBody::dripping(chunk, every, times),
        });
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Answer::Respond(response)
    }
}

fn header_value(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("a script's header value is a valid one")
}
