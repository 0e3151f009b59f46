//! `guard = […]` of a site: rules as they are written, to rules that hold.

use std::time::Duration;

use serde_spanned::Spanned;

use super::{Reader, Zero};
use crate::spec::{
    diagnostic::did_you_mean,
    guard::{Css, GuardOutcome, GuardRule, GuardSpec, HeaderTest},
    raw::{RawAmount, RawGuard, RawOneOrMany, RawSite},
};

/// Largest bound of prose, in characters: a page with more of it is no wall.
const BELOW_MAX: u32 = 2_000;
/// Status codes of answers that a guard can see.
const STATUSES: std::ops::RangeInclusive<u16> = 200..=599;

impl Reader<'_> {
    /// A site's guards. Like every key, `guard` is the site's own or else that of `*`: the two lists aren't joined, so
    /// that what holds for a site can be read in one place.
    pub(super) fn guards(&mut self, raw: &RawSite, base: &RawSite) -> GuardSpec {
        let rules = raw.guard.as_ref().or(base.guard.as_ref());
        let rules = rules.map(|rules| rules.as_ref().iter().filter_map(|rule| self.guard(rule)).collect());
        let builtin = raw.guard_builtin.as_ref().or(base.guard_builtin.as_ref());
        GuardSpec { rules: rules.unwrap_or_default(), builtin: builtin.is_none_or(|builtin| *builtin.as_ref()) }
    }

    fn guard(&mut self, raw: &Spanned<RawGuard>) -> Option<GuardRule> {
        let guard = raw.as_ref();
        let outcome = self.outcome(&guard.outcome);
        let text = self.guard_texts("text", guard.text.as_ref());
        let title = self.guard_texts("title", guard.title.as_ref());
        let header = self.guard_texts("header", guard.header.as_ref());
        let path = self.paths(guard.path.as_ref());
        let status = self.statuses(guard.status.as_ref());
        let require = guard.require.as_ref().and_then(|require| self.required(require));
        let below = guard.below.as_ref().map(|_| self.count("below", guard.below.as_ref(), 1..=BELOW_MAX, 1));
        let after = self.left_alone_for(outcome, guard.r#for.as_ref());
        let says_nothing = guard.text.is_none()
            && guard.title.is_none()
            && guard.header.is_none()
            && guard.status.is_none()
            && guard.require.is_none()
            && guard.below.is_none();
        if says_nothing {
            let help = "add text = [\"…\"], title, header, status, require = \"SELECTOR\" or below = 200".to_owned();
            self.say(raw.span(), "a guard that says of no page what is wrong with it", Some(help));
        }
        let header = header.iter().map(|header| header_test(header)).collect();
        let at = self.place(raw.span());
        Some(GuardRule { text, title, header, status, path, require, below, outcome: outcome?, after, at })
    }

    /// `for`: how long the site is left alone over what is rate-limited.
    pub(super) fn left_alone_for(
        &mut self,
        outcome: Option<GuardOutcome>,
        after: Option<&Spanned<RawAmount>>,
    ) -> Option<Duration> {
        let after = after?;
        if outcome.is_some_and(|outcome| outcome != GuardOutcome::RateLimited) {
            let help = "take it out, or write outcome = \"rate-limited\"".to_owned();
            self.say(after.span(), "only what is rate-limited has a `for`", Some(help));
        }
        self.time("for", after, Zero::Refused)
    }

    pub(super) fn outcome(&mut self, word: &Spanned<String>) -> Option<GuardOutcome> {
        let outcome = GuardOutcome::from_word(word.as_ref());
        if outcome.is_none() {
            let known = GuardOutcome::ALL.map(GuardOutcome::as_str);
            let help = did_you_mean(word.as_ref(), &known, "there are");
            self.say(word.span(), format!("outcome is {:?}", word.as_ref()), Some(help));
        }
        outcome
    }

    /// Texts of a rule. An empty one stands in every page.
    fn guard_texts(&mut self, key: &str, value: Option<&Spanned<RawOneOrMany>>) -> Vec<String> {
        let Some(value) = value else {
            return Vec::new();
        };
        let texts: Vec<(std::ops::Range<usize>, String)> = value.as_ref().texts(value.span());
        if texts.is_empty() {
            let help = format!("write {key} = [\"…\"], or take it out");
            self.say(value.span(), format!("{key} is an empty list, which no page meets"), Some(help));
        }
        for (span, text) in &texts {
            if text.trim().is_empty() {
                let help = "write some words that only such a page has".to_owned();
                self.say(span.clone(), format!("{key} is an empty text, which every page meets"), Some(help));
            }
        }
        texts.into_iter().map(|(_, text)| text).collect()
    }

    fn paths(&mut self, value: Option<&Spanned<RawOneOrMany>>) -> Vec<String> {
        let paths = self.guard_texts("path", value);
        if let Some((value, path)) =
            value.zip(paths.iter().find(|path| !path.trim().is_empty() && !path.starts_with('/')))
        {
            self.say(value.span(), format!("path is {path:?}"), Some("begin it with /".to_owned()));
        }
        paths
    }

    fn statuses(&mut self, value: Option<&Spanned<Vec<Spanned<RawAmount>>>>) -> Vec<u16> {
        let values = value.map(|value| value.as_ref().as_slice()).unwrap_or_default();
        values.iter().map(|status| self.count("status", Some(status), STATUSES, *STATUSES.start())).collect()
    }

    fn required(&mut self, text: &Spanned<String>) -> Option<Css> {
        Css::parse(text.as_ref())
            .map_err(|error| {
                let help = "write one such as \"article.story\" or \"#main h1\"".to_owned();
                self.say(text.span(), format!("require: {:?} is no CSS selector: {error}", text.as_ref()), Some(help));
            })
            .ok()
    }
}

/// `cf-mitigated`, or `cf-mitigated: challenge`.
fn header_test(text: &str) -> HeaderTest {
    let lower = text.trim().to_lowercase();
    match lower.split_once(':') {
        Some((name, value)) => HeaderTest { name: name.trim().to_owned(), value: Some(value.trim().to_owned()) },
        None => HeaderTest { name: lower, value: None },
    }
}
