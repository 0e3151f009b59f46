//! R and M: rate limits, the proxy, raw bodies first.

use std::{sync::Arc, time::Duration};

use http::{StatusCode, header::RETRY_AFTER};
use serde_json::json;
use tollgate_core::{
    item::ItemStatus,
    task::{ErrorKind, LaterKind, TaskState},
};
use tollgate_sandbox::Compiler;
use tollgate_sim::sites::scripted::{Release, Scripted, Step};
use tollgate_store::Selection;

use crate::{
    clock::TestClock,
    world::{SITE, World, advance, detail, first, item, outcomes, run_items, run_one, state, stop, wait},
};

fn later(state: &TaskState) -> LaterKind {
    match state {
        TaskState::RetryLater { reason, .. } => reason.kind,
        other => panic!("not to be tried again: {other:?}"),
    }
}

#[tokio::test]
async fn r06_one_address_that_fails_is_bounded_and_moves_no_breaker() {
    let site = Scripted::new().path("/", [Step::reset()]).path("/fine", [Step::ok("fine")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let jobs = outcomes("breaker = 1\n[job.test.stage.first]\nattempts = 3\nbackoff = \"1ms\"\n");
    let host = world.start(&world.jobs(&jobs)).await;
    let one = run_one(&host, first(&format!("fetch http://{SITE}/"))).await;
    let TaskState::Failed { error } = state(&one, "first") else {
        panic!("{one:?}");
    };
    assert_eq!(error.kind, ErrorKind::Transport);
    assert!(error.message.starts_with("gave up after 3"), "{error}");
    assert_eq!(world.sim.counts().of(SITE, "/"), 3);
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none());
    stop(host).await;
}

#[tokio::test]
async fn r06_a_handler_that_swallows_a_refusal_is_judged_by_it() {
    let site = Scripted::new().path("/", [Step::status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, "3600")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start(&world.jobs(&outcomes("breaker = 1\n"))).await;
    let mut progress = host.progress();
    let items = vec![item("one", &first(&format!("fetch-swallow http://{SITE}/")))];
    host.operations().add("test", items).await.unwrap();
    wait(&mut progress, host.operations(), |job| {
        job.job.items.contains_key(&ItemStatus::Retrying) && job.job.items[&ItemStatus::Retrying] == 1
    })
    .await;
    let one = detail(&host, "one").await;
    assert_eq!(later(state(&one, "first")), LaterKind::RateLimited);
    assert_eq!(one.item.tasks[0].tally.counted, 0, "no attempt is used");
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none());
    stop(host).await;
}

#[tokio::test]
async fn r07_a_handler_that_panics_at_a_refusal_or_makes_something_up_is_judged_by_it() {
    for (action, answer, kind, counted) in [
        (
            "fetch-panic",
            Step::status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, "3600"),
            LaterKind::RateLimited,
            0,
        ),
        (
            "fetch-breach",
            Step::status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, "3600"),
            LaterKind::RateLimited,
            0,
        ),
        ("fetch-panic", Step::reset(), LaterKind::Transport, 1),
    ] {
        let world = World::new(vec![(SITE, Arc::new(Scripted::new().path("/", [answer])))]).await;
        let host = world.start_at(&world.jobs(&outcomes("breaker = 1\n")), TestClock::new()).await;
        let mut progress = host.progress();
        let items = vec![item("one", &first(&format!("{action} http://{SITE}/")))];
        host.operations().add("test", items).await.unwrap();
        wait(&mut progress, host.operations(), |job| job.job.items[&ItemStatus::Retrying] == 1).await;
        let one = detail(&host, "one").await;
        let tally = one.item.tasks[0].tally;
        assert_eq!((later(state(&one, "first")), tally.counted, tally.crashes), (kind, counted, 0), "{action}");
        let attempts = &one.attempts[&tollgate_core::StageName::new("first").unwrap()];
        let attempt = &attempts[0];
        assert!(attempt.reason.is_some() || attempt.error.is_some(), "s14: it says why: {attempt:?}");
        assert!(host.operations().job("test").await.unwrap().job.pause.is_none());
        stop(host).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r06_a_stage_that_saw_a_5xx_has_the_last_word() {
    let site = Scripted::new().path("/", [Step::status(StatusCode::INTERNAL_SERVER_ERROR)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start_at(&world.jobs(&outcomes("")), TestClock::new()).await;
    let mut progress = host.progress();
    let scripts = ["retry-later 3600000", "nothing", "reject", "permanent", "failed"];
    let script = |end: &&str| item(end, &first(&format!("status-then http://{SITE}/ {end}")));
    host.operations().add("test", scripts.iter().map(script).collect()).await.unwrap();
    wait(&mut progress, host.operations(), |job| {
        job.job.items.get(&ItemStatus::Queued).is_none_or(|queued| *queued == 0)
            && job.job.items.get(&ItemStatus::Retrying) == Some(&2)
    })
    .await;
    let asked = detail(&host, "retry-later 3600000").await;
    let TaskState::RetryLater { due, reason } = state(&asked, "first") else {
        panic!("{asked:?}");
    };
    assert_eq!((reason.kind, reason.message.as_str()), (LaterKind::Asked, "asked to: retry-later"));
    let attempts = asked.attempts.values().next().unwrap();
    assert!(due.since(attempts[0].ended_at) >= Duration::from_hours(1), "its own time counts");
    assert_eq!(asked.item.tasks[0].tally.counted, 0);
    let failed = detail(&host, "failed").await;
    assert_eq!((later(state(&failed, "first")), failed.item.tasks[0].tally.counted), (LaterKind::Transport, 1));
    assert!(matches!(state(&detail(&host, "nothing").await, "first"), TaskState::Nothing { .. }));
    assert!(matches!(state(&detail(&host, "reject").await, "first"), TaskState::Skipped { .. }));
    assert!(matches!(state(&detail(&host, "permanent").await, "first"), TaskState::Failed { .. }));
    stop(host).await;
}

#[tokio::test]
async fn r07_a_429_cools_the_site_for_everyone_and_then_all_is_done() {
    let busy = Step::status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, "5");
    let site = Scripted::new().path("/busy", [busy, Step::ok("x")]).path("/other", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let jobs = outcomes("breaker = 1\n[job.test.stage.first]\nconcurrency = 1\n");
    let host = world.start_at(&world.jobs(&jobs), clock.clone()).await;
    let mut progress = host.progress();
    let mut items = vec![item("busy", &first(&format!("fetch http://{SITE}/busy")))];
    items.extend((0..8).map(|number| item(&format!("other-{number}"), &first(&format!("fetch http://{SITE}/other")))));
    host.operations().add("test", items).await.unwrap();
    let of_first =
        |job: &tollgate_engine::operations::JobDetail, kind| job.job.stages[0].tasks.get(&kind).copied().unwrap_or(0);
    let retried = tollgate_core::task::TaskKind::RetryLater;
    wait(&mut progress, host.operations(), |job| of_first(job, retried) >= 2).await;
    assert_eq!(world.sim.counts().of_host(SITE), 1, "after the first refusal nothing is sent");
    advance(&host, &clock, Duration::from_secs(6)).await;
    wait(&mut progress, host.operations(), |job| crate::world::open_items(job) == 0).await;
    assert_eq!(world.sim.counts().of(SITE, "/busy"), 2);
    assert_eq!(world.sim.counts().of(SITE, "/other"), 8);
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none());
    stop(host).await;
}

#[tokio::test]
async fn r08_a_spinning_guest_delays_no_other_job() {
    let world = World::new(vec![]).await;
    let host =
        world.start(&world.jobs(&outcomes("[job.test.stage.first]\nconcurrency = 2\ntimeout = \"10min\"\n"))).await;
    let mut progress = host.progress();
    let mut items: Vec<_> = (0..2).map(|number| item(&format!("spin-{number}"), &first("spin"))).collect();
    items.extend((0..20).map(|number| item(&format!("good-{number}"), &json!({"left": "done"}))));
    host.operations().add("test", items).await.unwrap();
    // Both workers of the lane `first` spin; the lanes beside it go on.
    wait(&mut progress, host.operations(), |job| left_done(job) == 22).await;
    for number in 0..2 {
        let spins = detail(&host, &format!("spin-{number}")).await;
        assert!(matches!(state(&spins, "first"), TaskState::Ready { .. }), "its first attempt still runs: {spins:?}");
    }
    stop(host).await;
}

/// Tasks that the lane `left` has done.
fn left_done(job: &tollgate_engine::operations::JobDetail) -> u64 {
    let left = job.job.stages.iter().find(|stage| stage.name.as_str() == "left").unwrap();
    left.tasks.get(&tollgate_core::task::TaskKind::Done).copied().unwrap_or(0)
}

#[tokio::test]
async fn trap30_a_lane_of_waiting_guests_takes_no_place_of_another() {
    const WAITING: u64 = 250;
    let release = Release::new();
    let site = Scripted::new().path("/", [Step::ok("x").hang_until(&release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let jobs = outcomes(&format!("[job.test.stage.first]\nconcurrency = {WAITING}\n[site.\"*\"]\nconcurrency = 1\n"));
    let host = world.start(&world.jobs(&jobs)).await;
    let mut progress = host.progress();
    let waits = (0..WAITING).map(|number| item(&format!("{number}"), &first(&format!("fetch http://{SITE}/"))));
    host.operations().add("test", waits.collect()).await.unwrap();
    wait(&mut progress, host.operations(), |job| left_done(job) == WAITING).await;
    world.sim.wait_for(|counts| counts.in_flight(SITE) == 1).await;
    assert_eq!(world.sim.counts().of(SITE, "/"), 1, "the others wait for their turn at the site");
    release.release();
    stop(host).await;
}

#[tokio::test]
async fn trap30_more_lanes_than_there_are_places_for_are_refused_with_what_to_do() {
    let world = World::new(vec![]).await;
    let many = outcomes("[job.test.stage.first]\nconcurrency = 900\n[job.test.stage.left]\nconcurrency = 89\n");
    let file = world.jobs(&format!("{}{}", outcomes("").replace("job.test", "job.fits"), many));
    let report = tollgate::check(&file, Some(&world.path("data")), Compiler::InProcess).await.unwrap();
    let said: Vec<_> = report.jobs.into_iter().map(|(job, checked)| (job.to_string(), checked.err())).collect();
    assert_eq!(said[0], ("fits".to_owned(), None));
    let error = said[1].1.as_ref().unwrap().to_string();
    assert!(error.contains("1001 tasks at once, and 980 of the 1000 places"), "{error}");
    assert!(error.contains("jobs.toml:") && error.contains("lower `concurrency`"), "{error}");
}

#[tokio::test]
async fn r09_without_a_proxy_nothing_is_sent_and_work_goes_on_once_there_is_one() {
    let site = Scripted::new().path("/", [Step::ok("fine")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let file = world.file(&format!("[proxy.main]\nurl = {{ file = \"proxy.url\" }}\n{}", outcomes("")));
    let host = world.start_at(&file, clock.clone()).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![item("one", &first(&format!("fetch http://{SITE}/")))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.items[&ItemStatus::Retrying] == 1).await;
    let one = detail(&host, "one").await;
    assert_eq!(later(state(&one, "first")), LaterKind::Down);
    assert!(state(&one, "first").why().contains("write it to the file proxy.url"), "{}", state(&one, "first").why());
    assert_eq!(world.sim.counts().total, 0, "nothing was requested, directly or otherwise");
    std::fs::write(world.path("proxy.url"), world.sim.proxy_url()).unwrap();
    advance(&host, &clock, Duration::from_secs(60)).await;
    wait(&mut progress, host.operations(), |job| crate::world::open_items(job) == 0).await;
    assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Done);
    assert_eq!((world.sim.counts().via_proxy, world.sim.counts().direct), (1, 0));
    stop(host).await;
}

#[tokio::test]
async fn r09_a_proxy_that_is_down_uses_no_attempt_and_heals_by_itself() {
    let site = Scripted::new().path("/", [Step::ok("fine")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let file = world.jobs(&outcomes("breaker = 1\n[job.test.stage.first]\nattempts = 1\n"));
    let host = world.start_at(&file, clock.clone()).await;
    world.sim.proxy_down().await.unwrap();
    let mut progress = host.progress();
    host.operations().add("test", vec![item("one", &first(&format!("fetch http://{SITE}/")))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.items[&ItemStatus::Retrying] == 1).await;
    let one = detail(&host, "one").await;
    assert_eq!((later(state(&one, "first")), one.item.tasks[0].tally.counted), (LaterKind::Down, 0));
    let overview = host.operations().overview().await.unwrap();
    assert!(overview.gate.unwrap().proxies[0].reason.is_some(), "the proxy is shown as down");
    world.sim.proxy_up().await.unwrap();
    advance(&host, &clock, Duration::from_secs(60)).await;
    wait(&mut progress, host.operations(), |job| crate::world::open_items(job) == 0).await;
    assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Done);
    assert_eq!(world.sim.counts().direct, 0);
    stop(host).await;
}

#[tokio::test]
async fn r12_a_retry_resumes_the_job_and_says_so() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes("breaker = 1\n[job.test.stage.first]\nattempts = 1\n"))).await;
    run_items(&host, vec![item("one", &first("heal 2"))]).await;
    assert!(host.operations().job("test").await.unwrap().job.pause.is_some());
    let done = host.operations().retry("test", Selection::Failed).await.unwrap();
    assert_eq!((done.items, done.tasks), (1, 1));
    assert!(done.resumed.is_some(), "it says that the job goes on");
    run_items(&host, vec![]).await;
    assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Done);
    stop(host).await;
}

#[tokio::test]
async fn m05_a_body_that_a_stage_reads_is_kept_first() {
    let site = Scripted::new().path("/", [Step::ok("<p>raw</p>")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start(&world.jobs(&outcomes("[job.test.stage.second]\nraw = false\n"))).await;
    let action = format!("bytes http://{SITE}/");
    let one = run_one(&host, json!({"first": action, "second": action})).await;
    assert_eq!(one.item.status, ItemStatus::Done);
    let kept: Vec<_> =
        one.artifacts.iter().map(|kept| (kept.artifact.stage.as_str(), kept.artifact.name.as_str())).collect();
    assert_eq!(kept, [("first", "raw-1")], "`second` says raw = false");
    assert_eq!(one.artifacts[0].artifact.digest, tollgate_core::Digest::of(b"<p>raw</p>"));
    stop(host).await;
}

#[tokio::test]
async fn m05_a_name_that_is_refused_keeps_no_body_from_being_raw() {
    let site = Scripted::new().path("/", [Step::ok("<p>raw</p>")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start(&world.jobs(&outcomes(""))).await;
    let url = format!("http://{SITE}/");
    let script = json!({"first": format!("save-as a/b {url}"), "second": format!("save-as fine {url}")});
    let one = run_one(&host, script).await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:?}");
    let mut kept: Vec<_> =
        one.artifacts.iter().map(|kept| (kept.artifact.stage.as_str(), kept.artifact.name.as_str())).collect();
    kept.sort_unstable();
    assert_eq!(kept, [("first", "raw-1"), ("second", "fine")]);
    stop(host).await;
}
