//! The engine as a whole: nothing is left lying, nothing spins, and one job's trouble is its own.

mod discovery;

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use http::{StatusCode, header::RETRY_AFTER};
use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use tollgate::HostError;
use tollgate_core::{
    Clock, Lane, StageIx, StageName,
    item::{ItemStatus, NewItem},
    pause::PauseReason,
    task::TaskKind,
};
use tollgate_engine::{Heartbeat, Liveness, operations::JobDetail};
use tollgate_sim::sites::scripted::{Release, Scripted, Step};

use crate::{
    clock::TestClock,
    faulty::{Fault, Faulty},
    world::{SITE, World, advance, detail, first, item, open_items, outcomes, quiet, run_items, stop, wait, wait_of},
};

fn tasks(job: &JobDetail, stage: &str, kind: TaskKind) -> u64 {
    let stage = job.job.stages.iter().find(|known| known.name.as_str() == stage).unwrap();
    stage.tasks.get(&kind).copied().unwrap_or(0)
}

fn revised(key: &str, revision: &str, script: &serde_json::Value) -> NewItem {
    NewItem { revision: Some(revision.to_owned()), ..item(key, script) }
}

#[tokio::test]
async fn a_revision_of_a_running_item_runs_at_once_and_idle_waits_for_it() {
    let release = Release::new();
    let site = Scripted::new().path("/old", [Step::ok("old").hang_until(&release)]).path("/new", [Step::ok("new")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let jobs = outcomes(&format!(
        "discover = \"once\"\nparams = {{ count = 1, first = \"fetch http://{SITE}/old\" }}\n\
         [job.test.stage.first]\nconcurrency = 2\n"
    ));
    let host = world.host(&world.jobs(&jobs)).await.until_idle().start().await.unwrap();
    world.sim.wait_for(|counts| counts.in_flight(SITE) == 1).await;
    // Discovery gave no revision: the first is taken down as it is, another one opens the item.
    for (revision, reopened) in [("1", 0), ("2", 1)] {
        let new = revised("item-0", revision, &first(&format!("fetch http://{SITE}/new")));
        let added = host.operations().add("test", vec![new]).await.unwrap();
        assert_eq!(added.reopened, reopened);
    }
    world.sim.wait_for(|counts| counts.of(SITE, "/new") == 1).await;
    release.release();
    host.wait().await.unwrap();
    assert_eq!(world.sim.counts().of_host(SITE), 2);
}

#[tokio::test]
async fn a_request_that_is_dropped_half_way_is_done_and_told() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes(""))).await;
    let mut progress = host.progress();
    let dropped = host.operations().add("test", vec![item("one", &json!({}))]).now_or_never();
    assert!(dropped.is_none(), "it was not answered yet");
    wait(&mut progress, host.operations(), |job| job.job.items.get(&ItemStatus::Done) == Some(&1)).await;
    stop(host).await;
}

#[tokio::test]
async fn a_task_that_ended_well_gives_its_place_away_while_it_is_settled_and_a_failure_does_not() {
    let pages = ["/a", "/b", "/c"].map(|path| (path, Step::ok("page")));
    let site = pages.into_iter().fold(Scripted::new(), |site, (path, step)| site.path(path, [step]));
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let store = Faulty::open(&world.path("data"));
    let jobs = outcomes("stages = [\"first\"]\n[job.test.stage.first]\nconcurrency = 1\nattempts = 1\n");
    let host = world.host(&world.jobs(&jobs)).await.store(store.clone()).start().await.unwrap();
    let (operations, mut progress) = (host.operations().clone(), host.progress());
    let now = Arc::new(Semaphore::new(0));
    store.set(Some(Fault::SettlesLate(now.clone())));
    let fetch = |name: &str| item(name, &first(&format!("fetch http://{SITE}/{name}")));
    operations.add("test", ["a", "b", "c"].map(fetch).to_vec()).await.unwrap();
    world.sim.wait_for(|counts| counts.of(SITE, "/b") == 1).await;
    // Two are being settled: one that gave its place away, and one that keeps it, for the store is what is slow.
    progress.wait_for(|so_far| so_far.running == 2).await.unwrap();
    assert_eq!((progress.borrow().settled, world.sim.counts().of(SITE, "/c")), (0, 0));
    store.set(None);
    now.add_permits(2);
    wait(&mut progress, &operations, |job| tasks(job, "first", TaskKind::Done) == 3).await;
    // One that failed keeps its place until it is settled, for it may pause the job.
    quiet(&host).await;
    let now = Arc::new(Semaphore::new(0));
    store.set(Some(Fault::SettlesLate(now.clone())));
    let bad = item("bad", &first(&format!("fetch-then failed http://{SITE}/a")));
    operations.add("test", vec![bad, item("good", &first(&format!("fetch http://{SITE}/b")))]).await.unwrap();
    world.sim.wait_for(|counts| counts.of(SITE, "/a") == 2).await;
    progress.wait_for(|so_far| so_far.running == 1).await.unwrap();
    assert_eq!(world.sim.counts().of(SITE, "/b"), 1, "the next one waits for the failure's settlement");
    store.set(None);
    now.add_permits(1);
    wait(&mut progress, &operations, |job| open_items(job) == 0).await;
    assert_eq!(world.sim.counts().of(SITE, "/b"), 2);
    stop(host).await;
}

#[tokio::test]
async fn a_pause_that_a_person_has_ended_does_not_come_back_with_a_late_message() {
    let world = World::new(vec![]).await;
    let store = Faulty::open(&world.path("data"));
    let jobs = outcomes("breaker = 1\n[job.test.stage.first]\nattempts = 1\n");
    let host = world.host(&world.jobs(&jobs)).await.store(store.clone()).start().await.unwrap();
    let (operations, mut progress) = (host.operations().clone(), host.progress());
    let (settled, told) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    store.set(Some(Fault::FailuresTold { settled: settled.clone(), told: told.clone() }));
    operations.add("test", vec![item("bad", &first("failed"))]).await.unwrap();
    settled.notified().await;
    assert!(operations.resume("test").await.unwrap().is_some(), "it was paused");
    operations.add("test", vec![item("good", &json!({}))]).await.unwrap();
    wait(&mut progress, &operations, |job| tasks(job, "first", TaskKind::Done) == 1).await;
    told.add_permits(1);
    quiet(&host).await;
    operations.add("test", vec![item("later", &json!({}))]).await.unwrap();
    wait(&mut progress, &operations, |job| tasks(job, "first", TaskKind::Done) == 2).await;
    stop(host).await;
}

#[tokio::test]
async fn what_a_task_does_is_never_seen_before_it_is_shown_to_run() {
    let release = Release::new();
    let site = Scripted::new().path("/", [Step::ok("fine").hang_until(&release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let store = Faulty::open(&world.path("data"));
    let host = world.host(&world.jobs(&outcomes(""))).await.store(store.clone()).start().await.unwrap();
    let job = host.operations().job("test").await.unwrap().job;
    let left = job.stages.iter().position(|stage| stage.name.as_str() == "left").unwrap();
    let left = Lane { job: job.id, stage: StageIx(left.try_into().unwrap()) };
    host.progress().wait_for(|now| now.idle).await.unwrap();
    // The dispatcher is held up at another lane, once the task of the first one has begun.
    let now = Arc::new(Semaphore::new(0));
    store.set(Some(Fault::ClaimsLate(left, now.clone())));
    host.operations().add("test", vec![item("one", &first(&format!("fetch http://{SITE}/")))]).await.unwrap();
    world.sim.wait_for(|counts| counts.in_flight(SITE) == 1).await;
    let shown = *host.progress().borrow();
    assert_eq!((shown.running, shown.idle), (1, false));
    store.set(None);
    now.add_permits(1);
    release.release();
    run_items(&host, vec![]).await;
    stop(host).await;
}

#[tokio::test]
async fn r07_the_cool_down_of_one_site_holds_no_other_site_up() {
    let busy = Step::status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, "86400");
    let world = World::new(vec![
        ("busy.example", Arc::new(Scripted::new().path("/", [busy]))),
        (SITE, Arc::new(Scripted::new().path("/", [Step::ok("fine")]))),
    ])
    .await;
    let clock = TestClock::new();
    let jobs = outcomes("[job.test.stage.first]\nconcurrency = 1\n");
    let host = world.start_at(&world.jobs(&jobs), clock.clone()).await;
    let (operations, mut progress) = (host.operations().clone(), host.progress());
    let mut items: Vec<_> =
        (0..6).map(|number| item(&format!("a-{number}"), &first("fetch http://busy.example/"))).collect();
    items.extend((0..6).map(|number| item(&format!("b-{number}"), &first(&format!("fetch http://{SITE}/")))));
    operations.add("test", items).await.unwrap();
    let done = async || tasks(&operations.job("test").await.unwrap(), "first", TaskKind::Done);
    // Time passes whenever nothing runs: the lane waits the cool-down out, for as long as it does at a time.
    while done().await < 6 {
        let now = clock.now();
        progress.wait_for(|so_far| so_far.running == 0 && so_far.next_due.is_some_and(|due| due > now)).await.unwrap();
        clock.advance(Duration::from_secs(31));
    }
    assert_eq!(world.sim.counts().of_host("busy.example"), 1);
    stop(host).await;
}

#[tokio::test]
async fn s13_a_broken_handler_leaves_the_pause_that_there_was() {
    let world = World::new(vec![]).await;
    let good = outcomes("");
    let host = world.start(&world.jobs(&good)).await;
    host.operations().pause("test", "me", "looking").await.unwrap();
    stop(host).await;
    let ungranted = "[job.test]\nkind = \"backfill\"\nhandler = \"outcomes\"\n";
    let host = world.start(&world.jobs(ungranted)).await;
    let job = host.operations().job("test").await.unwrap();
    assert_eq!(job.job.pause.unwrap().reason, PauseReason::Manual);
    assert!(job.attention.iter().any(|line| line.message.starts_with("can't run:")), "{:?}", job.attention);
    stop(host).await;
    let host = world.start(&world.jobs(&good)).await;
    let job = host.operations().job("test").await.unwrap();
    assert_eq!(job.job.pause.unwrap().evidence, "looking");
    host.operations().resume("test").await.unwrap();
    stop(host).await;
    let host = world.start(&world.jobs(ungranted)).await;
    assert_eq!(host.operations().job("test").await.unwrap().job.pause.unwrap().reason, PauseReason::Handler);
    stop(host).await;
    let host = world.start(&world.jobs(&good)).await;
    assert_eq!(host.operations().job("test").await.unwrap().job.pause, None, "mended, it goes on by itself");
    stop(host).await;
}

fn two_jobs() -> String {
    outcomes("") + &outcomes("").replace("job.test", "job.other")
}

#[tokio::test]
async fn a_row_that_cannot_be_read_pauses_its_job_and_no_other() {
    let world = World::new(vec![]).await;
    let store = Faulty::open(&world.path("data"));
    let host = world.host(&world.jobs(&two_jobs())).await.store(store.clone()).start().await.unwrap();
    let (operations, mut progress) = (host.operations().clone(), host.progress());
    store.set(Some(Fault::Claims(operations.job("test").await.unwrap().job.id)));
    operations.add("test", vec![item("one", &json!({}))]).await.unwrap();
    operations.add("other", vec![item("one", &json!({}))]).await.unwrap();
    wait(&mut progress, &operations, |job| job.job.pause.is_some()).await;
    let pause = operations.job("test").await.unwrap().job.pause.unwrap();
    assert_eq!(pause.reason, PauseReason::Host);
    assert!(pause.evidence.contains("the test wants it so"), "{pause:?}");
    wait_of("other", &mut progress, &operations, |job| job.job.items.get(&ItemStatus::Done) == Some(&1)).await;
    store.set(None);
    operations.resume("test").await.unwrap();
    wait(&mut progress, &operations, |job| job.job.items.get(&ItemStatus::Done) == Some(&1)).await;
    stop(host).await;
}

#[tokio::test]
async fn s17_an_executor_that_panics_strands_nothing_and_does_not_spin() {
    let world = World::new(vec![]).await;
    let store = Faulty::open(&world.path("data"));
    let host = world.host(&world.jobs(&two_jobs())).await.store(store.clone()).start().await.unwrap();
    let (operations, mut progress) = (host.operations().clone(), host.progress());
    store.set(Some(Fault::SettlePanics));
    operations.add("test", vec![item("one", &json!({}))]).await.unwrap();
    wait(&mut progress, &operations, |job| job.job.pause.is_some()).await;
    let pause = operations.job("test").await.unwrap().job.pause.unwrap();
    assert_eq!(pause.reason, PauseReason::Host);
    assert!(pause.evidence.contains("the host panicked: settling"), "{pause:?}");
    store.set(None);
    operations.resume("test").await.unwrap();
    wait(&mut progress, &operations, |job| open_items(job) == 0).await;
    assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Done);
    stop(host).await;
}

#[tokio::test]
async fn nothing_is_due_any_more_once_the_limit_is_reached() {
    let release = Release::new();
    let site = Scripted::new().path("/", [Step::ok("fine").hang_until(&release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let jobs = outcomes(
        "discover = \"once\"\nstages = [\"first\"]\nparams = { count = 1, discovery = \"retry-later 1000\" }\n",
    );
    let host = world.host(&world.jobs(&jobs)).await.clock(Arc::new(clock.clone())).tasks_max(1).start().await.unwrap();
    let mut progress = host.progress();
    wait(&mut progress, host.operations(), |job| job.job.discovery.last_error.is_some()).await;
    progress.wait_for(|progress| progress.next_due.is_some()).await.unwrap();
    host.operations().add("test", vec![item("one", &first(&format!("fetch http://{SITE}/")))]).await.unwrap();
    world.sim.wait_for(|counts| counts.in_flight(SITE) == 1).await;
    progress.wait_for(|progress| progress.running == 1).await.unwrap();
    assert_eq!(progress.borrow().next_due, None, "a time that has passed would wake it again and again");
    release.release();
    assert_eq!(host.wait().await.unwrap().progress.settled, 1);
}

#[tokio::test]
async fn r06_a_day_of_nothing_but_another_try_needs_attention() {
    let world = World::new(vec![]).await;
    let clock = TestClock::new();
    let host = world.start_at(&world.jobs(&outcomes("")), clock.clone()).await;
    let (operations, mut progress) = (host.operations().clone(), host.progress());
    operations.add("test", vec![item("one", &first("retry-later 172800000"))]).await.unwrap();
    wait(&mut progress, &operations, |job| tasks(job, "first", TaskKind::RetryLater) == 1).await;
    let says = async |what: &str| {
        let attention = operations.job("test").await.unwrap().attention;
        attention.iter().any(|line| line.message.contains(what))
    };
    assert!(!says("nothing but another try").await);
    advance(&host, &clock, Duration::from_hours(24)).await;
    assert!(says("nothing but another try").await);
    stop(host).await;
}

#[tokio::test]
async fn items_of_a_job_that_jobs_toml_has_no_more_need_attention() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes(""))).await;
    host.operations().pause("test", "me", "").await.unwrap();
    host.operations().add("test", vec![item("one", &json!({}))]).await.unwrap();
    stop(host).await;
    let host = world.start(&world.jobs(&outcomes("").replace("job.test", "job.other"))).await;
    let attention = host.operations().overview().await.unwrap().attention;
    assert!(attention.iter().any(|line| line.message.contains("1 items wait, and jobs.toml")), "{attention:?}");
    stop(host).await;
}

#[tokio::test]
async fn a_host_whose_disk_is_gone_ends_with_that_and_in_good_order() {
    let world = World::new(vec![]).await;
    let store = Faulty::open(&world.path("data"));
    let host = world.host(&world.jobs(&outcomes(""))).await.store(store.clone()).start().await.unwrap();
    store.set(Some(Fault::Disk));
    host.operations().add("test", vec![item("one", &json!({}))]).await.unwrap();
    let Err(HostError::Engine(error)) = host.wait().await else {
        panic!("it went on");
    };
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    assert!(is_marked_stopped(&world));
}

#[tokio::test]
async fn r06_a_store_that_keeps_no_pages_is_no_fault_of_the_handlers() {
    let site = Scripted::new().path("/", [Step::ok("a page")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let store = Faulty::open(&world.path("data"));
    let jobs = world.jobs(&outcomes("breaker = 1\n"));
    let host = world.host(&jobs).await.store(store.clone()).start().await.unwrap();
    store.set(Some(Fault::Blobs));
    host.operations().add("test", vec![item("one", &first(&format!("bytes http://{SITE}/")))]).await.unwrap();
    let Err(HostError::Engine(error)) = host.wait().await else {
        panic!("it went on");
    };
    assert!(error.to_string().contains("no space is left"), "{error}");
    let host = world.start(&jobs).await;
    let mut progress = host.progress();
    wait(&mut progress, host.operations(), |job| job.job.items.get(&ItemStatus::Done) == Some(&1)).await;
    assert_eq!(
        detail(&host, "one").await.attempts.values().map(Vec::len).max(),
        Some(1),
        "the first one doesn't count"
    );
    stop(host).await;
}

#[tokio::test]
async fn reuse_in_jobs_toml_keeps_an_instance_for_so_many_tasks_of_a_stage() {
    let world = World::new(vec![]).await;
    let jobs = outcomes("reuse = 2\n[job.test.stage.first]\nconcurrency = 1\n");
    let host = world.start(&world.jobs(&jobs)).await;
    // All at once: between two tasks with nothing to do in between, nothing is kept.
    run_items(&host, ["a", "b", "c"].map(|key| item(key, &first("count"))).to_vec()).await;
    let mut counts = Vec::new();
    for key in ["a", "b", "c"] {
        counts.push(detail(&host, key).await.item.outputs[&StageName::new("first").unwrap()]["text"].clone());
    }
    stop(host).await;
    assert_eq!(counts, ["1", "2", "1"]);
}

#[tokio::test]
async fn d02_a_host_that_cannot_close_its_store_is_stopped_all_the_same() {
    let world = World::new(vec![]).await;
    let store = Faulty::open(&world.path("data"));
    let host = world.host(&world.jobs(&outcomes(""))).await.store(store.clone()).start().await.unwrap();
    store.set(Some(Fault::Close));
    host.stop().await;
    assert!(matches!(host.wait().await, Err(HostError::Store(_))));
    assert!(is_marked_stopped(&world));
    assert!(!world.path("data/host.json").exists());
}

#[tokio::test]
async fn a_host_that_is_dropped_stops() {
    let world = World::new(vec![]).await;
    let store = Faulty::open(&world.path("data"));
    let host = world.host(&world.jobs(&outcomes(""))).await.store(store.clone()).start().await.unwrap();
    drop(host);
    store.closed().await;
}

fn is_marked_stopped(world: &World) -> bool {
    let liveness = Heartbeat::liveness(&world.path("data"), tollgate_core::Timestamp(0)).unwrap();
    matches!(liveness, Liveness::Stopped { heartbeat, .. } if heartbeat.stopped)
}
