//! What an attempt came to, and what follows from it for its task: the rules of "not now", of bounds and of poison.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    item::NewItem,
    retry::{ASKED_WAIT, RetryPolicy, UNCOUNTED_WAIT_MIN},
    task::{ErrorKind, LaterKind, LaterReason, SkipReason, Tally, TaskError, clean_message},
    time::Timestamp,
};

/// Longest time that a wait is lengthened by chance: who waits for tomorrow shall not wait into the afternoon.
const JITTER_MAX: Duration = Duration::from_mins(10);

/// Traps or timeouts in a row after which a task fails as poison.
pub const CRASHES_MAX: u32 = 2;

/// What a stage made.
#[derive(Debug, Clone, PartialEq)]
pub struct StageOutput {
    /// The output itself.
    pub fields: Map<String, Value>,
    /// Items that the stage came upon.
    pub found: Vec<NewItem>,
    /// Doubts worth showing to a person.
    pub quality_flags: Vec<String>,
}

/// Why a stage made no output, in its own words: the interface's `stage-error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageError {
    /// Not ready, or not now.
    RetryLater {
        /// In the stage's words.
        reason: String,
        /// When to try again; absent: the host decides.
        after: Option<Duration>,
    },
    /// There is nothing of this kind for this item.
    NothingHere(String),
    /// The item isn't wanted.
    Reject(String),
    /// The site refuses us.
    Blocked(String),
    /// The site wants a session.
    LoginRequired(String),
    /// This item can never succeed.
    Permanent(String),
    /// Anything else.
    Failed(String),
}

/// A host call that the gate refused. The last one that the stage did not get past by another call decides (R06, R07).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind.
    pub kind: RefusalKind,
    /// The site, proxy or service that it is about.
    pub about: String,
    /// What was said.
    pub message: String,
    /// How long to leave it alone, where known.
    pub after: Option<Duration>,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The site or service asked us to slow down. Uncounted.
    RateLimited,
    /// The proxy, site or service is down as a whole, or not configured. Uncounted.
    Down,
    /// A guard or the site's circuit. Uncounted; opens the circuit.
    Blocked,
    /// The site wants a session. Uncounted.
    LoginRequired,
    /// Connect, TLS, reset or timeout of one address. Counted, but no breaker's business.
    Transport,
    /// A 5xx. As `Transport` if the stage failed of it; but the stage has seen an answer, and
    /// its own word for it counts.
    ServerError,
    /// A budget is spent: nothing is sent until its next day. Uncounted, and no word about a site.
    Budget,
    /// One call may cost more than a whole budget: this item fails, as no wait helps it, and the others go on. Where it
    /// is so of each, the breaker pauses the job with this for its reason.
    TooDear,
    /// The address has nothing yet, by its own word. Uncounted, and no word about its site.
    Later,
    /// The address will never have anything, by its own word: no more tries, and no breaker's business.
    Permanent,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// An output that meets the stage's contract.
    Output(StageOutput),
    /// The stage's own error.
    Stage(StageError),
    /// An output that breaks the contract; the text names the field.
    Contract(String),
    /// The guest trapped.
    Trap(String),
    /// The task's time ran out; the text says which clock.
    Timeout(String),
    /// A limit of the sandbox ended the task.
    Limit(String),
    /// The host could not do its part.
    Host(String),
}

/// What becomes of the task.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is done with this output.
    Done(StageOutput),
    /// The stage has nothing of its kind.
    Nothing(String),
    /// The stage rejected the item.
    Reject(String),
    /// The host did not run it: its condition is false.
    Skipped(SkipReason),
    /// It failed for good.
    Failed(TaskError),
    /// It is tried again, not before `due`.
    Later {
        /// Not before this, and not after its `retry-for` is over: then the last try decides.
        due: Timestamp,
        /// Why.
        reason: LaterReason,
    },
}

/// What an attempt does to the breaker of its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerEffect {
    /// Resets it.
    Success,
    /// Counts as a failure of this item.
    Failure,
    /// Leaves it.
    None,
}

/// A verdict with its effects.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What becomes of the task.
    pub verdict: Verdict,
    /// Its tally from now on.
    pub tally: Tally,
    /// What it does to the lane's breaker.
    pub breaker: BreakerEffect,
    /// What went wrong in this attempt, for its history: a later verdict has one too.
    pub error: Option<TaskError>,
}

/// What stood in the way of an attempt, before bounds are looked at.
enum Obstacle {
    /// No attempt used.
    Uncounted { kind: LaterKind, message: String, after: Option<Duration> },
    /// An attempt used.
    Counted { kind: LaterKind, error: TaskError },
    /// No more tries.
    Final(TaskError),
}

/// Decides what follows from an attempt that ended at `now`. `chance` in `0.0..1.0` draws the jitter.
#[must_use]
pub fn decide(
    outcome: Outcome,
    refusal: Option<&Refusal>,
    before: Tally,
    policy: &RetryPolicy,
    now: Timestamp,
    chance: f64,
) -> Decision {
    let mut decision = follows(outcome, refusal, before, policy, now, chance);
    // It was asked for until the task ends; and one that has failed twice may have failed of an answer that is kept.
    if !matches!(decision.verdict, Verdict::Later { .. }) || decision.tally.counted > 1 {
        decision.tally.reuses = None;
    }
    decision
}

fn follows(
    outcome: Outcome,
    refusal: Option<&Refusal>,
    before: Tally,
    policy: &RetryPolicy,
    now: Timestamp,
    chance: f64,
) -> Decision {
    let mut tally = Tally {
        attempts: before.attempts.saturating_add(1),
        crashes: 0,
        first_at: before.first_at.or(Some(now)),
        ..before
    };
    let good = |verdict| Decision { verdict, tally, breaker: BreakerEffect::Success, error: None };
    let obstacle = match outcome {
        Outcome::Output(output) => return good(Verdict::Done(output)),
        Outcome::Stage(StageError::NothingHere(reason)) => return good(Verdict::Nothing(clean_message(&reason))),
        Outcome::Stage(StageError::Reject(reason)) => return good(Verdict::Reject(clean_message(&reason))),
        Outcome::Stage(error) => stage_obstacle(error, refusal),
        Outcome::Limit(text) => counted(LaterKind::Failed, ErrorKind::Limit, &text),
        Outcome::Host(text) => counted(LaterKind::Failed, ErrorKind::Host, &text),
        // A handler that unwraps a refusal, or makes something up in its place, was refused all the same.
        Outcome::Contract(text) => or_refused(refusal, || counted(LaterKind::Failed, ErrorKind::Contract, &text)),
        Outcome::Trap(text) => or_refused(refusal, || crash(&mut tally, before, ErrorKind::Trap, &text)),
        Outcome::Timeout(text) => or_refused(refusal, || crash(&mut tally, before, ErrorKind::Timeout, &text)),
    };
    settle_obstacle(obstacle, tally, policy, now, chance)
}

/// The refusal, if one stands; else what the attempt ended with.
fn or_refused(refusal: Option<&Refusal>, other: impl FnOnce() -> Obstacle) -> Obstacle {
    refusal.map_or_else(other, |refusal| refused(refusal, None))
}

fn counted(kind: LaterKind, error: ErrorKind, text: &str) -> Obstacle {
    Obstacle::Counted { kind, error: TaskError::new(error, text) }
}

fn crash(tally: &mut Tally, before: Tally, kind: ErrorKind, text: &str) -> Obstacle {
    tally.crashes = before.crashes.saturating_add(1);
    if tally.crashes >= CRASHES_MAX {
        let message = format!("{} {} times in a row, last: {text}", kind.as_str(), tally.crashes);
        Obstacle::Final(TaskError::new(ErrorKind::Poison, message))
    } else {
        counted(LaterKind::Failed, kind, text)
    }
}

fn stage_obstacle(error: StageError, refusal: Option<&Refusal>) -> Obstacle {
    let uncounted = |kind, message: String, after| Obstacle::Uncounted { kind, message, after };
    match (error, refusal) {
        (StageError::Permanent(text), _) => Obstacle::Final(TaskError::new(ErrorKind::Permanent, text)),
        (StageError::RetryLater { after, .. }, Some(refusal))
            if !matches!(refusal.kind, RefusalKind::ServerError | RefusalKind::Permanent) =>
        {
            refused(refusal, after)
        }
        (StageError::Failed(_), Some(refusal)) => refused(refusal, None),
        (StageError::RetryLater { reason, after }, _) => uncounted(LaterKind::Asked, reason, after),
        (StageError::Blocked(text), refusal) => {
            uncounted(LaterKind::Blocked, text, refusal.and_then(|refusal| refusal.after))
        }
        // The gate has looked at it: the site's session is renewed, or a person is told what to do.
        (StageError::LoginRequired(_), Some(refusal))
            if matches!(refusal.kind, RefusalKind::Later | RefusalKind::LoginRequired) =>
        {
            refused(refusal, None)
        }
        (StageError::LoginRequired(text), refusal) => {
            uncounted(LaterKind::LoginRequired, text, refusal.and_then(|refusal| refusal.after))
        }
        (StageError::Failed(text), None) => counted(LaterKind::Failed, ErrorKind::Failed, &text),
        (StageError::NothingHere(text) | StageError::Reject(text), _) => {
            // Both are verdicts of their own and never get here; were they to, they'd be failures that say so.
            counted(LaterKind::Failed, ErrorKind::Host, &text)
        }
    }
}

fn refused(refusal: &Refusal, asked: Option<Duration>) -> Obstacle {
    let kind = match refusal.kind {
        RefusalKind::RateLimited => LaterKind::RateLimited,
        RefusalKind::Down => LaterKind::Down,
        RefusalKind::Blocked => LaterKind::Blocked,
        RefusalKind::LoginRequired => LaterKind::LoginRequired,
        RefusalKind::Later => LaterKind::Asked,
        RefusalKind::Budget => LaterKind::Budget,
        RefusalKind::Permanent => return Obstacle::Final(TaskError::new(ErrorKind::Permanent, &refusal.message)),
        // Tried again, it would pay once more for the calls before it, and come to the same end.
        RefusalKind::TooDear => return Obstacle::Final(TaskError::new(ErrorKind::Failed, &refusal.message)),
        RefusalKind::Transport | RefusalKind::ServerError => {
            return counted(LaterKind::Transport, ErrorKind::Transport, &refusal.message);
        }
    };
    Obstacle::Uncounted { kind, message: refusal.message.clone(), after: refusal.after.max(asked) }
}

fn settle_obstacle(
    obstacle: Obstacle,
    mut tally: Tally,
    policy: &RetryPolicy,
    now: Timestamp,
    chance: f64,
) -> Decision {
    let ends_at = tally.first_at.unwrap_or(now).after(policy.retry_for);
    let expired = now >= ends_at;
    let fail = |error: TaskError, tally, breaker| Decision {
        verdict: Verdict::Failed(error.clone()),
        tally,
        breaker,
        error: Some(error),
    };
    match obstacle {
        Obstacle::Final(error) => {
            // A page that is gone says nothing about the lane; a guest that crashes does.
            let breaker = if error.kind == ErrorKind::Permanent { BreakerEffect::None } else { BreakerEffect::Failure };
            fail(error, tally, breaker)
        }
        Obstacle::Uncounted { kind, message, .. } if expired => {
            let message =
                format!("retried for {:?} without an end, last {}: {message}", policy.retry_for, kind.as_str());
            fail(TaskError::new(ErrorKind::Expired, message), tally, BreakerEffect::None)
        }
        Obstacle::Uncounted { kind, message, after } => {
            let wait = after.unwrap_or(ASKED_WAIT).max(UNCOUNTED_WAIT_MIN);
            // Jitter on top: those who wait for the same moment shall not come in one wave.
            let due = now.after(wait).after(wait.mul_f64(0.1 * chance).min(JITTER_MAX)).min(ends_at);
            let reason = LaterReason { kind, message: clean_message(&message) };
            let error = None;
            Decision { verdict: Verdict::Later { due, reason }, tally, breaker: BreakerEffect::None, error }
        }
        Obstacle::Counted { kind, error } => {
            tally.counted = tally.counted.saturating_add(1);
            let breaker = if kind == LaterKind::Failed { BreakerEffect::Failure } else { BreakerEffect::None };
            if tally.counted >= policy.attempts_max {
                let message = format!("gave up after {}: {}", tally.counted, error.message);
                return fail(TaskError::new(error.kind, message), tally, breaker);
            }
            if expired {
                let message = format!("retried for {:?} without an end, last: {error}", policy.retry_for);
                return fail(TaskError::new(ErrorKind::Expired, message), tally, breaker);
            }
            let due = now.after(policy.wait_after(tally.counted, chance)).min(ends_at);
            let reason = LaterReason { kind, message: error.message.clone() };
            Decision { verdict: Verdict::Later { due, reason }, tally, breaker, error: Some(error) }
        }
    }
}

#[cfg(test)]
mod tests;
