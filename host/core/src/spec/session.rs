//! `[session.NAME]`: the chain that gives sites their cookies.

use std::path::PathBuf;

use super::{Place, tools::fits};

/// `[session.NAME]`, complete: where its cookies come from, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSpec {
    /// Its name.
    pub name: String,
    /// A Netscape cookie file, relative to the folder of jobs.toml. Where it is, nothing else is asked.
    pub file: Option<PathBuf>,
    /// A browser on this machine, where a person has logged in.
    pub browser: Option<BrowserSpec>,
    /// How a persistent cookie becomes a session; absent: it is the session.
    pub exchange: Option<ExchangeSpec>,
    /// An address that says whether a session is taken, for people who ask.
    pub test: Option<String>,
    /// Where it stands.
    pub at: Place,
}

/// Which cookies are read from which browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserSpec {
    /// The browser.
    pub store: BrowserStore,
    /// The cookies' names; at least one.
    pub cookies: Vec<CookiePattern>,
    /// The folder of its profile, relative to that of jobs.toml; absent: all that are where the browser keeps them.
    pub profile: Option<PathBuf>,
}

/// A browser whose cookies can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrowserStore {
    /// Google Chrome.
    Chrome,
    /// Chromium.
    Chromium,
    /// Firefox.
    Firefox,
}

impl BrowserStore {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chrome, Self::Chromium, Self::Firefox];

    /// As it stands in jobs.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chrome => "chrome",
            Self::Chromium => "chromium",
            Self::Firefox => "firefox",
        }
    }
}

/// How persistent cookies become a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeSpec {
    /// Asked with the persistent cookies; its site has the session.
    pub url: String,
    /// The cookies that it gives, all of which must come; at least one.
    pub keeps: Vec<CookiePattern>,
}

/// A cookie's name, in which `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookiePattern(String);

impl CookiePattern {
    /// A name, or a pattern of one; absent, if no cookie can be named so.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_possible = |byte: u8| byte.is_ascii_graphic() && !br#"()<>@,;:\"/[]?={}"#.contains(&byte);
        (!text.is_empty() && text.bytes().all(is_possible)).then(|| Self(text.to_owned()))
    }

    /// Whether a cookie is named so.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        fits(&self.0, name)
    }
}

impl std::fmt::Display for CookiePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
