//! A site's guards: which of its pages aren't the content asked for, and what each means (R01, R02).

use std::{fmt, time::Duration};

use scraper::Selector;
use serde::{Deserialize, Serialize};

use super::Place;

/// What a guarded page means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardOutcome {
    /// It goes away by waiting: a limit, a queue, maintenance. The site cools down for every job.
    RateLimited,
    /// It wants an account or a session.
    LoginRequired,
    /// It refuses us, or checks who we are. The site's circuit opens.
    Blocked,
    /// It isn't the page asked for: gone, a consent wall, an empty shell. That address failed, and nothing else.
    NotContent,
}

impl GuardOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::RateLimited, Self::LoginRequired, Self::Blocked, Self::NotContent];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate-limited",
            Self::LoginRequired => "login-required",
            Self::Blocked => "blocked",
            Self::NotContent => "not-content",
        }
    }

    /// From how it is written.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

impl fmt::Display for GuardOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `guard = […]` and `guard-builtin` of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardSpec {
    /// The site's own rules, in the file's order: the first that holds decides.
    pub rules: Vec<GuardRule>,
    /// Whether the rules that Tollgate brings along are asked after them.
    pub builtin: bool,
}

impl Default for GuardSpec {
    fn default() -> Self {
        Self { rules: Vec::new(), builtin: true }
    }
}

/// One rule. It holds where all that it names does; of several texts, titles, headers, statuses
/// or paths, one is enough.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardRule {
    /// Texts, of which one stands in what the page shows. Case, white space and typographic quotes don't matter.
    pub text: Vec<String>,
    /// Texts, of which one stands in its title.
    pub title: Vec<String>,
    /// Headers, of which one is there.
    pub header: Vec<HeaderTest>,
    /// Status codes, of which one is the answer's.
    pub status: Vec<u16>,
    /// Beginnings of paths, of which one is that of the page's address; empty: every page.
    pub path: Vec<String>,
    /// A page of HTML in which this matches nothing.
    pub require: Option<Css>,
    /// A page with fewer characters of prose than that: navigation and links left out.
    pub below: Option<u32>,
    /// What such a page means.
    pub outcome: GuardOutcome,
    /// How long the site is left alone; only of [`GuardOutcome::RateLimited`]. Absent: what the page says, else the
    /// site's cool-down.
    pub after: Option<Duration>,
    /// Where it stands.
    pub at: Place,
}

impl GuardRule {
    /// Whether it holds by what a page lacks alone. What a page says of itself is more.
    #[must_use]
    pub fn is_by_lack(&self) -> bool {
        self.text.is_empty() && self.title.is_empty() && self.header.is_empty() && self.status.is_empty()
    }
}

/// A header that is there, with a text in its value if one is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderTest {
    /// Its name, in lower case.
    pub name: String,
    /// Stands in its value, in lower case; absent: any value.
    pub value: Option<String>,
}

impl fmt::Display for HeaderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: {value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A CSS selector, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Css {
    /// As it is written.
    pub text: String,
    /// As it is matched.
    pub selector: Selector,
}

impl Css {
    /// Reads a selector.
    ///
    /// # Errors
    /// It is none; says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let selector = Selector::parse(text).map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), selector })
    }
}
