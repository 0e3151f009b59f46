//! R: what one site or one page does to the work: blocks, cool-downs, rates, refusals, hanging.

use std::{sync::Arc, time::Duration};

use http::{StatusCode, header::RETRY_AFTER};
use tollgate::Host;
use tollgate_core::{
    Clock, Timestamp,
    item::ItemStatus,
    pause::PauseReason,
    task::{ErrorKind, LaterKind, TaskState},
};
use tollgate_sim::sites::scripted::{Release, Scripted, Step};
use tollgate_store::ItemDetail;

use crate::{
    clock::TestClock,
    world::{
        SITE, World, advance, detail, detail_of, first, gate, item, open_items, outcomes, retrying, run_items, state,
        stop, wait, wait_of,
    },
};

/// A second job, of the same handler.
fn other(more: &str) -> String {
    outcomes(more).replace("job.test", "job.other")
}

fn later(one: &ItemDetail) -> (LaterKind, u32) {
    match state(one, "first") {
        TaskState::RetryLater { reason, .. } => (reason.kind, one.item.tasks[0].tally.counted),
        other => panic!("not to be tried again: {other:?}"),
    }
}

/// Until when a site is left alone.
async fn cooling(host: &Host, site: &str) -> Option<Timestamp> {
    gate(host).await.sites.into_iter().find(|status| status.site == site).and_then(|status| status.cooling_until)
}

#[tokio::test]
async fn r03_a_block_ends_on_time_whoever_asks_meanwhile() {
    let site = Scripted::new().path("/", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let host = world.start_at(&world.jobs(&(outcomes("") + &other(""))), clock.clone()).await;
    let (mut progress, operations) = (host.progress(), host.operations().clone());
    let blocks = item("one", &first(&format!("fetch-then blocked http://{SITE}/")));
    operations.add("test", vec![blocks]).await.unwrap();
    wait(&mut progress, &operations, |job| retrying(job) == 1).await;
    operations.pause("test", "test", "").await.unwrap();
    let until = cooling(&host, "site.example:80").await;
    assert_eq!(until, Some(clock.now().after(Duration::from_mins(1))));
    advance(&host, &clock, Duration::from_secs(30)).await;
    operations.add("other", vec![item("two", &first(&format!("fetch http://{SITE}/")))]).await.unwrap();
    wait_of("other", &mut progress, &operations, |job| retrying(job) == 1).await;
    assert_eq!(later(&detail_of(&host, "other", "two").await), (LaterKind::Blocked, 0));
    assert_eq!(cooling(&host, "site.example:80").await, until, "a refusal of the gate is no news of the site");
    assert_eq!(world.sim.counts().of(SITE, "/"), 1);
    advance(&host, &clock, Duration::from_secs(40)).await;
    wait_of("other", &mut progress, &operations, |job| open_items(job) == 0).await;
    assert_eq!(detail_of(&host, "other", "two").await.item.status, ItemStatus::Done);
    stop(host).await;
}

#[tokio::test]
async fn r03_the_site_that_is_blamed_is_that_of_the_last_hop() {
    let near = Scripted::new().path("/", [Step::redirect(StatusCode::FOUND, "http://far.example/")]);
    let far = Scripted::new().path("/", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(near)), ("far.example", Arc::new(far))]).await;
    let host = world.start_at(&world.jobs(&(outcomes("") + &other(""))), TestClock::new()).await;
    let (mut progress, operations) = (host.progress(), host.operations().clone());
    let login = item("one", &first(&format!("fetch-then login http://{SITE}/")));
    operations.add("other", vec![login]).await.unwrap();
    wait_of("other", &mut progress, &operations, |job| job.job.pause.is_some()).await;
    let pause = operations.job("other").await.unwrap().job.pause.unwrap();
    assert_eq!(pause.reason, PauseReason::Circuit { site: "far.example".to_owned() });
    let blocks = item("one", &first(&format!("fetch-then blocked http://{SITE}/")));
    operations.add("test", vec![blocks]).await.unwrap();
    wait(&mut progress, &operations, |job| retrying(job) == 1).await;
    assert!(cooling(&host, "far.example:80").await.is_some());
    assert_eq!(cooling(&host, "site.example:80").await, None);
    stop(host).await;
}

#[tokio::test]
async fn r06_a_forbidden_page_is_bounded_and_stalls_nobody() {
    let site = Scripted::new()
        .path("/403", [Step::status(StatusCode::FORBIDDEN)])
        .path("/401", [Step::status(StatusCode::UNAUTHORIZED)])
        .path("/fine", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let jobs = outcomes("breaker = 10\n[job.test.stage.first]\nattempts = 2\nbackoff = \"1ms\"\n");
    let host = world.start(&world.jobs(&jobs)).await;
    let of = |path: &str| item(path, &first(&format!("fetch http://{SITE}{path}")));
    run_items(&host, vec![of("/403"), of("/401"), of("/fine")]).await;
    for status in ["403", "401"] {
        let one = detail(&host, &format!("/{status}")).await;
        let why = state(&one, "first").why();
        assert!(why.contains("gave up after 2") && why.contains(&format!("answered {status}")), "{why}");
    }
    assert_eq!(detail(&host, "/fine").await.item.status, ItemStatus::Done);
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none());
    stop(host).await;
}

#[tokio::test]
async fn s03_a_site_that_forbids_everything_pauses_the_job_with_that_evidence() {
    let paths = ["/a", "/b", "/c"];
    let forbidden = |site: Scripted, path: &&str| site.path(path, [Step::status(StatusCode::FORBIDDEN)]);
    let world = World::new(vec![(SITE, Arc::new(paths.iter().fold(Scripted::new(), forbidden)))]).await;
    let host = world.start(&world.jobs(&outcomes("[job.test.stage.first]\nattempts = 1\n"))).await;
    let of = |path: &&str| item(path, &first(&format!("fetch http://{SITE}{path}")));
    run_items(&host, paths.iter().map(of).collect()).await;
    let mut progress = host.progress();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
    assert!(pause.sentence().contains("answered 403"), "{}", pause.sentence());
    stop(host).await;
}

#[tokio::test]
async fn r07_a_retry_after_of_nothing_is_no_leave_to_hammer() {
    let busy = Step::status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, "0");
    let site = Scripted::new().path("/", [busy, Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let host = world.start_at(&world.jobs(&outcomes("")), clock.clone()).await;
    let mut progress = host.progress();
    let one = item("one", &first(&format!("fetch http://{SITE}/")));
    host.operations().add("test", vec![one]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    assert_eq!(cooling(&host, "site.example:80").await, Some(clock.now().after(Duration::from_mins(1))));
    advance(&host, &clock, Duration::from_secs(70)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(world.sim.counts().of(SITE, "/"), 2);
    stop(host).await;
}

#[tokio::test]
async fn r07_a_rate_with_a_burst_is_kept() {
    let site = Scripted::new().path("/", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let jobs = outcomes("[site.\"*\"]\nrate = \"12/min\"\nburst = 2\n");
    let host = world.start_at(&world.jobs(&jobs), clock.clone()).await;
    let mut progress = host.progress();
    let items = (0..4).map(|number| item(&number.to_string(), &first(&format!("fetch http://{SITE}/"))));
    host.operations().add("test", items.collect()).await.unwrap();
    let done = |job: &tollgate_engine::operations::JobDetail| {
        job.job.stages[0].tasks.get(&tollgate_core::task::TaskKind::Done).copied().unwrap_or(0)
    };
    for (count, step) in [(2, 6), (3, 6)] {
        wait(&mut progress, host.operations(), |job| done(job) == count).await;
        assert_eq!(world.sim.counts().of(SITE, "/"), count, "after {count} nothing goes before its turn");
        clock.advance(Duration::from_secs(step));
    }
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(world.sim.counts().of(SITE, "/"), 4);
    stop(host).await;
}

#[tokio::test]
async fn r07_a_slow_rate_puts_work_off_and_starves_nobody() {
    let site = Scripted::new().path("/", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let host = world.start_at(&world.jobs(&outcomes("[site.\"*\"]\nrate = \"100/d\"\n")), clock.clone()).await;
    let mut progress = host.progress();
    let of = |key: &str| item(key, &first(&format!("fetch http://{SITE}/")));
    host.operations().add("test", vec![of("one")]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    for (round, key) in [(2, "two"), (3, "three")] {
        host.operations().add("test", vec![of(key)]).await.unwrap();
        wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
        assert_eq!(later(&detail(&host, key).await), (LaterKind::RateLimited, 0));
        advance(&host, &clock, Duration::from_mins(16)).await;
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        assert_eq!(world.sim.counts().of(SITE, "/"), round);
    }
    stop(host).await;
}

#[tokio::test]
async fn r06_an_address_that_hangs_is_bounded_and_a_queue_for_it_uses_no_attempt() {
    let release = Release::new();
    let site = Scripted::new().path("/", [Step::ok("x").hang_until(&release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let quick = "[job.test.stage.first]\nattempts = 2\nbackoff = \"1ms\"\ntimeout = \"3s\"\n";
    let jobs = outcomes(quick) + &other("") + "[site.\"*\"]\nconcurrency = 1\ntimeout = \"10min\"\n";
    let host = world.start(&world.jobs(&jobs)).await;
    let mut progress = host.progress();
    let of = |key: &str| vec![item(key, &first(&format!("fetch http://{SITE}/")))];
    run_items(&host, of("hangs")).await;
    let TaskState::Failed { error } = state(&detail(&host, "hangs").await, "first").clone() else {
        panic!("{:?}", detail(&host, "hangs").await);
    };
    assert_eq!(error.kind, ErrorKind::Transport);
    assert!(error.message.starts_with("gave up after 2"), "{error}");
    // Whoever is cut off here is gone there too, but a little later.
    world.sim.wait_for(|counts| counts.in_flight(SITE) == 0).await;
    host.operations().add("other", of("holds")).await.unwrap();
    world.sim.wait_for(|counts| counts.in_flight(SITE) == 1).await;
    host.operations().add("test", of("waits")).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    assert_eq!(later(&detail(&host, "waits").await), (LaterKind::RateLimited, 0));
    release.release();
    stop(host).await;
}
