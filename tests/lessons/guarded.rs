//! R01, R02 and A07 as a handler meets them: a page that is no content, and a member of a remote archive.

use std::sync::Arc;

use tollgate_core::{
    item::ItemStatus,
    task::{LaterKind, TaskState},
};
use tollgate_sim::sites::{
    archive::{Archive, Member, ZipFile},
    scripted::{Scripted, Step},
};

use crate::{
    clock::TestClock,
    world::{SITE, World, detail, first, item, open_items, outcomes, retrying, run_items, state, stop, wait},
};

/// The page that was stored as content, in our own words.
const WALL: &str = "<html><head><title>Ideas</title></head><body><h1>You have reached your access limits</h1>\
                    <p>Please wait: your view count will reset in 24 hours.</p></body></html>";

fn html(body: &str) -> Step {
    Step::ok(body.to_owned()).header(http::header::CONTENT_TYPE, "text/html")
}

#[tokio::test]
async fn r01_a_wall_that_comes_as_content_is_kept_apart_with_its_rule_and_no_stage_is_given_it() {
    let page =
        "<html><body><article><h1>A thesis</h1><p>Words about a company, and more of them.</p></article></body></html>";
    let site = Scripted::new().path("/", [html(WALL), html(page)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let guard = "guard = [{ text = [\"access limits\", \"view count will reset\"], outcome = \"rate-limited\", for = \"24h\" }]\n";
    let host = world.start_at(&world.jobs(&outcomes(&format!("[site.\"{SITE}\"]\n{guard}"))), clock.clone()).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![item("one", &first(&format!("bytes http://{SITE}/")))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let one = detail(&host, "one").await;
    let TaskState::RetryLater { reason, .. } = state(&one, "first") else { panic!("{one:?}") };
    assert_eq!(reason.kind, LaterKind::RateLimited);
    assert!(reason.message.contains("guard") && reason.message.contains("text"), "layer and rule: {}", reason.message);
    let names: Vec<&str> = one.artifacts.iter().map(|kept| kept.artifact.name.as_str()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].starts_with("guarded-"), "{names:?}");
    let name = names[0].to_owned();
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none());
    clock.advance(std::time::Duration::from_secs(27 * 3_600));
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    assert_eq!(one.item.status, ItemStatus::Done);
    let raw = one.artifacts.iter().filter(|kept| kept.artifact.name.starts_with("raw-")).count();
    assert_eq!(raw, 1, "the content itself: {:?}", one.artifacts);
    host.operations().add("test", vec![item("two", &first(&format!("save-as {name} http://{SITE}/")))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let saved = serde_json::to_string(&detail(&host, "two").await.item.outputs).unwrap();
    assert!(saved.contains("false"), "the name is the host's: {saved}");
    stop(host).await;
}

#[tokio::test]
async fn a07_a_handler_reads_a_member_of_a_remote_archive_and_the_attempt_says_what_came() {
    let members = [Member::stored("word.txt", "hello".to_owned()), Member::deflate64("numbers.txt")];
    let file = Arc::new(ZipFile::new(&members, 500, 7));
    let world = World::new(vec![(SITE, Arc::new(Archive::new(file.clone())))]).await;
    let host = world.start(&world.jobs(&outcomes(""))).await;
    let url = format!("http://{SITE}/archive.zip");
    run_items(&host, vec![item("one", &first(&format!("zip word.txt {url}")))]).await;
    let one = detail(&host, "one").await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:?}");
    assert!(serde_json::to_string(&one.item.outputs).unwrap().contains("hello"));
    let received: u64 = one.attempts.values().flatten().map(|attempt| attempt.bytes_received).sum();
    assert_eq!(received, world.sim.counts().bytes, "what was transferred stands in the attempt");
    assert!(received < file.size() / 10, "{received} of {}", file.size());
    run_items(&host, vec![item("two", &first(&format!("zip-list {url}")))]).await;
    assert!(serde_json::to_string(&detail(&host, "two").await.item.outputs).unwrap().contains("502"));
    run_items(&host, vec![item("three", &first(&format!("zip nobody.txt {url}")))]).await;
    let why = state(&detail(&host, "three").await, "first").why();
    assert!(why.contains("nobody.txt"), "{why}");
    stop(host).await;
}

#[tokio::test]
async fn r01_a_wall_that_comes_in_place_of_an_archive_cools_the_site_down() {
    let site = Scripted::new().path("/archive.zip", [html(WALL)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let guard = "guard = [{ text = [\"view count will reset\"], outcome = \"rate-limited\", for = \"24h\" }]\n";
    let jobs = outcomes(&format!("[site.\"{SITE}\"]\n{guard}"));
    let host = world.start_at(&world.jobs(&jobs), TestClock::new()).await;
    let mut progress = host.progress();
    let zip = first(&format!("zip word.txt http://{SITE}/archive.zip"));
    host.operations().add("test", vec![item("one", &zip)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let one = detail(&host, "one").await;
    let TaskState::RetryLater { reason, .. } = state(&one, "first") else { panic!("{one:?}") };
    assert_eq!(reason.kind, LaterKind::RateLimited, "{}", reason.message);
    assert_eq!(world.sim.counts().of_host(SITE), 1);
    stop(host).await;
}
