//! Walks over a page for the tags that can link, and over all else as quickly as may be: most of a page is neither.
//!
//! It goes by the states of HTML's tokenization, <https://html.spec.whatwg.org/multipage/parsing.html#tokenization>, as
//! far as they tell where a tag begins and ends. What needs more than that, such as character references, is left to
//! html5gum, and a test holds the whole against it.

use std::borrow::Cow;

use html5gum::{Token, Tokenizer};

use crate::scan::position_of_any;

/// A start tag that can link.
pub(super) struct Tag<'a> {
    pub(super) name: Name,
    /// From `<` to `>`.
    source: &'a [u8],
    /// The first of that name, as it stands there.
    href: Option<&'a [u8]>,
    rel: Option<&'a [u8]>,
}

/// Elements whose `href` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// `<a>` or `<area>`.
    Link,
    /// `<base>`.
    Base,
}

impl<'a> Tag<'a> {
    pub(super) fn href(&self) -> Option<Cow<'a, [u8]>> {
        self.href.map(|href| self.value("href", href))
    }

    pub(super) fn rel(&self) -> Option<Cow<'a, [u8]>> {
        self.rel.map(|rel| self.value("rel", rel))
    }

    /// The value that an attribute has, whose text is `raw`.
    fn value(&self, name: &str, raw: &'a [u8]) -> Cow<'a, [u8]> {
        if position_of_any(raw, b"&\r\0").is_none() {
            return Cow::Borrowed(raw);
        }
        let value = Tokenizer::new(self.source).flatten().find_map(|token| match token {
            Token::StartTag(mut tag) => tag.attributes.remove(name.as_bytes()),
            _ => None,
        });
        value.map_or(Cow::Borrowed(raw), |value| Cow::Owned(value.value.0))
    }
}

/// The tags of a page that can link, in its order.
pub(super) struct Tags<'a> {
    page: &'a [u8],
    at: usize,
    /// Elements of SVG and MathML that are open.
    foreign: usize,
}

impl<'a> Tags<'a> {
    pub(super) fn of(page: &'a [u8]) -> Self {
        Self { page, at: 0, foreign: 0 }
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        loop {
            self.pass(b'<')?;
            match self.rest() {
                [b'!', b'-', b'-', ..] => self.pass_comment()?,
                [b'/', first, ..] if first.is_ascii_alphabetic() => {
                    self.at += 1;
                    if is_foreign(self.tag()?.name) {
                        self.foreign = self.foreign.saturating_sub(1);
                    }
                }
                [b'!' | b'?' | b'/', ..] => self.pass(b'>')?,
                [first, ..] if first.is_ascii_alphabetic() => {
                    let start = self.at - 1;
                    let Parts { name, href, rel, is_closed } = self.tag()?;
                    let source = &self.page[start..self.at];
                    if let Some(name) = linking(name) {
                        return Some(Tag { name, source, href, rel });
                    }
                    if is_closed && (self.foreign > 0 || is_foreign(name)) {
                        // `<title/>` of an SVG has no content; in HTML it has, whatever it says.
                        continue;
                    }
                    self.foreign += usize::from(is_foreign(name));
                    self.pass_text(name)?;
                }
                _ => {}
            }
        }
    }
}

/// What a tag is made of, as it stands there.
struct Parts<'a> {
    name: &'a [u8],
    href: Option<&'a [u8]>,
    rel: Option<&'a [u8]>,
    /// It ends in `/>`.
    is_closed: bool,
}

/// What is within a script: only there, comments and scripts within them count.
#[derive(Clone, Copy)]
enum Script {
    Plain,
    Escaped,
    DoubleEscaped,
}

fn linking(name: &[u8]) -> Option<Name> {
    if name.eq_ignore_ascii_case(b"a") || name.eq_ignore_ascii_case(b"area") {
        Some(Name::Link)
    } else if name.eq_ignore_ascii_case(b"base") {
        Some(Name::Base)
    } else {
        None
    }
}

fn is_foreign(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"svg") || name.eq_ignore_ascii_case(b"math")
}

/// Elements whose content is text, whatever it looks like. Without a tree it goes by the name alone: a link within a
/// title or style of an SVG isn't seen.
const TEXT_ONLY: [&[u8]; 8] =
    [b"title", b"textarea", b"style", b"xmp", b"iframe", b"noembed", b"noframes", b"noscript"];

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
}

fn ends_name(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b'/' | b'>')
}

/// Whether a text begins with that name, and the name is whole.
fn has_name(text: &[u8], name: &[u8]) -> bool {
    let head = text.split_at_checked(name.len());
    head.is_some_and(|(head, rest)| {
        head.eq_ignore_ascii_case(name) && rest.first().is_some_and(|next| ends_name(*next))
    })
}

/// Each answers nothing where the page ends before what it goes over does: what is cut short is no tag.
impl<'a> Tags<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.page[self.at..]
    }

    /// Goes behind the next byte of that kind.
    fn pass(&mut self, end: u8) -> Option<()> {
        self.at += position_of_any(self.rest(), &[end])? + 1;
        Some(())
    }

    fn pass_spaces(&mut self) -> Option<u8> {
        let spaces = self.rest().iter().position(|byte| !is_space(*byte))?;
        self.at += spaces;
        self.rest().first().copied()
    }

    /// Up to what `is_end` tells.
    fn take_until(&mut self, is_end: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
        let rest = self.rest();
        let length = rest.iter().position(|byte| is_end(*byte))?;
        self.at += length;
        Some(&rest[..length])
    }

    /// From `!--` on.
    fn pass_comment(&mut self) -> Option<()> {
        self.at += 3;
        match self.rest() {
            [b'>', ..] => self.at += 1,
            [b'-', b'>', ..] => self.at += 2,
            _ => loop {
                self.pass(b'-')?;
                match self.rest() {
                    [b'-', b'>', ..] => break self.at += 2,
                    [b'-', b'!', b'>', ..] => break self.at += 3,
                    _ => {}
                }
            },
        }
        Some(())
    }

    /// From the first letter of its name on.
    fn tag(&mut self) -> Option<Parts<'a>> {
        let name = self.take_until(ends_name)?;
        let (mut href, mut rel, mut is_closed) = (None, None, false);
        loop {
            match self.pass_spaces()? {
                b'>' => {
                    self.at += 1;
                    return Some(Parts { name, href, rel, is_closed });
                }
                b'/' => {
                    self.at += 1;
                    is_closed = self.rest().first() == Some(&b'>');
                }
                _ => {
                    let (attribute, value) = self.attribute()?;
                    if attribute.eq_ignore_ascii_case(b"href") {
                        href.get_or_insert(value);
                    } else if attribute.eq_ignore_ascii_case(b"rel") {
                        rel.get_or_insert(value);
                    }
                }
            }
        }
    }

    /// Name and value of an attribute, from the first character of its name on.
    fn attribute(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let start = self.at;
        // A name may begin with `=`.
        self.at += 1;
        self.take_until(|byte| ends_name(byte) || byte == b'=')?;
        let name = &self.page[start..self.at];
        if self.pass_spaces()? != b'=' {
            return Some((name, b""));
        }
        self.at += 1;
        let value = match self.pass_spaces()? {
            quote @ (b'"' | b'\'') => {
                let start = self.at + 1;
                self.at = start;
                self.pass(quote)?;
                &self.page[start..self.at - 1]
            }
            b'>' => b"",
            _ => self.take_until(|byte| is_space(byte) || byte == b'>')?,
        };
        Some((name, value))
    }

    /// Goes over the content of an element that has just begun, if it is text alone, and over its end tag.
    fn pass_text(&mut self, name: &[u8]) -> Option<()> {
        if name.eq_ignore_ascii_case(b"script") {
            return self.pass_script();
        }
        if name.eq_ignore_ascii_case(b"plaintext") {
            return None;
        }
        let Some(name) = TEXT_ONLY.into_iter().find(|known| name.eq_ignore_ascii_case(known)) else {
            return Some(());
        };
        loop {
            self.pass(b'<')?;
            if self.pass_end_tag(name)? {
                return Some(());
            }
        }
    }

    /// Goes over an end tag of that name, if it is what stands behind a `<`.
    fn pass_end_tag(&mut self, name: &[u8]) -> Option<bool> {
        let is_there = matches!(self.rest(), [b'/', text @ ..] if has_name(text, name));
        if is_there {
            self.at += 1;
            self.tag()?;
        }
        Some(is_there)
    }

    fn pass_script(&mut self) -> Option<()> {
        let mut state = Script::Plain;
        loop {
            let rest = self.rest();
            let ahead = match state {
                Script::Plain => position_of_any(rest, b"<"),
                Script::Escaped | Script::DoubleEscaped => position_of_any(rest, b"<-"),
            };
            self.at += ahead? + 1;
            let is_dash = self.page[self.at - 1] == b'-';
            match (state, self.rest()) {
                (_, [b'-', b'>', ..]) if is_dash => state = Script::Plain,
                // The dashes that begin a comment may be those that end it.
                (Script::Plain, [b'!', b'-', b'-', ..]) => {
                    self.at += 1;
                    state = Script::Escaped;
                }
                (Script::Escaped, text) if !is_dash && has_name(text, b"script") => state = Script::DoubleEscaped,
                (Script::DoubleEscaped, [b'/', text @ ..]) if !is_dash && has_name(text, b"script") => {
                    self.at += 1;
                    state = Script::Escaped;
                }
                (Script::Plain | Script::Escaped, _) if !is_dash && self.pass_end_tag(b"script")? => return Some(()),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
