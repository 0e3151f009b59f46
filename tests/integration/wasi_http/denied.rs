//! What policy denies a guest's own client: capability, sites, addresses, headers, and any way around the proxy.

use std::sync::Arc;

use http::StatusCode;
use tollgate_core::task::TaskState;
use tollgate_sim::sites::scripted::{Scripted, Step};

use super::{ONCE, asking, own_client, run, said};
use crate::{
    clock::TestClock,
    world::{SITE, World, detail, retrying, state, stop, wait},
};

#[tokio::test]
async fn trap17_without_its_grant_it_is_refused_at_load_with_the_line_to_add() {
    let world = World::new(vec![]).await;
    let jobs = "[job.test]\nkind = \"backfill\"\nhandler = \"own-client\"\ngrant = []\n";
    let host = world.start(&world.jobs(jobs)).await;
    let overview = host.operations().overview().await.unwrap();
    let message = &overview.attention[0].message;
    assert!(message.contains("imports \"http\", which job test does not grant"), "{message}");
    assert!(message.contains("write: grant = [\"http\"]"), "{message}");
    stop(host).await;
}

#[tokio::test]
async fn trap11_its_pages_come_through_the_proxy_alone() {
    let site = Scripted::new().path("/", [Step::ok("fine")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let port = world.sim.direct_addr(SITE).unwrap().port();
    let near = format!("{ONCE}[site.\"localhost:{port}\"]\nproxy = \"main\"\n");
    let host = world.start(&world.jobs(&own_client(&near))).await;
    assert_eq!(said(&host, "http", &format!("get http://{SITE}/")).await, "200 fine");
    assert_eq!(said(&host, "https", &format!("get https://{SITE}/")).await, "200 fine");
    // It could be reached directly, and is asked of the proxy, which doesn't know it.
    run(&host, "near", &format!("get http://localhost:{port}/")).await;
    let counts = world.sim.counts();
    assert_eq!((counts.via_proxy, counts.unknown_host, counts.direct), (2, 1, 0));
    stop(host).await;
}

#[tokio::test]
async fn r09_without_a_proxy_nothing_is_sent_and_no_attempt_is_used() {
    let site = Scripted::new().path("/", [Step::ok("fine")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start_at(&world.file(&own_client("")), TestClock::new()).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![asking("one", &format!("get http://{SITE}/"))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let one = detail(&host, "one").await;
    let TaskState::RetryLater { reason, .. } = state(&one, "ask") else { panic!("{one:?}") };
    assert!(reason.message.contains("add [proxy.main]"), "{}", reason.message);
    assert_eq!((one.item.tasks[0].tally.counted, world.sim.counts().total), (0, 0));
    stop(host).await;
}

#[tokio::test]
async fn trap17_a_site_that_is_not_granted_is_denied() {
    let site = Scripted::new().path("/", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let jobs = own_client(ONCE).replace("\"http\"", "\"http other.example\"");
    let host = world.start(&world.jobs(&jobs)).await;
    let error = said(&host, "one", &format!("refused http://{SITE}/")).await;
    assert!(error.contains("HttpRequestDenied"), "{error}");
    assert_eq!(world.sim.counts().total, 0);
    stop(host).await;
}

#[tokio::test]
async fn trap12_a_page_can_not_send_it_inside() {
    let elsewhere = ["http://localhost:9/", "http://direct.example/"].map(ToOwned::to_owned);
    let targets: Vec<String> = tollgate_sim::inside::urls(80).into_iter().chain(elsewhere).collect();
    let site = targets.iter().enumerate().fold(Scripted::new(), |site, (number, target)| {
        site.path(&format!("/{number}"), [Step::redirect(StatusCode::FOUND, target)])
    });
    let site = site.path("/moved", [Step::redirect(StatusCode::FOUND, "/here")]).path("/here", [Step::ok("here")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let direct = "[site.\"localhost:9\"]\ndirect = true\n[site.\"direct.example\"]\ndirect = true\n";
    let host = world.start(&world.jobs(&own_client(&format!("{ONCE}{direct}")))).await;
    for (number, target) in targets.iter().enumerate() {
        let error = said(&host, target, &format!("refused http://{SITE}/{number}")).await;
        assert!(error.contains("HttpRequestDenied"), "{target}: {error}");
    }
    assert_eq!(world.sim.counts().total, targets.len() as u64, "only the first hops were sent");
    assert_eq!(said(&host, "moved", &format!("get http://{SITE}/moved")).await, "200 here", "the last hop is shown");
    stop(host).await;
}

#[tokio::test]
async fn trap16_headers_that_are_the_hosts_own_are_dropped() {
    let site = Arc::new(Scripted::new().path("/", [Step::ok("fine")]));
    let world = World::new(vec![(SITE, site.clone())]).await;
    let host = world.start(&world.jobs(&own_client(ONCE))).await;
    assert_eq!(said(&host, "one", &format!("with-headers http://{SITE}/")).await, "200 fine");
    let seen = site.seen("/");
    let headers = seen[0].http.headers();
    assert_eq!(headers["x-mine"], "mine");
    assert!(headers.values().all(|value| value != "a.example"), "{headers:?}");
    assert_eq!(headers["host"], SITE);
    stop(host).await;
}
