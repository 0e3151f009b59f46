//! A site's own rules, as jobs.toml has them.

use scraper::Html;
use tollgate_core::spec::guard::{GuardRule, HeaderTest};

use super::{GuardLayer, Page, charset, text::normalised, view::View};

/// The layer by which a rule holds of a page, and the words for it; absent, if it doesn't.
pub(super) fn holds(rule: &GuardRule, page: &Page<'_>, view: &View) -> Option<(GuardLayer, String)> {
    let path = url::Url::parse(page.url).map_or_else(|_| String::new(), |url| url.path().to_owned());
    if !rule.path.is_empty() && !rule.path.iter().any(|start| path.starts_with(start)) {
        return None;
    }
    if rule.below.is_some_and(|below| !is_below(view, below)) {
        return None;
    }
    // What is named first in the message is what a person would look for first.
    let mut by: Option<(GuardLayer, String)> = None;
    let mut also = |layer, words: String| by = by.take().or(Some((layer, words)));
    if !rule.text.is_empty() {
        let found = rule
            .text
            .iter()
            .find(|text| view.shown.contains(&normalised(text)) || view.title().contains(&normalised(text)))?;
        also(GuardLayer::Text, format!("text `{found}`"));
    }
    if !rule.title.is_empty() {
        let found = rule.title.iter().find(|text| view.title().contains(&normalised(text)))?;
        also(GuardLayer::Text, format!("title `{found}`"));
    }
    if !rule.header.is_empty() {
        let found = rule.header.iter().find(|test| has_header(page, test))?;
        also(GuardLayer::Header, format!("header `{found}`"));
    }
    if !rule.status.is_empty() {
        rule.status.iter().find(|status| **status == page.status)?;
        also(GuardLayer::Status, format!("status {}", page.status));
    }
    if let Some(css) = &rule.require {
        // What is cut, or was never served, needn't have it.
        let is_judged = view.html().is_some() && !page.is_cut && (200..300).contains(&page.status);
        if !is_judged || has(page, &css.selector) {
            return None;
        }
        also(GuardLayer::Structure, format!("without `{}`", css.text));
    }
    if let Some(below) = rule.below {
        also(GuardLayer::Structure, format!("below {below} characters"));
    }
    by
}

fn is_below(view: &View, below: u32) -> bool {
    view.html().is_some_and(|html| u32::try_from(html.prose).is_ok_and(|prose| prose < below))
}

fn has_header(page: &Page<'_>, test: &HeaderTest) -> bool {
    let mut values = page.headers.iter().filter(|(name, _)| *name == test.name).map(|(_, value)| value);
    values.any(|value| test.value.as_ref().is_none_or(|wanted| value.to_lowercase().contains(wanted)))
}

/// Whether the selector matches anything. The one place where a page's tree is made.
fn has(page: &Page<'_>, selector: &scraper::Selector) -> bool {
    let text = charset::decode(page.body, page.header("content-type").unwrap_or_default());
    Html::parse_document(&text).select(selector).next().is_some()
}
