//! Guards: whether a page is the content that was asked for, by its status, its headers and
//! what it says (R01, trap 14).
//!
//! A pure function over an answer: the gate asks it of each, and stored pages can be asked again after rules changed.
//! In this order: the header by which a CDN says that it put itself in the way; the site's own rules, then those that
//! Tollgate brings along (data: `builtin`, `meanings`), of what a page says; last those of what it
//! lacks, the site's first.

mod builtin;
mod charset;
mod envelope;
mod heard;
mod markup;
mod meanings;
mod own;
mod signature;
mod text;
mod view;
mod waits;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use tollgate_core::{
    Timestamp,
    http::retry_after,
    spec::{GuardOutcome, GuardRule, GuardSpec},
};

use self::{
    builtin::{About, FIRST, Is, RULES, Rule},
    heard::{Heard, HeardLine},
    markup::PROSE_MAX,
    meanings::Meaning,
    view::{Kind, View},
};
use crate::spool::Spooled;

pub use signature::{SIGNED_LETTERS_MIN, signature};
pub use view::shown;

/// The rule by which pages are caught that too many items were served.
pub const DUPLICATE: &str = "duplicate";
/// How the rules are named by which checks catch pages: `check.sane`.
pub const CHECK_PREFIX: &str = "check.";
/// Bytes of a body that guards look at: whatever stays in memory (`spool`). Walls are far smaller, and what is cut
/// can't be told by what it lacks.
pub const GUARDED_BYTES_MAX: usize = 1 << 20;
/// Longest wait taken from a page's words, as from a header: one that says more is looked at again after a day.
const AFTER_MAX: Duration = Duration::from_hours(24);
/// Characters of an excerpt.
pub const EXCERPT_CHARS_MAX: usize = 160;
/// Characters that a page may show and still count as showing nothing.
const SHOWN_NOTHING_MAX: usize = 40;
/// Lines that a page begins with, its title included: further down, a list of walls has lines like theirs.
const FIRST_LINES: usize = 4;
/// Characters of prose beside the word that a page is loading.
const LOADING_PROSE_MAX: usize = 20;

/// An answer to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The address that it came from.
    pub url: &'a str,
    /// Its status code.
    pub status: u16,
    /// Its headers; names in lower case.
    pub headers: &'a [(String, String)],
    /// The beginning of its body, unpacked.
    pub body: &'a [u8],
    /// There is more of the body than that.
    pub is_cut: bool,
}

impl Page<'_> {
    /// A header's first value.
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A page that was served as such: what is missing from another is no surprise.
    fn is_served(&self) -> bool {
        (200..300).contains(&self.status) && self.status != 206
    }
}

/// Which layer of guards caught a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardLayer {
    /// A header.
    Header,
    /// The status code.
    Status,
    /// What the page says.
    Text,
    /// How it is made: what it lacks, asks for, or sends its visitor to.
    Structure,
    /// A model was asked, once the page was stored.
    Model,
}

impl GuardLayer {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Status => "status",
            Self::Text => "text",
            Self::Structure => "structure",
            Self::Model => "model",
        }
    }
}

/// Why a page isn't content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// Which layer caught it.
    pub layer: GuardLayer,
    /// Which rule: `wall.challenge` of those that Tollgate brings along, `jobs.toml:12` of a site's own.
    pub rule: String,
    /// It is one of those that Tollgate brings along.
    pub builtin: bool,
    /// What it means.
    pub outcome: GuardOutcome,
    /// It is a page of the proxy's, which says nothing of the site.
    pub is_proxys: bool,
    /// How long to wait, where the rule, a header or the page says so; from 0 to a day.
    pub after: Option<Duration>,
    /// The words by which it was caught, or the first that it shows.
    pub excerpt: String,
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.builtin { "built-in, " } else { "" };
        write!(f, "guard `{}` ({whose}{}): {}", self.rule, self.layer.as_str(), self.outcome)?;
        if self.excerpt.is_empty() { Ok(()) } else { write!(f, ", {:?}", self.excerpt) }
    }
}

/// A guarded page, to be kept apart: it is no content, and is never served as such.
#[derive(Debug)]
pub struct GuardedPage {
    /// Why.
    pub guarded: Guarded,
    /// Its address.
    pub url: String,
    /// Its status code.
    pub status: u16,
    /// Its media type, if it says one.
    pub content_type: Option<String>,
    /// Its body.
    pub body: Spooled,
}

/// Judges a page. Absent: as far as guards can tell, it is content.
///
/// Redirects are no pages, and aren't to be asked about. `now` is when the answer came: a Retry-After may be a date.
#[must_use]
pub fn judge(page: &Page<'_>, guards: &GuardSpec, now: Timestamp) -> Option<Guarded> {
    let empty = View::empty();
    if guards.builtin && conditions_hold(&FIRST, page, &empty).is_some() {
        return Some(verdict(&FIRST, page, &View::of(page, PROSE_MAX), String::new(), now));
    }
    // What is missing says so by its status, whatever else its page says.
    let asks_builtin = guards.builtin && !matches!(page.status, 404 | 410);
    if guards.rules.is_empty() && !asks_builtin {
        return None;
    }
    let prose_max = if guards.rules.is_empty() { builtin::PROSE_MAX } else { PROSE_MAX };
    let view = View::of(page, prose_max);
    let own = |by_lack: bool| guards.rules.iter().filter(move |rule| rule.is_by_lack() == by_lack);
    let own = |by_lack| own(by_lack).find_map(|rule| own_verdict(rule, page, &view, now));
    let builtin = |by_lack: bool| {
        let asked =
            RULES.iter().filter(move |rule| asks_builtin && by_lack == (rule.outcome == GuardOutcome::NotContent));
        // A page that was not served can't be told by what it lacks, and says by its status what it is.
        let mut asked = asked.filter(|_| !by_lack || page.is_served());
        asked.find_map(|rule| Some(verdict(rule, page, &view, conditions_hold(rule, page, &view)?, now)))
    };
    // What a page says of itself goes before what it lacks: a page of signing in has no article either.
    own(false).or_else(|| builtin(false)).or_else(|| own(true)).or_else(|| builtin(true))
}

fn own_verdict(rule: &GuardRule, page: &Page<'_>, view: &View, now: Timestamp) -> Option<Guarded> {
    let (layer, excerpt) = own::holds(rule, page, view)?;
    let after = rule.after.or_else(|| asked(page, view, now)).filter(|_| rule.outcome == GuardOutcome::RateLimited);
    Some(Guarded {
        layer,
        rule: format!("jobs.toml:{}", rule.at.line),
        builtin: false,
        outcome: rule.outcome,
        is_proxys: false,
        after,
        excerpt,
    })
}

/// Whether a rule, by its name in [`Guarded`], looks at headers: a page that is kept without
/// them can't be judged by it.
#[must_use]
pub fn needs_headers(rule: &str, guards: &GuardSpec) -> bool {
    let of_site = guards.rules.iter().find(|own| rule == format!("jobs.toml:{}", own.at.line));
    let looks = |known: &Rule| known.when.iter().any(|is| matches!(is, Is::Header(..) | Is::BusyFor));
    let known = std::iter::once(&FIRST).chain(RULES);
    of_site.is_some_and(|own| !own.header.is_empty()) || known.filter(|known| known.name == rule).any(looks)
}

fn verdict(rule: &Rule, page: &Page<'_>, view: &View, words: String, now: Timestamp) -> Guarded {
    let excerpt = if words.is_empty() { view.heard().first_line() } else { &words };
    Guarded {
        layer: layer(rule),
        rule: rule.name.to_owned(),
        builtin: true,
        outcome: rule.outcome,
        is_proxys: rule.about == About::Proxy,
        after: asked(page, view, now).filter(|_| rule.outcome == GuardOutcome::RateLimited),
        excerpt: excerpt.chars().take(EXCERPT_CHARS_MAX).collect(),
    }
}

/// How long a page asks to wait: by header, by field, in words.
fn asked(page: &Page<'_>, view: &View, now: Timestamp) -> Option<Duration> {
    let header = page.header("retry-after").and_then(|text| retry_after(text, now));
    let field = || view.json().and_then(|json| json.after);
    header.or_else(field).or_else(|| waits::named_in(&view.heard().lines)).map(|after| after.min(AFTER_MAX))
}

/// The layer of a rule is that of its first condition.
fn layer(rule: &Rule) -> GuardLayer {
    match rule.when.first() {
        Some(Is::Header(..)) => GuardLayer::Header,
        Some(Is::Status(_) | Is::BusyFor | Is::Refused) => GuardLayer::Status,
        Some(
            Is::Password
            | Is::SendsTo(_)
            | Is::Empty
            | Is::StillLoading
            | Is::JsonBlocked
            | Is::JsonProxy
            | Is::JsonNull,
        ) => GuardLayer::Structure,
        _ => GuardLayer::Text,
    }
}

/// The words by which a rule holds, perhaps none; absent, if it doesn't.
fn conditions_hold(rule: &Rule, page: &Page<'_>, view: &View) -> Option<String> {
    let mut words = String::new();
    // By far the most pages have too much prose for a rule: for those, nobody listens to what they say.
    let is_short_enough =
        |condition: &Is| !matches!(condition, Is::Prose(_)) || holds(*condition, page, view).is_some();
    if !rule.when.iter().all(is_short_enough) {
        return None;
    }
    for condition in rule.when {
        let line = holds(*condition, page, view)?;
        if words.is_empty() {
            words = line;
        }
    }
    Some(words)
}

/// The line by which a condition holds, empty where it holds without one; absent, if it doesn't hold.
fn holds(condition: Is, page: &Page<'_>, view: &View) -> Option<String> {
    let yes = |holds: bool| holds.then(String::new);
    let html = view.html();
    let line = |wanted: &dyn Fn(&HeardLine) -> bool| {
        html.and(view.heard().lines.iter().find(|line| wanted(line))).map(|line| line.text.clone())
    };
    let says_one = |heard: &Heard, wanted: &[Meaning]| {
        heard
            .lines
            .iter()
            .find(|line| wanted.iter().any(|meaning| line.says.has(*meaning)))
            .map(|line| line.text.clone())
    };
    match condition {
        Is::Header(name, value) => {
            yes(page.header(name).is_some_and(|found| found.to_ascii_lowercase().contains(value)))
        }
        Is::Status(statuses) => yes(statuses.contains(&page.status)),
        Is::Refused => yes(page.status >= 400 && !matches!(page.status, 404 | 410)),
        Is::BusyFor => yes(page.status == 503 && page.header("retry-after").is_some()),
        Is::Says(all) => yes(view.heard().says.has_all(all)),
        Is::Line(all) => line(&|line| line.says.has_all(all)),
        Is::LineFrom(first, all) => line(&|line| line.begins.has(first) && line.says.has_all(all)),
        Is::Just(meaning) => {
            let first = view.heard().lines.iter().take(FIRST_LINES).find(|line| line.is_just.has(meaning));
            html.and(first).map(|line| line.text.clone())
        }
        Is::Heading(all) => {
            let found = view.headings().lines.iter().find(|line| line.says.has_all(all));
            html.and(found).map(|line| line.text.clone())
        }
        Is::Title(meaning) => {
            let title = view.headings().lines.first().filter(|_| !view.title().is_empty());
            title.filter(|title| title.begins.has(meaning)).map(|title| title.text.clone())
        }
        Is::Number => {
            let told =
                view.heard().lines.iter().find(|line| line.says.has(Meaning::Reference) && has_number(&line.text));
            told.map(|line| line.text.clone())
        }
        Is::Wait(meaning) => line(&|line| line.says.has(meaning) && waits::in_line(&line.text).is_some()),
        Is::Fallback(any) if shows_nothing(view) => says_one(view.fallback(), any),
        Is::Fallback(_) => None,
        Is::Prose(most) => yes(html.is_none_or(|html| html.prose <= most)),
        Is::NoForm => yes(html.is_none_or(|html| !html.textarea)),
        Is::Password => yes(html.is_some_and(|html| html.password)),
        Is::SendsTo(meaning) => yes(html.is_some_and(|html| sends_to(&html.sends_to, meaning))),
        Is::Empty => {
            yes(html
                .is_some_and(|html| view.shown.is_empty() && html.media + html.frames == 0 && html.sends_to.is_empty()))
        }
        Is::StillLoading => {
            let is_bare = html.is_some_and(|html| html.prose <= LOADING_PROSE_MAX && html.media + html.frames == 0);
            line(&|line| line.is_just.has(Meaning::Loading) && !line.heading).filter(|_| is_bare)
        }
        Is::Error(any) => {
            view.json().filter(|json| json.is_error)?;
            says_one(view.heard(), any)
        }
        Is::JsonBlocked => yes(view.json().is_some_and(|json| json.is_blocked)),
        Is::JsonProxy => yes(view.json().is_some_and(|json| json.is_error && json.is_proxys)),
        Is::JsonNull => yes(view.json().is_some_and(|json| json.is_null)),
        Is::Plain(any) => {
            let first = view.heard().lines.first().filter(|_| matches!(view.kind, Kind::Plain))?;
            any.iter().any(|meaning| first.begins.has(*meaning)).then(|| first.text.clone())
        }
    }
}

/// Whether a line has something that an incident is known by: a word of some length with a figure in it.
fn has_number(line: &str) -> bool {
    let mut words = line.split(|char: char| !(char.is_ascii_alphanumeric() || matches!(char, '.' | '-')));
    words.any(|word| word.len() >= 5 && word.bytes().filter(u8::is_ascii_digit).count() >= 3)
}

fn shows_nothing(view: &View) -> bool {
    text::weight(&view.shown) <= 2 * SHOWN_NOTHING_MAX
}

/// Whether an address is a place of signing in, by its host and path.
pub(crate) fn is_place_of_signing_in(url: &url::Url) -> bool {
    // `sign_in` is as common there as `sign-in`.
    let place = format!("{} {}", url.host_str().unwrap_or_default(), url.path()).to_lowercase().replace('_', "-");
    sends_to(&place, Meaning::SignInPlace)
}

/// Whether one of the addresses or fields that a page sends its visitor by is such a place.
fn sends_to(targets: &str, meaning: Meaning) -> bool {
    let lines = [markup::Line { text: targets.replace('\n', " "), heading: false }];
    Heard::of("", &lines).says.has(meaning)
}

#[cfg(test)]
mod tests;
