//! R06, R07, R09: every way in which a request can fail, provoked, and held against docs/errors.md.

mod rows;

use tollgate_core::{
    Timestamp,
    http::HttpError,
    outcome::{BreakerEffect, Outcome, Refusal, RefusalKind, StageError, decide},
    retry::RetryPolicy,
    task::Tally,
};
use tollgate_egress::{Refused, Response};
use tollgate_sim::{Release, Sim};

use self::rows::{
    Ends::{self, Answered, Refused as No},
    OF_PROXY, OF_SITE, Row, Whose, of_connections, of_limits, of_proxy, of_statuses, of_tls, ok, row,
};
use crate::world::World;
use RefusalKind::{Down, RateLimited};

/// The site that is asked, where a row names no other.
const SITE: &str = "site.example";
const PATH: &str = "/archive.zip";
/// The table, for people.
const DOCS: &str = include_str!("../../../../docs/errors.md");
const BODY_MAX: u64 = 1_000_000;
/// No message may have one of these in it: a proxy's password, a site's key.
const SECRETS: [&str; 2] = ["hush-hush", "key-of-the-site"];

fn variant(error: &HttpError) -> &'static str {
    match error {
        HttpError::Denied(_) => "Denied",
        HttpError::Timeout(_) => "Timeout",
        HttpError::Connection(_) => "Connection",
        HttpError::RateLimited { .. } => "RateLimited",
        HttpError::Blocked(_) => "Blocked",
        HttpError::LoginRequired(_) => "LoginRequired",
        HttpError::NotContent(_) => "NotContent",
        HttpError::TooLarge(_) => "TooLarge",
        HttpError::InvalidRequest(_) => "InvalidRequest",
        HttpError::Storage(_) => "Storage",
        HttpError::Other(_) => "Other",
    }
}

/// Whether an attempt is used up, and what the lane's breaker makes of it, where a stage fails of it.
fn judged(refusal: Option<&Refusal>) -> (bool, BreakerEffect) {
    let failed = Outcome::Stage(StageError::Failed("no page".to_owned()));
    let decision = decide(failed, refusal, Tally::default(), &RetryPolicy::default(), Timestamp(1_000_000), 0.5);
    (decision.tally.counted == 1, decision.breaker)
}

/// Holds what came of a row's request against what should.
fn hold(about: &str, world: &World, ends: Ends, (authority, host): (&str, &str), got: &Result<Response, Refused>) {
    let proxy = &world.gate.status().proxies[0].reason;
    assert_eq!(world.sim.counts().direct, 0, "{about}");
    let said = format!("{got:?} {proxy:?}");
    assert!(!SECRETS.iter().any(|secret| said.contains(secret)), "{about}: {said}");
    match (ends, got) {
        (Answered(status, kind), Ok(response)) => {
            assert_eq!(response.status, status, "{about}");
            assert_eq!(response.transport_failure.as_ref().map(|failure| failure.kind), kind, "{about}");
            assert_eq!(proxy, &None, "{about}");
        }
        (No(named, by, words), Err(refused)) => {
            let refusal = refused.refusal.as_deref();
            let text = refused.error.to_string();
            assert_eq!(variant(&refused.error), named, "{about}: {text}");
            assert!(text.contains(words), "{about}: {text}");
            let is_proxys = by.is_some_and(|(_, whose)| whose == Whose::Proxy);
            let named = if is_proxys { "main" } else { authority };
            let expected = by.map(|(kind, _)| (kind, named));
            assert_eq!(refusal.map(|refusal| (refusal.kind, refusal.about.as_str())), expected, "{about}: {text}");
            let told = if is_proxys { "proxy main" } else { host };
            if let Some(refusal) = refusal {
                assert!(refusal.message.contains(told), "{about}: {}", refusal.message);
            }
            assert_eq!(proxy.is_some(), is_proxys, "{about}: {proxy:?}");
            let cools = matches!(by, Some((RateLimited, _)));
            let is_cooling = world.gate.status().sites.iter().any(|site| site.cooling_until.is_some());
            assert_eq!(is_cooling, cools, "{about}");
            let breaker = if by.is_none() { BreakerEffect::Failure } else { BreakerEffect::None };
            let is_counted = !matches!(by, Some((Down | RateLimited, _)));
            assert_eq!(judged(refusal), (is_counted, breaker), "{about}");
        }
        (_, got) => panic!("{about}: {got:?}"),
    }
}

/// Asks what a row is about, each way in a world of its own: over http and https, and by ranges.
async fn provoke(row: &Row) {
    let Row { what, host, password, timeout, .. } = *row;
    let documented = DOCS.lines().find(|line| line.starts_with(&format!("| {what} |")));
    let documented = documented.unwrap_or_else(|| panic!("docs/errors.md has no row for {what:?}"));
    let url = |sim: &Sim| sim.proxy_url_with_auth().replace("hush-hush", password);
    let more = format!(
        "[site.\"*\"]\nbody-max = \"{BODY_MAX} B\"\ntimeout = \"{timeout}\"\n\
         headers = {{ X-Key = \"key-of-the-site\" }}\n"
    );
    for (way, scheme, ends) in [("http", "http", row.http), ("https", "https", row.https), ("range", "http", row.range)]
    {
        let Some(ends) = ends else {
            continue;
        };
        let world = World::built(row.builder(), url, &more).await;
        if row.is_proxy_down {
            world.sim.proxy_down().await.unwrap();
        }
        let (about, url) = (format!("{what}, {way}, {:?}", row.kind), format!("{scheme}://{host}{PATH}"));
        let authority = format!("{host}:{}", if scheme == "http" { 80 } else { 443 });
        let got = if way == "range" {
            world.gate.fetch_zip_member(&world.caller, &url, "member", &|_| {}).await
        } else {
            world.fetch(&url).await
        };
        hold(&about, &world, ends, (&authority, host), &got);
        if let No(named, ..) = ends {
            assert!(
                documented.contains(&format!("`{}`", kebab(named))),
                "docs/errors.md says of {about}: {documented}"
            );
        }
    }
}

/// A variant as the interface has it: `TooLarge` is `too-large`.
fn kebab(variant: &str) -> String {
    let spaced = variant.chars().enumerate().flat_map(|(at, char)| {
        let dash = (at > 0 && char.is_ascii_uppercase()).then_some('-');
        dash.into_iter().chain([char.to_ascii_lowercase()])
    });
    spaced.collect()
}

async fn provoke_all(rows: Vec<Row>) {
    for row in &rows {
        provoke(row).await;
    }
}

#[tokio::test]
async fn r06_r09_what_a_proxy_fails_of_is_told_from_what_a_site_does() {
    provoke_all(of_proxy()).await;
}

#[tokio::test]
async fn r06_each_way_in_which_a_connection_ends_is_a_failure_of_its_address() {
    provoke_all(of_connections()).await;
}

#[tokio::test]
async fn r06_each_way_in_which_tls_fails_is_a_failure_of_its_address() {
    provoke_all(of_tls()).await;
}

#[tokio::test]
async fn r06_what_takes_too_long_or_is_too_large_ends_at_its_limit() {
    provoke_all(of_limits()).await;
}

#[tokio::test]
async fn r06_r07_a_status_is_what_it_says() {
    provoke_all(of_statuses()).await;
}

#[tokio::test]
async fn r09_a_proxy_that_goes_away_in_the_middle_is_the_proxys_fault() {
    for (what, scheme) in [("an answer", "http"), ("an answer", "https"), ("a body", "http"), ("a body", "https")] {
        let release = Release::new();
        let step = if what == "a body" { ok().held("fi", &release, "ne") } else { ok().hang_until(&release) };
        let row = row("proxy: goes away in the middle").step(step);
        let world = World::built(row.builder(), Sim::proxy_url_with_auth, "").await;
        let url = format!("{scheme}://{SITE}{PATH}");
        let asking = world.fetch(&url);
        let ending = async {
            world.sim.wait_for(|counts| counts.of(SITE, PATH) == 1).await;
            world.sim.proxy_down().await.unwrap();
        };
        let (got, ()) = tokio::join!(asking, ending);
        let authority = format!("{SITE}:{}", if scheme == "http" { 80 } else { 443 });
        let about = format!("{what} over {scheme}");
        hold(&about, &world, No("Connection", OF_PROXY, "proxy main is down"), (&authority, SITE), &got);
    }
    assert!(DOCS.contains("| proxy: goes away in the middle |"));
}

#[tokio::test]
async fn r06_without_a_proxy_a_refused_connection_is_a_failure_of_its_address() {
    // Taken, and not listened on.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let authority = format!("localhost:{}", socket.local_addr().unwrap().port());
    let more = format!("[site.\"{authority}\"]\ndirect = true\n");
    let world = World::built(Sim::builder(), Sim::proxy_url, &more).await;
    let got = world.fetch(&format!("http://{authority}/")).await;
    hold("refused, direct", &world, No("Connection", OF_SITE, "refused"), (&authority, "localhost"), &got);
    assert!(DOCS.contains("| direct: refused |"));
}
