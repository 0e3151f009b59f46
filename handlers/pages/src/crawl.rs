//! Discovery from seeds and sitemaps, and the stage that keeps a page and follows its links.

use tollgate_sdk::prelude::*;

use crate::bounds::Crawl;

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

/// Seeds first, then the sitemaps, a bounded number of items a page. An index of sitemaps is unfolded where it stands.
#[discover]
pub(crate) fn seeds(round: &Round, crawl: &Crawl) -> Result<Found> {
    let Some(cursor) = round.cursor() else {
        if crawl.seeds.is_empty() && crawl.sitemap.is_empty() {
            return Err(StageError::permanent("params name neither `seeds` nor `sitemap`: there is nothing to crawl"));
        }
        let seed = |seed: &Address| {
            let url =
                links::absolute(seed, None).or_permanent(&format!("seed {seed:?} is no http or https address"))?;
            Ok(Link { url, depth: 0 })
        };
        let seeds = crawl.seeds.iter().map(seed).collect::<Result<Vec<_>>>()?;
        return Ok(Found::page(seeds, sitemap::start(&crawl.sitemap)?));
    };
    let page = sitemap::page(&crawl.sitemap, Some(cursor))?;
    let entries = page.entries.iter().filter(|entry| crawl.takes(&entry.url));
    Ok(Found::page(entries.map(|entry| entry.item(Link { url: entry.url.clone(), depth: 0 })), page.cursor))
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
    let found = links::of(response.text()?.as_bytes(), &page.url)?;
    let is_new = |url: &String| *url != link.url && *url != page.url && crawl.takes(url);
    let depth = link.depth + 1;
    // Breadth first, so that a page is found by a short way before it is found by a longer one.
    let priority = 0_i32.saturating_sub_unsigned(depth);
    let item = |url: String| NewItem::new(url.clone(), &Link { url, depth }).priority(priority);
    let items: Vec<NewItem> = found.urls.into_iter().filter(is_new).map(item).collect();
    page.links = items.len() as u64;
    let page = page.found(items);
    Ok(if found.left_out == 0 { page } else { page.flag(format!("{} links left out", found.left_out)) })
}

#[cfg(test)]
mod tests;
