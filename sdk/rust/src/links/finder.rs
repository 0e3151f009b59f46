//! Finds a page's links among its tags: absolute, each once, in the page's order.

use std::borrow::Cow;

use foldhash::{HashSet, HashSetExt as _};
use url::Url;

use super::{
    LINKS_MAX, Links, absolute,
    tags::{Name, Tags},
};

/// Reads a page of that address. `skip_nofollow`: without the links that the site asks crawlers not to follow.
pub(super) fn find(page: &[u8], base: Url, skip_nofollow: bool) -> Links {
    let mut found =
        Found { base, has_base: false, seen: HashSet::new(), known: HashSet::new(), links: Links::default() };
    for tag in Tags::of(page) {
        let Some(href) = tag.href() else {
            continue;
        };
        match tag.name {
            Name::Base => found.base(&href),
            Name::Link if skip_nofollow && tag.rel().is_some_and(|rel| is_nofollow(&rel)) => {}
            Name::Link => found.link(href),
        }
    }
    found.links
}

struct Found<'a> {
    base: Url,
    has_base: bool,
    /// What stood on the page already: most pages name few addresses many times.
    seen: HashSet<Cow<'a, [u8]>>,
    /// Addresses already among the links.
    known: HashSet<String>,
    links: Links,
}

impl<'a> Found<'a> {
    fn base(&mut self, href: &[u8]) {
        // The first one counts, as in browsers.
        let href = String::from_utf8_lossy(href);
        if !std::mem::replace(&mut self.has_base, true)
            && let Ok(joined) = self.base.join(href.trim())
        {
            self.base = joined;
            self.seen.clear();
        }
    }

    fn link(&mut self, href: Cow<'a, [u8]>) {
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
