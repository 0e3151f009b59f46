//! R06, R07, R09: every way in which a request can fail, provoked, and held against docs/errors.md.

use std::{sync::Arc, time::Duration};

use http::{
    StatusCode,
    header::{CONTENT_ENCODING, CONTENT_RANGE, RETRY_AFTER},
};
use tollgate_core::{
    Timestamp,
    http::HttpError,
    outcome::{BreakerEffect, Outcome, Refusal, RefusalKind, StageError, decide},
    retry::RetryPolicy,
    task::Tally,
};
use tollgate_egress::{Refused, Response};
use tollgate_sim::{
    Builder, ProxyKind, Reception, Release, Sim,
    sites::scripted::{Scripted, Step},
};

use crate::{bombs::bombs, world::World};

/// The site that is asked, where a row names no other.
const SITE: &str = "site.example";
const PATH: &str = "/archive.zip";
/// The table, for people.
const DOCS: &str = include_str!("../../../../docs/errors.md");
const BODY_MAX: u64 = 1_000_000;
/// No message may have one of these in it: a proxy's password, a site's key.
const SECRETS: [&str; 2] = ["hush-hush", "key-of-the-site"];

/// Whose fault it is said to be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    Site,
    Proxy,
}

/// What comes of a request.
#[derive(Clone, Copy, Debug)]
enum Ends {
    /// A refusal: its variant, its kind and whose fault it is, and words of its message.
    Refused(&'static str, Option<(RefusalKind, Whose)>, &'static str),
    /// An answer, and what the attempt is judged by if the stage fails of it.
    Answered(u16, Option<RefusalKind>),
}

use Ends::{Answered, Refused as No};
use RefusalKind::{Down, RateLimited, ServerError, Transport};

const OF_SITE: Option<(RefusalKind, Whose)> = Some((Transport, Whose::Site));
const OF_PROXY: Option<(RefusalKind, Whose)> = Some((Down, Whose::Proxy));

/// One way to fail. Absent: it can't happen that way, or is as over http.
struct Row {
    /// As docs/errors.md has it.
    what: &'static str,
    step: Option<Step>,
    reception: Reception,
    kind: ProxyKind,
    host: &'static str,
    password: &'static str,
    is_proxy_down: bool,
    /// The site's `timeout`.
    timeout: &'static str,
    http: Option<Ends>,
    https: Option<Ends>,
    /// A member of an archive, by ranges, over http.
    range: Option<Ends>,
}

fn row(what: &'static str) -> Row {
    let (reception, kind) = (Reception::Fine, ProxyKind::Plain);
    let (host, password, is_proxy_down, timeout) = (SITE, "hush-hush", false, "1min");
    let (http, https, range) = (None, None, None);
    Row { what, step: None, reception, kind, host, password, is_proxy_down, timeout, http, https, range }
}

impl Row {
    fn step(self, step: Step) -> Self {
        Self { step: Some(step), ..self }
    }

    fn reception(self, reception: Reception) -> Self {
        Self { reception, ..self }
    }

    /// Its time will run out.
    fn late(self) -> Self {
        Self { timeout: "1s", ..self }
    }

    fn proxy(self, kind: ProxyKind) -> Self {
        Self { kind, ..self }
    }

    fn builder(&self) -> Builder {
        let site = Scripted::new().path(PATH, self.step.clone());
        let sim = Sim::builder().proxy_auth("me", "hush-hush").proxy_kind(self.kind);
        sim.site(SITE, Arc::new(site)).reception(SITE, self.reception)
    }

    fn host(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    fn http(self, ends: Ends) -> Self {
        Self { http: Some(ends), ..self }
    }

    fn https(self, ends: Ends) -> Self {
        Self { https: Some(ends), ..self }
    }

    fn both(self, ends: Ends) -> Self {
        self.http(ends).https(ends)
    }

    fn range(self, ends: Ends) -> Self {
        Self { range: Some(ends), ..self }
    }

    fn all(self, ends: Ends) -> Self {
        self.both(ends).range(ends)
    }
}

fn ok() -> Step {
    Step::ok("fine")
}

/// The proxy's ways.
fn of_proxy() -> Vec<Row> {
    let refused = No("Connection", OF_PROXY, "proxy main is down: ");
    let no_tunnel = No("Connection", OF_SITE, "it made no tunnel");
    let mut rows = vec![Row { is_proxy_down: true, ..row("proxy: refuses connections") }.all(refused)];
    for kind in [ProxyKind::Plain, ProxyKind::Squid, ProxyKind::Tinyproxy] {
        let wrong = Row { password: "wrong", ..row("proxy: answers 407") };
        rows.push(wrong.proxy(kind).all(No(
            "Connection",
            OF_PROXY,
            "proxy main is down: it asks for other credentials (407)",
        )));
    }
    let bare = Answered(502, Some(ServerError));
    let bare_range = No("Other", Some((ServerError, Whose::Site)), "answered 502 to a range");
    let plain = |row: Row| row.http(bare).https(no_tunnel).range(bare_range);
    rows.push(plain(row("proxy: no such name").host("none.example")));
    rows.push(plain(row("proxy: the site refuses connections").reception(Reception::Refused)));
    for (kind, no_name, no_site) in [
        (ProxyKind::Squid, "proxy main got no answer of it: squid says ERR_", "squid says ERR_CONNECT_FAIL"),
        (ProxyKind::Tinyproxy, "proxy main got no answer of it: tinyproxy", "tinyproxy answers 500"),
    ] {
        let marked = |row: Row, words| row.all(No("Connection", OF_SITE, words)).https(no_tunnel);
        rows.push(marked(row("squid, tinyproxy: no such name").host("none.example").proxy(kind), no_name));
        let refused = row("squid, tinyproxy: the site refuses connections").reception(Reception::Refused);
        rows.push(marked(refused.proxy(kind), no_site));
    }
    rows
}

/// Ways in which a connection ends too soon.
fn of_connections() -> Vec<Row> {
    let broke_off = No("Connection", OF_SITE, "the body broke off");
    let partial = || Step::status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, "bytes 0-9999/10000");
    vec![
        row("site: closes without an answer").step(Step::hang_up()).all(No("Connection", OF_SITE, SITE)),
        row("site: resets without an answer").step(Step::reset()).all(No("Connection", OF_SITE, SITE)),
        row("site: resets in the body").step(ok().reset_after("fi")).both(broke_off),
        row("site: resets in the body").step(partial().reset_after("fi")).range(broke_off),
        row("site: closes in the body").step(ok().truncated("fi", 4)).both(broke_off),
        row("site: closes in the body").step(partial().truncated("fi", 10_000)).range(broke_off),
        row("site: closes in a chunked body").step(ok().cut_after("fi")).both(broke_off),
        row("site: closes in a chunked body").step(partial().cut_after("fi")).range(broke_off),
        row("site: a chunk that is none")
            .step(Step::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nfi\r\n"))
            .both(broke_off),
        row("site: two lengths")
            .step(Step::raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nfin"))
            .all(No("Connection", OF_SITE, SITE)),
        row("site: no HTTP").step(Step::raw("SSH-2.0-OpenSSH_9.2p1\r\n")).all(No("Connection", OF_SITE, SITE)),
        row("site: headers without end")
            .step(Step::raw_endless("HTTP/1.1 200 OK\r\n", format!("x: {}\r\n", "x".repeat(1_000))))
            .all(No("Connection", OF_SITE, SITE)),
        row("site: calls it gzip, and it isn't").step(ok().header(CONTENT_ENCODING, "gzip")).both(No(
            "Connection",
            OF_SITE,
            "the body broke off",
        )),
        row("site: more bytes than it promised")
            .step(Step::raw("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfineHTTP/1.1 200 OK\r\n\r\n"))
            .both(Answered(200, None)),
    ]
}

fn of_tls() -> Vec<Row> {
    let tls = |what, reception, words| row(what).reception(reception).https(No("Connection", OF_SITE, words));
    vec![
        tls("site: a certificate of an unknown authority", Reception::Untrusted, "UnknownIssuer"),
        tls("site: a certificate for another name", Reception::OtherName, "not valid for name"),
        tls("site: a certificate that has expired", Reception::Expired, "expired"),
        tls("site: no TLS on its port", Reception::NotTls, SITE),
        tls("site: closes in the handshake", Reception::HangsUp, SITE),
        row("site: is silent in the handshake").reception(Reception::Silent).late().https(No(
            "Timeout",
            OF_SITE,
            "no answer from site.example within",
        )),
    ]
}

/// Ways to take too long, or too much.
fn of_limits() -> Vec<Row> {
    let late = |words| No("Timeout", OF_SITE, words);
    let too_large = No("TooLarge", None, "body larger than 1000000 bytes");
    let slow = |step: Step| step.dripping("x", Duration::from_millis(20), 1_000);
    let a_range = || Step::status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, "bytes 0-9999/10000");
    let mut rows = vec![
        row("site: no answer in time")
            .step(ok().delay(Duration::from_mins(1)))
            .late()
            .all(late("no answer from site.example within")),
        row("site: interim answers without end")
            .step(Step::raw_endless("", "HTTP/1.1 100 Continue\r\n\r\n"))
            .late()
            .both(late("no answer from site.example within")),
        row("site: a body that isn't done in time").step(slow(ok())).late().both(late("no end of the body")),
        row("site: a body that isn't done in time").step(slow(a_range())).late().range(late("no end of the body")),
        row("site: a body without end").step(ok().endless(vec![b'x'; 10_000])).both(too_large).range(No(
            "Other",
            None,
            "answered 200 to a range",
        )),
        row("site: a body without end").step(a_range().endless(vec![b'x'; 10_000])).range(No(
            "Other",
            None,
            "more bytes than that",
        )),
        row("site: redirects in a circle").step(Step::redirect(StatusCode::FOUND, PATH)).all(No(
            "Connection",
            OF_SITE,
            "redirected 10 times",
        )),
    ];
    for (coding, bomb) in bombs(64 << 20) {
        let packed = |step: Step| step.body(bomb.clone()).header(CONTENT_ENCODING, coding);
        rows.push(row("site: a decompression bomb").step(packed(ok())).both(too_large));
        let range = No("Other", None, "more bytes than that");
        rows.push(row("site: a decompression bomb").step(packed(a_range())).range(range));
    }
    rows
}

/// What a site says by a status.
fn of_statuses() -> Vec<Row> {
    let cools = Some((RateLimited, Whose::Site));
    let status = |status| Step::status(StatusCode::from_u16(status).unwrap());
    vec![
        row("site: 429").step(status(429)).all(No("RateLimited", cools, "rate limited for 60s")),
        row("site: 503 with Retry-After").step(status(503).header(RETRY_AFTER, "7")).all(No(
            "RateLimited",
            cools,
            "rate limited for 7s",
        )),
        row("site: another 5xx").step(status(503)).both(Answered(503, Some(ServerError))).range(No(
            "Other",
            Some((ServerError, Whose::Site)),
            "answered 503 to a range",
        )),
        row("site: 407 of its own").step(status(407)).both(Answered(407, None)).range(No(
            "Other",
            None,
            "answered 407",
        )),
        row("site: another 4xx").step(status(404)).both(Answered(404, None)).range(No("Other", None, "answered 404")),
    ]
}

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
