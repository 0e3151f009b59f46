//! The shop, held against its manifest.

use crate::client::{Client, Connection, get};
use flate2::read::GzDecoder;
use http::StatusCode;
use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tollgate_sim::Sim;
use tollgate_sim::sites::catalogue::{
    BUSY_AFTER_S, BUSY_PATH, BUSY_TIMES, CATEGORIES, Catalogue, FLAKY_PATH, FLAKY_TIMES, HEALING_PATH, HEALING_TIMES,
    HOST, ITEMS, SLOW_PATH, facts, manifest, price,
};

async fn start(seed: u64) -> (Sim, Client) {
    let shop = Catalogue::seeded(seed, Duration::ZERO);
    let sim = Sim::builder().site(HOST, Arc::new(shop)).start().await.unwrap();
    let client = Client::new(&sim);
    (sim, client)
}

async fn text(connection: &mut Connection, path: &str) -> (StatusCode, String) {
    let reply = connection.send(get(HOST, path)).await.unwrap();
    (reply.status, reply.text().to_owned())
}

/// Paths of this site that a page links to, from the page's own path.
fn links(page: &str, from: &str) -> BTreeSet<String> {
    let hrefs = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    hrefs
        .filter(|href| !href.contains(':'))
        .map(|href| href.split('#').next().unwrap_or(href))
        .map(|href| match href.starts_with('/') {
            true => href.to_owned(),
            false => format!("{}/{href}", from.rsplit_once('/').map_or("", |(folder, _)| folder)),
        })
        .collect()
}

#[tokio::test]
async fn following_links_finds_exactly_the_manifest() {
    let (sim, client) = start(0).await;
    let manifest = manifest();
    let pages: BTreeSet<_> = manifest.pages.iter().cloned().collect();
    assert_eq!(pages.len(), manifest.pages.len());
    assert!((290..=310).contains(&pages.len()));

    let mut connection = client.tunnel(HOST).await.unwrap();
    let (mut open, mut known) = (vec!["/".to_owned()], BTreeSet::from(["/".to_owned()]));
    let (mut fine, mut broken, mut redirects) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    while let Some(path) = open.pop() {
        let mut reply = connection.send(get(HOST, &path)).await;
        while reply.as_ref().map_or(true, |reply| matches!(reply.status.as_u16(), 429 | 503)) {
            assert!(sim.counts().of(HOST, &path) < 5, "{path} doesn't heal");
            connection = client.tunnel(HOST).await.unwrap();
            reply = connection.send(get(HOST, &path)).await;
        }
        let reply = reply.unwrap();
        match reply.status.as_u16() {
            200 => {
                for link in links(reply.text(), &path) {
                    if known.insert(link.clone()) {
                        open.push(link);
                    }
                }
                fine.insert(path);
            }
            301 | 302 => drop(redirects.insert(path)),
            status => drop(broken.insert((path, status))),
        }
    }
    assert_eq!(fine, pages);
    assert_eq!(broken, manifest.broken.into_iter().collect());
    assert_eq!(redirects, manifest.redirects.into_iter().map(|(from, _)| from).collect());
}

#[tokio::test]
async fn the_sitemaps_list_all_but_the_unlisted_items() {
    let (_sim, client) = start(0).await;
    let manifest = manifest();
    let locations = |xml: &str| -> Vec<String> {
        let values = xml.split("<loc>").skip(1).filter_map(|rest| rest.split("</loc>").next());
        values.map(|url| url.strip_prefix("https://catalogue.example").unwrap().to_owned()).collect()
    };
    let robots = client.get("https://catalogue.example/robots.txt").await.unwrap();
    assert!(robots.text().contains("Sitemap: https://catalogue.example/sitemap.xml"));
    let index = client.get("https://catalogue.example/sitemap.xml").await.unwrap();
    assert_eq!(index.header("content-type"), "application/xml");
    let parts = locations(index.text());
    assert_eq!(parts, manifest.sitemaps[1..]);

    let mut listed = locations(client.get(&format!("https://{HOST}{}", parts[0])).await.unwrap().text());
    let packed = client.get(&format!("https://{HOST}{}", parts[1])).await.unwrap();
    assert_eq!((packed.header("content-type"), packed.header("content-encoding")), ("application/gzip", ""));
    let mut unpacked = String::new();
    GzDecoder::new(&packed.body[..]).read_to_string(&mut unpacked).unwrap();
    listed.extend(locations(&unpacked));

    let items = manifest.pages.iter().filter(|page| page.starts_with("/item/"));
    let expected: BTreeSet<_> = items.filter(|page| !manifest.unlisted.contains(page)).cloned().collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(listed.len(), expected.len());
}

#[tokio::test]
async fn an_item_says_its_facts() {
    for seed in [0, 7] {
        let (_sim, client) = start(seed).await;
        let mut connection = client.tunnel(HOST).await.unwrap();
        for number in [0, 42, ITEMS - 1] {
            let facts = facts(seed, number);
            let (_, page) = text(&mut connection, &format!("/item/{number}")).await;
            assert!(page.contains(&format!("<h1>{}</h1>", facts.title)));
            assert!(page.contains(&format!("<title>{} | Catalogue</title>", facts.title)));
            assert!(page.contains(&format!("<span class=\"price\">EUR {:.2}</span>", facts.price)));
            assert!(page.contains(&format!("<span class=\"sku\">{}</span>", facts.sku)));
            assert_eq!(facts.category, number % CATEGORIES);
            for (name, value) in &facts.specs {
                assert!(page.contains(&format!("<tr><th>{name}</th><td>{value}</td></tr>")));
            }
            for paragraph in &facts.prose {
                assert!(page.contains(&format!("<p>{paragraph}</p>")));
            }
        }
    }
    assert_eq!((price(42), facts(0, 42).sku.as_str(), facts(0, 42).title.as_str()), (99.5, "SKU-0042", "Lamp No 42"));
    assert_ne!(facts(7, 42).price, facts(0, 42).price);
    assert_eq!(facts(7, 42).sku, facts(0, 42).sku);
}

#[tokio::test]
async fn troubled_pages_do_as_the_manifest_says_and_a_reset_begins_anew() {
    let (sim, client) = start(0).await;
    for _ in 0..2 {
        for _ in 0..BUSY_TIMES {
            let busy = client.get(&format!("https://{HOST}{BUSY_PATH}")).await.unwrap();
            assert_eq!(busy.status, StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(busy.header("retry-after"), BUSY_AFTER_S.to_string());
        }
        for _ in 0..HEALING_TIMES {
            let down = client.get(&format!("https://{HOST}{HEALING_PATH}")).await.unwrap();
            assert_eq!((down.status, down.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, ""));
        }
        for _ in 0..FLAKY_TIMES {
            assert!(client.get(&format!("https://{HOST}{FLAKY_PATH}")).await.is_err());
        }
        for path in [BUSY_PATH, HEALING_PATH, FLAKY_PATH, SLOW_PATH] {
            assert_eq!(client.get(&format!("https://{HOST}{path}")).await.unwrap().status, StatusCode::OK, "{path}");
        }
        sim.reset();
    }
}

#[tokio::test]
async fn redirects_end_where_the_manifest_says() {
    let (_sim, client) = start(0).await;
    for (from, end) in manifest().redirects {
        let mut path = from;
        loop {
            let reply = client.get(&format!("http://{HOST}{path}")).await.unwrap();
            if reply.status == StatusCode::OK {
                break;
            }
            path = reply.header("location").to_owned();
        }
        assert_eq!(path, end);
    }
}

#[tokio::test]
async fn the_slow_page_takes_its_time() {
    let hour = Duration::from_secs(3_600);
    let sim = Sim::builder().site(HOST, Arc::new(Catalogue::new(hour))).start().await.unwrap();
    let client = Client::new(&sim);
    let asked = tokio::spawn(async move { client.get(&format!("http://{HOST}{SLOW_PATH}")).await.map(drop) });
    sim.wait_for(|counts| counts.in_flight(HOST) == 1).await;
    // Others don't wait for it.
    let other = Client::new(&sim).get(&format!("http://{HOST}/item/1")).await.unwrap();
    assert_eq!(other.status, StatusCode::OK);
    assert!(!asked.is_finished());
    asked.abort();
}

#[tokio::test]
async fn a_page_has_one_address() {
    let (_sim, client) = start(0).await;
    let mut connection = client.tunnel(HOST).await.unwrap();
    for path in ["/item/007", "/item/+7", "/item/280", "/item/-1", "/item/", "/category/12", "/nothing"] {
        assert_eq!(text(&mut connection, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}
