//! Discovery from seeds and sitemaps, and the stage that keeps a page and follows its links.

use tollgate_sdk::{links, prelude::*};

use crate::bounds::Crawl;

/// A page of the crawl.
#[data]
pub struct Link {
    /// Its address; the item's key as well.
    pub url: String,
    /// How many links away from a seed.
    pub depth: u32,
}

/// A page that is kept.
#[output]
#[derive(Debug, PartialEq)]
pub struct Page {
    /// Its address after redirects.
    pub url: String,
    /// Bytes of the raw page, kept as `page.html`.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// Links within the crawl's bounds.
    pub links: u64,
}

fn item(url: &str, depth: u32) -> Result<NewItem> {
    NewItem::new(url, &Link { url: url.to_owned(), depth })
}

/// Seeds first, then one sitemap a page of discovery. An index of sitemaps is unfolded where it stands.
#[discover]
pub fn seeds(round: &Round, crawl: &Crawl) -> Result<Found> {
    let Some(cursor) = &round.cursor else {
        let items = crawl.seeds.iter().map(|seed| item(seed, 0)).collect::<Result<Vec<_>>>()?;
        return Ok(more(items, &crawl.sitemaps));
    };
    let open: Vec<String> = tollgate_sdk::serde_json::from_str(cursor)?;
    let Some((sitemap, rest)) = open.split_first() else {
        return Ok(Found::all(Vec::new()));
    };
    let text = http::get(sitemap)?.text()?;
    let (found, is_index) = links::of_sitemap(&text);
    if is_index {
        let open: Vec<String> = found.into_iter().chain(rest.iter().cloned()).collect();
        return Ok(more(Vec::new(), &open));
    }
    let wanted = found.iter().filter(|url| crawl.takes(url));
    Ok(more(wanted.map(|url| item(url, 0)).collect::<Result<Vec<_>>>()?, rest))
}

/// Items, and a cursor that names the sitemaps still to read.
fn more(items: Vec<NewItem>, open: &[String]) -> Found {
    if open.is_empty() {
        Found::all(items)
    } else {
        Found::more(items, tollgate_sdk::serde_json::json!(open).to_string())
    }
}

/// Keeps the raw page, then finds links within bounds: each is an item of its own.
#[stage]
pub fn fetch(link: &Link, crawl: &Crawl) -> Result<With<Page>> {
    let response = http::get(&link.url)?;
    let kept = response.save("page.html")?;
    let mut page = Page { url: response.url(), size: kept.size, media_type: response.media_type(), links: 0 };
    let is_page = matches!(page.media_type.as_str(), "text/html" | "application/xhtml+xml");
    if !is_page || !crawl.follows(link.depth) {
        return Ok(page.found([]));
    }
    let mut found = Vec::new();
    for url in links::of(&response.bytes()?, &page.url)? {
        if url != link.url && crawl.takes(&url) {
            found.push(item(&url, link.depth + 1)?);
        }
    }
    page.links = found.len() as u64;
    Ok(page.found(found))
}

#[cfg(test)]
mod tests {
    use tollgate_sdk::mock;

    use super::*;

    fn crawl() -> Crawl {
        Crawl { seeds: vec!["https://a.example/".into()], follow: true, ..Crawl::default() }
    }

    #[test]
    fn m05_the_raw_page_is_kept_and_links_within_bounds_are_found() {
        let page = r#"<a href="/x">x</a> <a href="y#part">y</a> <a href="https://b.example/">out</a> <a href="/x">x</a>"#;
        let host = mock::Host::new().stage("fetch").page("https://a.example/", page);
        let link = Link { url: "https://a.example/".into(), depth: 0 };
        let made = host.run(|| fetch(&link, &crawl())).unwrap();
        let keys: Vec<_> = made.found.iter().map(|item| item.key.as_str()).collect();
        assert_eq!(keys, ["https://a.example/x", "https://a.example/y"]);
        assert_eq!(host.artifact_body("fetch", "page.html").unwrap(), page.as_bytes());
        assert_eq!(host.requests().len(), 1);
    }

    #[test]
    fn sitemaps_are_read_one_a_page() {
        let sitemaps = vec!["https://a.example/sitemap.xml".to_owned()];
        let crawl = Crawl { sitemaps, ..crawl() };
        let index = "<sitemapindex><sitemap><loc>https://a.example/1.xml</loc></sitemap></sitemapindex>";
        let one = "<urlset><url><loc>https://a.example/p</loc></url><url><loc>https://b.example/</loc></url></urlset>";
        let host = mock::Host::new().page("https://a.example/sitemap.xml", index).page("https://a.example/1.xml", one);
        let mut round = Round::default();
        let mut keys = Vec::new();
        loop {
            let found = host.run(|| seeds(&round, &crawl)).unwrap();
            keys.extend(found.items.into_iter().map(|item| item.key));
            match found.cursor {
                Some(cursor) => round.cursor = Some(cursor),
                None => break,
            }
        }
        assert_eq!(keys, ["https://a.example/", "https://a.example/p"]);
    }

    #[test]
    fn what_is_no_page_is_kept_and_not_parsed() {
        let headers = vec![("content-type".to_owned(), "application/pdf".to_owned())];
        let pdf = mock::Page { status: 200, headers, body: b"%PDF".to_vec() };
        let host = mock::Host::new().answer("https://a.example/f.pdf", Ok(pdf));
        let link = Link { url: "https://a.example/f.pdf".into(), depth: 0 };
        let made = host.run(|| fetch(&link, &crawl())).unwrap();
        assert_eq!(made.output.media_type, "application/pdf");
        assert!(made.found.is_empty());
    }
}
