//! R01, R02 and A07 as a handler meets them: a page that is no content, and a member of a remote archive.

use std::sync::Arc;

use tollgate::Host;
use tollgate_core::{
    ItemKey,
    item::ItemStatus,
    task::{LaterKind, TaskState},
};
use tollgate_engine::RecheckedPart;
use tollgate_sim::sites::{
    archive::{Archive, Member, ZipFile},
    scripted::{Scripted, Step},
};

use crate::{
    clock::TestClock,
    world::{SITE, World, advance, detail, first, item, open_items, outcomes, retrying, run_items, state, stop, wait},
};

/// The page that was stored as content, in our own words.
const WALL: &str = "<html><head><title>Ideas</title></head><body><h1>You have reached your access limits</h1>\
                    <p>Please wait: your view count will reset in 24 hours.</p></body></html>";

#[tokio::test]
async fn r01_a_wall_that_comes_as_content_is_kept_apart_with_its_rule_and_no_stage_is_given_it() {
    let page =
        "<html><body><article><h1>A thesis</h1><p>Words about a company, and more of them.</p></article></body></html>";
    let site = Scripted::new().path("/", [Step::ok(WALL), Step::ok(page)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let guard = "guard = [{ text = [\"access limits\", \"view count will reset\"], outcome = \"rate-limited\", \
        for = \"24h\" }]\n";
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
    advance(&host, &clock, std::time::Duration::from_secs(27 * 3_600)).await;
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
    let site = Scripted::new().path("/archive.zip", [Step::ok(WALL)]);
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

/// What a recheck of all items finds.
async fn recheck(host: &Host, dry_run: bool) -> RecheckedPart {
    let mut all = RecheckedPart::default();
    loop {
        all.add(host.operations().recheck("test", all.next, dry_run).await.unwrap());
        if all.next.is_none() {
            return all;
        }
    }
}

fn counts(rules: &std::collections::BTreeMap<String, u64>) -> Vec<u64> {
    rules.values().copied().collect()
}

#[tokio::test]
async fn r02_a_second_wording_is_found_among_stored_pages_and_queued_again_with_what_stands_on_it() {
    const SECOND: &str = "<html><body><article><h1>Please wait 24 hours</h1><p>You have read a good many theses since \
                          yesterday, more than any person would, and the club asks you to come back tomorrow.</p>\
                          </article></body></html>";
    let page =
        "<html><body><article><h1>A thesis</h1><p>Words about a company, and more of them.</p></article></body></html>";
    let site = Scripted::new().path("/wall", [Step::ok(SECOND), Step::ok(page)]).path("/page", [Step::ok(page)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let script =
        |path: &str| serde_json::json!({ "first": format!("bytes http://{SITE}/{path}"), "second": "done made-of-it" });
    let host = world.start_at(&world.jobs(&outcomes("")), clock.clone()).await;
    run_items(&host, vec![item("wall", &script("wall")), item("page", &script("page"))]).await;
    assert_eq!(detail(&host, "wall").await.item.status, ItemStatus::Done, "nobody knows its words yet");
    let none = recheck(&host, false).await;
    assert_eq!((none.items, none.pages, none.queued), (2, 2, 0));
    stop(host).await;
    // Somebody saw it, and wrote a rule.
    let guard = format!(
        "[site.\"{SITE}\"]\nguard = [{{ text = \"Please wait 24 hours\", outcome = \"rate-limited\", \
         for = \"24h\" }}]\n"
    );
    let host = world.start_at(&world.jobs(&outcomes(&guard)), clock.clone()).await;
    let mut progress = host.progress();
    host.operations().pause("test", "test", "to look at it").await.unwrap();
    let dry = recheck(&host, true).await;
    assert_eq!((counts(&dry.caught), dry.queued, dry.pages), (vec![1], 0, 2));
    assert!(dry.caught.keys().all(|rule| rule.starts_with("jobs.toml:")), "{dry:?}");
    assert_eq!(dry.named.iter().map(ItemKey::as_str).collect::<Vec<_>>(), ["wall"]);
    assert_eq!(detail(&host, "wall").await.item.status, ItemStatus::Done, "a dry run changes nothing");
    let found = recheck(&host, false).await;
    assert_eq!((counts(&found.caught), found.queued), (vec![1], 1));
    let wall = detail(&host, "wall").await;
    assert!(matches!(state(&wall, "first"), TaskState::Ready { .. }), "{wall:#?}");
    assert!(matches!(state(&wall, "second"), TaskState::Waiting { .. }), "{wall:#?}");
    assert!(!wall.item.outputs.keys().any(|stage| ["first", "second"].contains(&stage.as_str())), "{wall:#?}");
    let names: Vec<&str> = wall.artifacts.iter().map(|kept| kept.artifact.name.as_str()).collect();
    assert!(names.len() == 1 && names[0].starts_with("guarded-jobs.toml:"), "{names:?}");
    assert_eq!(detail(&host, "page").await.item.status, ItemStatus::Done);
    assert_eq!(recheck(&host, false).await.queued, 0, "once is enough");
    host.operations().resume("test").await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let wall = detail(&host, "wall").await;
    assert_eq!(wall.item.status, ItemStatus::Done);
    assert_eq!(wall.artifacts.iter().map(|kept| kept.artifact.name.as_str()).collect::<Vec<_>>(), ["raw-1"]);
    stop(host).await;
}

#[tokio::test]
async fn r02_a_page_that_todays_rules_let_pass_is_queued_again_unless_it_can_not_be_judged() {
    let page =
        "<html><body><article><h1>A thesis</h1><p>Words about a company, and more of them.</p></article></body></html>";
    let marked = Step::ok(page).header(http::HeaderName::from_static("x-wall"), "yes");
    let site = Scripted::new().path("/page", [Step::ok(page)]).path("/marked", [marked, Step::ok(page)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let clock = TestClock::new();
    let rules = |text: &str| {
        outcomes(&format!(
            "[job.test.stage.first]\nattempts = 1\n[site.\"{SITE}\"]\nguard = [\n\
             {{ header = \"x-wall\", outcome = \"not-content\" }},\n\
             {{ text = \"{text}\", outcome = \"not-content\" }},\n]\n"
        ))
    };
    let host = world.start_at(&world.jobs(&rules("about a company")), clock.clone()).await;
    run_items(&host, vec![item("one", &first(&format!("bytes http://{SITE}/page")))]).await;
    run_items(&host, vec![item("two", &first(&format!("bytes http://{SITE}/marked")))]).await;
    assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Failed, "the rule was too wide");
    stop(host).await;
    let host = world.start_at(&world.jobs(&rules("of no page at all")), clock.clone()).await;
    let mut progress = host.progress();
    let dry = recheck(&host, true).await;
    assert_eq!((counts(&dry.passing), counts(&dry.unjudged), dry.queued), (vec![1], vec![1], 0), "{dry:?}");
    let found = recheck(&host, false).await;
    assert_eq!(found.queued, 1, "{found:?}");
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Done);
    assert_eq!(detail(&host, "two").await.item.status, ItemStatus::Failed, "headers aren't kept with a page");
    stop(host).await;
}
