//! Paid calls of models, searches and speech: what one is held to cost before it is made, and what it came to.
//!
//! A call is reserved at its estimate, made, and settled at its cost; a budget never has more settled and reserved than
//! its limit, but for what a call costs beyond its estimate.

mod account;
mod costs;
mod scope;

use serde::{Deserialize, Serialize};

pub use account::{Account, Beside, Charged, NoRoom, Periods, Unbalanced};
pub use costs::Costs;
pub use scope::{EVERYTHING, Scope, ScopeError};

use crate::{
    artifact::Digest,
    budget::{Budget, Reached},
    calendar::{Day, Zone},
    ids::{ClaimToken, ItemId, JobId, StageIx},
    model::Tokens,
    money::NanoUsd,
    time::Timestamp,
};

/// The most that one call may be held to cost: a million dollars. No call costs as much, and their sum can't overflow.
pub const ESTIMATE_MAX: NanoUsd = NanoUsd(1_000_000_000_000_000);

/// Number of a call in one store; given when it is reserved, rising, never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// What is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaidKind {
    /// A language model's answer.
    Model,
    /// A web search.
    Search,
    /// A transcription.
    Speech,
}

impl PaidKind {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Model, Self::Search, Self::Speech];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Search => "search",
            Self::Speech => "speech",
        }
    }
}

/// Who is paid, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Paid {
    /// What is paid for.
    pub kind: PaidKind,
    /// The provider's name in jobs.toml.
    pub provider: String,
    /// The name that jobs use: a budget of a model is of this.
    pub alias: String,
    /// The provider's own name for it.
    pub model: String,
}

/// What money is worth it, or whether that is known at all. Unknown is not nothing (trap 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// So much.
    Known(NanoUsd),
    /// There is no price for it.
    Unpriced,
}

impl Cost {
    /// The amount, if it is known.
    #[must_use]
    pub fn known(self) -> Option<NanoUsd> {
        match self {
            Self::Known(amount) => Some(amount),
            Self::Unpriced => None,
        }
    }

    /// What budgets are charged for a call that was held to cost `estimate` and has this cost: never less than what is
    /// known of it.
    #[must_use]
    pub fn charged(self, estimate: Self) -> NanoUsd {
        self.known().or(estimate.known()).unwrap_or(NanoUsd::ZERO)
    }
}

/// Who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Caller {
    /// The job.
    pub job: JobId,
    /// The task; absent: the job's discovery.
    pub task: Option<(ItemId, StageIx)>,
    /// The attempt's number within the task; 0 of a discovery.
    pub attempt: u32,
    /// The call's number within the attempt.
    pub number: u32,
}

/// A call, before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Who makes it.
    pub caller: Caller,
    /// Who is paid.
    pub paid: Paid,
    /// Digest of all that its answer depends on: an answer is kept, and found again, by it.
    pub request: Digest,
    /// When it was reserved.
    pub at: Timestamp,
    /// What it is held to cost at the most.
    pub estimate: Cost,
}

impl Call {
    /// The scopes that it is counted in, each in the order of [`Budgets::each`].
    #[must_use]
    pub fn scopes(&self) -> [Scope; 3] {
        [Scope::Everything, Scope::Job(self.caller.job), Scope::Paid(self.paid.kind, self.paid.alias.clone())]
    }
}

/// The budgets that hold for a call. A scope without one is counted all the same, so that one named later in the day
/// knows what was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budgets {
    /// Of everything.
    pub everything: Budget,
    /// Of the call's job.
    pub job: Budget,
    /// Of what is paid, by its alias: a model, a search service, a speech service.
    pub paid: Budget,
}

impl Budgets {
    /// In the order of [`Call::scopes`].
    #[must_use]
    pub fn each(&self) -> [&Budget; 3] {
        [&self.everything, &self.job, &self.paid]
    }
}

/// A call that asks for room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The call.
    pub call: Call,
    /// Proof of its attempt's claim: one that has lost it spends nothing more.
    pub claim: ClaimToken,
    /// What bounds it.
    pub budgets: Budgets,
    /// Where days and months begin.
    pub zone: Zone,
}

/// A budget without room for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoBudget {
    /// Whose.
    pub scope: Scope,
    /// Why.
    pub why: NoRoom,
    /// What the call was held to cost.
    pub asked: Cost,
}

impl NoBudget {
    /// When there is room again by itself: the next period. Absent: when calls under way are settled, or never.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self.why {
            NoRoom::Spent(reached) => Some(reached.spent.period.ends),
            NoRoom::Held(_) | NoRoom::TooDear { .. } | NoRoom::Unpriced | NoRoom::Bytes(_) => None,
        }
    }

    /// Which of two says more: what no wait helps, then the longer wait.
    #[must_use]
    pub(crate) fn weight(&self) -> (u8, Timestamp) {
        match self.why {
            NoRoom::TooDear { .. } | NoRoom::Unpriced | NoRoom::Bytes(_) => (2, Timestamp(0)),
            NoRoom::Spent(reached) => (1, reached.spent.period.ends),
            NoRoom::Held(_) => (0, Timestamp(0)),
        }
    }

    /// A sentence for people. `job`: the name of the job that asks.
    #[must_use]
    pub fn tell(&self, job: &str, zone: &Zone) -> String {
        let of = self.scope.called(job);
        let asked = self.asked.known().map_or_else(String::new, |asked| format!("; the call may cost {asked}"));
        match &self.why {
            NoRoom::Spent(reached) => format!(
                "the budget of {of} for this {} is spent ({}{asked}), so nothing is sent; it goes on at {}",
                reached.kind.as_str(),
                reached.share(),
                zone.show(reached.spent.period.ends)
            ),
            NoRoom::Held(reached) => format!(
                "what is left of the budget of {of} for this {} is held by calls under way ({}{asked})",
                reached.kind.as_str(),
                reached.share()
            ),
            NoRoom::TooDear { kind, most, asked } => {
                format!(
                    "this one call may cost {asked}, and the budget of {of} is {most} for a whole {kind}, so it is \
                     never sent; raise {section} in jobs.toml, or choose a cheaper model, a smaller `output-max` or a \
                     shorter document, then `tollgate item retry {job} --failed`",
                    kind = kind.as_str(),
                    section = self.scope.section(job)
                )
            }
            NoRoom::Unpriced => format!("{of} has a budget, and the call has no price; write one into jobs.toml"),
            NoRoom::Bytes(limit) => format!("the budget of {of} is {limit}, which bounds no money; write it in USD"),
        }
    }
}

/// A budget of which a person is warned: four fifths of it are spent or held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warned {
    /// Whose.
    pub scope: Scope,
    /// Which, and what was spent of it.
    pub reached: Reached,
}

/// Room for a call in accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The accounts with the call, in the order of [`Call::scopes`].
    pub accounts: [Account; 3],
    /// The day and the month that it is counted in.
    pub periods: Periods,
    /// Budgets that came to their warning with it.
    pub warned: Vec<Warned>,
}

/// Takes room for a call in the accounts of its scopes, as they were last written, in the order of [`Call::scopes`].
/// All accounts are brought to the day and month of the first, that of everything. `beside`: what counts towards
/// everything and isn't in the ledger.
///
/// # Errors
/// A budget has no room; of several, one that no wait helps, then the one that is to be waited for longest. Or the
/// accounts can hold no more.
pub fn reserve(
    reservation: &Reservation,
    accounts: [Account; 3],
    beside: Beside,
) -> Result<Result<Granted, Box<NoBudget>>, Unbalanced> {
    let Reservation { call, budgets, zone, .. } = reservation;
    let periods = accounts[0].periods().turned(zone, call.at);
    let mut granted = Granted { accounts: accounts.map(|account| account.at(periods)), periods, warned: Vec::new() };
    let mut refused: Option<Box<NoBudget>> = None;
    let budgets = budgets.each();
    let besides = [beside, Beside::default(), Beside::default()];
    for (place, scope) in call.scopes().into_iter().enumerate() {
        let (account, budget) = (&mut granted.accounts[place], budgets[place]);
        if let Err(why) = account.room(budget, besides[place], call.estimate) {
            let next = Box::new(NoBudget { scope, why, asked: call.estimate });
            refused = refused.filter(|known| known.weight() >= next.weight()).or(Some(next));
            continue;
        }
        account.reserve(call.estimate)?;
        while let Some(reached) = account.warning(budget, besides[place]) {
            granted.warned.push(Warned { scope: scope.clone(), reached });
        }
    }
    Ok(refused.map_or(Ok(granted), Err))
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// With an answer.
    Answered,
    /// The provider refused it.
    Refused,
    /// No answer came, or the host ended first: whether it was made isn't known.
    Lost,
    /// Nobody wanted the answer any more.
    Cancelled,
}

impl How {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is billed by another measure than tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Units {
    /// Credits of a search service.
    pub credits: u64,
    /// Milliseconds of audio.
    pub audio_ms: u64,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEnd {
    /// When.
    pub at: Timestamp,
    /// How it ended.
    pub how: How,
    /// What it cost.
    pub cost: Cost,
    /// The cost is not by the provider's own usage.
    pub is_estimate: bool,
    /// Its tokens.
    pub tokens: Tokens,
    /// What else was billed.
    pub units: Units,
    /// The provider's name for the request, for a question to it.
    pub provider_request: Option<String>,
}

impl CallEnd {
    /// That of a call which no answer came for: it may have been made, so it costs its estimate,
    /// and says that it is one.
    #[must_use]
    pub fn lost(estimate: Cost, at: Timestamp) -> Self {
        let (tokens, units) = (Tokens::default(), Units::default());
        Self { at, how: How::Lost, cost: estimate, is_estimate: true, tokens, units, provider_request: None }
    }
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub id: CallId,
    /// The call.
    pub call: Call,
    /// The date that it is counted under.
    pub day: Day,
    /// The day and the month whose budgets it is charged to: those in which it was reserved.
    pub periods: Periods,
    /// What it came to; absent: it is under way.
    pub end: Option<CallEnd>,
}

#[cfg(test)]
mod tests;
