//! Traps 11, 12 and 17 for plain requests: where pages send us, and what is asked for in the first place.

use std::sync::Arc;

use http::StatusCode;
use tollgate_core::http::{HttpError, HttpRequest};
use tollgate_egress::{Refused, Response};
use tollgate_sim::{
    inside,
    sites::scripted::{Scripted, Step},
};

use crate::world::World;

const SITE: &str = "site.example";
/// Reached directly where configuration or a handler names it.
const DIRECT: &str = "api.example";

async fn fetch(world: &World, method: &str, url: &str) -> Result<Response, Refused> {
    let request = HttpRequest { method: method.into(), url: url.into(), headers: vec![], body: None, timeout: None };
    world.gate.fetch(&world.caller, request, &|_| {}).await
}

/// A site whose pages lead to `targets`, by each status of a redirect in turn; and a site that listens on this machine,
/// whose port a target's may be: were it followed, the small internet would count it.
async fn world(targets: impl Fn(u16) -> Vec<String>, more: impl Fn(u16) -> String) -> (World, Vec<String>) {
    let statuses = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    let (site, near) = (Arc::new(Scripted::new()), Arc::new(Scripted::new().path("/inside", [Step::ok("inside")])));
    let sim = tollgate_sim::Sim::builder().site(SITE, site.clone()).site("near.example", near).start().await.unwrap();
    let port = sim.direct_addr("near.example").unwrap().port();
    let targets = targets(port);
    for ((number, target), status) in targets.iter().enumerate().zip(statuses.iter().cycle()) {
        site.set(&format!("/{number}"), [Step::redirect(*status, target)]);
    }
    let proxy = sim.proxy_url();
    (World::over(sim, &proxy, &more(port)), targets)
}

fn denied(target: &str, answer: Result<Response, Refused>) -> String {
    match answer {
        Err(Refused { error: HttpError::Denied(text), .. }) => text,
        other => panic!("{target}: {other:?}"),
    }
}

#[tokio::test]
async fn trap12_no_page_sends_a_request_inside_in_any_form_of_address() {
    let (world, targets) = world(inside::urls, |_| String::new()).await;
    for (number, target) in targets.iter().enumerate() {
        for method in ["GET", "POST"] {
            denied(target, fetch(&world, method, &format!("http://{SITE}/{number}")).await);
            let tls = target.replace("http:", "https:");
            denied(&tls, fetch(&world, method, &tls).await);
        }
    }
    let counts = world.sim.counts();
    assert_eq!((counts.direct, counts.unknown_host), (0, 0), "neither from here nor from the proxy");
    assert_eq!(counts.total, 2 * targets.len() as u64, "only the first hops were sent");
}

#[tokio::test]
async fn trap12_what_is_opened_for_a_handler_is_not_opened_for_a_page() {
    let open = |port: u16| {
        ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("[site.\"{host}:{port}\"]\ndirect = true\n")).concat()
            + &format!("[site.\"{DIRECT}\"]\ndirect = true\n")
    };
    let targets = |port: u16| {
        let own = ["127.0.0.1", "2130706433", "0177.0.0.1", "localhost", "LOCALHOST.", "[::1]"];
        let own = own.iter().map(|host| format!("http://{host}:{port}/inside"));
        own.chain([format!("http://{DIRECT}/"), format!("https://{DIRECT}./")]).collect()
    };
    let (world, targets) = world(targets, open).await;
    for (number, target) in targets.iter().enumerate() {
        let said = denied(target, fetch(&world, "GET", &format!("http://{SITE}/{number}")).await);
        assert!(said.contains("no page may send us to"), "{target}: {said}");
    }
    assert_eq!((world.sim.counts().direct, world.sim.counts().total), (0, targets.len() as u64));
    // The control: where the handler names it, it is reached, and counted.
    assert_eq!(fetch(&world, "GET", &targets[0]).await.unwrap().status, 200);
    assert_eq!(world.sim.counts().direct, 1);
}

#[tokio::test]
async fn trap12_a_chain_is_decided_hop_by_hop() {
    let (world, targets) = world(
        |port| vec![format!("http://{SITE}/1"), format!("//{SITE}/2"), format!("http://127.0.0.1:{port}/inside")],
        |_| String::new(),
    )
    .await;
    denied(&targets[2], fetch(&world, "GET", &format!("http://{SITE}/0")).await);
    assert_eq!((world.sim.counts().direct, world.sim.counts().total), (0, 3));
}

#[tokio::test]
async fn trap17_what_leads_inside_is_not_asked_for_either() {
    let (world, targets) = world(inside::urls, |_| String::new()).await;
    for target in &targets {
        denied(target, fetch(&world, "GET", target).await);
    }
    for scheme in ["file:///etc/passwd", "ftp://site.example/", "gopher://127.0.0.1/", "data:text/plain,x"] {
        assert!(fetch(&world, "GET", scheme).await.is_err(), "{scheme}");
    }
    assert_eq!((world.sim.counts().total, world.sim.counts().unknown_host), (0, 0));
}

/// Names that mean something to this machine's resolver are the proxy's to resolve all the same.
#[tokio::test]
async fn trap11_no_proxied_name_is_resolved_here() {
    let (world, _) = world(|_| vec![], |_| String::new()).await;
    for name in ["unknown.example", "ip6-localhost", "localhost.localdomain", "host.docker.internal"] {
        for scheme in ["http", "https"] {
            let before = world.sim.counts().unknown_host;
            let answer = fetch(&world, "GET", &format!("{scheme}://{name}/")).await;
            assert!(answer.as_ref().map_or(true, |answer| answer.status == 502), "{scheme}://{name}: {answer:?}");
            assert!(world.sim.counts().unknown_host > before, "{name} went to the proxy");
        }
    }
    assert_eq!(world.sim.counts().direct, 0);
}
