//! `catalogue.example`: a shop of some 300 linked pages, with the troubles that real shops give.
//!
//! Every page is made from its number and the shop's seed alone, so that a test knows what a crawl must have found.

mod facts;
mod pages;

pub use facts::{CATEGORIES, ITEMS, ItemFacts, facts, price, sku, title};

use crate::answer::Answer;
use crate::site::{Answering, Request, Site};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use maud::Markup;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The shop's host name.
pub const HOST: &str = "catalogue.example";
/// How long the slow page takes, where nobody says otherwise.
pub const SLOW: Duration = Duration::from_millis(1_500);
/// What the busy page asks for at first, in seconds.
pub const BUSY_AFTER_S: u64 = 2;
/// How often the busy page answers 429 before it answers.
pub const BUSY_TIMES: u32 = 1;
/// How often the healing page answers 503 before it answers.
pub const HEALING_TIMES: u32 = 2;
/// How often the flaky page drops the connection before it answers.
pub const FLAKY_TIMES: u32 = 1;

/// The page that takes its time.
pub const SLOW_PATH: &str = "/item/slow";
/// The page that answers 429 with `Retry-After` at first.
pub const BUSY_PATH: &str = "/item/busy";
/// The page that answers 503, without `Retry-After`, at first.
pub const HEALING_PATH: &str = "/item/healing";
/// The page that drops the connection at first.
pub const FLAKY_PATH: &str = "/item/flaky";

/// The shop.
pub struct Catalogue {
    seed: u64,
    slow: Duration,
    tries: Mutex<BTreeMap<&'static str, u32>>,
}

/// What the shop has, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Pages that answer 200, sooner or later; the four troubled ones among them.
    pub pages: Vec<String>,
    /// Of these, the items that no sitemap lists: they are found by links alone.
    pub unlisted: Vec<String>,
    /// Links that lead nowhere, with their status.
    pub broken: Vec<(String, u16)>,
    /// Redirects, with where they end; all are linked from the index.
    pub redirects: Vec<(String, String)>,
    /// The sitemaps: an index and its two parts, the second gzipped.
    pub sitemaps: Vec<String>,
}

/// What the shop has. It is the same whatever the seed.
pub fn manifest() -> Manifest {
    let troubled = [SLOW_PATH, BUSY_PATH, HEALING_PATH, FLAKY_PATH];
    let item = |number: u32| format!("/item/{number}");
    let mut pages = vec!["/".to_owned()];
    pages.extend((0..CATEGORIES).map(|number| format!("/category/{number}")));
    pages.extend((0..ITEMS).map(item));
    pages.extend(troubled.map(str::to_owned));
    let mut unlisted: Vec<String> = (ITEMS - pages::UNLISTED..ITEMS).map(item).collect();
    unlisted.extend(troubled.map(str::to_owned));
    Manifest {
        pages,
        unlisted,
        broken: [("/item/gone", 410), ("/item/missing", 404), ("/item/lost", 404)]
            .map(|(path, status)| (path.to_owned(), status))
            .to_vec(),
        redirects: ["/item/moved", "/item/moved-twice"].map(|path| (path.to_owned(), item(7))).to_vec(),
        sitemaps: ["/sitemap.xml", "/sitemap-1.xml", "/sitemap-2.xml.gz"].map(str::to_owned).to_vec(),
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new(SLOW)
    }
}

impl Catalogue {
    /// The shop of seed 0, whose slow page takes so long.
    pub fn new(slow: Duration) -> Self {
        Self::seeded(0, slow)
    }

    /// The shop of a seed: the same pages and links, other prices, properties and words.
    pub fn seeded(seed: u64, slow: Duration) -> Self {
        Self { seed, slow, tries: Mutex::default() }
    }

    /// Which time a troubled page is asked for, from 1.
    fn try_of(&self, path: &'static str) -> u32 {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let count = tries.entry(path).or_default();
        *count += 1;
        *count
    }

    async fn troubled(&self, path: &str) -> Answer {
        match path {
            "/item/gone" => Answer::text(StatusCode::GONE, "no longer on sale\n"),
            "/item/moved" => Answer::redirect(StatusCode::MOVED_PERMANENTLY, "/item/7"),
            "/item/moved-twice" => Answer::redirect(StatusCode::FOUND, "/item/moved"),
            SLOW_PATH => {
                tokio::time::sleep(self.slow).await;
                page(pages::named("Slow delivery", "slow"))
            }
            BUSY_PATH if self.try_of(BUSY_PATH) <= BUSY_TIMES => {
                Answer::text(StatusCode::TOO_MANY_REQUESTS, "please wait\n")
                    .with(RETRY_AFTER, HeaderValue::from(BUSY_AFTER_S))
            }
            BUSY_PATH => page(pages::named("Much asked for", "busy")),
            HEALING_PATH if self.try_of(HEALING_PATH) <= HEALING_TIMES => {
                Answer::text(StatusCode::SERVICE_UNAVAILABLE, "back soon\n")
            }
            HEALING_PATH => page(pages::named("Back in stock", "healing")),
            FLAKY_PATH if self.try_of(FLAKY_PATH) <= FLAKY_TIMES => Answer::HangUp,
            FLAKY_PATH => page(pages::named("Now and then", "flaky")),
            _ => Answer::text(StatusCode::NOT_FOUND, "no such page\n"),
        }
    }
}

impl Site for Catalogue {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            let numbered = |prefix: &str, end: u32| {
                let number = request.path().strip_prefix(prefix)?;
                // One address a page: neither `+7` nor `007` is item 7.
                let canonical =
                    number.bytes().all(|byte| byte.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
                number.parse::<u32>().ok().filter(|number| canonical && *number < end)
            };
            if let Some(number) = numbered("/item/", ITEMS) {
                return page(pages::item(self.seed, number));
            }
            if let Some(number) = numbered("/category/", CATEGORIES) {
                return page(pages::category(number));
            }
            match request.path() {
                "/" => page(pages::index()),
                "/robots.txt" => Answer::text(StatusCode::OK, pages::robots(&request)),
                "/sitemap.xml" => xml(pages::sitemap_index(&request)),
                "/sitemap-1.xml" => xml(pages::first_sitemap(&request)),
                "/sitemap-2.xml.gz" => match pages::second_sitemap(&request) {
                    Ok(packed) => Answer::whole(StatusCode::OK, "application/gzip", packed),
                    Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("gzip: {error}\n")),
                },
                path => self.troubled(path).await,
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

fn xml(body: String) -> Answer {
    Answer::whole(StatusCode::OK, "application/xml", body)
}
