//! S11: one page for several items, once a session has expired, is no content of any of them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tollgate::Host;
use tollgate_core::{
    item::ItemStatus,
    task::{LaterKind, TaskState},
};
use tollgate_sim::sites::scripted::{Release, Scripted, Step};

use crate::{
    clock::TestClock,
    faulty::{Fault, Faulty},
    world::{SITE, World, advance, detail, gate, item, open_items, outcomes, pass, retrying, state, stop, wait},
};

const IDEAS: [&str; 4] = ["one", "two", "three", "four"];

/// What everybody gets whose session has expired: another token and another time with each.
fn teaser(nth: usize) -> Step {
    Step::ok(format!(
        "<html><head><meta name=csrf content=t{nth}a9></head><body><nav><a href=/>Ideas</a></nav><h1>Members only</h1>\
         <p>The whole thesis is for members of the club. Apply for a membership to read on: each application is read \
         by two members, who answer within a few weeks. Guests may read what is older, without a word about its \
         author. Members write two theses of their own each year, and rate those of others; who writes none is a guest \
         again. The best thesis of each week wins a prize, and is shown to everybody once the quarter is over.</p>\
         <p>Served at {nth}:0{nth}, {nth} March 2025, request 8f{nth}c0</p></body></html>"
    ))
}

fn idea(of: &str) -> Step {
    Step::ok(format!(
        "<html><body><nav><a href=/>Ideas</a></nav><h1>A thesis about company {of}</h1><p>Company {of} makes what \
         nobody else can make, and owns the land below its plants. Management bought shares again. At nine times its \
         earnings one pays nothing for the growth of the second line of {of}, which has doubled each year since it was \
         begun.</p></body></html>"
    ))
}

/// Fetches its page, and stands on it.
fn script(of: &str) -> Value {
    json!({ "first": format!("bytes http://{SITE}/{of}"), "second": "done made-of-it" })
}

/// A site that serves the teaser so often to each, and a host that asks it one by one.
async fn world(teasers: usize) -> World {
    let mut site = Scripted::new();
    for (nth, of) in IDEAS.iter().enumerate() {
        let steps = (0..teasers).map(|again| teaser(nth + 4 * again)).chain([idea(of)]);
        site = site.path(&format!("/{of}"), steps);
    }
    World::new(vec![(SITE, Arc::new(site))]).await
}

fn jobs(site: &str) -> String {
    outcomes(&format!("[job.test.stage.first]\nconcurrency = 1\n[site.\"{SITE}\"]\n{site}\n"))
}

async fn add(host: &Host, of: &str) {
    host.operations().add("test", vec![item(of, &script(of))]).await.unwrap();
}

async fn flags(host: &Host, of: &str) -> Vec<String> {
    // Another stage has a flag of the handler's own.
    let flags = detail(host, of).await.quality_flags;
    flags.into_iter().filter(|(stage, _)| stage.as_str() == "first").flat_map(|(_, flags)| flags).collect()
}

#[tokio::test]
async fn s11_one_page_for_several_items_is_flagged_then_taken_back_and_all_its_holders_are_queued_again() {
    let world = world(1).await;
    let clock = TestClock::new();
    let host = world.start_at(&world.jobs(&jobs("duplicates = 3")), clock.clone()).await;
    let mut progress = host.progress();
    for of in &IDEAS[..3] {
        add(&host, of).await;
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    }
    for of in &IDEAS[..3] {
        let flags = flags(&host, of).await;
        assert_eq!(flags.len(), 1, "{of}: {flags:?}");
        assert!(flags[0].starts_with("possible-duplicate") && !flags[0].contains(of), "it names the others: {flags:?}");
    }
    add(&host, "four").await;
    wait(&mut progress, host.operations(), |job| retrying(job) == 4).await;
    for of in IDEAS {
        let one = detail(&host, of).await;
        let TaskState::RetryLater { reason, .. } = state(&one, "first") else { panic!("{one:#?}") };
        assert_eq!(reason.kind, LaterKind::Blocked);
        assert!(reason.message.contains("`duplicate`") && reason.message.contains("duplicates = false"), "{reason}");
        let made = ["first", "second"].map(|stage| one.item.outputs.keys().any(|name| name.as_str() == stage));
        assert_eq!(made, [false, false], "what stood on the teaser is served no more: {one:#?}");
        assert!(matches!(state(&one, "second"), TaskState::Waiting { .. }), "{one:#?}");
        let names: Vec<&str> = one.artifacts.iter().map(|kept| kept.artifact.name.as_str()).collect();
        assert_eq!(names, ["guarded-duplicate"]);
    }
    let gate = gate(&host).await;
    assert!(gate.guards.iter().any(|hits| hits.rule == "duplicate" && hits.hits == 1), "{:?}", gate.guards);
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none());
    // The session is there again.
    advance(&host, &clock, Duration::from_secs(120)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    for of in IDEAS {
        let one = detail(&host, of).await;
        assert_eq!(one.item.status, ItemStatus::Done);
        assert!(flags(&host, of).await.is_empty(), "{of} has a page of its own");
        let names: Vec<&str> = one.artifacts.iter().map(|kept| kept.artifact.name.as_str()).collect();
        assert_eq!(names, ["raw-1"]);
    }
    stop(host).await;
}

#[tokio::test]
async fn s11_a_page_that_stays_is_tried_no_longer_than_anything_else_and_may_be_let_pass() {
    let world = world(1_000).await;
    let clock = TestClock::new();
    let bounded = "duplicates = 2\n[job.test.stage.first]\nretry-for = \"10m\"\nconcurrency = 1";
    let file = world.jobs(&outcomes(&format!("[site.\"{SITE}\"]\n{bounded}\n")));
    let host = world.start_at(&file, clock.clone()).await;
    let mut progress = host.progress();
    for of in IDEAS {
        add(&host, of).await;
    }
    wait(&mut progress, host.operations(), |job| retrying(job) == 4).await;
    // Whatever waits is due each time, as nothing waits for longer than it is tried for.
    let failed = |job: &tollgate_engine::operations::JobDetail| job.job.items.get(&ItemStatus::Failed) == Some(&4);
    pass(&host, &clock, Duration::from_secs(11 * 60), failed).await;
    let one = detail(&host, "one").await;
    let TaskState::Failed { error } = state(&one, "first") else { panic!("{one:#?}") };
    assert!(error.message.contains("retried for") && error.message.contains("duplicate"), "{error}");
    stop(host).await;
    // A person looked: it is what the site has.
    let file = world.jobs(&jobs("duplicates = false"));
    let host = world.start_at(&file, clock.clone()).await;
    let mut progress = host.progress();
    clock.advance(Duration::from_secs(24 * 3_600));
    host.operations().retry("test", tollgate_store::Selection::Failed).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    for of in IDEAS {
        assert_eq!(detail(&host, of).await.item.status, ItemStatus::Done);
        assert!(flags(&host, of).await.is_empty(), "nobody looks");
    }
    stop(host).await;
}

#[tokio::test]
async fn s11_a_page_whose_body_could_not_be_read_once_is_known_all_the_same() {
    let release = Release::new();
    // Too large for memory, so that it lies in a file.
    let large =
        format!("<html><body><article><p>{}</p></article></body></html>", "a thesis about anvils ".repeat(60_000));
    let site = Scripted::new()
        .path("/large", [Step::ok(large.clone())])
        .path("/hangs", [Step::ok("fine").hang_until(&release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let store = Faulty::open(&world.path("data"));
    let file = world.jobs(&jobs("duplicates = 3"));
    let host = world.host(&file).await.store(store.clone()).start().await.unwrap();
    let mut progress = host.progress();
    let hidden = Arc::new(Mutex::new(None));
    store.set(Some(Fault::HidesBody(hidden.clone())));
    let script = json!({ "first": format!("save-again http://{SITE}/large http://{SITE}/hangs") });
    host.operations().add("test", vec![item("one", &script)]).await.unwrap();
    world.sim.wait_for(|counts| counts.of(SITE, "/hangs") == 1).await;
    let body: std::path::PathBuf = hidden.lock().unwrap().take().unwrap();
    std::fs::rename(body.with_extension("hidden"), body).unwrap();
    store.set(None);
    release.release();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    let text = &one.item.outputs.values().next().unwrap()["text"];
    assert_eq!(text, &json!(format!("false {}", large.len())), "its signature could not be made at first: {one:#?}");
    let looked = host.operations().recheck("test", None, true).await.unwrap();
    assert_eq!((looked.pages, looked.without_address), (1, 0), "the page is noted: {looked:?}");
    stop(host).await;
}

#[tokio::test]
async fn s11_two_bodies_of_one_attempt_that_are_kept_apart_by_one_rule_are_both_kept() {
    let mut site = Scripted::new();
    for nth in 0..4 {
        site = site.path(&format!("/{nth}"), [teaser(nth)]);
    }
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start_at(&world.jobs(&jobs("duplicates = 1")), TestClock::new()).await;
    let mut progress = host.progress();
    let add = async |key: &str, of: [u8; 2]| {
        let script = json!({ "first": format!("read-all http://{SITE}/{} http://{SITE}/{}", of[0], of[1]) });
        host.operations().add("test", vec![item(key, &script)]).await.unwrap();
    };
    add("one", [0, 1]).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    add("two", [2, 3]).await;
    wait(&mut progress, host.operations(), |job| retrying(job) == 2).await;
    for key in ["one", "two"] {
        let one = detail(&host, key).await;
        let mut kept: Vec<_> = one.artifacts.iter().map(|kept| &kept.artifact).collect();
        kept.dedup_by_key(|kept| kept.digest);
        let names: Vec<&str> = kept.iter().map(|kept| kept.name.as_str()).collect();
        assert_eq!(names, ["guarded-duplicate", "guarded-duplicate~2"], "{key}");
    }
    stop(host).await;
}

#[tokio::test]
async fn r01_two_pages_of_one_attempt_that_one_rule_caught_are_both_kept() {
    let site = Scripted::new().path("/0", [teaser(0)]).path("/1", [teaser(1)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let rule = "guard = [{ text = \"Members only\", outcome = \"not-content\" }]";
    let file =
        world.jobs(&format!("{}[job.test.stage.first]\nattempts = 1\n[site.\"{SITE}\"]\n{rule}\n", outcomes("")));
    let host = world.start(&file).await;
    let mut progress = host.progress();
    let script = json!({ "first": format!("read-all-guarded http://{SITE}/0 http://{SITE}/1") });
    host.operations().add("test", vec![item("one", &script)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    let names: Vec<&str> = one.artifacts.iter().map(|kept| kept.artifact.name.as_str()).collect();
    assert!(names.len() == 2 && names[1] == format!("{}~2", names[0]), "{names:?}: {one:#?}");
    stop(host).await;
}
