//! Task states: the one stored truth per (item, stage), and what is counted beside it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ids::StageName, time::Timestamp};

/// Longest message kept with a state or an attempt, in bytes; longer ones are cut with a mark.
pub const MESSAGE_BYTES_MAX: usize = 2_000;

/// Where a task stands. There is no "running": a claim lives in memory and ends with the process (S04).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum TaskState {
    /// Needs outputs that aren't there yet.
    Waiting {
        /// The needs not yet met, as written: `fetch`, `captions|whisper`.
        on: Vec<String>,
    },
    /// May run.
    Ready {
        /// When it became ready.
        due: Timestamp,
    },
    /// May run again from `due` on.
    RetryLater {
        /// Not before this.
        due: Timestamp,
        /// What stood in the way.
        reason: LaterReason,
    },
    /// Has an output that meets its contract.
    Done,
    /// The stage said that there is nothing of its kind.
    Nothing {
        /// In the stage's words.
        reason: String,
    },
    /// The host did not run it, and that is fine.
    Skipped {
        /// Why not.
        reason: SkipReason,
    },
    /// Ended without an output.
    Failed {
        /// What went wrong.
        error: TaskError,
    },
    /// A need has ended without an output; opens again with that need.
    Unreachable {
        /// The needs that ended so.
        needs: Vec<String>,
    },
}

impl TaskState {
    /// Whether nothing more happens to the task by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !matches!(self, Self::Waiting { .. } | Self::Ready { .. } | Self::RetryLater { .. })
    }

    /// Its kind, as counted and shown.
    #[must_use]
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Waiting { .. } => TaskKind::Waiting,
            Self::Ready { .. } => TaskKind::Ready,
            Self::RetryLater { .. } => TaskKind::RetryLater,
            Self::Done => TaskKind::Done,
            Self::Nothing { .. } => TaskKind::Nothing,
            Self::Skipped { .. } => TaskKind::Skipped,
            Self::Failed { .. } => TaskKind::Failed,
            Self::Unreachable { .. } => TaskKind::Unreachable,
        }
    }

    /// One sentence on why the task stands where it does.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::Waiting { on } => format!("waits for {}", on.join(", ")),
            Self::Ready { .. } => "ready to run".to_owned(),
            Self::RetryLater { reason, .. } => format!("will be tried again: {reason}"),
            Self::Done => "done".to_owned(),
            Self::Nothing { reason } => format!("nothing here: {reason}"),
            Self::Skipped { reason } => reason.to_string(),
            Self::Failed { error } => error.to_string(),
            Self::Unreachable { needs } => format!("can't run: {} ended without an output", needs.join(", ")),
        }
    }
}

/// The kinds of [`TaskState`], for counters and filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// [`TaskState::Waiting`].
    Waiting,
    /// [`TaskState::Ready`].
    Ready,
    /// [`TaskState::RetryLater`].
    RetryLater,
    /// [`TaskState::Done`].
    Done,
    /// [`TaskState::Nothing`].
    Nothing,
    /// [`TaskState::Skipped`].
    Skipped,
    /// [`TaskState::Failed`].
    Failed,
    /// [`TaskState::Unreachable`].
    Unreachable,
}

impl TaskKind {
    /// All of them, in the order of their stored counters: append only.
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Ready,
        Self::RetryLater,
        Self::Done,
        Self::Nothing,
        Self::Skipped,
        Self::Failed,
        Self::Unreachable,
    ];

    /// Its place in [`TaskKind::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The word for it on pages and in the program's output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::RetryLater => "retry-later",
            Self::Done => "done",
            Self::Nothing => "nothing",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Why a task is tried again later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaterReason {
    /// What kind of obstacle.
    pub kind: LaterKind,
    /// In the words of the stage or the gate.
    pub message: String,
}

impl fmt::Display for LaterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.message)
    }
}

/// Kinds of "not now". All but `Transport` and `Failed` use no attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LaterKind {
    /// The stage asked for it.
    Asked,
    /// A site or service asked us to slow down.
    RateLimited,
    /// Something is down as a whole: the proxy, a site, a service.
    Down,
    /// A site refuses us; its circuit decides when.
    Blocked,
    /// A site wants a session.
    LoginRequired,
    /// A budget is spent; its next day decides when.
    Budget,
    /// Counted: one address failed while its site works.
    Transport,
    /// Counted: the stage failed.
    Failed,
}

impl LaterKind {
    /// Whether it uses an attempt.
    #[must_use]
    pub fn is_counted(self) -> bool {
        matches!(self, Self::Transport | Self::Failed)
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "not yet",
            Self::RateLimited => "rate limited",
            Self::Down => "down",
            Self::Blocked => "blocked",
            Self::LoginRequired => "login required",
            Self::Budget => "budget spent",
            Self::Transport => "transport error",
            Self::Failed => "failed",
        }
    }
}

/// Why the host did not run a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "skip", rename_all = "kebab-case")]
pub enum SkipReason {
    /// Its `when` was false.
    Condition {
        /// The expression.
        when: String,
    },
    /// A stage rejected the item.
    Rejected {
        /// That stage.
        by: StageName,
        /// In its words.
        reason: String,
    },
    /// An alternative that comes before it in order of cost was done.
    Alternative {
        /// That stage.
        served_by: StageName,
    },
    /// A person left the item out.
    Excluded {
        /// In their words.
        reason: String,
    },
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Condition { when } => write!(f, "skipped: `{when}` is false"),
            Self::Rejected { by, reason } => write!(f, "skipped: {by} rejected the item: {reason}"),
            Self::Alternative { served_by } => write!(f, "skipped: {served_by} is done"),
            Self::Excluded { reason } => write!(f, "excluded: {reason}"),
        }
    }
}

/// What went wrong with a task or an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskError {
    /// Its kind.
    pub kind: ErrorKind,
    /// What happened, for a person.
    pub message: String,
}

impl TaskError {
    /// An error whose message is cut to [`MESSAGE_BYTES_MAX`] and stripped of control characters (trap 23).
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl AsRef<str>) -> Self {
        Self { kind, message: clean_message(message.as_ref()) }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.message)
    }
}

/// Makes a text from a guest or a site fit to store, log and print: no control characters but newline and tab,
/// at most [`MESSAGE_BYTES_MAX`] bytes.
#[must_use]
pub fn clean_message(message: &str) -> String {
    let mut clean = String::with_capacity(message.len().min(MESSAGE_BYTES_MAX));
    for c in message.chars() {
        if clean.len() + c.len_utf8() > MESSAGE_BYTES_MAX {
            clean.push_str(" … (cut)");
            break;
        }
        if !c.is_control() || matches!(c, '\n' | '\t') {
            clean.push(c);
        } else {
            clean.push('\u{fffd}');
        }
    }
    clean
}

/// Kinds of errors of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The stage said `failed`.
    Failed,
    /// The stage said that the item can never succeed.
    Permanent,
    /// The output breaks the stage's contract.
    Contract,
    /// The guest trapped: panic, out of memory, unreachable code.
    Trap,
    /// The task's time ran out.
    Timeout,
    /// A limit of the sandbox was reached.
    Limit,
    /// One address failed while its site works.
    Transport,
    /// Trapped or timed out twice in a row.
    Poison,
    /// Waited longer than `retry-for`.
    Expired,
    /// The host could not do its part; says which.
    Host,
}

impl ErrorKind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Permanent => "permanent",
            Self::Contract => "contract",
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::Transport => "transport",
            Self::Poison => "poison",
            Self::Expired => "expired",
            Self::Host => "host",
        }
    }
}

/// Where a task that a person opens again has the answers from that it has paid for before: of
/// models, searches, speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answers {
    /// All are asked for, and paid for, again.
    #[default]
    Anew,
    /// Those to the very same requests are taken as they were; a request that differs is paid for.
    Kept,
}

/// What is counted of a task since it was last opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Attempts ever, which numbers them; never reset.
    pub attempts: u32,
    /// Attempts that count towards the bound.
    pub counted: u32,
    /// Traps and timeouts in a row.
    pub crashes: u32,
    /// When the first attempt since the opening ended.
    pub first_at: Option<Timestamp>,
    /// Answers that attempts up to this one have paid for are taken again, since a person asked for it; absent: until
    /// the task ends, what it asks is asked anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuses: Option<u32>,
}

impl Tally {
    /// The tally of a task that is opened again: attempts go on being numbered, nothing else is held against it.
    #[must_use]
    pub fn reopened(self) -> Self {
        Self { attempts: self.attempts, ..Self::default() }
    }

    /// The tally of a task that is opened again by a person who wants answers made anew, or those of all
    /// attempts so far taken again.
    #[must_use]
    pub fn with_answers(self, answers: Answers) -> Self {
        Self { reuses: (answers == Answers::Kept && self.attempts > 0).then_some(self.attempts), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap23_messages_cannot_forge_terminal_sequences() {
        let error = TaskError::new(ErrorKind::Failed, "a\u{1b}[2Jb\r\nc\u{9b}d");
        assert_eq!(error.message, "a\u{fffd}[2Jb\u{fffd}\nc\u{fffd}d");
    }

    #[test]
    fn messages_have_an_end() {
        let error = TaskError::new(ErrorKind::Failed, "é".repeat(5_000));
        assert!(error.message.len() < MESSAGE_BYTES_MAX + 20);
        assert!(error.message.ends_with("(cut)"));
    }
}
