//! Discovery and fetch, against the mock host.

use tollgate_sdk::{mock, sitemap::ENTRIES_A_PAGE};

use super::*;

fn crawl() -> Crawl {
    Crawl { seeds: vec!["https://a.example".into()], follow: true, ..Crawl::default() }
}

fn link(url: &str) -> Link {
    Link { url: url.into(), depth: 0 }
}

/// All keys of a round, and how many pages of discovery it took.
fn round(host: &mock::Host, crawl: &Crawl) -> (Vec<String>, usize) {
    let (mut round, mut keys) = (Round::default(), Vec::new());
    for pages in 1.. {
        let found = host.run(|| seeds(&round, crawl)).unwrap();
        keys.extend(found.items.into_iter().map(|item| item.key));
        round.cursor = found.cursor;
        if round.cursor.is_none() {
            return (keys, pages);
        }
    }
    unreachable!("a round ends")
}

#[test]
fn m05_the_raw_page_is_kept_and_links_within_bounds_are_found() {
    let page = r##"<a href="/x">x</a> <a href="y#part">y</a> <a href="https://b.example/">out</a> <a href="/x">x</a>
        <a href="#top">top</a> <a href="/">home</a>"##;
    let host = mock::Host::new().stage("fetch").page("https://a.example/", page);
    let made = host.run(|| fetch(&link("https://a.example/"), &crawl())).unwrap();
    let keys: Vec<_> = made.found.iter().map(|item| item.key.as_str()).collect();
    assert_eq!(keys, ["https://a.example/x", "https://a.example/y"]);
    assert_eq!(made.found[0].data["depth"], 1);
    assert_eq!(made.output.links, 2);
    assert_eq!(host.artifact_body("fetch", "page.html").unwrap(), page.as_bytes());
    assert_eq!(host.requests().len(), 1);
    assert_eq!(host.artifacts().len(), 1, "kept once");
}

#[test]
fn links_are_followed_in_the_charset_of_their_page() {
    let headers = vec![("content-type".to_owned(), "text/html; charset=windows-1251".to_owned())];
    let page = mock::Page { status: 200, headers, body: b"<a href='/\xcf'>x</a>".to_vec() };
    let host = mock::Host::new().stage("fetch").answer("https://a.example/", Ok(page));
    let made = host.run(|| fetch(&link("https://a.example/"), &crawl())).unwrap();
    assert_eq!(made.found[0].key, "https://a.example/%D0%9F");
}

#[test]
fn seeds_become_normal_addresses() {
    assert_eq!(round(&mock::Host::new(), &crawl()), (vec!["https://a.example/".into()], 1));
    let bad = Crawl { seeds: vec!["a.example".into()], ..Crawl::default() };
    let refused = mock::Host::new().run(|| seeds(&Round::default(), &bad));
    assert!(matches!(refused, Err(StageError::Permanent(reason)) if reason.contains("\"a.example\"")));
    let none = mock::Host::new().run(|| seeds(&Round::default(), &Crawl::default()));
    assert!(matches!(none, Err(StageError::Permanent(_))));
}

#[test]
fn sitemaps_are_read_and_indexes_unfolded() {
    let crawl = Crawl { sitemap: vec!["https://a.example/sitemap.xml".into()], ..crawl() };
    let index = "<sitemapindex><sitemap><loc>https://a.example/1.xml</loc></sitemap></sitemapindex>";
    let one = "<urlset><url><loc>https://a.example/p</loc></url><url><loc>https://b.example/</loc></url></urlset>";
    let host = mock::Host::new().page("https://a.example/sitemap.xml", index).page("https://a.example/1.xml", one);
    assert_eq!(round(&host, &crawl), (vec!["https://a.example/".into(), "https://a.example/p".into()], 3));
}

/// All keys of a sitemap of so many entries, and how often it was asked for.
fn long_sitemap(entries: usize) -> (usize, usize) {
    let crawl = Crawl { seeds: Vec::new(), sitemap: vec!["https://a.example/s.xml".into()], ..crawl() };
    let entry = |n| format!("<url><loc>https://a.example/{n}</loc><lastmod>2026-01-0{}</lastmod></url>", n % 9);
    let long: String = (0..entries).map(entry).collect();
    let host = mock::Host::new().page("https://a.example/s.xml", &format!("<urlset>{long}</urlset>"));
    let (keys, _) = round(&host, &crawl);
    (keys.len(), host.requests().len())
}

#[test]
fn the_longest_sitemap_allowed_is_asked_for_once() {
    assert_eq!(long_sitemap(50_000), (50_000, 1));
}

#[test]
fn a_sitemap_longer_than_allowed_is_paged() {
    assert_eq!(long_sitemap(ENTRIES_A_PAGE + 1), (ENTRIES_A_PAGE + 1, 2));
}

#[test]
fn q07_an_index_that_lists_itself_ends_in_an_error() {
    let crawl = Crawl { sitemap: vec!["https://a.example/s.xml".into()], ..crawl() };
    let index = "<sitemapindex><sitemap><loc>https://a.example/s.xml</loc></sitemap></sitemapindex>";
    let host = mock::Host::new().page("https://a.example/s.xml", index);
    let mut round = Round::default();
    let error = loop {
        match host.run(|| seeds(&round, &crawl)) {
            Ok(found) => round.cursor = Some(found.cursor.expect("the index has no end")),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StageError::Permanent(_)), "{error}");
}

#[test]
fn what_is_no_page_is_kept_and_not_parsed() {
    let headers = vec![("content-type".to_owned(), "application/pdf".to_owned())];
    let pdf = mock::Page { status: 200, headers, body: b"%PDF <a href=/x>".to_vec() };
    let host = mock::Host::new().answer("https://a.example/f.pdf", Ok(pdf));
    let made = host.run(|| fetch(&link("https://a.example/f.pdf"), &crawl())).unwrap();
    assert_eq!(made.output.media_type.as_deref(), Some("application/pdf"));
    assert!(made.found.is_empty());
}

#[test]
fn r07_a_cool_down_comes_later_and_a_missing_page_is_permanent() {
    let after = Some(std::time::Duration::from_secs(60));
    let host = mock::Host::new()
        .refuse("https://a.example/1", HttpError::RateLimited(after))
        .status("https://a.example/2", 404);
    let of = |url| host.run(|| fetch(&link(url), &crawl())).unwrap_err();
    assert!(matches!(of("https://a.example/1"), StageError::RetryLater { after: Some(_), .. }));
    assert!(matches!(of("https://a.example/2"), StageError::Permanent(_)));
}
