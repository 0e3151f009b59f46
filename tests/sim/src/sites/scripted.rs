//! A site that does, path by path, exactly what a test wrote down.

use crate::answer::{Answer, AnswerBody};
use crate::site::{Answering, Request, Site};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

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
}

#[derive(Clone, Debug)]
enum StepBody {
    Whole(Bytes),
    Endless(Bytes),
    Truncated { bytes: Bytes, promised: u64 },
    ResetAfter(Bytes),
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

    /// A redirect to `target`, which must be a valid header value.
    pub fn redirect(status: StatusCode, target: &'static str) -> Self {
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

    fn end(end: StepEnd) -> Self {
        Self { end, delay: Duration::ZERO, release: None }
    }

    /// With a header. The value must be a valid one (as in [`HeaderValue::from_static`]).
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        if let StepEnd::Respond { headers, .. } = &mut self.end {
            headers.insert(name, HeaderValue::from_static(value));
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

    fn with_body(mut self, with: StepBody) -> Self {
        if let StepEnd::Respond { body, .. } = &mut self.end {
            *body = with;
        }
        self
    }

    /// After this long.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Not before the test releases it (and after the delay, if it has one).
    #[must_use]
    pub fn hang_until(mut self, release: &Release) -> Self {
        self.release = Some(release.clone());
        self
    }

    async fn play(self) -> Answer {
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
        };
        let mut response = Response::new(match body {
            StepBody::Whole(bytes) => AnswerBody::whole(bytes),
            StepBody::Endless(chunk) => AnswerBody::endless(chunk),
            StepBody::Truncated { bytes, promised } => AnswerBody::truncated(bytes, promised),
            StepBody::ResetAfter(bytes) => AnswerBody::reset_after(bytes),
        });
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Answer::Respond(response)
    }
}

/// What holds hanging steps back until a test lets them go. Clones are one and the same.
#[derive(Clone, Debug)]
pub struct Release(Arc<watch::Sender<bool>>);

impl Release {
    /// One that holds.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets go of everything that waits, and of everything that comes later.
    pub fn release(&self) {
        self.0.send_replace(true);
    }

    async fn released(&self) {
        let mut state = self.0.subscribe();
        // It can't fail: `self` holds the sender.
        let _released = state.wait_for(|released| *released).await;
    }
}

impl Default for Release {
    fn default() -> Self {
        Self::new()
    }
}

struct Script {
    steps: Vec<Step>,
    next: usize,
}

/// A site made of scripts. A path plays its steps in order, one a request, and then repeats the last one; any
/// other path answers 404. Paths are compared without their query.
#[derive(Default)]
pub struct Scripted {
    scripts: Mutex<HashMap<String, Script>>,
}

impl Scripted {
    /// A site without paths.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same site with a script for a path.
    #[must_use]
    pub fn path(self, path: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        self.set(path, steps);
        self
    }

    /// Gives a path a new script, also while the sim runs.
    pub fn set(&self, path: &str, steps: impl IntoIterator<Item = Step>) {
        let script = Script { steps: steps.into_iter().collect(), next: 0 };
        self.lock().insert(path.to_owned(), script);
    }

    // Nothing that could panic half-way happens under the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Script>> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, path: &str) -> Option<Step> {
        let mut scripts = self.lock();
        let script = scripts.get_mut(path)?;
        let step = script.steps.get(script.next).or(script.steps.last())?.clone();
        script.next = script.next.saturating_add(1);
        Some(step)
    }
}

impl Site for Scripted {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            match self.step(request.path()) {
                Some(step) => step.play().await,
                None => Answer::text(StatusCode::NOT_FOUND, "no script for this path\n"),
            }
        })
    }

    fn reset(&self) {
        for script in self.lock().values_mut() {
            script.next = 0;
        }
    }
}
