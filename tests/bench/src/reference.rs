//! The bare loop: reqwest and scraper, the same pages through the same proxy, nothing durable.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use scraper::{Html, Selector};
use tokio::task::JoinSet;
use url::Url;

use crate::world::{CONCURRENCY, World, bound, seed};

/// What a bare crawl came to.
pub(crate) struct Crawled {
    /// Pages that answered.
    pub(crate) pages: BTreeSet<String>,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Crawls breadth first, as many pages side by side as the program does.
pub(crate) async fn crawl(world: &World, max_depth: u32) -> Result<Crawled> {
    let client = reqwest::Client::builder().no_proxy().proxy(reqwest::Proxy::all(&world.proxy)?).build()?;
    let selectors = Arc::new(Selectors::new()?);
    let start = Instant::now();
    let seen = Mutex::new(BTreeSet::from([seed()]));
    let (mut open, mut pages) = (vec![(seed(), 0)], BTreeSet::new());
    let mut running: JoinSet<Result<Fetched>> = JoinSet::new();
    loop {
        while running.len() < CONCURRENCY
            && let Some((url, depth)) = open.pop()
        {
            let (client, selectors) = (client.clone(), selectors.clone());
            running.spawn(async move { page(&client, &selectors, url, depth).await });
        }
        let Some(done) = running.join_next().await else {
            break;
        };
        let Fetched { url, depth, links } = done??;
        let Some(links) = links else {
            continue;
        };
        pages.insert(url);
        if depth < max_depth {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            open.extend(links.into_iter().filter(|link| seen.insert(link.clone())).map(|link| (link, depth + 1)));
        }
    }
    Ok(Crawled { pages, took: start.elapsed() })
}

/// A page that was asked for.
struct Fetched {
    url: String,
    depth: u32,
    /// Its links within bounds; absent where the page isn't there.
    links: Option<Vec<String>>,
}

struct Selectors {
    title: Selector,
    headings: Selector,
    links: Selector,
}

impl Selectors {
    fn new() -> Result<Self> {
        let parse = |text: &str| Selector::parse(text).ok().context("a selector");
        Ok(Self { title: parse("title")?, headings: parse("h1, h2, h3")?, links: parse("a[href]")? })
    }
}

/// Fetches and parses a page; gives its links within bounds, or nothing where the page isn't there.
async fn page(client: &reqwest::Client, selectors: &Selectors, url: String, depth: u32) -> Result<Fetched> {
    let answer = client.get(&url).send().await?;
    if !answer.status().is_success() {
        return Ok(Fetched { url, depth, links: None });
    }
    let text = String::from_utf8_lossy(&answer.bytes().await?).into_owned();
    let html = Html::parse_document(&text);
    let title: String = html.select(&selectors.title).flat_map(|element| element.text()).collect();
    let headings: Vec<String> = html.select(&selectors.headings).map(|element| element.text().collect()).collect();
    let base = Url::parse(&url)?;
    let links = html.select(&selectors.links).filter_map(|element| element.value().attr("href"));
    let links: Vec<String> = links
        .filter_map(|href| base.join(href).ok())
        .map(|mut link| {
            link.set_fragment(None);
            String::from(link)
        })
        .filter(|link| link.starts_with(&bound()))
        .collect();
    // Kept from being optimised away: the loop really takes what the job takes.
    std::hint::black_box((title, headings));
    Ok(Fetched { url, depth, links: Some(links) })
}
