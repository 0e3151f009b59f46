//! Sitemaps: `urlset` and `sitemapindex` files, plain or gzipped, read one by one or all that an index leads to.
//!
//! A discovery of all items in a shop's sitemaps; one that has changed since is opened again:
//!
//! ```
//! # fn main() {
//! use tollgate_sdk::prelude::*;
//!
//! #[data]
//! struct Item {
//!     #[key]
//!     url: String,
//! }
//!
//! #[params]
//! struct Shop {
//!     /// Address of the sitemap, or of an index of sitemaps.
//!     sitemap: Address,
//! }
//!
//! #[discover]
//! fn items(round: &Round, shop: &Shop) -> Result<Found> {
//!     let page = sitemap::page([&shop.sitemap], round.cursor())?;
//!     let items = page.entries.iter().filter(|entry| entry.url.contains("/item/"));
//!     Ok(Found::page(items.map(|entry| entry.item(Item { url: entry.url.clone() })), page.cursor))
//! }
//! # use tollgate_sdk::mock;
//! # let index = "<sitemapindex><sitemap><loc>https://shop.example/1.xml</loc></sitemap></sitemapindex>";
//! # let pages = "<urlset><url><loc>https://shop.example/item/1</loc></url></urlset>";
//! # let host = mock::Host::new()
//! #     .page("https://shop.example/s.xml", index).page("https://shop.example/1.xml", pages);
//! # let shop = Shop { sitemap: "https://shop.example/s.xml".into() };
//! # let first = host.run(|| items(&Round::default(), &shop)).unwrap();
//! # let second = host.run(|| items(&Round { cursor: first.cursor, ..Round::default() }, &shop)).unwrap();
//! # assert_eq!((second.items[0].key.as_str(), second.cursor), ("https://shop.example/item/1", None));
//! # }
//! ```

use std::{borrow::Cow, io::Read};

use crate::{
    error::{Result, StageError},
    http,
    items::{IntoItem, NewItem},
    links,
};

/// Longest entity that is looked for, from `&` to `;`: the last code point has ten.
const ENTITY_BYTES_MAX: usize = 12;
/// Largest sitemap once unpacked: the protocol's own limit of 50 MB. A gzipped one could be a bomb.
pub const SITEMAP_BYTES_MAX: u64 = 50 * 1024 * 1024;

/// Entries of one [`Page`] at most, as the host takes them. The largest sitemap that the protocol allows lists half as
/// many, so each is read once.
pub const ENTRIES_A_PAGE: usize = 100_000;
/// Sitemaps that one round reads at most, those of indexes included: an index that lists itself must end.
pub const SITEMAPS_MAX: usize = 1_000;

/// What a sitemap file lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sitemap {
    /// Pages.
    Pages(Vec<Entry>),
    /// Other sitemaps.
    Index(Vec<Entry>),
}

/// An address in a sitemap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// An absolute http or https address, without a fragment.
    pub url: String,
    /// When it last changed, in the site's own words: a good revision of its item.
    pub last_modified: Option<String>,
}

impl Entry {
    /// An item, with `last_modified` as its revision: a page that changed since is opened again.
    #[must_use]
    pub fn item(&self, item: impl IntoItem) -> NewItem {
        let item = item.into_item();
        match &self.last_modified {
            Some(at) => item.revision(at),
            None => item,
        }
    }
}

/// A part of what all sitemaps list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In the order of the sitemaps; none where a file was an index.
    pub entries: Vec<Entry>,
    /// Where the next page goes on; absent: all has been read.
    pub cursor: Option<String>,
}

/// Where a reading goes on.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Cursor {
    /// Sitemaps still to read; the first is being read.
    open: Vec<String>,
    /// Entries of the first that are done.
    skip: usize,
    /// Sitemaps read so far.
    read: usize,
}

impl Cursor {
    fn page(self, entries: Vec<Entry>) -> Result<Page> {
        let cursor = if self.open.is_empty() { None } else { Some(serde_json::to_string(&self)?) };
        Ok(Page { entries, cursor })
    }
}

/// Reads on in `sitemaps` and in all that they lead to, one file a call and at most [`ENTRIES_A_PAGE`] entries of it.
/// An index is unfolded where it stands. Without a cursor it begins, and `sitemaps` count only then.
///
/// # Errors
/// A file can't be had or is no sitemap, there are more than [`SITEMAPS_MAX`], or the cursor is not from here.
pub fn page(sitemaps: impl IntoIterator<Item = impl Into<String>>, cursor: Option<&str>) -> Result<Page> {
    let mut cursor: Cursor = match cursor {
        Some(cursor) => serde_json::from_str(cursor)?,
        None => Cursor { open: sitemaps.into_iter().map(Into::into).collect(), ..Cursor::default() },
    };
    let Some(address) = cursor.open.first() else {
        return Ok(Page::default());
    };
    match parse(&http::get(address)?.bytes()?)? {
        Sitemap::Index(entries) => {
            cursor.open.splice(..1, entries.into_iter().map(|entry| entry.url));
            cursor.read += 1;
            if cursor.read + cursor.open.len() > SITEMAPS_MAX {
                return Err(StageError::permanent(format!("more than {SITEMAPS_MAX} sitemaps in one round")));
            }
            cursor.page(Vec::new())
        }
        Sitemap::Pages(entries) => {
            let is_last = entries.len() <= cursor.skip + ENTRIES_A_PAGE;
            let page = entries.into_iter().skip(cursor.skip).take(ENTRIES_A_PAGE).collect();
            if is_last {
                cursor.open.remove(0);
                (cursor.skip, cursor.read) = (0, cursor.read + 1);
            } else {
                cursor.skip += ENTRIES_A_PAGE;
            }
            cursor.page(page)
        }
    }
}

/// Where [`page`] begins, for a discovery that gives other items first; absent without sitemaps.
///
/// # Errors
/// None that a list of addresses could cause.
pub fn start(sitemaps: impl IntoIterator<Item = impl Into<String>>) -> Result<Option<String>> {
    let open = sitemaps.into_iter().map(Into::into).collect();
    Ok(Cursor { open, ..Cursor::default() }.page(Vec::new())?.cursor)
}

/// Reads a sitemap's bytes.
///
/// # Errors
/// It is neither a `urlset` nor a `sitemapindex`, is broken, or is larger than [`SITEMAP_BYTES_MAX`] unpacked.
pub fn parse(bytes: &[u8]) -> Result<Sitemap> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(SITEMAP_BYTES_MAX + 1);
        reader.read_to_end(&mut unpacked).map_err(|error| StageError::Failed(format!("gzipped sitemap: {error}")))?;
        if unpacked.len() as u64 > SITEMAP_BYTES_MAX {
            return Err(StageError::Permanent(format!("the sitemap unpacks to more than {SITEMAP_BYTES_MAX} bytes")));
        }
        return parse_text(&String::from_utf8_lossy(&unpacked));
    }
    parse_text(&String::from_utf8_lossy(bytes))
}

fn parse_text(text: &str) -> Result<Sitemap> {
    let mut entries = Vec::new();
    let (mut is_index, mut is_sitemap) = (false, false);
    let mut entry: Option<Entry> = None;
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        if rest.starts_with("<!--") {
            rest = rest.find("-->").map_or("", |end| &rest[end..]);
            continue;
        }
        let Some(end) = rest.find('>') else { break };
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        match tag.split_whitespace().next().unwrap_or_default() {
            "urlset" => is_sitemap = true,
            "sitemapindex" => (is_sitemap, is_index) = (true, true),
            "url" | "sitemap" => entry = Some(Entry { url: String::new(), last_modified: None }),
            "/url" | "/sitemap" => entries.extend(entry.take().filter(|entry| !entry.url.is_empty())),
            // Prefixed names, such as `image:loc`, are other vocabularies: not the page's own address.
            "loc" => {
                if let Some(entry) = &mut entry {
                    entry.url = links::absolute(&text_before_tag(&mut rest), None).unwrap_or_default();
                }
            }
            "lastmod" => {
                if let Some(entry) = &mut entry {
                    entry.last_modified = Some(text_before_tag(&mut rest)).filter(|text| !text.is_empty());
                }
            }
            _ => {}
        }
    }
    match (is_sitemap, is_index) {
        (false, _) => Err(StageError::Failed("not a sitemap: it has neither <urlset> nor <sitemapindex>".to_owned())),
        (true, true) => Ok(Sitemap::Index(entries)),
        (true, false) => Ok(Sitemap::Pages(entries)),
    }
}

/// The text up to the next tag, `CDATA` unwrapped, entities decoded.
fn text_before_tag(rest: &mut &str) -> String {
    const CDATA: &str = "<![CDATA[";
    if let Some(inner) = rest.trim_start().strip_prefix(CDATA)
        && let Some(end) = inner.find("]]>")
    {
        *rest = &inner[end + "]]>".len()..];
        return inner[..end].trim().to_owned();
    }
    let end = rest.find('<').unwrap_or(rest.len());
    let text = decode_entities(rest[..end].trim()).into_owned();
    *rest = &rest[end..];
    text
}

/// Decodes what stands escaped in addresses: the five named entities of XML, and numbers.
fn decode_entities(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(ENTITY_BYTES_MAX).position(|byte| byte == b';');
        let entity = end.and_then(|end| Some((decode_entity(&rest[1..end])?, end)));
        if let Some((character, end)) = entity {
            decoded.push(character);
            rest = &rest[end + 1..];
        } else {
            decoded.push('&');
            rest = &rest[1..];
        }
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

fn decode_entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const PAGES: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
        <urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><!-- <url><loc>https://a.example/no</loc></url> -->
        <url><loc> https://a.example/?a=1&amp;b=2 </loc><lastmod>2026-01-02</lastmod>
             <image:image><image:loc>https://a.example/i.png</image:loc></image:image></url>
        <url><loc><![CDATA[https://a.example/c]]></loc></url><url><loc>ftp://a.example/</loc></url></urlset>"#;

    fn entry(url: &str, last_modified: Option<&str>) -> Entry {
        Entry { url: url.into(), last_modified: last_modified.map(Into::into) }
    }

    #[test]
    fn pages_are_read() {
        let wanted = Sitemap::Pages(vec![
            entry("https://a.example/?a=1&b=2", Some("2026-01-02")),
            entry("https://a.example/c", None),
        ]);
        assert_eq!(parse(PAGES.as_bytes()), Ok(wanted.clone()));
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(PAGES.as_bytes()).unwrap();
        assert_eq!(parse(&packer.finish().unwrap()), Ok(wanted));
    }

    #[test]
    fn an_index_is_told_from_pages() {
        let index = "<sitemapindex><sitemap><loc>https://a.example/1.xml.gz</loc></sitemap></sitemapindex>";
        assert_eq!(parse(index.as_bytes()), Ok(Sitemap::Index(vec![entry("https://a.example/1.xml.gz", None)])));
    }

    #[test]
    fn q07_what_is_no_sitemap_is_an_error() {
        assert!(parse(b"<html><body>Not found</body></html>").is_err());
        assert!(parse(b"").is_err());
        assert!(parse(&[0x1f, 0x8b, 0, 1, 2]).is_err());
    }
}
