//! Why a call gave no answer, in the words of handlers and of attempts: the same for models, search and speech.

use std::time::Duration;

use tollgate_core::{
    Timestamp,
    calendar::{PeriodKind, Zone},
    ledger::{NoBudget, NoRoom},
    outcome::{Refusal, RefusalKind},
    service::ServiceError,
};

use crate::{
    ProviderError, Reset,
    hosting::{NotReserved, Refused, SendError},
    pace::Waits,
};

/// How long an account is left alone that was refused without a word of how long.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// How long a refusal holds of which nobody knows when it ends, over a restart too: one request a day asks again.
const TERMINAL_WAIT: Duration = Duration::from_hours(24);
/// How long who finds no room waits for what calls under way hold.
const HELD_WAIT: Duration = Duration::from_secs(5);

/// Why a service gave no answer, and whether it is certain that this cost nothing.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) refused: Refused,
    pub(crate) is_free: bool,
}

impl Unanswered {
    pub(crate) fn free(error: ServiceError, refusal: Option<Refusal>) -> Self {
        Self { refused: Refused { error, refusal }, is_free: true }
    }

    pub(crate) fn maybe_paid(error: ServiceError, refusal: Option<Refusal>) -> Self {
        Self { refused: Refused { error, refusal }, is_free: false }
    }
}

/// What there is instead of an answer.
pub(crate) enum Came {
    /// Nothing, and nothing was sent.
    NotSent(Unanswered),
    /// Nothing, and it costs nothing.
    Nothing(Unanswered),
    /// Nothing, or a part of one, and it may be billed.
    Part(Unanswered),
}

impl Came {
    /// The same of a request whose status had come: it was sent.
    pub(crate) fn after_status(self) -> Self {
        match self {
            Self::NotSent(unanswered) | Self::Nothing(unanswered) => {
                Self::Part(Unanswered { is_free: false, ..unanswered })
            }
            part @ Self::Part(_) => part,
        }
    }
}

/// What a provider's refusal means for its account and for the attempt.
pub(crate) struct Consequence {
    /// So long nobody asks.
    pub(crate) cool: Option<Duration>,
    /// No wait before that helps.
    pub(crate) is_terminal: bool,
    /// For the attempt; absent: the stage's own word counts.
    pub(crate) kind: Option<RefusalKind>,
}

pub(crate) fn consequence(error: &ProviderError, now: Timestamp) -> Consequence {
    let (cool, is_terminal, kind) = match error {
        ProviderError::RateLimited { after } => (Some(after.unwrap_or(COOL_DOWN)), false, RefusalKind::RateLimited),
        ProviderError::Overloaded { after } => (Some(after.unwrap_or(COOL_DOWN)), false, RefusalKind::Down),
        ProviderError::Terminal { until, .. } => (Some(until_reset(*until, now)), true, RefusalKind::Budget),
        // A person has to see to it, and until then nobody asks.
        ProviderError::Auth(_) | ProviderError::ModelUnknown(_) => (Some(TERMINAL_WAIT), true, RefusalKind::Budget),
        // Counted whatever the handler makes of it: no page has been seen that a handler could judge, and a request
        // that its provider always fails at would be sent for days.
        ProviderError::Server(_) => (None, false, RefusalKind::Transport),
        ProviderError::Refused(_) | ProviderError::InvalidRequest(_) | ProviderError::TooLarge(_) => {
            return Consequence { cool: None, is_terminal: false, kind: None };
        }
    };
    Consequence { cool, is_terminal, kind: Some(kind) }
}

/// What a call is refused with that has to wait for its account. `section`: of jobs.toml, where its allowances stand.
pub(crate) fn waits(about: &str, section: &str, waits: Waits, now: Timestamp) -> Unanswered {
    let (after, message, kind) = match waits {
        Waits::Cools(cooling) => {
            let kind = if cooling.is_terminal { RefusalKind::Budget } else { RefusalKind::RateLimited };
            (cooling.until.since(now), cooling.reason, kind)
        }
        Waits::Used(of, after) => {
            (after, format!("`{of}` of {section} in jobs.toml is used up"), RefusalKind::RateLimited)
        }
    };
    let refusal = Refusal { kind, about: about.to_owned(), message: message.clone(), after: Some(after) };
    let error = match kind {
        RefusalKind::Budget => ServiceError::Budget(message),
        _ => ServiceError::RateLimited { after: Some(after) },
    };
    Unanswered::free(error, Some(refusal))
}

/// How long work waits in the store whose call waited for the ledger until too little of its time was left.
const LATE_WAIT: Duration = Duration::from_secs(1);

/// What such a call is refused with. Nothing was sent, so it cost nothing, and no attempt is used: it had to wait.
pub(crate) fn too_late(about: &str, time: Duration) -> Unanswered {
    let message = format!("{about} wasn't asked: the call had waited for most of its {time:?} when its turn came");
    let (kind, after) = (RefusalKind::RateLimited, Some(LATE_WAIT));
    let refusal = Refusal { kind, about: about.to_owned(), message, after };
    Unanswered::free(ServiceError::RateLimited { after }, Some(refusal))
}

/// What there is of a request to which no whole answer came.
pub(crate) fn no_answer(error: SendError, about: &str) -> Came {
    let message = error.to_string();
    match error {
        SendError::NotSent { refusal, .. } => {
            let error = match refusal.as_ref().map(|refusal| (refusal.kind, refusal.after)) {
                None => ServiceError::Denied(message),
                Some((RefusalKind::Budget, _)) => ServiceError::Budget(message),
                Some((RefusalKind::RateLimited, after)) => ServiceError::RateLimited { after },
                Some(_) => ServiceError::Unavailable(message),
            };
            Came::NotSent(Unanswered::free(error, refusal))
        }
        SendError::Lost(text) => Came::Part(transport(about, text)),
        SendError::Late(text) => {
            let mut unanswered = transport(about, text.clone());
            unanswered.refused.error = ServiceError::Timeout(text);
            Came::Part(unanswered)
        }
    }
}

pub(crate) fn transport(about: &str, text: String) -> Unanswered {
    let kind = RefusalKind::Transport;
    let refusal = Refusal { kind, about: about.to_owned(), message: text.clone(), after: None };
    Unanswered::maybe_paid(ServiceError::Unavailable(text), Some(refusal))
}

pub(crate) fn not_reserved(refused: NotReserved, now: Timestamp) -> Unanswered {
    match refused {
        NotReserved::Storage(error) => Unanswered::free(ServiceError::Storage(error), None),
        NotReserved::Budget(message, why) => {
            let (kind, after) = match &why.why {
                NoRoom::Held(_) => (RefusalKind::RateLimited, Some(HELD_WAIT)),
                NoRoom::Spent(_) => (RefusalKind::Budget, NoBudget::until(&why).map(|until| until.since(now))),
                // One long document is no reason to hold up the other items, and a pause would come again with each
                // `resume`: the item fails with what to do, and is there for `retry`. Where no call fits, the breaker
                // pauses the job.
                NoRoom::TooDear { .. } => (RefusalKind::TooDear, None),
                NoRoom::Unpriced | NoRoom::Bytes(_) => (RefusalKind::Budget, Some(TERMINAL_WAIT)),
            };
            let about = "the budget".to_owned();
            let refusal = Refusal { kind, about, message: message.clone(), after };
            // Another model may be cheaper, but a budget that is spent is no reason to look for one.
            Unanswered {
                refused: Refused { error: ServiceError::Budget(message), refusal: Some(refusal) },
                is_free: false,
            }
        }
    }
}

/// How long until a provider's day or month begins anew.
fn until_reset(reset: Reset, now: Timestamp) -> Duration {
    let kind = match reset {
        Reset::NextDay(_) => PeriodKind::Day,
        Reset::NextMonth => PeriodKind::Month,
        Reset::In(after) => return after,
        Reset::Unknown => return TERMINAL_WAIT,
    };
    let zone = Zone::named(reset.zone()).unwrap_or_default();
    zone.period(kind, now).ends.since(now)
}
