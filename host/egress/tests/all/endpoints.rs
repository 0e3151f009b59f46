//! S02: a local service is reached by its name alone, paced; down, it is nobody's fault, and comes back by itself.

mod paid;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::{StatusCode, header::RETRY_AFTER};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    sync::watch,
};
use tollgate_core::{
    Clock, Timestamp,
    http::{HttpError, HttpRequest},
    outcome::RefusalKind,
    spec::{self, SitePattern},
};
use tollgate_egress::{Caller, Refused};
use tollgate_sim::{
    Sim,
    sites::scripted::{Scripted, Step},
};

use crate::world::World;

const SITE: &str = "site.example";
/// Under this name the service stands in the small internet; it is asked at its own address on loopback.
const SERVICE: &str = "service.example";

/// A service at `/v1`, and a site behind the proxy. `more` is what the endpoint's entry says besides.
async fn world(service: Scripted, site: Scripted, more: &str) -> (World, SocketAddr) {
    let sim = Sim::builder().site(SERVICE, Arc::new(service)).site(SITE, Arc::new(site)).start().await.unwrap();
    let at = sim.direct_addr(SERVICE).unwrap();
    let (proxy, jobs) = (sim.proxy_url(), format!("[endpoint.ibkr]\nurl = \"http://{at}/v1\"\n{more}\n"));
    (World::over(sim, &proxy, &jobs), at)
}

fn denied(refused: Refused) -> String {
    match refused.error {
        HttpError::Denied(text) | HttpError::InvalidRequest(text) => text,
        other => panic!("{other}"),
    }
}

/// That it is down, what is said, and for how long it is left alone.
fn down(refused: Refused) -> (String, Duration) {
    let refusal = refused.refusal.unwrap();
    assert_eq!((refusal.kind, refusal.about.as_str()), (RefusalKind::Down, "endpoint ibkr"), "{refusal:?}");
    (refusal.message, refusal.after.unwrap())
}

#[tokio::test]
async fn s02_an_endpoint_is_asked_by_its_name_and_shows_no_other() {
    let service = Scripted::new().path("/v1/quotes", [Step::ok("quotes")]).path("/v1", [Step::ok("root")]);
    let service = service.path("/v1/broken", [Step::status(StatusCode::INTERNAL_SERVER_ERROR)]);
    let (world, _) = world(service, Scripted::new(), "").await;
    let answer = world.fetch("endpoint://ibkr/a/../quotes?x=1#part").await.unwrap();
    assert_eq!((answer.status, answer.url.as_str()), (200, "endpoint://ibkr/quotes?x=1"));
    assert_eq!(answer.site, "endpoint ibkr");
    assert_eq!(answer.body.bytes().await.unwrap(), "quotes");
    assert_eq!(world.fetch("endpoint://ibkr").await.unwrap().body.bytes().await.unwrap(), "root");
    let broken = world.fetch("endpoint://ibkr/broken").await.unwrap();
    let failure = broken.transport_failure.unwrap();
    assert_eq!(failure.about, "endpoint ibkr");
    assert_eq!(failure.message, "endpoint://ibkr/broken answered 500");
    assert_eq!(world.sim.counts().of_host(SERVICE), 3);
    let sites = world.gate.status().sites;
    assert_eq!((sites[0].site.as_str(), sites[0].requests), ("endpoint ibkr", 3));
}

#[tokio::test]
async fn s02_what_is_no_address_of_an_endpoint_is_refused_with_what_to_do() {
    let (world, at) = world(Scripted::new(), Scripted::new(), "").await;
    for (url, wanted) in [
        ("endpoint://ibrk/", "no endpoint is named \"ibrk\"; did you mean `ibkr`?"),
        ("endpoint://ibkr:80/", "an endpoint has no port"),
        ("endpoint://me:pw@ibkr/", "secrets stand in jobs.toml"),
        ("endpoint:ibkr", "no endpoint is named"),
        ("endpoint:///ibkr", "no endpoint is named"),
        ("endpoint://ibkr/..\\..\\admin", "leads out of the path"),
        ("endpoint://ibkr/..\\v1evil", "leads out of the path"),
        (&format!("http://{at}/v1/"), "only an entry [site."),
        (&format!("http://localhost:{}/v1/", at.port()), "only an entry [site."),
    ] {
        let said = denied(world.fetch(url).await.unwrap_err());
        assert!(said.contains(wanted), "{url}: {said}");
    }
    assert_eq!(world.sim.counts().of_host(SERVICE), 0);
}

#[tokio::test]
async fn s02_an_endpoint_is_paced_for_all_who_ask() {
    let (world, _) = world(Scripted::new().path("/v1/", [Step::ok("x")]), Scripted::new(), "rate = \"1/min\"").await;
    world.fetch("endpoint://ibkr/").await.unwrap();
    let refusal = world.fetch("endpoint://ibkr/").await.unwrap_err().refusal.unwrap();
    assert_eq!((refusal.kind, refusal.about.as_str()), (RefusalKind::RateLimited, "endpoint ibkr"));
    assert_eq!(refusal.after, Some(Duration::from_mins(1)));
    assert_eq!(world.sim.counts().of_host(SERVICE), 1);
}

#[tokio::test]
async fn s02_a_secret_header_goes_to_its_endpoint_alone() {
    let service = Arc::new(Scripted::new().path("/v1/", [Step::ok("x")]));
    let site = Arc::new(Scripted::new().path("/", [Step::ok("x")]));
    let sim = Sim::builder().site(SERVICE, service.clone()).site(SITE, site.clone()).start().await.unwrap();
    let port = sim.direct_addr(SERVICE).unwrap().port();
    let jobs = format!(
        "[endpoint.ibkr]\nurl = \"http://localhost:{port}/v1\"\nheaders = {{ Authorization = \"Bearer s3cret\" }}\n"
    );
    let proxy = sim.proxy_url();
    let world = World::over(sim, &proxy, &jobs);
    let answer = world.fetch("endpoint://ibkr/").await.unwrap();
    assert!(!format!("{answer:?}").contains("s3cret"));
    world.fetch(&format!("http://{SITE}/")).await.unwrap();
    assert_eq!(service.seen("/v1/")[0].http.headers()["authorization"], "Bearer s3cret");
    assert!(!site.seen("/")[0].http.headers().contains_key("authorization"));
}

#[tokio::test]
async fn s02_redirects_of_an_endpoint_stay_within_it() {
    let service = Arc::new(Scripted::new().path("/v1/there", [Step::ok("there")]).path("/admin", [Step::ok("admin")]));
    let site = Arc::new(Scripted::new().path("/", [Step::ok("x")]));
    let sim = Sim::builder().site(SERVICE, service.clone()).site(SITE, site).start().await.unwrap();
    let (at, other) = (sim.direct_addr(SERVICE).unwrap(), sim.direct_addr(SITE).unwrap());
    let (proxy, jobs) = (sim.proxy_url(), format!("[endpoint.ibkr]\nurl = \"http://{at}/v1\"\n"));
    let world = World::over(sim, &proxy, &jobs);
    for within in ["there", "/v1/there#part", &format!("http://{at}/v1/there"), "/v1/x/../there"] {
        service.set("/v1/", [Step::redirect(StatusCode::FOUND, within)]);
        let answer = world.fetch("endpoint://ibkr/").await.unwrap();
        assert_eq!((answer.status, answer.url.as_str()), (200, "endpoint://ibkr/there"), "{within}");
    }
    let seen = world.sim.counts().of_host(SERVICE);
    for out in [
        &format!("http://{SITE}/"),
        &format!("http://{other}/"),
        &format!("https://{at}/v1/there"),
        &format!("http://me@{at}/v1/there"),
        "/admin",
        "/v1evil",
        "../admin",
        "endpoint://ibkr/there",
    ] {
        service.set("/v1/", [Step::redirect(StatusCode::FOUND, out)]);
        let said = denied(world.fetch("endpoint://ibkr/").await.unwrap_err());
        assert!(said.contains("endpoint ibkr redirects out") && !said.contains(&at.to_string()), "{out}: {said}");
    }
    assert_eq!(world.sim.counts().of_host(SERVICE), seen + 8, "each was asked once, and nothing followed");
    assert_eq!(world.sim.counts().of_host(SITE), 0);
}

#[tokio::test]
async fn trap12_no_page_sends_a_request_to_an_endpoint() {
    let site = Arc::new(Scripted::new());
    let service = Arc::new(Scripted::new().path("/v1/", [Step::ok("x")]));
    let sim = Sim::builder().site(SERVICE, service).site(SITE, site.clone()).start().await.unwrap();
    let at = sim.direct_addr(SERVICE).unwrap();
    let (proxy, jobs) = (sim.proxy_url(), format!("[endpoint.ibkr]\nurl = \"http://{at}/v1\"\n"));
    let world = World::over(sim, &proxy, &jobs);
    let inside = ["endpoint://ibkr/", "endpoint:ibkr", "ENDPOINT://ibkr/", &format!("http://{at}/v1/")];
    for target in inside {
        site.set("/", [Step::redirect(StatusCode::FOUND, target)]);
        denied(world.fetch(&format!("http://{SITE}/")).await.unwrap_err());
    }
    assert_eq!(world.sim.counts().of_host(SITE), 4);
    assert_eq!(world.sim.counts().of_host(SERVICE), 0);
}

#[tokio::test]
async fn s02_who_is_granted_an_endpoint_may_ask_it_and_nobody_else() {
    let (world, _) = world(Scripted::new().path("/v1/", [Step::ok("x")]), Scripted::new(), "").await;
    let fetch = async |names: &[&str], url: &str| {
        let allowed = names.iter().map(|name| SitePattern::of_grant(name).unwrap()).collect();
        let caller = Caller::of(world.caller.job.clone(), allowed);
        let (method, url) = ("GET".to_owned(), url.to_owned());
        let request = HttpRequest { method, url, headers: Vec::new(), body: None, timeout: None };
        world.gate.fetch(&caller, request, &|_| {}).await
    };
    assert!(fetch(&["site.example", "endpoint:ibkr"], "endpoint://ibkr/").await.is_ok());
    for others in [&["site.example"][..], &["*"], &["ibkr"], &["endpoint:other"]] {
        let said = denied(fetch(others, "endpoint://ibkr/").await.unwrap_err());
        assert!(said.contains("add \"http endpoint:ibkr\" to `grant` of [job.test]"), "{others:?}: {said}");
    }
    let said = denied(fetch(&["endpoint:ibkr"], &format!("http://{SITE}/")).await.unwrap_err());
    assert!(said.contains("is not granted site.example"), "{said}");
}

#[tokio::test]
async fn s02_a_503_says_that_the_endpoint_is_down() {
    let busy = Step::status(StatusCode::SERVICE_UNAVAILABLE).header(RETRY_AFTER, "7");
    let service = Scripted::new().path("/v1/", [busy]);
    let (world, _) = world(service, Scripted::new(), "").await;
    let (said, after) = down(world.fetch("endpoint://ibkr/").await.unwrap_err());
    assert_eq!((said.as_str(), after), ("endpoint ibkr is down: it answered 503", Duration::from_secs(7)));
    down(world.fetch("endpoint://ibkr/").await.unwrap_err());
    assert_eq!(world.sim.counts().of_host(SERVICE), 1, "it is left alone");
    let status = world.gate.status();
    let told = status.sentences(Timestamp(1_000_000), |left| left.to_string());
    assert_eq!(told, ["endpoint ibkr is left alone for another 7.0 s: it is down: it answered 503"]);
}

/// A clock that a test moves on.
struct Moved(watch::Sender<Timestamp>);

impl Moved {
    fn on(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.after(by));
    }
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            now.wait_for(|now| *now >= until).await.unwrap();
        })
    }
}

/// A service that answers `ok` to whatever comes, a connection each.
fn serve(listener: TcpListener) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((mut wire, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = wire.read(&mut head).await;
            let _ = wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
        }
    })
}

/// An address of its own on loopback that is taken, and where nobody listens yet.
fn nobody_at() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.83.79.2:0".parse().unwrap()).unwrap();
    socket
}

async fn world_at(at: SocketAddr) -> (World, Arc<Moved>) {
    moved_over(Sim::builder().start().await.unwrap(), &format!("http://{at}"), "")
}

/// A gate over a small internet that is there, by a clock that a test moves on.
fn moved_over(sim: Sim, url: &str, more: &str) -> (World, Arc<Moved>) {
    let clock = Arc::new(Moved(watch::Sender::new(Timestamp(1_000_000))));
    let (proxy, jobs) = (sim.proxy_url(), format!("[endpoint.ibkr]\nurl = \"{url}\"\n{more}\n"));
    (World::over_at(sim, &proxy, &jobs, clock.clone()), clock)
}

#[tokio::test]
async fn s02_an_endpoint_that_is_down_is_left_alone_and_heals_by_itself() {
    let nobody = nobody_at();
    let at = nobody.local_addr().unwrap();
    let (world, clock) = world_at(at).await;
    for (failures, seconds) in [1, 2, 4, 8, 16, 30, 30].into_iter().enumerate() {
        let (said, after) = down(world.fetch("endpoint://ibkr/").await.unwrap_err());
        assert!(said.starts_with("endpoint ibkr is down: ") && said.contains("refused"), "{said}");
        assert!(!said.contains(&at.to_string()), "{said}");
        assert_eq!(after, Duration::from_secs(seconds), "after {failures} failures before");
        clock.on(after);
    }
    let service = serve(nobody.listen(8).unwrap());
    assert_eq!(world.fetch("endpoint://ibkr/").await.unwrap().body.bytes().await.unwrap(), "ok");
    world.fetch("endpoint://ibkr/").await.unwrap();
    let status = world.gate.status();
    assert_eq!((status.sites[0].reason.as_ref(), status.sites[0].cooling_until), (None, None));
    service.abort();
    assert!(service.await.unwrap_err().is_cancelled());
    assert_eq!(down(world.fetch("endpoint://ibkr/").await.unwrap_err()).1, Duration::from_secs(1), "it begins anew");
}

#[tokio::test]
async fn s02_a_service_that_goes_away_in_the_middle_is_down_and_one_that_breaks_off_failed() {
    let listener = TcpListener::bind("127.83.79.2:0").await.unwrap();
    let (world, _) = world_at(listener.local_addr().unwrap()).await;
    let breaks_off = async |listener: &TcpListener| {
        let (mut wire, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        assert!(wire.read(&mut head).await.unwrap() > 0);
        wire
    };
    let (answer, ()) = tokio::join!(world.fetch("endpoint://ibkr/"), async {
        drop(breaks_off(&listener).await);
    });
    let refusal = answer.unwrap_err().refusal.unwrap();
    assert_eq!((refusal.kind, refusal.about.as_str()), (RefusalKind::Transport, "endpoint ibkr"));
    let (answer, ()) = tokio::join!(world.fetch("endpoint://ibkr/"), async move {
        // What looked whether it was there is still in the queue.
        drop(listener.accept().await.unwrap());
        let wire = breaks_off(&listener).await;
        drop(listener);
        drop(wire);
    });
    down(answer.unwrap_err());
}

#[test]
fn s02_check_explains_the_address_of_an_endpoint() {
    let jobs = "[endpoint.ibkr]\nurl = \"http://localhost:7497\"\njobs = [\"quotes\"]\n[job.quotes]\n\
                kind = \"backfill\"\n\
                handler = \"a\"\n[job.other]\nkind = \"backfill\"\nhandler = \"a\"\n";
    let deployment = spec::parse(jobs, "jobs.toml").unwrap();
    let caller = |job: &spec::JobSpec| Caller::of(job.name.clone(), Vec::new());
    let callers: Vec<Caller> = deployment.jobs.iter().map(caller).collect();
    let explained = tollgate_egress::explain(&deployment, &callers, "endpoint://ibkr/v1/quotes").unwrap();
    assert_eq!(explained.authority, "endpoint ibkr");
    assert!(explained.wider.is_empty() && explained.site.at.is_some());
    assert_eq!(explained.jobs[0].1, None);
    let why = explained.jobs[1].1.as_ref().unwrap();
    assert!(why.contains("endpoint ibkr is for quotes; add \"other\" to `jobs` of [endpoint.ibkr]"), "{why}");
}
