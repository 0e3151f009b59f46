//! Refusals that a guest's own client meets: told in its words, and remembered by the gate whatever it makes of them.

use std::{sync::Arc, time::Duration};

use http::{StatusCode, header::RETRY_AFTER};
use tollgate_core::{
    item::ItemStatus,
    task::{ErrorKind, LaterKind, TaskState},
};
use tollgate_sim::sites::scripted::{Release, Scripted, Step};

use super::{ONCE, asking, own_client, run, said};
use crate::{
    clock::TestClock,
    world::{SITE, World, advance, detail, open_items, retrying, state, stop, wait},
};

fn busy() -> Step {
    Step::status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, "5")
}

#[tokio::test]
async fn r07_a_429_uses_no_attempt_and_cools_the_site_for_all() {
    let site = Scripted::new().path("/busy", [busy(), Step::ok("x")]).path("/other", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let host = world.start_at(&world.jobs(&own_client("")), clock.clone()).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![asking("busy", &format!("get http://{SITE}/busy"))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    host.operations().add("test", vec![asking("other", &format!("get http://{SITE}/other"))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 2).await;
    for key in ["busy", "other"] {
        let one = detail(&host, key).await;
        let TaskState::RetryLater { reason, .. } = state(&one, "ask") else { panic!("{one:?}") };
        assert_eq!((reason.kind, one.item.tasks[0].tally.counted), (LaterKind::RateLimited, 0), "{}", reason.message);
    }
    assert_eq!(world.sim.counts().of_host(SITE), 1, "after the refusal nothing is sent");
    advance(&host, &clock, Duration::from_secs(6)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none());
    stop(host).await;
}

#[tokio::test]
async fn r07_who_swallows_a_refusal_or_makes_something_up_is_judged_by_it() {
    for action in ["swallow", "breach", "side-by-side 2"] {
        let site = Scripted::new().path("/", [busy()]);
        let world = World::new(vec![(SITE, Arc::new(site))]).await;
        let host = world.start_at(&world.jobs(&own_client("")), TestClock::new()).await;
        let mut progress = host.progress();
        host.operations().add("test", vec![asking("one", &format!("{action} http://{SITE}/"))]).await.unwrap();
        wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
        let one = detail(&host, "one").await;
        let TaskState::RetryLater { reason, .. } = state(&one, "ask") else { panic!("{one:?}") };
        assert_eq!((reason.kind, one.item.tasks[0].tally.counted), (LaterKind::RateLimited, 0), "{action}");
        stop(host).await;
    }
}

#[tokio::test]
async fn r06_an_address_that_fails_is_bounded_and_its_error_is_one_of_the_connection() {
    let site = Scripted::new().path("/", [Step::reset()]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let more = "[job.test.stage.ask]\nattempts = 2\nbackoff = \"1ms\"\n";
    let host = world.start(&world.jobs(&own_client(more))).await;
    let one = run(&host, "one", &format!("get http://{SITE}/")).await;
    let TaskState::Failed { error } = state(&one, "ask") else { panic!("{one:?}") };
    assert_eq!(error.kind, ErrorKind::Transport);
    assert!(error.message.starts_with("gave up after 2"), "{error}");
    stop(host).await;
}

#[tokio::test]
async fn r06_the_time_that_a_client_gives_is_kept() {
    let release = Release::new();
    let site = Scripted::new().path("/", [Step::ok("late").hang_until(&release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start(&world.jobs(&own_client(&format!("{ONCE}[site.\"*\"]\ntimeout = \"10min\"\n")))).await;
    let one = run(&host, "one", &format!("get-within 50 http://{SITE}/")).await;
    let TaskState::Failed { error } = state(&one, "ask") else { panic!("{one:?}") };
    assert_eq!(error.kind, ErrorKind::Transport, "of that address: {error}");
    stop(host).await;
}

#[tokio::test]
async fn r01_a_wall_is_blocked_and_no_client_is_given_it() {
    let wall = Step::status(StatusCode::FORBIDDEN)
        .header(http::HeaderName::from_static("cf-mitigated"), "challenge")
        .body("<title>Just a moment...</title>");
    let world = World::new(vec![(SITE, Arc::new(Scripted::new().path("/", [wall])))]).await;
    let host = world.start_at(&world.jobs(&own_client("")), TestClock::new()).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![asking("one", &format!("get http://{SITE}/"))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let one = detail(&host, "one").await;
    let TaskState::RetryLater { reason, .. } = state(&one, "ask") else { panic!("{one:?}") };
    assert_eq!((reason.kind, one.item.tasks[0].tally.counted), (LaterKind::Blocked, 0));
    let names: Vec<&str> = one.artifacts.iter().map(|kept| kept.artifact.name.as_str()).collect();
    assert!(names.iter().all(|name| name.starts_with("guarded-")), "{names:?}");
    stop(host).await;
}

#[tokio::test]
async fn the_limits_of_a_site_hold_for_requests_side_by_side() {
    let release = Release::new();
    let site = Scripted::new().path("/", [Step::ok("x").hang_until(&release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start(&world.jobs(&own_client("[site.\"*\"]\nconcurrency = 2\n"))).await;
    host.operations().add("test", vec![asking("one", &format!("side-by-side 6 http://{SITE}/"))]).await.unwrap();
    world.sim.wait_for(|counts| counts.in_flight(SITE) == 2).await;
    release.release();
    crate::world::run_items(&host, vec![]).await;
    let one = detail(&host, "one").await;
    assert_eq!(one.item.outputs.values().next().unwrap()["text"], "6");
    assert_eq!(world.sim.counts().hosts[SITE].in_flight_max, 2);
    stop(host).await;
}

#[tokio::test]
async fn trap19_a_request_that_is_let_go_of_holds_no_place_at_its_site() {
    let release = Release::new();
    let site = Scripted::new().path("/hangs", [Step::ok("x").hang_until(&release)]).path("/fine", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start(&world.jobs(&own_client(&format!("{ONCE}[site.\"*\"]\nconcurrency = 1\n")))).await;
    let (hangs, fine) = (format!("http://{SITE}/hangs"), format!("http://{SITE}/fine"));
    assert_eq!(said(&host, "let-go", &format!("let-go 3 {hangs} {fine}")).await, "200");
    assert_eq!(said(&host, "never", &format!("never {hangs}")).await, "never");
    assert_eq!(said(&host, "after", &format!("get {fine}")).await, "200 x");
    stop(host).await;
}

#[tokio::test]
async fn r06_a_guest_that_waits_for_something_else_is_no_fault_of_the_site_that_it_let_go_of() {
    let release = Release::new();
    let site = Scripted::new().path("/", [Step::ok("x").hang_until(&release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    // Long enough for a slow machine to come to ask.
    let more = format!("{ONCE}timeout = \"3s\"\n");
    let host = world.start(&world.jobs(&own_client(&more))).await;
    let actions = [("waits", "get"), ("let-go", "let-go-and-wait"), ("unfinished", "unfinished")];
    let asking = actions.map(|(key, action)| asking(key, &format!("{action} http://{SITE}/")));
    crate::world::run_items(&host, asking.into()).await;
    let kind = async |key: &str| {
        let one = detail(&host, key).await;
        let TaskState::Failed { error } = state(&one, "ask") else { panic!("{one:?}") };
        assert!(error.message.contains("took longer than 3s"), "{error}");
        error.kind
    };
    assert_eq!(kind("waits").await, ErrorKind::Transport, "it waits for the site");
    assert_eq!(kind("let-go").await, ErrorKind::Timeout);
    assert_eq!(kind("unfinished").await, ErrorKind::Timeout, "nothing was asked yet");
    assert_eq!(detail(&host, "waits").await.item.status, ItemStatus::Failed);
    stop(host).await;
}
