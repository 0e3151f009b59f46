//! What the paid services have in common: who may ask, what goes wrong next, and how a billed answer goes out.

use crate::answer::Answer;
use crate::body::AnswerBody;
use crate::sites::bill::{Bill, Billed, RowId, sum};
use crate::sites::models::{ModelFault, Trouble};
use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tollgate_core::money::NanoUsd;

/// The body of a billed answer, broken as a fault has it. `pieces` go out one by one where it is streamed, and as one
/// with its length otherwise. Once all of them have, the row is whole.
pub(crate) fn deliver(
    pieces: Vec<Bytes>,
    is_streamed: bool,
    fault: Option<&ModelFault>,
    bill: &Arc<Bill>,
    row: RowId,
) -> AnswerBody {
    let bytes = pieces.iter().map(Bytes::len).sum();
    let body = match fault {
        Some(ModelFault::Disconnect) => return AnswerBody::cut_after(half(&pieces).0),
        Some(ModelFault::Stall(release)) => {
            let (first, rest) = half(&pieces);
            AnswerBody::held(first, release, rest)
        }
        _ => {
            let promised = (!is_streamed).then_some(bytes as u64);
            let mut pieces = pieces.into_iter();
            AnswerBody::computed(promised, move || pieces.next())
        }
    };
    let bill = bill.clone();
    body.noting(bytes, move || bill.whole(row))
}

/// The body in two: after half of the events, or in the middle of the one piece.
fn half(pieces: &[Bytes]) -> (Bytes, Bytes) {
    let whole = Bytes::from(pieces.concat());
    let at = match pieces {
        [one] => one.len() / 2,
        _ => pieces[..pieces.len() / 2].iter().map(Bytes::len).sum(),
    };
    (whole.slice(..at), whole.slice(at..))
}

/// Where a service that answers in one piece takes its requests, and bills them.
#[derive(Default)]
pub struct Desk {
    /// The keys that are taken; absent, any.
    keys: Option<Vec<String>>,
    next: Mutex<VecDeque<ModelFault>>,
    bill: Arc<Bill>,
}

/// What became of a request that met a fault before it was answered.
pub(crate) enum Met {
    /// It is to be refused so.
    Trouble(Trouble),
    /// That is its answer.
    Answer(Answer),
    /// It is to be answered, perhaps with this.
    Fault(Option<ModelFault>),
}

impl Desk {
    pub(crate) fn set_keys<'a>(&mut self, keys: impl IntoIterator<Item = &'a str>) {
        self.keys = Some(keys.into_iter().map(str::to_owned).collect());
    }

    pub(crate) fn takes(&self, key: &str) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.iter().any(|taken| taken == key))
    }

    // Nothing that could panic half-way happens under the lock.
    fn lock(&self) -> MutexGuard<'_, VecDeque<ModelFault>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong with the next requests, one after the other. `Usage` of a search: no credits are told, or null,
    /// or 0, where the format tells any.
    pub fn next(&self, faults: impl IntoIterator<Item = ModelFault>) {
        self.lock().extend(faults);
    }

    /// What the script has for the next request. An error in a 200 is none of these services' habits: it is a 500.
    pub(crate) async fn met(&self) -> Met {
        let fault = self.lock().pop_front();
        match fault {
            Some(ModelFault::Raw(step)) => Met::Answer(step.play().await),
            Some(ModelFault::ErrorInside) => Met::Trouble(Trouble::Broken),
            Some(fault) => fault.refusal().map_or(Met::Fault(Some(fault)), Met::Trouble),
            None => Met::Fault(None),
        }
    }

    /// Bills a request and sends its answer.
    pub(crate) async fn send(&self, row: Billed, fault: Option<ModelFault>, kind: &'static str, body: Bytes) -> Answer {
        let row = self.bill.push(row);
        match &fault {
            Some(ModelFault::Hold(release)) => release.released().await,
            Some(ModelFault::Lost) => return Answer::HangUp,
            _ => {}
        }
        let mut response = Response::new(deliver(vec![body], false, fault.as_ref(), &self.bill, row));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        Answer::Respond(response)
    }

    /// The same, as JSON.
    pub(crate) async fn send_json(&self, row: Billed, fault: Option<ModelFault>, body: &Value) -> Answer {
        self.send(row, fault, "application/json", body.to_string().into()).await
    }

    /// What was billed, a row for each request that was answered.
    pub fn bill(&self) -> Vec<Billed> {
        self.bill.rows()
    }

    /// What all of it costs.
    pub fn sum(&self) -> NanoUsd {
        sum(&self.bill())
    }

    pub(crate) fn reset(&self) {
        self.lock().clear();
        self.bill.clear();
    }
}
