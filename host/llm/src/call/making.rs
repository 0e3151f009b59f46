//! One call that has its turn: reserved, sent once, read to its end, billed and settled, whatever comes of it.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt as _;
use tollgate_core::{
    Timestamp,
    ledger::{CallEnd, Cost, How, Units},
    model::Tokens,
    money::NanoUsd,
    outcome::Refusal,
    service::ServiceError,
};

use super::{
    Bill, Calls, Ended, Exchange, Payee, Request,
    unanswered::{Came, Unanswered, consequence, no_answer, not_reserved, too_late, transport, waits},
};
use crate::{
    ProviderError, WireError,
    hosting::{Answering, CallPhase, Purse, Sending},
    pace::{COOL_DOWN_MIN, Cooling, Turn, Waits},
    refusal::Billing,
};

/// Bytes of a body that says why there is no answer.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// A call that has its turn.
pub(super) struct Making<E> {
    pub(super) calls: Arc<Calls>,
    pub(super) payee: Arc<Payee>,
    pub(super) purse: Arc<dyn Purse>,
    pub(super) exchange: E,
}

/// What a request came to: for the ledger, to be kept, and for who asked.
struct Made<A> {
    end: CallEnd,
    /// Nothing of it has left the host.
    is_unsent: bool,
    kept: Option<String>,
    result: Result<Ended<A>, Unanswered>,
}

impl<E: Exchange> Making<E> {
    /// Reserves, sends and settles it.
    pub(super) async fn make(
        mut self,
        request: Request,
        mut turn: Turn,
        began: Timestamp,
    ) -> Result<Ended<E::Answer>, Unanswered> {
        let Request { mut sending, digest, estimate, .. } = request;
        let reserved = self.purse.reserve(self.payee.paid.clone(), digest, estimate).await;
        let call = reserved.map_err(|refused| not_reserved(refused, self.calls.clock.now()))?;
        if let Err(refused) = self.may_still_go(&mut sending, began) {
            drop(turn);
            let settled = self.purse.settle(call, nothing(self.calls.clock.now()), None).await;
            settled.map_err(|error| Unanswered::free(ServiceError::Storage(error), None))?;
            return Err(refused);
        }
        turn.sent();
        // What panics while an answer is read has been paid for: else it would hold its room until the next start (trap
        // 2).
        let made = AssertUnwindSafe(self.send(sending, estimate)).catch_unwind().await;
        let Made { end, is_unsent, kept, result } = match made {
            Ok(made) => made,
            Err(panic) => {
                let lost = CallEnd::lost(estimate, self.calls.clock.now());
                if let Err(error) = self.purse.settle(call, lost, None).await {
                    tracing::error!(call = call.0, error, "a call whose answer can't be read can't be settled either");
                }
                resume_unwind(panic)
            }
        };
        match end.how {
            _ if is_unsent => turn.not_sent(),
            How::Refused => turn.used(0),
            How::Answered if !end.is_estimate => turn.used(end.tokens.sent().saturating_add(end.tokens.output)),
            How::Answered | How::Lost | How::Cancelled => {}
        }
        drop(turn);
        // An answer that can't be kept isn't given out: the task would pay for it again.
        let settled = self.purse.settle(call, end, kept).await;
        settled.map_err(|error| Unanswered::maybe_paid(ServiceError::Storage(error), None))?;
        result
    }

    /// Whether what held when the call began still does, and what is left of its time.
    fn may_still_go(&self, sending: &mut Sending, began: Timestamp) -> Result<(), Unanswered> {
        let now = self.calls.clock.now();
        // Who was refused while this one waited for the ledger was refused for all (trap 9).
        let checked = self.calls.paces.check(&self.payee.account);
        checked.map_err(|stands| waits(&self.payee.about(), &self.payee.section(), stands, now))?;
        let whole = sending.time;
        sending.time = whole.saturating_sub(now.since(began));
        let has_time = sending.time >= sending.time_min && !sending.time.is_zero();
        if has_time { Ok(()) } else { Err(too_late(&self.payee.about(), whole)) }
    }

    /// Sends the request, and reads and bills what comes of it.
    async fn send(&mut self, sending: Sending, estimate: Cost) -> Made<E::Answer> {
        let came = self.exchange(sending).await;
        let at = self.calls.clock.now();
        let none = |end, unanswered| Made { end, is_unsent: false, kept: None, result: Err(unanswered) };
        match came {
            Ok(answer) => {
                let (end, kept) = (self.end_of(&answer, estimate, at), serde_json::to_string(&answer));
                let cost = end.cost;
                match kept {
                    Ok(kept) => Made { end, is_unsent: false, kept: Some(kept), result: Ok(Ended { answer, cost }) },
                    Err(error) => none(end, Unanswered::maybe_paid(ServiceError::Other(error.to_string()), None)),
                }
            }
            Err(Came::NotSent(unanswered)) => Made { is_unsent: true, ..none(nothing(at), unanswered) },
            Err(Came::Nothing(unanswered)) => none(nothing(at), unanswered),
            Err(Came::Part(unanswered)) => {
                let most = match (estimate, self.exchange.cost_of_part()) {
                    (Cost::Known(held), Cost::Known(came)) => Cost::Known(held.max(came)),
                    (held, _) => held,
                };
                none(CallEnd::lost(most, at), unanswered)
            }
        }
    }

    fn end_of(&self, answer: &E::Answer, estimate: Cost, at: Timestamp) -> CallEnd {
        let Bill { cost, is_estimate, tokens, units, provider_request } = self.exchange.bill(answer, estimate);
        if is_estimate {
            let about = self.payee.about();
            tracing::warn!(about, "an answer whose cost its provider doesn't tell is settled at an estimate");
        }
        CallEnd { at, how: How::Answered, cost, is_estimate, tokens, units, provider_request }
    }

    async fn exchange(&mut self, sending: Sending) -> Result<E::Answer, Came> {
        let about = self.payee.about();
        // Who was refused while this one waited for a place was refused for all, too (trap 9).
        let held_back = OnceLock::new();
        let may_go = || match self.calls.paces.check(&self.payee.account) {
            Ok(()) => {
                self.purse.reached(&about, CallPhase::Runs);
                true
            }
            Err(stands) => {
                held_back.get_or_init(|| stands);
                false
            }
        };
        let coming = self.calls.transport.send(sending, &may_go).await;
        if let Some(stands) = held_back.into_inner() {
            return Err(Came::NotSent(waits(&about, &self.payee.section(), stands, self.calls.clock.now())));
        }
        let mut coming = coming.map_err(|error| no_answer(error, &about))?;
        let status = coming.status();
        if status != 200 {
            let said = read_refusal(&mut *coming).await;
            let headers: Vec<(&str, &str)> =
                coming.headers().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let error = self.exchange.refusal(status, &headers, &said, self.calls.clock.now());
            let billing = Billing::of_answer(status, &error);
            return Err(self.refused(error, billing).await);
        }
        let wrong = loop {
            match coming.chunk().await {
                Ok(Some(bytes)) => match self.exchange.feed(&bytes) {
                    Ok(()) => {}
                    Err(wrong) => break wrong,
                },
                Ok(None) => match self.exchange.end() {
                    Ok(answer) => return Ok(answer),
                    Err(wrong) => break wrong,
                },
                // Its status was there: whatever is said of it, the request was sent.
                Err(error) => return Err(no_answer(error, &about).after_status()),
            }
        };
        match wrong {
            // In the middle of an answer, what it made so far may be billed.
            WireError::Provider(error) => {
                let billing = if self.exchange.has_begun() { Billing::Perhaps } else { Billing::of_error(&error) };
                Err(self.refused(error, billing).await)
            }
            wrong => Err(Came::Part(transport(&about, format!("{about}: {wrong}")))),
        }
    }

    /// What follows from a provider's refusal.
    async fn refused(&self, error: ProviderError, billing: Billing) -> Came {
        let (now, about) = (self.calls.clock.now(), self.payee.about());
        let message = format!("{about}: {error}");
        let follows = consequence(&error, now);
        let after = match follows.cool {
            Some(after) => Some(self.cool(&message, after, follows.is_terminal).await),
            None => None,
        };
        let refusal = follows.kind.map(|kind| Refusal { kind, about, message: message.clone(), after });
        let error = match error {
            ProviderError::RateLimited { .. } => ServiceError::RateLimited { after },
            ProviderError::Overloaded { .. } | ProviderError::Server(_) => ServiceError::Unavailable(message),
            ProviderError::Terminal { .. } => ServiceError::Budget(message),
            ProviderError::Auth(_) | ProviderError::ModelUnknown(_) => ServiceError::Denied(message),
            ProviderError::Refused(why) => ServiceError::Refused(why),
            ProviderError::InvalidRequest(why) | ProviderError::TooLarge(why) => ServiceError::InvalidRequest(why),
        };
        match billing {
            Billing::Nothing => Came::Nothing(Unanswered::free(error, refusal)),
            Billing::Perhaps => Came::Part(Unanswered::maybe_paid(error, refusal)),
        }
    }

    /// Leaves the account alone, for everyone. Answers for how long.
    async fn cool(&self, reason: &str, after: Duration, is_terminal: bool) -> Duration {
        let (now, account) = (self.calls.clock.now(), &self.payee.account);
        let cooling = Cooling { until: now.after(after.max(COOL_DOWN_MIN)), reason: reason.to_owned(), is_terminal };
        if let Some(cooling) = self.calls.paces.cool(account, cooling) {
            tracing::warn!(about = self.payee.about(), reason, seconds = after.as_secs(), "a service is left alone");
            self.calls.memory.keep(account.clone(), cooling).await;
        }
        self.calls.paces.check(account).err().map_or(after, |stands| match stands {
            Waits::Cools(cooling) => cooling.until.since(now),
            Waits::Used(_, after) => after,
        })
    }
}

/// The end of a call that its provider refused, or that wasn't sent.
fn nothing(at: Timestamp) -> CallEnd {
    let (cost, tokens, units) = (Cost::Known(NanoUsd::ZERO), Tokens::default(), Units::default());
    CallEnd { at, how: How::Refused, cost, is_estimate: false, tokens, units, provider_request: None }
}

/// Why it was refused, as far as that can be read.
async fn read_refusal(coming: &mut dyn Answering) -> Vec<u8> {
    let mut said = Vec::new();
    while said.len() < REFUSAL_BYTES_MAX {
        match coming.chunk().await {
            Ok(Some(bytes)) => said.extend_from_slice(&bytes),
            // The status says enough.
            Ok(None) | Err(_) => break,
        }
    }
    said.truncate(REFUSAL_BYTES_MAX);
    said
}
