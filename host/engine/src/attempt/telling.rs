//! The money of one call: the attempt's, and its attempt is told how far the call is.

use std::sync::Arc;

use futures::future::BoxFuture;
use tollgate_core::{
    Digest,
    ledger::{CallEnd, CallId, Cost, Paid},
};
use tollgate_llm::hosting::{CallPhase, Kept, NotReserved, Purse};

use super::Attempt;

pub(super) struct CallPurse {
    purse: Arc<dyn Purse>,
    attempt: Arc<Attempt>,
    /// The call's number among the attempt's.
    call: u64,
}

impl CallPurse {
    pub(super) fn new(purse: Arc<dyn Purse>, attempt: Arc<Attempt>, call: u64) -> Self {
        Self { purse, attempt, call }
    }
}

impl Purse for CallPurse {
    fn asker(&self) -> &str {
        self.purse.asker()
    }

    fn kept(&self, request: Digest, which: Kept) -> BoxFuture<'_, Result<Option<String>, String>> {
        self.purse.kept(request, which)
    }

    fn reserve(&self, paid: Paid, request: Digest, estimate: Cost) -> BoxFuture<'_, Result<CallId, NotReserved>> {
        self.purse.reserve(paid, request, estimate)
    }

    fn settle(&self, call: CallId, end: CallEnd, answer: Option<String>) -> BoxFuture<'_, Result<(), String>> {
        self.purse.settle(call, end, answer)
    }

    fn reached(&self, about: &str, phase: CallPhase) {
        self.attempt.notes().asks(self.call, about, phase);
    }
}
