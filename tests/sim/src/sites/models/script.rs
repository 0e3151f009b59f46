//! What the models are to answer: by rule, one after the other, and what goes wrong meanwhile, by script or by seed.

use super::asked::Asked;
use super::format::Trouble;
use super::seeded::ModelFaults;
use crate::release::Release;
use crate::sites::scripted::Step;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the model has to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Say {
    /// What it says of itself: a search, where `web_search` is offered and nothing was found yet; else a value that
    /// satisfies the schema, or a sentence of the document's words, with the address of what was found.
    #[default]
    Usual,
    /// This text, schema or not.
    Text(String),
    /// This value.
    Json(Value),
    /// Searches for these, all in one turn, and then what is usual, once there are results. Nothing else where
    /// `web_search` isn't offered.
    Search(Vec<String>),
    /// Calls of tools, by name and arguments, in every turn: a model that never comes to an end.
    Calls(Vec<(String, Value)>),
    /// It refuses in these words.
    Refuse(String),
    /// It is stopped by a filter, without a word: `content_filter`, `SAFETY`; at Anthropic as `Refuse`.
    Filtered,
    /// The usual, cut half-way at the limit of tokens.
    Cut,
    /// Cut before its first word: all was thought. Gemini's answer has no parts then.
    CutToNothing,
    /// Cut because there is no more room; at other providers than Anthropic as `Cut`.
    ContextFull,
    /// Anthropic's `pause_turn` after half of it: to be sent again to go on; at other providers as `Cut`.
    Pause,
}

impl Say {
    /// A search for one query, and then what is usual.
    pub fn search(query: &str) -> Self {
        Self::Search(vec![query.to_owned()])
    }
}

/// What is wrong with the usage that an answer tells. What is billed is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageLie {
    /// There is none.
    Missing,
    /// It is there, and null.
    Null,
    /// More was read from the cache than was sent.
    CachedOverInput,
    /// Nothing was used at all.
    Zero,
}

/// What goes wrong with a request. Each provider says it in its own words, or in the nearest that it has.
#[derive(Clone, Debug)]
pub enum ModelFault {
    /// 429: too many requests. With a time, if any: `Retry-After`, at Gemini `RetryInfo`.
    Busy(Option<Duration>),
    /// 429 with the time in the message alone.
    BusyInWords(Duration),
    /// 429 that doesn't pass by itself: `insufficient_quota`, `enforced_spend_limit_reached` (with a Retry-After that
    /// means nothing), a quota by the day with a `RetryInfo` of seconds.
    Quota,
    /// 402: no credit left, as OpenRouter says it.
    Credit,
    /// OpenAI's 429 `slow_down`; at others as `Busy`.
    RampingUp,
    /// 529; OpenAI's and Gemini's is a 503.
    Overloaded,
    /// 500.
    Broken,
    /// An error in a 200: in the body, or as an event in the middle of a stream.
    ErrorInside,
    /// The connection closes half-way through the body.
    Disconnect,
    /// The connection closes without a byte, and the answer is billed.
    Lost,
    /// Half of the body; the rest when it is released.
    Stall(Release),
    /// Nothing at all until it is released; then the whole answer.
    Hold(Release),
    /// The answer tells another usage than is billed.
    Usage(UsageLie),
    /// Exactly this, and nothing is billed.
    Raw(Box<Step>),
}

impl ModelFault {
    /// A 429 that asks for so many seconds.
    pub fn busy_s(seconds: u64) -> Self {
        Self::Busy(Some(Duration::from_secs(seconds)))
    }

    /// The refusal that it is, if it is one.
    pub(crate) fn refusal(&self) -> Option<Trouble> {
        Some(match self {
            Self::Busy(after) => Trouble::Busy(*after),
            Self::BusyInWords(after) => Trouble::BusyInWords(*after),
            Self::Quota => Trouble::Quota,
            Self::Credit => Trouble::Credit,
            Self::RampingUp => Trouble::RampingUp,
            Self::Overloaded => Trouble::Overloaded,
            Self::Broken => Trouble::Broken,
            Self::ErrorInside
            | Self::Disconnect
            | Self::Lost
            | Self::Stall(_)
            | Self::Hold(_)
            | Self::Usage(_)
            | Self::Raw(_) => return None,
        })
    }

    /// What of the usage it makes wrong.
    pub(crate) fn lie(&self) -> Option<UsageLie> {
        if let Self::Usage(lie) = self { Some(*lie) } else { None }
    }
}

/// What happens to one request.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// What the model says.
    pub say: Say,
    /// What goes wrong, if anything.
    pub fault: Option<ModelFault>,
}

impl From<Say> for Turn {
    fn from(say: Say) -> Self {
        Self { say, fault: None }
    }
}

impl From<ModelFault> for Turn {
    fn from(fault: ModelFault) -> Self {
        Self { say: Say::Usual, fault: Some(fault) }
    }
}

/// A text that a request must say; empty: any.
type Matching = String;

#[derive(Default)]
pub(super) struct Script(Mutex<State>);

#[derive(Default)]
struct State {
    /// What standing rules there are, the newest last.
    rules: Vec<(Matching, Say)>,
    /// One request after the other.
    next: Vec<(Matching, VecDeque<Option<Turn>>)>,
    faults: Option<ModelFaults>,
    /// How often a body came.
    times: HashMap<u64, u64>,
}

impl Script {
    // Nothing that could panic half-way happens under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rule(&self, matching: &str, say: Say) {
        self.lock().rules.push((matching.to_owned(), say));
    }

    pub(super) fn next(&self, matching: &str, turns: impl IntoIterator<Item = Turn>) {
        let turns = turns.into_iter().map(Some).collect();
        self.lock().next.push((matching.to_owned(), turns));
    }

    pub(super) fn set_faults(&self, faults: Option<ModelFaults>) {
        self.lock().faults = faults;
    }

    /// Forgets what was to come; rules and seed stay.
    pub(super) fn reset(&self) {
        let mut state = self.lock();
        state.next.clear();
        state.times.clear();
    }

    pub(super) fn turn(&self, asked: &Asked) -> Turn {
        let mut state = self.lock();
        // A rule is the newest that fits: a test may narrow down what it said before.
        let rule = state.rules.iter().rev().find(|(matching, _)| asked.says(matching));
        let usual = rule.map_or(Say::Usual, |(_, say)| say.clone());
        for (matching, turns) in &mut state.next {
            if asked.says(matching)
                && let Some(turn) = turns.pop_front().flatten()
            {
                let say = if turn.say == Say::Usual { usual } else { turn.say };
                return Turn { say, fault: turn.fault };
            }
        }
        let Some(faults) = state.faults.clone() else {
            return usual.into();
        };
        let (body, before) = faults.seen(asked, &mut state.times);
        let (fault, cut) = faults.decide(body, before);
        Turn { say: if cut { Say::Cut } else { usual }, fault }
    }
}
