//! Each way to fail, with what comes of it: a row each, as docs/errors.md has them.

use std::{sync::Arc, time::Duration};

use http::{
    StatusCode,
    header::{CONTENT_ENCODING, CONTENT_RANGE, RETRY_AFTER},
};
use tollgate_core::outcome::RefusalKind;
use tollgate_sim::{
    Builder, ProxyKind, Reception, Sim,
    sites::scripted::{Scripted, Step},
};

use super::{PATH, SITE};
use crate::bombs::bombs;
/// Whose fault it is said to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Whose {
    Site,
    Proxy,
}

/// What comes of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ends {
    /// A refusal: its variant, its kind and whose fault it is, and words of its message.
    Refused(&'static str, Option<(RefusalKind, Whose)>, &'static str),
    /// An answer, and what the attempt is judged by if the stage fails of it.
    Answered(u16, Option<RefusalKind>),
}

use Ends::{Answered, Refused as No};
use RefusalKind::{Down, RateLimited, ServerError, Transport};

pub(super) const OF_SITE: Option<(RefusalKind, Whose)> = Some((Transport, Whose::Site));
pub(super) const OF_PROXY: Option<(RefusalKind, Whose)> = Some((Down, Whose::Proxy));

/// One way to fail. Absent: it can't happen that way, or is as over http.
pub(super) struct Row {
    /// As docs/errors.md has it.
    pub(super) what: &'static str,
    step: Option<Step>,
    reception: Reception,
    pub(super) kind: ProxyKind,
    pub(super) host: &'static str,
    pub(super) password: &'static str,
    pub(super) is_proxy_down: bool,
    /// The site's `timeout`.
    pub(super) timeout: &'static str,
    pub(super) http: Option<Ends>,
    pub(super) https: Option<Ends>,
    /// A member of an archive, by ranges, over http.
    pub(super) range: Option<Ends>,
}

pub(super) fn row(what: &'static str) -> Row {
    let (reception, kind) = (Reception::Fine, ProxyKind::Plain);
    let (host, password, is_proxy_down, timeout) = (SITE, "hush-hush", false, "1min");
    let (http, https, range) = (None, None, None);
    Row { what, step: None, reception, kind, host, password, is_proxy_down, timeout, http, https, range }
}

impl Row {
    pub(super) fn step(self, step: Step) -> Self {
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

    pub(super) fn builder(&self) -> Builder {
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

pub(super) fn ok() -> Step {
    Step::ok("fine")
}

/// The proxy's ways.
pub(super) fn of_proxy() -> Vec<Row> {
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
pub(super) fn of_connections() -> Vec<Row> {
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

pub(super) fn of_tls() -> Vec<Row> {
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
pub(super) fn of_limits() -> Vec<Row> {
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
pub(super) fn of_statuses() -> Vec<Row> {
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
