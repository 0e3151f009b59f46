//! `catalogue.example`: a shop of some 300 linked pages, with the troubles that real shops give.
//!
//! Every page is made from its number alone, so that a test knows what a crawl must have found.

use crate::answer::{Answer, AnswerBody};
use crate::site::{Answering, Request, Site};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The shop's host name.
pub const HOST: &str = "catalogue.example";
/// Items on sale.
pub const ITEMS: u32 = 280;
/// Categories; an item is in the one of its number's remainder.
pub const CATEGORIES: u32 = 12;
/// How long the slow page takes, where nobody says otherwise.
pub const SLOW: Duration = Duration::from_millis(1_500);
/// What the busy page asks for at first, in seconds.
pub const BUSY_AFTER_S: u64 = 2;

/// The shop.
pub struct Catalogue {
    slow: Duration,
    tries: Mutex<BTreeMap<String, u32>>,
}

/// What the shop has, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Pages that answer 200, sooner or later.
    pub pages: Vec<String>,
    /// Links that lead nowhere, with their status.
    pub broken: Vec<(String, u16)>,
    /// Redirects, with where they end.
    pub redirects: Vec<(String, String)>,
}

/// What the shop has.
pub fn manifest() -> Manifest {
    let mut pages = vec!["/".to_owned()];
    pages.extend((0..CATEGORIES).map(|number| format!("/category/{number}")));
    pages.extend((0..ITEMS).map(|number| format!("/item/{number}")));
    pages.extend(["slow", "busy", "healing", "flaky"].map(|name| format!("/item/{name}")));
    Manifest {
        pages,
        broken: vec![("/item/gone".to_owned(), 410), ("/item/missing".to_owned(), 404)],
        redirects: vec![
            ("/item/moved".to_owned(), "/item/7".to_owned()),
            ("/item/moved-twice".to_owned(), "/item/7".to_owned()),
        ],
    }
}

/// The price of an item, in euros.
pub fn price(number: u32) -> f64 {
    f64::from(5 + number * 7 % 200) + f64::from(number % 4) * 0.25
}

/// The stock-keeping unit of an item.
pub fn sku(number: u32) -> String {
    format!("SKU-{number:04}")
}

/// The title of an item.
pub fn title(number: u32) -> String {
    let kind = ["Lamp", "Chair", "Kettle", "Shelf", "Clock", "Rug"][(number % 6) as usize];
    format!("{kind} No {number}")
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new(SLOW)
    }
}

impl Catalogue {
    /// The shop, whose slow page takes so long.
    pub fn new(slow: Duration) -> Self {
        Self { slow, tries: Mutex::default() }
    }

    /// Which time a path is asked for, from 1.
    fn try_of(&self, path: &str) -> u32 {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let count = tries.entry(path.to_owned()).or_default();
        *count += 1;
        *count
    }

    async fn special(&self, request: &Request, name: &str) -> Answer {
        let nth = || self.try_of(request.path());
        match name {
            "gone" => Answer::text(StatusCode::GONE, "no longer on sale\n"),
            "moved" => Answer::redirect(StatusCode::MOVED_PERMANENTLY, "/item/7"),
            "moved-twice" => Answer::redirect(StatusCode::FOUND, "/item/moved"),
            "slow" => {
                tokio::time::sleep(self.slow).await;
                page(named("Slow delivery", "slow"))
            }
            "busy" if nth() == 1 => Answer::text(StatusCode::TOO_MANY_REQUESTS, "please wait\n")
                .with(RETRY_AFTER, HeaderValue::from(BUSY_AFTER_S)),
            "busy" => page(named("Much asked for", "busy")),
            "healing" if nth() <= 2 => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "back soon\n"),
            "healing" => page(named("Back in stock", "healing")),
            "flaky" if nth() == 1 => Answer::HangUp,
            "flaky" => page(named("Now and then", "flaky")),
            _ => Answer::text(StatusCode::NOT_FOUND, "no such item\n"),
        }
    }
}

impl Site for Catalogue {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            let path = request.path().trim_start_matches('/').to_owned();
            let numbered = |number: &str, end: u32| number.parse::<u32>().ok().filter(|number| *number < end);
            match path.split_once('/') {
                None if path.is_empty() => page(index()),
                None => document(&request, &path),
                Some(("category", number)) => match numbered(number, CATEGORIES) {
                    Some(number) => page(category(number)),
                    None => Answer::text(StatusCode::NOT_FOUND, "no such category\n"),
                },
                Some(("item", name)) => match numbered(name, ITEMS) {
                    Some(number) => page(item(number)),
                    None => self.special(&request, name).await,
                },
                Some(_) => Answer::text(StatusCode::NOT_FOUND, "no such page\n"),
            }
        })
    }

    fn reset(&self) {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn page(markup: Markup) -> Answer {
    Answer::html(markup.into_string())
}

fn document(request: &Request, name: &str) -> Answer {
    let xml = |body: String| {
        let mut response = Response::new(AnswerBody::whole(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        Answer::Respond(response)
    };
    let locations = |tag: &str, paths: Vec<String>| {
        let entry = |path: String| format!("<{tag}><loc>{}</loc></{tag}>", request.url(&path));
        paths.into_iter().map(entry).collect::<String>()
    };
    match name {
        "robots.txt" => Answer::text(StatusCode::OK, format!("User-agent: *\nSitemap: {}\n", request.url("/sitemap.xml"))),
        "sitemap.xml" => {
            let parts = locations("sitemap", vec!["/sitemap-1.xml".to_owned(), "/sitemap-2.xml".to_owned()]);
            xml(format!("<?xml version=\"1.0\"?><sitemapindex>{parts}</sitemapindex>"))
        }
        "sitemap-1.xml" => {
            let items = (0..ITEMS / 2).map(|number| format!("/item/{number}")).collect();
            xml(format!("<?xml version=\"1.0\"?><urlset>{}</urlset>", locations("url", items)))
        }
        "sitemap-2.xml" => {
            // The second half up to a point: the rest is found by links alone.
            let items = (ITEMS / 2..ITEMS - 40).map(|number| format!("/item/{number}")).collect();
            xml(format!("<?xml version=\"1.0\"?><urlset>{}</urlset>", locations("url", items)))
        }
        _ => Answer::text(StatusCode::NOT_FOUND, "no such page\n"),
    }
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

fn index() -> Markup {
    frame("Home", &html! {
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
    })
}

fn category(number: u32) -> Markup {
    frame(&format!("Category {number}"), &html! {
        h1 { "Category " (number) }
        h2 { "Items" }
        ul { @for item in (number..ITEMS).step_by(CATEGORIES as usize) {
            li { a href={ "/item/" (item) } { (title(item)) } }
        } }
    })
}

fn item(number: u32) -> Markup {
    let (before, after) = ((number + ITEMS - 1) % ITEMS, (number + 1) % ITEMS);
    frame(&title(number), &html! {
        h1 { (title(number)) }
        p { span.price { "EUR " (format!("{:.2}", price(number))) } " " span.sku { (sku(number)) } }
        h2 { "Description" }
        @for paragraph in 0..3 { p { (prose(number, paragraph)) } }
        h2 { "Properties" }
        table.specs {
            tr { th { "Width" } td { (10 + number % 90) " cm" } }
            tr { th { "Weight" } td { (1 + number % 12) " kg" } }
            tr { th { "Colour" } td { (["red", "green", "blue", "oak"][(number % 4) as usize]) } }
        }
        p {
            a href={ "/category/" (number % CATEGORIES) } { "More of this kind" } " "
            a href={ "/item/" (before) "#top" } { "Before" } " "
            a href={ (after) } { "After" }
        }
        (PreEscaped("<script>document.title += ' (seen)';</script>"))
    })
}

fn named(title: &str, name: &str) -> Markup {
    frame(title, &html! {
        h1 { (title) }
        p { span.price { "EUR 1.00" } " " span.sku { "SKU-" (name) } }
        h2 { "Description" }
        p { (prose(name.len() as u32, 0)) }
    })
}

fn prose(number: u32, paragraph: u32) -> String {
    const SENTENCES: [&str; 6] = [
        "It has stood in many a house and was never in the way.",
        "Whoever sits beside it reads longer than intended.",
        "The makers change nothing about it but the year.",
        "It wants little care: a dry cloth, now and then.",
        "Two people carry it with ease, one with patience.",
        "It is said to sound better after the third winter.",
    ];
    let start = (number * 5 + paragraph * 3) as usize;
    (0..4).map(|at| SENTENCES[(start + at) % SENTENCES.len()]).collect::<Vec<_>>().join(" ")
}
