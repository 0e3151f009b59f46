//! Finds links among html5gum's tokens: of all that a page holds only `a`, `area` and `base` are looked at.

use std::{collections::HashSet, convert::Infallible};

use html5gum::{Emitter, Error, State, Tokenizer};
use url::Url;

use super::{LINKS_MAX, Links, absolute};
use crate::markup::Bytes;

/// Reads a page of that address. `skip_nofollow`: without the links that the site asks crawlers not to follow.
pub(super) fn find(page: &[u8], base: Url, skip_nofollow: bool) -> Links {
    let mut found =
        Found { base, has_base: false, seen: HashSet::new(), known: HashSet::new(), links: Links::default() };
    let finder = Finder { found: &mut found, skip_nofollow, tag: Tag::default(), last_start_tag: Vec::new() };
    let Ok(()) = Tokenizer::new_with_emitter(Bytes::new(page), finder).finish();
    found.links
}

struct Found {
    base: Url,
    has_base: bool,
    /// What stood on the page already: most pages name few addresses many times.
    seen: HashSet<Vec<u8>>,
    /// Addresses already among the links.
    known: HashSet<String>,
    links: Links,
}

struct Finder<'a> {
    found: &'a mut Found,
    skip_nofollow: bool,
    tag: Tag,
    last_start_tag: Vec<u8>,
}

/// The tag on its way in.
#[derive(Default)]
struct Tag {
    is_end: bool,
    name: Vec<u8>,
    attr_name: Vec<u8>,
    attr_value: Vec<u8>,
    /// The first attribute of that name; absent if the tag has none so far.
    href: Option<Vec<u8>>,
    rel: Option<Vec<u8>>,
}

impl Tag {
    fn begin(&mut self, is_end: bool) {
        self.is_end = is_end;
        self.name.clear();
        self.attr_name.clear();
        self.attr_value.clear();
        (self.href, self.rel) = (None, None);
    }

    fn end_attribute(&mut self) {
        match self.attr_name.as_slice() {
            b"href" => drop(self.href.get_or_insert_with(|| self.attr_value.clone())),
            b"rel" => drop(self.rel.get_or_insert_with(|| self.attr_value.clone())),
            _ => {}
        }
        self.attr_name.clear();
        self.attr_value.clear();
    }

    fn may_link(&self) -> bool {
        matches!(self.name.as_slice(), b"a" | b"area" | b"base")
    }
}

impl Found {
    fn base(&mut self, href: &[u8]) {
        // The first one counts, as in browsers.
        let href = String::from_utf8_lossy(href);
        if !self.has_base
            && let Ok(joined) = self.base.join(href.trim())
        {
            self.has_base = true;
            self.base = joined;
            self.seen.clear();
        }
    }

    fn link(&mut self, href: Vec<u8>) {
        if href.starts_with(b"#") || self.seen.contains(&href) {
            return;
        }
        if let Some(link) = absolute(&String::from_utf8_lossy(&href), Some(&self.base))
            && !self.known.contains(&link)
        {
            if self.links.urls.len() < LINKS_MAX {
                self.known.insert(link.clone());
                self.links.urls.push(link);
            } else {
                self.links.left_out += 1;
            }
        }
        if self.seen.len() < LINKS_MAX {
            self.seen.insert(href);
        }
    }
}

fn is_nofollow(rel: &[u8]) -> bool {
    rel.split(u8::is_ascii_whitespace).any(|word| word.eq_ignore_ascii_case(b"nofollow"))
}

/// How what follows a start tag is read. Without a tree it goes by the name alone, which is right but within SVG and
/// MathML, where no link of a page is in a title or style.
fn state_after(name: &[u8]) -> Option<State> {
    match name {
        b"title" | b"textarea" => Some(State::RcData),
        b"script" => Some(State::ScriptData),
        b"style" | b"xmp" | b"iframe" | b"noembed" | b"noframes" | b"noscript" => Some(State::RawText),
        b"plaintext" => Some(State::PlainText),
        _ => None,
    }
}

impl Emitter for Finder<'_> {
    type Token = Infallible;

    fn set_last_start_tag(&mut self, name: Option<&[u8]>) {
        self.last_start_tag = name.unwrap_or_default().to_vec();
    }

    fn emit_eof(&mut self) {}

    fn emit_error(&mut self, _error: Error) {}

    #[inline]
    fn should_emit_errors(&mut self) -> bool {
        false
    }

    fn pop_token(&mut self) -> Option<Infallible> {
        None
    }

    fn emit_string(&mut self, _bytes: &[u8]) {}

    fn init_start_tag(&mut self) {
        self.tag.begin(false);
    }

    fn init_end_tag(&mut self) {
        self.tag.begin(true);
    }

    fn init_comment(&mut self) {}

    fn emit_current_tag(&mut self) -> Option<State> {
        if self.tag.is_end {
            return None;
        }
        self.last_start_tag.clone_from(&self.tag.name);
        if self.tag.may_link() {
            self.tag.end_attribute();
            let is_left_out = self.skip_nofollow && self.tag.rel.as_deref().is_some_and(is_nofollow);
            match self.tag.href.take() {
                Some(href) if self.tag.name == b"base" => self.found.base(&href),
                Some(href) if !is_left_out => self.found.link(href),
                _ => {}
            }
        }
        state_after(&self.tag.name)
    }

    fn emit_current_comment(&mut self) {}

    fn emit_current_doctype(&mut self) {}

    fn set_self_closing(&mut self) {}

    fn set_force_quirks(&mut self) {}

    fn push_tag_name(&mut self, bytes: &[u8]) {
        self.tag.name.extend_from_slice(bytes);
    }

    fn push_comment(&mut self, _bytes: &[u8]) {}

    fn push_doctype_name(&mut self, _bytes: &[u8]) {}

    fn init_doctype(&mut self) {}

    fn init_attribute(&mut self) {
        if self.tag.may_link() {
            self.tag.end_attribute();
        }
    }

    fn push_attribute_name(&mut self, bytes: &[u8]) {
        if self.tag.may_link() {
            self.tag.attr_name.extend_from_slice(bytes);
        }
    }

    fn push_attribute_value(&mut self, bytes: &[u8]) {
        if self.tag.may_link() {
            self.tag.attr_value.extend_from_slice(bytes);
        }
    }

    fn set_doctype_public_identifier(&mut self, _bytes: &[u8]) {}

    fn set_doctype_system_identifier(&mut self, _bytes: &[u8]) {}

    fn push_doctype_public_identifier(&mut self, _bytes: &[u8]) {}

    fn push_doctype_system_identifier(&mut self, _bytes: &[u8]) {}

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.tag.is_end && !self.tag.name.is_empty() && self.tag.name == self.last_start_tag
    }
}
