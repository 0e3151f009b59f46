//! The shop's pages as HTML, and its lists for crawlers.

use super::facts::{CATEGORIES, ITEMS, facts, prose, title};
use crate::site::Request;
use flate2::{Compression, write::GzEncoder};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::io::{self, Write};

/// Items that the sitemaps leave out: a crawl finds them by links alone.
pub(super) const UNLISTED: u32 = 40;
/// The item whose page has a link that leads nowhere.
const CARELESS: u32 = 13;

pub(super) fn index() -> Markup {
    frame(
        "Home",
        &html! {
            h1 { "The catalogue" }
            h2 { "Categories" }
            ul { @for number in 0..CATEGORIES { li { a href={ "/category/" (number) } { "Category " (number) } } } }
            h2 { "Of note" }
            ul {
                @for name in ["slow", "busy", "healing", "flaky", "gone", "missing", "moved", "moved-twice"] {
                    li { a href={ "/item/" (name) } { (name) } }
                }
                li { a href="https://elsewhere.example/" { "A site that isn't ours" } }
                li { a href="mailto:shop@catalogue.example" { "Write to us" } }
            }
        },
    )
}

pub(super) fn category(number: u32) -> Markup {
    frame(
        &format!("Category {number}"),
        &html! {
            h1 { "Category " (number) }
            h2 { "Items" }
            ul { @for item in (number..ITEMS).step_by(CATEGORIES as usize) {
                li { a href={ "/item/" (item) } { (title(item)) } }
            } }
        },
    )
}

pub(super) fn item(seed: u64, number: u32) -> Markup {
    let (before, after) = ((number + ITEMS - 1) % ITEMS, (number + 1) % ITEMS);
    let facts = facts(seed, number);
    frame(
        &facts.title,
        &html! {
            h1 { (facts.title) }
            p { span.price { "EUR " (format!("{:.2}", facts.price)) } " " span.sku { (facts.sku) } }
            h2 { "Description" }
            @for paragraph in &facts.prose { p { (paragraph) } }
            h2 { "Properties" }
            table.specs { @for (name, value) in &facts.specs { tr { th { (name) } td { (value) } } } }
            h2 { "More of this kind" }
            ul {
                @for sibling in siblings(number) { li { a href={ "/item/" (sibling) } { (title(sibling)) } } }
                @if number == CARELESS { li { a href="/item/lost" { "A match we had once" } } }
            }
            p {
                a href={ "/category/" (facts.category) } { "All of this kind" } " "
                a rel="prev" href={ "/item/" (before) "#top" } { "Before" } " "
                a rel="next" href={ (after) } { "After" }
            }
            (PreEscaped("<script>document.title += ' (seen)';</script>"))
        },
    )
}

/// The next two items of the same category, where there are any.
fn siblings(number: u32) -> impl Iterator<Item = u32> {
    [number + CATEGORIES, number + 2 * CATEGORIES].into_iter().filter(|sibling| *sibling < ITEMS)
}

/// A page for one of the troubled items, once it answers.
pub(super) fn named(title: &str, name: &str) -> Markup {
    frame(
        title,
        &html! {
            h1 { (title) }
            p { span.price { "EUR 1.00" } " " span.sku { "SKU-" (name) } }
            h2 { "Description" }
            p { (prose(name.len() as u32, 0)) }
        },
    )
}

fn frame(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (title) " | Catalogue" } }
            body { nav { a href="/" { "Home" } } (body) }
        }
    }
}

pub(super) fn robots(request: &Request) -> String {
    format!("User-agent: *\nDisallow: /cart\nSitemap: {}\n", request.url("/sitemap.xml"))
}

pub(super) fn sitemap_index(request: &Request) -> String {
    let parts = locations(request, "sitemap", ["/sitemap-1.xml".to_owned(), "/sitemap-2.xml.gz".to_owned()]);
    format!("{XML}<sitemapindex {NAMESPACE}>{parts}</sitemapindex>")
}

/// The first half of the items.
pub(super) fn first_sitemap(request: &Request) -> String {
    item_sitemap(request, 0..ITEMS / 2)
}

/// The second half but for the unlisted ones, gzipped as a file (not as a content encoding).
pub(super) fn second_sitemap(request: &Request) -> io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(item_sitemap(request, ITEMS / 2..ITEMS - UNLISTED).as_bytes())?;
    packer.finish()
}

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const NAMESPACE: &str = "xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\"";

fn item_sitemap(request: &Request, items: std::ops::Range<u32>) -> String {
    let items = locations(request, "url", items.map(|number| format!("/item/{number}")));
    format!("{XML}<urlset {NAMESPACE}>{items}</urlset>")
}

fn locations(request: &Request, tag: &str, paths: impl IntoIterator<Item = String>) -> String {
    let entry = |path: String| format!("<{tag}><loc>{}</loc></{tag}>\n", request.url(&path));
    paths.into_iter().map(entry).collect()
}
