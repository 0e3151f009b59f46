//! What is wrong with a jobs.toml: where, what, and what to do about it.

use std::fmt;

/// A place in jobs.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// From 1; 0: the file as a whole.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl Place {
    /// The place of a byte offset.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { line: count(before.matches('\n').count() + 1), column: count(before[line_start..].chars().count() + 1) }
    }
}

/// One thing wrong, or doubtful, with a jobs.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the person named it.
    pub file: String,
    /// Where in it.
    pub at: Place,
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// What to do: a sentence.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.at.line > 0 {
            write!(f, ":{}:{}", self.at.line, self.at.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  {help}")?;
        }
        Ok(())
    }
}

impl Diagnostic {
    /// All of them, one below the other.
    #[must_use]
    pub fn all(diagnostics: &[Self]) -> String {
        diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}

/// Names that are less alike than this aren't offered: a slip of the finger, not another word.
const LIKENESS_MIN: f64 = 0.75;

/// What to do about a name that isn't known: the nearest one, then all, which `are` introduces.
#[must_use]
pub fn did_you_mean(unknown: &str, known: &[&str], are: &str) -> String {
    let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
    let nearest = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let meant = match nearest.filter(|nearest| likeness(nearest) > LIKENESS_MIN) {
        Some(nearest) => format!("did you mean `{nearest}`? "),
        None => String::new(),
    };
    format!("{meant}{are} {}", known.join(", "))
}
