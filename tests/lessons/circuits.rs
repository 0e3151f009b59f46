//! R03, R07 and trap 9: one refusal cools a site down for everyone, over a restart too, and one request tries it again.

use std::{sync::Arc, time::Duration};

use http::{StatusCode, header::RETRY_AFTER};
use tollgate::Host;
use tollgate_core::{Clock, ItemKey, circuit::BLOCKS_TO_OPEN, item::ItemStatus};
use tollgate_egress::SiteStatus;
use tollgate_engine::operations::JobDetail;
use tollgate_sim::sites::scripted::{Release, Scripted, Step};

use crate::{
    clock::TestClock,
    world::{SITE, World, advance, detail, first, gate, item, open_items, outcomes, retrying, state, stop, wait},
};

const WORKERS: u64 = 32;

fn busy(seconds: u64) -> Step {
    Step::status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, seconds.to_string())
}

fn wide(site: &str) -> String {
    outcomes(&format!("[job.test.stage.first]\nconcurrency = {WORKERS}\n[site.\"*\"]\n{site}\n"))
}

async fn status(host: &Host) -> SiteStatus {
    let sites = gate(host).await.sites;
    sites.into_iter().find(|status| status.site == "site.example:80").expect("the site was asked for")
}

fn failures(job: &JobDetail) -> u32 {
    job.job.stages.iter().map(|stage| stage.breaker).sum()
}

#[tokio::test]
async fn trap09_one_429_cools_all_32_workers_and_moves_no_breaker() {
    let site = Scripted::new().path("/", [busy(5), Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let host = world.start_at(&world.jobs(&wide("concurrency = 1")), clock.clone()).await;
    let mut progress = host.progress();
    let fetch = first(&format!("fetch http://{SITE}/"));
    let items = (0..WORKERS).map(|number| item(&number.to_string(), &fetch)).collect();
    host.operations().add("test", items).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == WORKERS).await;
    assert_eq!(world.sim.counts().of(SITE, "/"), 1, "the first was refused, and nobody else asked");
    advance(&host, &clock, Duration::from_millis(4_999)).await;
    host.operations().add("test", vec![item("late", &fetch)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == WORKERS + 1).await;
    assert_eq!(world.sim.counts().of(SITE, "/"), 1, "before its time");
    let said = status(&host).await.reason.expect("it is left alone");
    assert!(said.starts_with("site.example:80 answered 429"), "{said}");
    advance(&host, &clock, Duration::from_secs(2)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(world.sim.counts().of(SITE, "/"), 2 + WORKERS);
    let job = host.operations().job("test").await.unwrap();
    assert_eq!(job.job.items.get(&ItemStatus::Done).copied(), Some(WORKERS + 1));
    assert_eq!((failures(&job), job.job.pause), (0, None));
    assert_eq!(status(&host).await.reason, None, "it works again");
    stop(host).await;
}

#[tokio::test]
async fn trap09_those_on_their_way_end_and_do_not_open_the_site_again() {
    let release = Release::new();
    let site = Scripted::new().path("/busy", [busy(5), Step::ok("x")]);
    let site = site.path("/slow", [Step::ok("x").hang_until(&release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let host = world.start_at(&world.jobs(&wide("concurrency = 32")), clock.clone()).await;
    let mut progress = host.progress();
    let of = |key: &str, path: &str| vec![item(key, &first(&format!("fetch http://{SITE}{path}")))];
    host.operations().add("test", of("slow", "/slow")).await.unwrap();
    world.sim.wait_for(|counts| counts.of(SITE, "/slow") == 1).await;
    host.operations().add("test", of("busy", "/busy")).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    release.release();
    let done = |job: &JobDetail| job.job.items.get(&ItemStatus::Done).copied().unwrap_or(0);
    wait(&mut progress, host.operations(), |job| done(job) == 1).await;
    host.operations().add("test", of("late", "/busy")).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 2).await;
    assert_eq!(world.sim.counts().of(SITE, "/busy"), 1);
    advance(&host, &clock, Duration::from_secs(6)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    stop(host).await;
}

#[tokio::test]
async fn r07_a_cool_down_outlives_the_host() {
    let site = Scripted::new().path("/", [busy(3_600), Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let (clock, file) = (TestClock::new(), world.jobs(&outcomes("")));
    let host = world.start_at(&file, clock.clone()).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![item("one", &first(&format!("fetch http://{SITE}/")))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let before = status(&host).await;
    stop(host).await;
    let host = world.start_at(&file, clock.clone()).await;
    let mut progress = host.progress();
    let after = status(&host).await;
    assert_eq!((after.cooling_until, after.reason), (before.cooling_until, before.reason), "before anyone asks");
    host.operations().add("test", vec![item("two", &first(&format!("fetch http://{SITE}/")))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 2).await;
    assert_eq!(world.sim.counts().of(SITE, "/"), 1);
    advance(&host, &clock, Duration::from_secs(4_000)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(world.sim.counts().of(SITE, "/"), 3);
    stop(host).await;
}

/// Blocks the site as often as opens its circuit: one item meets a wall each time that it is
/// tried, and then is left out.
async fn open_circuit(world: &World, host: &Host, clock: &TestClock) {
    let mut progress = host.progress();
    let walled = first(&format!("fetch-then blocked http://{SITE}/wall"));
    host.operations().add("test", vec![item("walled", &walled)]).await.unwrap();
    for blocks in 1..=u64::from(BLOCKS_TO_OPEN) {
        let ended = |job: &JobDetail| job.job.stages[0].last_attempt_at == Some(clock.now());
        wait(&mut progress, host.operations(), ended).await;
        assert_eq!(world.sim.counts().of(SITE, "/wall"), blocks);
        assert_eq!(status(host).await.is_open, blocks == u64::from(BLOCKS_TO_OPEN));
        if blocks < u64::from(BLOCKS_TO_OPEN) {
            advance(host, clock, Duration::from_secs(70)).await;
        }
    }
    host.operations().exclude("test", vec![ItemKey::new("walled").unwrap()], "it is always walled").await.unwrap();
}

#[tokio::test]
async fn r03_who_tries_an_open_circuit_may_ask_twice_and_only_who_was_answered_says_that_it_works() {
    let site = Scripted::new().path("/wall", [Step::ok("x")]).path("/page", [Step::ok("x")]);
    let site = site.path("/", [Step::redirect(StatusCode::FOUND, "http://site.example/page")]);
    let far = Scripted::new().path("/", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site)), ("far.example", Arc::new(far))]).await;
    let (clock, file) = (TestClock::new(), world.jobs(&outcomes("")));
    let host = world.start_at(&file, clock.clone()).await;
    let mut progress = host.progress();
    open_circuit(&world, &host, &clock).await;
    // It swallows what it is refused with, and ends well: nothing was asked of the site.
    let done = |job: &JobDetail| job.job.items.get(&ItemStatus::Done).copied().unwrap_or(0);
    let swallows = first(&format!("fetch-all http://{SITE}/"));
    host.operations().add("test", vec![item("swallows", &swallows)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| done(job) == 1).await;
    assert!(status(&host).await.is_open);
    advance(&host, &clock, Duration::from_secs(140)).await;
    let far = first("fetch http://far.example/");
    host.operations().add("test", vec![item("far", &far)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| done(job) == 2).await;
    assert!(status(&host).await.is_open, "another site's answer says nothing of it");
    // A redirect within the site, and a second request.
    let twice = first(&format!("status-then http://{SITE}/ fetch http://{SITE}/page"));
    host.operations().add("test", vec![item("twice", &twice)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(detail(&host, "twice").await.item.status, ItemStatus::Done);
    assert_eq!(world.sim.counts().of(SITE, "/page"), 2);
    assert!(!status(&host).await.is_open);
    stop(host).await;
}

#[tokio::test]
async fn r03_a_site_that_goes_on_blocking_is_tried_by_one_request_and_the_last_refusal_is_shown() {
    let release = Release::new();
    let site = Scripted::new().path("/wall", [Step::ok("x")]);
    let site = site.path("/", [Step::ok("x").hang_until(&release), Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let (clock, file) = (TestClock::new(), world.jobs(&wide("concurrency = 32\ntimeout = \"10min\"")));
    let host = world.start_at(&file, clock.clone()).await;
    let mut progress = host.progress();
    open_circuit(&world, &host, &clock).await;
    let fetch = first(&format!("fetch http://{SITE}/"));
    let items = (0..WORKERS).map(|number| item(&number.to_string(), &fetch)).collect();
    host.operations().add("test", items).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == WORKERS).await;
    assert_eq!(world.sim.counts().of(SITE, "/"), 0);
    // Each further cool-down is twice the last one.
    advance(&host, &clock, Duration::from_secs(70)).await;
    host.operations().add("test", vec![item("late", &fetch)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == WORKERS + 1).await;
    assert_eq!(world.sim.counts().of(SITE, "/"), 0);
    advance(&host, &clock, Duration::from_secs(70)).await;
    world.sim.wait_for(|counts| counts.of(SITE, "/") == 1).await;
    progress.wait_for(|so_far| so_far.running == 1).await.unwrap();
    assert_eq!(world.sim.counts().of(SITE, "/"), 1, "one tries, and the others wait for what becomes of it");
    let mut told = 0;
    for number in 0..WORKERS {
        let one = detail(&host, &number.to_string()).await;
        told += u64::from(state(&one, "first").why().contains("one request tries whether it works again"));
    }
    assert!(told > 0, "those that asked meanwhile say what they wait for");
    let shown = gate(&host).await.sentences(clock.now(), |left| left.to_string());
    assert_eq!(shown, ["site.example:80 goes on blocking us; one request at a time tries; last: asked to: blocked"]);
    release.release();
    wait(&mut progress, host.operations(), |job| open_items(job) == WORKERS).await;
    let closed = status(&host).await;
    assert_eq!((closed.is_open, closed.reason), (false, None));
    advance(&host, &clock, Duration::from_secs(10)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(world.sim.counts().of(SITE, "/"), WORKERS + 1);
    stop(host).await;
}
