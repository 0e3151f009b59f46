//! Why a run gave nothing: what its handler is told, and what its attempt is judged by.

use std::{io, time::Duration};

use tollgate_core::{
    http::HttpError,
    outcome::{Refusal, RefusalKind},
    spec::{ToolSpec, tools::ToolOutcome},
    task::clean_message,
    time::Short,
    tool::ToolError,
};

use super::verdict::Trouble;
use crate::{Denial, Refused, error::refusal};

/// How long work waits for a program that isn't installed.
const MISSING_WAIT: Duration = Duration::from_mins(1);

/// A run that gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRefused {
    /// What the handler is told.
    pub error: ToolError,
    /// What the attempt is judged by; absent where only the handler can say what it means.
    pub refusal: Option<Refusal>,
    /// There was no room on the disk for its files: no wait helps, a person does.
    pub disk_full: bool,
    /// Policy let it not run, and why.
    pub denial: Option<Denial>,
}

impl ToolRefused {
    pub(super) fn new(error: ToolError, refusal: Option<Refusal>) -> Self {
        Self { error, refusal, disk_full: false, denial: None }
    }

    pub(super) fn denied(text: impl Into<String>) -> Self {
        Self { denial: Some(Denial::Tool), ..Self::new(ToolError::Denied(text.into()), None) }
    }

    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self::new(ToolError::Failed(text.into()), None)
    }

    pub(super) fn scratch(error: &io::Error) -> Self {
        Refused::storage(error).into()
    }
}

impl From<Refused> for ToolRefused {
    fn from(refused: Refused) -> Self {
        let error = match refused.error {
            HttpError::Denied(text) => ToolError::Denied(text),
            HttpError::Timeout(text) => ToolError::Timeout(text),
            HttpError::Connection(text) => ToolError::Connection(text),
            HttpError::RateLimited { after } => ToolError::RateLimited { after },
            HttpError::Blocked(text) => ToolError::Blocked(text),
            HttpError::LoginRequired(text) => ToolError::LoginRequired(text),
            other @ (HttpError::NotContent(_)
            | HttpError::TooLarge(_)
            | HttpError::InvalidRequest(_)
            | HttpError::Storage(_)
            | HttpError::Other(_)) => ToolError::Failed(other.to_string()),
        };
        let refusal = refused.refusal.map(|refusal| *refusal);
        Self { error, refusal, disk_full: refused.disk_full, denial: refused.denial }
    }
}

/// Why no profile gave an output.
pub(super) enum NoOutput {
    /// By the rules.
    Trouble(Trouble),
    /// It was killed.
    Deadline,
    /// It couldn't be started.
    Start(String),
    /// The scratch folder.
    Scratch(io::Error),
    /// A budget was spent by a profile that gave nothing, so the next one isn't tried.
    Budget(Box<Refused>),
}

/// What is said of one address, or of no site at all.
pub(super) fn by_its_word(outcome: ToolOutcome, wait: Option<Duration>, about: &str, text: String) -> ToolRefused {
    let kind = match outcome {
        ToolOutcome::Later => RefusalKind::Later,
        ToolOutcome::Permanent => RefusalKind::Permanent,
        _ => return ToolRefused::failed(text),
    };
    let refusal = refusal(kind, about, &text, wait);
    ToolRefused::new(ToolError::Failed(text), Some(refusal))
}

/// Why a tool that acts for no site gave nothing, or any before it could say a word.
pub(super) fn without_site(tool: &ToolSpec, time: Duration, no_output: NoOutput) -> ToolRefused {
    match no_output {
        NoOutput::Trouble(Trouble { outcome, wait, text }) => by_its_word(outcome, wait, &tool.name, text),
        NoOutput::Deadline => ToolRefused::new(ToolError::Timeout(deadline_text(tool, time)), None),
        NoOutput::Start(text) => ToolRefused::failed(format!("{} can't be started: {text}", tool.name)),
        NoOutput::Scratch(error) => ToolRefused::scratch(&error),
        NoOutput::Budget(spent) => ToolRefused::from(*spent),
    }
}

pub(super) fn deadline_text(tool: &ToolSpec, time: Duration) -> String {
    format!("{} was killed after {}", tool.name, Short(time))
}

pub(super) fn not_accepted(tool: &ToolSpec, arg: &str) -> ToolRefused {
    let (name, arg) = (&tool.name, clean_message(arg));
    ToolRefused::denied(format!(
        "tool {name} takes no {arg:?} there; `accepts` of [tool.{name}] in jobs.toml says what"
    ))
}

/// Absent programs are the whole machine's matter: work waits, uncounted, until a person has installed it.
pub(super) fn missing(tool: &ToolSpec) -> ToolRefused {
    let how = tool.install.as_ref().map_or_else(String::new, |install| format!(": {install}"));
    let text = format!("no program {:?}, which [tool.{}] names; install it{how}", tool.command, tool.name);
    let refusal = refusal(RefusalKind::Down, &format!("tool {}", tool.name), &text, Some(MISSING_WAIT));
    ToolRefused::new(ToolError::Missing(text), Some(refusal))
}
