//! A page as guards see it: what kind it is, and what it says.

use std::cell::OnceCell;

use super::{
    Page, charset,
    envelope::{self, Envelope},
    heard::Heard,
    markup::{self, Line, Markup},
    text::weight,
};

/// Longest plain text that may be a wall, in characters.
const PLAIN_MAX: usize = 200;

/// What kind of page it is.
#[derive(Debug)]
pub(super) enum Kind {
    /// HTML, whatever it calls itself.
    Html(Box<Markup>),
    /// JSON.
    Json(Envelope),
    /// Short plain text, or the code of an error in XML.
    Plain,
    /// Nothing that guards read: pictures, archives, long texts, no bytes at all.
    Other,
}

/// A page and what it says.
#[derive(Debug)]
pub(super) struct View {
    pub(super) kind: Kind,
    /// All that it shows, for a site's own texts.
    pub(super) shown: String,
    said: Vec<Line>,
    heard: OnceCell<Heard>,
    headings: OnceCell<Heard>,
    fallback: OnceCell<Heard>,
}

impl View {
    /// Looks at a page, at its prose as far as `prose_max` characters: what has more is content to those who ask.
    pub(super) fn of(page: &Page<'_>, prose_max: usize) -> Self {
        let content_type = page.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if page.body.is_empty() || is_binary(&content_type) {
            return Self::empty();
        }
        let text = charset::decode(page.body, &content_type);
        if let Some(mut envelope) = envelope::read(&text) {
            let said = std::mem::take(&mut envelope.says);
            let shown = super::text::normalised(&text);
            return Self::new(Kind::Json(envelope), said, shown);
        }
        let start = text.trim_start();
        if is_html(&content_type, start) {
            let mut found = markup::read(&text, prose_max);
            let (said, shown) = (std::mem::take(&mut found.said), std::mem::take(&mut found.shown));
            return Self::new(Kind::Html(Box::new(found)), said, shown);
        }
        let head = cut(&text, markup::TEXT_BYTES_MAX);
        let said = plain(start, content_type.contains("xml"));
        let kind = if said.is_some() { Kind::Plain } else { Kind::Other };
        Self::new(kind, said.into_iter().collect(), super::text::normalised(head))
    }

    /// Of a page that nothing was read of.
    pub(super) fn empty() -> Self {
        Self::new(Kind::Other, Vec::new(), String::new())
    }

    fn new(kind: Kind, said: Vec<Line>, shown: String) -> Self {
        let (heard, headings, fallback) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { kind, shown, said, heard, headings, fallback }
    }

    /// What it says: its title, and each line. Listened to when a rule first asks; of most pages, none does.
    pub(super) fn heard(&self) -> &Heard {
        self.heard.get_or_init(|| Heard::of(self.title(), &self.said))
    }

    /// What its title and its headings say.
    pub(super) fn headings(&self) -> &Heard {
        self.headings.get_or_init(|| Heard::of(self.title(), self.said.iter().filter(|line| line.heading)))
    }

    pub(super) fn html(&self) -> Option<&Markup> {
        match &self.kind {
            Kind::Html(markup) => Some(markup),
            Kind::Json(_) | Kind::Plain | Kind::Other => None,
        }
    }

    pub(super) fn json(&self) -> Option<&Envelope> {
        match &self.kind {
            Kind::Json(envelope) => Some(envelope),
            Kind::Html(_) | Kind::Plain | Kind::Other => None,
        }
    }

    pub(super) fn title(&self) -> &str {
        self.html().map_or("", |html| &html.title)
    }

    /// What stands in for content.
    pub(super) fn fallback(&self) -> &Heard {
        self.fallback.get_or_init(|| Heard::of("", self.html().map_or(&[][..], |html| &html.fallback)))
    }
}

/// All that a page says, its title first, as guards see it; absent: it is no text.
#[must_use]
pub fn shown(content_type: &str, body: &[u8]) -> Option<String> {
    let content_type = content_type.to_ascii_lowercase();
    if is_binary(&content_type) {
        return None;
    }
    let text = charset::decode(body, &content_type);
    if !is_html(&content_type, text.trim_start()) {
        return Some(super::text::normalised(&text));
    }
    let found = markup::whole(&text);
    Some(format!("{}\n{}", found.title, found.shown).trim().to_owned())
}

/// Whether a text, from its first word on, is HTML.
fn is_html(content_type: &str, start: &str) -> bool {
    let is_markup = start.starts_with('<') && !start.starts_with("<?xml");
    content_type.contains("html") && !start.starts_with(['{', '[']) || is_markup && content_type.is_empty()
}

/// Media types that no wall comes as.
fn is_binary(content_type: &str) -> bool {
    [
        "image/",
        "video/",
        "audio/",
        "font/",
        "application/pdf",
        "application/zip",
        "application/gzip",
        "application/octet-stream",
    ]
    .iter()
    .any(|kind| content_type.starts_with(kind))
}

fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A single short line; of XML, the code of an `<Error>`.
fn plain(text: &str, is_xml: bool) -> Option<Line> {
    if is_xml || text.starts_with('<') {
        let lower = cut(text, 2_000);
        let is_error = lower.contains("<Error>") || lower.contains("<error>");
        let (_, code) = lower.split_once("<Code>").or_else(|| lower.split_once("<code>")).filter(|_| is_error)?;
        return Some(Line { text: envelope::words(code.split('<').next()?), heading: false });
    }
    let text = text.trim_end();
    let is_short = text.len() <= 4 * PLAIN_MAX && weight(text) <= 2 * PLAIN_MAX;
    (is_short && !text.contains('\n')).then(|| Line { text: super::text::normalised(text), heading: false })
}
