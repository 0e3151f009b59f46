//! One request to a model: reserved, sent once, read to its end, settled, its answer kept. It runs in a task of its own, so
//! that a guest which is dropped meanwhile leaves no call unsettled and no answer unkept (traps 2 and 7).

use std::{sync::Arc, time::Duration};

use tollgate_core::{
    Digest, Timestamp,
    calendar::Zone,
    ledger::{CallEnd, Cost, How, NoBudget, NoRoom, Paid, PaidKind, Units},
    model::Tokens,
    money::NanoUsd,
    outcome::{Refusal, RefusalKind},
    service::ServiceError,
};

use crate::{
    Answer, Prompt, ProviderError, Reader, Reset, WireError, WireRequest,
    hosting::{Answering, NotReserved, Purse, SendError, Sending},
    models::{Model, Models, Unanswered, waits},
    pace::{COOL_DOWN_MIN, Cooling},
    read::ANSWER_BYTES_MAX,
    refusal, wire,
};

/// How long an account is left alone that was refused without a word of how long.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// How long a refusal holds that only a person can end, unless the host is started again: then it is asked once more.
const TERMINAL_WAIT: Duration = Duration::from_hours(24);
/// How long who finds no room waits for what calls under way hold.
const HELD_WAIT: Duration = Duration::from_secs(5);
/// Bytes of a body that says why there is no answer.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// Bytes of what surrounds an answer's text on the wire, at the most so many times as much.
const WIRE_SHARE: u64 = 16;

/// An answer, and what it cost.
pub(crate) struct Ended {
    pub(crate) answer: Answer,
    pub(crate) cost: Cost,
}

/// Asks once. An answer that the task has paid for is taken as it was.
pub(crate) async fn run(
    models: &Arc<Models>,
    model: &Arc<Model>,
    prompt: &Prompt,
    time: Duration,
    purse: &Arc<dyn Purse>,
) -> Result<Ended, Unanswered> {
    let wire = wire::request(&model.wire, prompt);
    let wire = wire.map_err(|error| Unanswered::free(ServiceError::InvalidRequest(error.to_string()), None))?;
    let request = digest(model, &wire);
    let storage = |error: String| Unanswered::free(ServiceError::Storage(error), None);
    if let Some(kept) = purse.kept(request).await.map_err(storage)? {
        let answer: Answer = serde_json::from_str(&kept).map_err(|error| storage(error.to_string()))?;
        let cost = model.cost(&answer.usage.tokens.unwrap_or_default());
        return Ok(Ended { answer, cost });
    }
    let (tokens, estimate) = model.estimate(prompt);
    let alias = &model.spec.alias;
    let all = tokens.sent().saturating_add(tokens.output);
    let entered = models.paces.enter(&model.account, model.allowed(), all).await;
    entered.map_err(|stands| waits(alias, stands, models.clock.now()))?;
    let paid = Paid {
        kind: PaidKind::Model,
        provider: model.provider.clone(),
        alias: alias.clone(),
        model: model.spec.name.clone(),
    };
    let reserving = Reserving { models: models.clone(), model: model.clone(), purse: purse.clone(), estimate };
    let making = tokio::spawn(async move { reserving.make(paid, request, wire, time).await });
    match making.await {
        Ok(made) => made,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Unanswered::maybe_paid(ServiceError::Other(error.to_string()), None)),
    }
}

/// What the answer depends on: who is asked, and every byte of what.
fn digest(model: &Model, wire: &WireRequest) -> Digest {
    let asked = format!("{}\n{}\n{}", model.spec.service.url, wire.path, wire.body.as_str());
    Digest::of(asked.as_bytes())
}

struct Reserving {
    models: Arc<Models>,
    model: Arc<Model>,
    purse: Arc<dyn Purse>,
    estimate: Cost,
}

impl Reserving {
    async fn make(self, paid: Paid, request: Digest, wire: WireRequest, time: Duration) -> Result<Ended, Unanswered> {
        let reserved = self.purse.reserve(paid, request, self.estimate).await;
        let call = reserved.map_err(|refused| not_reserved(refused, self.models.clock.now()))?;
        let came = self.exchange(wire, time).await;
        let at = self.models.clock.now();
        let (end, answer, result) = match came {
            Ok(answer) => {
                let (end, cost) = self.end_of(&answer, at);
                let kept = serde_json::to_string(&answer);
                let kept =
                    kept.map_err(|error| Unanswered::maybe_paid(ServiceError::Other(error.to_string()), None))?;
                self.model.made(answer.usage.tokens.unwrap_or_default().output);
                (end, Some(kept), Ok(Ended { answer, cost }))
            }
            Err(Came::Nothing(unanswered)) => (nothing(How::Refused, at), None, Err(unanswered)),
            Err(Came::Part(unanswered)) => (CallEnd::lost(self.estimate, at), None, Err(unanswered)),
        };
        // An answer that can't be kept isn't given out: the task would pay for it again.
        let settled = self.purse.settle(call, end, answer).await;
        settled.map_err(|error| Unanswered::maybe_paid(ServiceError::Storage(error), None))?;
        result
    }

    /// What an answer came to, by its provider's own count, or by what it was held to cost where that can't be told.
    fn end_of(&self, answer: &Answer, at: Timestamp) -> (CallEnd, Cost) {
        let tokens = answer.usage.tokens.unwrap_or_default();
        let is_estimate = !answer.usage.is_whole();
        if is_estimate {
            tracing::warn!(model = self.model.spec.alias, doubts = ?answer.usage.doubts, "an answer whose tokens can't be told is settled at its estimate");
        }
        let counted = self.model.cost(&tokens);
        let cost = match (is_estimate, counted, self.estimate) {
            (true, Cost::Known(counted), Cost::Known(estimate)) => Cost::Known(counted.max(estimate)),
            _ => counted,
        };
        let provider_request = Some(answer.request_id.clone()).filter(|id| !id.is_empty());
        let units = Units::default();
        (CallEnd { at, how: How::Answered, cost, is_estimate, tokens, units, provider_request }, cost)
    }

    async fn exchange(&self, wire: WireRequest, time: Duration) -> Result<Answer, Came> {
        let headers = wire.headers.iter().filter(|(name, _)| *name != "content-type");
        let sending = Sending {
            service: self.model.spec.service.clone(),
            path: wire.path,
            headers: headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            key: wire.key,
            body: Some((wire.body.as_str().to_owned().into(), "application/json".to_owned())),
            time,
            body_max: ANSWER_BYTES_MAX as u64 * WIRE_SHARE,
        };
        let about = format!("model {}", self.model.spec.alias);
        let mut coming = self.models.transport.send(sending).await.map_err(|error| not_sent(error, &about))?;
        if coming.status() != 200 {
            let said = read_refusal(&mut *coming).await;
            let headers: Vec<(&str, &str)> =
                coming.headers().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let now = self.models.clock.now();
            let error = refusal::read(self.model.spec.dialect, coming.status(), &headers, &said, now);
            return Err(Came::Nothing(self.refused(error, true).await));
        }
        let mut reader = Reader::new(self.model.spec.dialect);
        let wrong = loop {
            match coming.chunk().await {
                Ok(Some(bytes)) => match reader.feed(&bytes) {
                    Ok(()) => {}
                    Err(wrong) => break wrong,
                },
                Ok(None) => match reader.end() {
                    Ok(answer) => return Ok(answer),
                    Err(wrong) => break wrong,
                },
                Err(error) => return Err(not_sent(error, &about)),
            }
        };
        match wrong {
            // Refused at once, it made nothing; in the middle of an answer, what it made so far may be billed.
            WireError::Provider(error) => {
                let is_first = !reader.has_begun();
                let unanswered = self.refused(error, is_first).await;
                Err(if is_first { Came::Nothing(unanswered) } else { Came::Part(unanswered) })
            }
            wrong => Err(Came::Part(transport(&about, format!("{about}: {wrong}")))),
        }
    }

    /// What follows from a provider's refusal.
    async fn refused(&self, error: ProviderError, is_free: bool) -> Unanswered {
        let (now, alias) = (self.models.clock.now(), &self.model.spec.alias);
        let about = format!("model {alias}");
        let message = format!("{about}: {error}");
        let unanswered = |error, refusal| Unanswered { refused: crate::hosting::Refused { error, refusal }, is_free };
        let refusal = |kind, after| Some(Refusal { kind, about: about.clone(), message: message.clone(), after });
        match error {
            ProviderError::RateLimited { after } => {
                let after = self.cool(&message, after.unwrap_or(COOL_DOWN), false).await;
                unanswered(
                    ServiceError::RateLimited { after: Some(after) },
                    refusal(RefusalKind::RateLimited, Some(after)),
                )
            }
            ProviderError::Overloaded { after } => {
                let after = self.cool(&message, after.unwrap_or(COOL_DOWN), false).await;
                unanswered(ServiceError::Unavailable(message.clone()), refusal(RefusalKind::Down, Some(after)))
            }
            ProviderError::Terminal { until, .. } => {
                let after = self.cool(&message, until_reset(until, now), true).await;
                unanswered(ServiceError::Budget(message.clone()), refusal(RefusalKind::Budget, Some(after)))
            }
            // A person has to see to it, and until then nobody asks.
            ProviderError::Auth(_) | ProviderError::ModelUnknown(_) => {
                let after = self.cool(&message, TERMINAL_WAIT, true).await;
                unanswered(ServiceError::Denied(message.clone()), refusal(RefusalKind::Budget, Some(after)))
            }
            // Counted whatever the handler makes of it: no page has been seen that a handler could judge, and a request
            // that its provider always fails at would be sent for days.
            ProviderError::Server(_) => {
                unanswered(ServiceError::Unavailable(message.clone()), refusal(RefusalKind::Transport, None))
            }
            ProviderError::Refused(why) => unanswered(ServiceError::Refused(why), None),
            ProviderError::InvalidRequest(why) | ProviderError::TooLarge(why) => {
                unanswered(ServiceError::InvalidRequest(why), None)
            }
        }
    }

    /// Leaves the account alone, for everyone. Answers for how long.
    async fn cool(&self, reason: &str, after: Duration, is_terminal: bool) -> Duration {
        let now = self.models.clock.now();
        let until = now.after(after.max(COOL_DOWN_MIN));
        let cooling = Cooling { until, reason: reason.to_owned(), is_terminal };
        if let Some(cooling) = self.models.paces.cool(&self.model.account, cooling) {
            tracing::warn!(model = self.model.spec.alias, reason, seconds = after.as_secs(), "a model is left alone");
            self.models.memory.keep(self.model.account.clone(), cooling).await;
        }
        self.models.paces.check(&self.model.account).err().map_or(after, |stands| match stands {
            crate::pace::Waits::Cools(cooling) => cooling.until.since(now),
            crate::pace::Waits::Used(_, after) => after,
        })
    }
}

/// What there is instead of an answer.
enum Came {
    /// Nothing, and it costs nothing.
    Nothing(Unanswered),
    /// Nothing, or a part of one, and it may be billed.
    Part(Unanswered),
}

fn nothing(how: How, at: Timestamp) -> CallEnd {
    let (cost, tokens, units) = (Cost::Known(NanoUsd::ZERO), Tokens::default(), Units::default());
    CallEnd { at, how, cost, is_estimate: false, tokens, units, provider_request: None }
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

fn not_sent(error: SendError, about: &str) -> Came {
    let message = error.to_string();
    match error {
        SendError::NotSent { refusal, .. } => {
            let error = match refusal.as_ref().map(|refusal| refusal.kind) {
                None => ServiceError::Denied(message),
                Some(RefusalKind::Budget) => ServiceError::Budget(message),
                Some(_) => ServiceError::Unavailable(message),
            };
            Came::Nothing(Unanswered::free(error, refusal))
        }
        SendError::Lost(text) => Came::Part(transport(about, text)),
        SendError::Late(text) => {
            let mut unanswered = transport(about, text.clone());
            unanswered.refused.error = ServiceError::Timeout(text);
            Came::Part(unanswered)
        }
    }
}

fn transport(about: &str, text: String) -> Unanswered {
    let kind = RefusalKind::Transport;
    let refusal = Refusal { kind, about: about.to_owned(), message: text.clone(), after: None };
    Unanswered::maybe_paid(ServiceError::Unavailable(text), Some(refusal))
}

fn not_reserved(refused: NotReserved, now: Timestamp) -> Unanswered {
    match refused {
        NotReserved::Storage(error) => Unanswered::free(ServiceError::Storage(error), None),
        NotReserved::Budget(message, why) => {
            let (kind, after) = match &why.why {
                NoRoom::Held(_) => (RefusalKind::RateLimited, Some(HELD_WAIT)),
                NoRoom::Spent(_) => (RefusalKind::Budget, NoBudget::until(&why).map(|until| until.since(now))),
                NoRoom::Unpriced | NoRoom::Bytes(_) => (RefusalKind::Budget, Some(TERMINAL_WAIT)),
            };
            let about = "the budget".to_owned();
            let refusal = Refusal { kind, about, message: message.clone(), after };
            // Another model may be cheaper, but a budget that is spent is no reason to look for one.
            Unanswered {
                refused: crate::hosting::Refused { error: ServiceError::Budget(message), refusal: Some(refusal) },
                is_free: false,
            }
        }
    }
}

/// How long until a provider's day or month begins anew.
fn until_reset(reset: Reset, now: Timestamp) -> Duration {
    let kind = match reset {
        Reset::NextDay(_) => tollgate_core::calendar::PeriodKind::Day,
        Reset::NextMonth => tollgate_core::calendar::PeriodKind::Month,
        Reset::Unknown => return TERMINAL_WAIT,
    };
    let zone = Zone::named(reset.zone()).unwrap_or_default();
    zone.period(kind, now).ends.since(now)
}
