//! Discovery from seeds and sitemaps, and the stage that keeps a page and follows its links.

use tollgate_sdk::{prelude::*, sitemap::Sitemap};

use crate::bounds::Crawl;

/// Items that one page of discovery gives at most, as the host takes them. The largest sitemap that the protocol allows
/// lists half as many, so each is read once.
const ITEMS_A_PAGE: usize = 100_000;
/// Sitemaps of one round at most, those of indexes included: an index that lists itself must end.
const SITEMAPS_MAX: usize = 1_000;

/// A page of the crawl.
#[data]
pub(crate) struct Link {
    /// Its address.
    #[key]
    pub(crate) url: String,
    /// How many links away from a seed.
    pub(crate) depth: u32,
}

/// A page that is kept.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    /// Its address after redirects.
    pub(crate) url: String,
    /// Bytes of the raw page, kept as `page.html`.
    pub(crate) size: u64,
    /// Its media type, where the site gave one.
    pub(crate) media_type: Option<String>,
    /// Links within the crawl's bounds.
    pub(crate) links: u64,
}

impl Page {
    /// Whether it is HTML. What has no media type is taken for a page, as browsers do.
    pub(crate) fn is_html(&self) -> bool {
        self.media_type.as_deref().is_none_or(|media_type| matches!(media_type, "text/html" | "application/xhtml+xml"))
    }
}

/// Where discovery goes on.
#[part]
#[derive(Default)]
struct Cursor {
    /// Sitemaps still to read; the first is being read.
    open: Vec<String>,
    /// Entries of the first that are done, where it is larger than the protocol allows: it is read again for the rest.
    skip: usize,
    /// Sitemaps read so far.
    read: usize,
}

/// Seeds first, then the sitemaps, a bounded number of items a page. An index of sitemaps is unfolded where it stands.
#[discover]
pub(crate) fn seeds(round: &Round, crawl: &Crawl) -> Result<Found> {
    let Some(cursor) = round.cursor() else {
        if crawl.seeds.is_empty() && crawl.sitemap.is_empty() {
            return Err(StageError::permanent("params name neither `seeds` nor `sitemap`: there is nothing to crawl"));
        }
        let seed = |seed: &String| {
            let url =
                links::absolute(seed, None).or_permanent(&format!("seed {seed:?} is no http or https address"))?;
            Ok(Link { url, depth: 0 })
        };
        let seeds = crawl.seeds.iter().map(seed).collect::<Result<Vec<_>>>()?;
        return found(seeds, &Cursor { open: crawl.sitemap.clone(), ..Cursor::default() });
    };
    let mut cursor: Cursor = tollgate_sdk::serde_json::from_str(cursor)?;
    let Some(address) = cursor.open.first() else {
        return Ok(Found::default());
    };
    let entries = match sitemap::parse(&http::get(address)?.bytes()?)? {
        Sitemap::Pages(entries) => entries,
        Sitemap::Index(entries) => {
            cursor.open.splice(..1, entries.into_iter().map(|entry| entry.url));
            cursor.read += 1;
            if cursor.read + cursor.open.len() > SITEMAPS_MAX {
                return Err(StageError::permanent(format!("more than {SITEMAPS_MAX} sitemaps in one round")));
            }
            return found(Vec::<Link>::new(), &cursor);
        }
    };
    let is_last = entries.len() <= cursor.skip + ITEMS_A_PAGE;
    let page = entries.into_iter().skip(cursor.skip).take(ITEMS_A_PAGE);
    let links = page.filter(|entry| crawl.takes(&entry.url)).map(|entry| {
        let item = NewItem::from(Link { url: entry.url, depth: 0 });
        // A page that changed since is read again.
        match entry.last_modified {
            Some(at) => item.revision(at),
            None => item,
        }
    });
    let links: Vec<NewItem> = links.collect();
    if is_last {
        cursor.open.remove(0);
        (cursor.skip, cursor.read) = (0, cursor.read + 1);
    } else {
        cursor.skip += ITEMS_A_PAGE;
    }
    found(links, &cursor)
}

/// Items, and where to go on if sitemaps are still open.
fn found(items: Vec<impl Into<NewItem>>, cursor: &Cursor) -> Result<Found> {
    if cursor.open.is_empty() {
        return Ok(Found::all(items));
    }
    Ok(Found::more(items, tollgate_sdk::serde_json::to_string(cursor)?))
}

/// Keeps the raw page, then finds links within bounds: each is an item of its own.
#[stage]
pub(crate) fn fetch(link: &Link, crawl: &Crawl) -> Result<With<Page>> {
    let response = http::get(&link.url)?;
    let kept = response.save("page.html")?;
    let mut page = Page { url: response.url(), size: kept.size, media_type: response.media_type(), links: 0 };
    // A page that a redirect led out of bounds is kept, but not followed.
    let is_led_away = page.url != link.url && !crawl.takes(&page.url);
    if !page.is_html() || !crawl.follows(link.depth) || is_led_away {
        return Ok(page.into());
    }
    let found = links::of(&response.bytes()?, &page.url)?;
    let is_new = |url: &String| *url != link.url && *url != page.url && crawl.takes(url);
    let items: Vec<Link> =
        found.urls.into_iter().filter(is_new).map(|url| Link { url, depth: link.depth + 1 }).collect();
    page.links = items.len() as u64;
    let page = page.found(items);
    Ok(if found.left_out == 0 { page } else { page.flag(format!("{} links left out", found.left_out)) })
}

#[cfg(test)]
mod tests;
