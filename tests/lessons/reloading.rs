//! R02 while the host runs: what of a changed jobs.toml holds at once, what waits, and what a mistake in it does.

use std::{fs, sync::Arc, time::Duration};

use tollgate::{ConfigurationStatus, Host};
use tollgate_core::{
    item::ItemStatus,
    task::{LaterKind, TaskState},
};
use tollgate_sim::sites::scripted::{Scripted, Step};

use crate::{
    clock::TestClock,
    world::{SITE, World, detail, first, item, open_items, outcomes, pass, retrying, run_items, state, stop, wait},
};

const PAGE: &str = "<html><body><article><h1>A thesis</h1><p>Words about a company.</p></article></body></html>";
/// The second wording, in our own words.
const WALL: &str = "<html><body><article><h1>Please wait 24 hours</h1><p>You have read a good many theses since \
                    yesterday, more than any person would, and the club asks you to come back \
                    tomorrow.</p></article></body>\
                    </html>";

/// A site that serves the wall at first, then pages.
async fn world() -> World {
    let site =
        Scripted::new().path("/one", [Step::ok(WALL), Step::ok(PAGE)]).path("/two", [Step::ok(WALL), Step::ok(PAGE)]);
    World::new(vec![(SITE, Arc::new(site))]).await
}

fn guarded(text: &str) -> String {
    outcomes(&format!(
        "[site.\"{SITE}\"]\nguard = [{{ text = \"{text}\", outcome = \"rate-limited\", for = \"24h\" }}]\n"
    ))
}

fn fetch(path: &str) -> serde_json::Value {
    first(&format!("bytes http://{SITE}/{path}"))
}

/// Waits until jobs.toml is read again, and stands so.
async fn read_again(host: &Host, is: impl Fn(&ConfigurationStatus) -> bool) -> ConfigurationStatus {
    let mut configuration = host.configuration();
    let seen = tokio::time::timeout(Duration::from_secs(60), configuration.wait_for(|status| is(status))).await;
    seen.expect("nobody has seen the file change").unwrap().clone()
}

async fn attention(host: &Host) -> Vec<String> {
    host.operations().overview().await.unwrap().attention.into_iter().map(|attention| attention.message).collect()
}

#[tokio::test]
async fn r02_a_new_wording_holds_while_the_host_runs_and_finds_the_pages_that_it_missed() {
    let (world, clock) = (world().await, TestClock::new());
    let host = world.start_at(&world.jobs(&guarded("view count will reset")), clock.clone()).await;
    run_items(&host, vec![item("one", &fetch("one"))]).await;
    assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Done, "nobody knows its words yet");
    world.jobs(&guarded("Please wait 24 hours"));
    let status = read_again(&host, |status| !status.taken.is_empty()).await;
    assert_eq!((status.taken, status.waiting, status.error), (vec![format!("[site.\"{SITE}\"]")], vec![], None));
    // The same words are caught at the fetch,
    let mut progress = host.progress();
    host.operations().add("test", vec![item("two", &fetch("two"))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1 && open_items(job) == 1).await;
    let two = detail(&host, "two").await;
    let TaskState::RetryLater { reason, .. } = state(&two, "first") else { panic!("{two:#?}") };
    assert_eq!(reason.kind, LaterKind::RateLimited, "{reason}");
    // and among what is stored.
    let found = host.operations().recheck("test", None, false).await.unwrap();
    assert_eq!((found.caught.len(), found.queued), (1, 1), "{found:?}");
    assert_eq!(world.sim.counts().of_host(SITE), 2);
    // One of them tries the site, and the other waits for what comes of it.
    wait(&mut progress, host.operations(), |job| retrying(job) == 2).await;
    pass(&host, &clock, Duration::from_secs(27 * 3_600), |job| open_items(job) == 0).await;
    for key in ["one", "two"] {
        assert_eq!(detail(&host, key).await.item.status, ItemStatus::Done, "{key}");
    }
    assert!(attention(&host).await.is_empty());
    stop(host).await;
}

#[tokio::test]
async fn r02_a_jobs_toml_with_a_mistake_changes_nothing_says_where_and_is_gone_by_once_it_is_mended() {
    let (world, clock) = (world().await, TestClock::new());
    let host = world.start_at(&world.jobs(&guarded("Please wait 24 hours")), clock).await;
    world.jobs(&guarded("some other wall").replace("rate-limited", "rate-limitd"));
    let status = read_again(&host, |status| status.error.is_some()).await;
    let error = status.error.unwrap();
    assert!(error.contains("jobs.toml:") && error.contains("rate-limited"), "its place and what to write: {error}");
    assert!(attention(&host).await.iter().any(|message| message.contains(&error)), "{:?}", attention(&host).await);
    let mut progress = host.progress();
    host.operations().add("test", vec![item("one", &fetch("one"))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let one = detail(&host, "one").await;
    assert!(matches!(state(&one, "first"), TaskState::RetryLater { .. }), "the rule of before holds: {one:#?}");
    // Gone for a moment, and back by a rename, as editors do.
    fs::remove_file(world.path("jobs.toml")).unwrap();
    read_again(&host, |status| status.error.as_ref().is_some_and(|now| *now != error)).await;
    let file = world.jobs(&guarded("some other wall"));
    fs::rename(&file, world.path("next.toml")).unwrap();
    fs::rename(world.path("next.toml"), &file).unwrap();
    let status = read_again(&host, |status| status.error.is_none()).await;
    assert_eq!(status.taken, [format!("[site.\"{SITE}\"]")]);
    assert!(attention(&host).await.iter().all(|message| !message.contains("jobs.toml")));
    stop(host).await;
}

#[tokio::test]
async fn what_a_running_host_can_not_take_is_named_until_it_is_put_back() {
    let world = world().await;
    let before = guarded("view count will reset");
    let host = world.start_at(&world.jobs(&before), TestClock::new()).await;
    world.jobs(&format!("{before}concurrency = 9\n[job.test.stage.first]\nattempts = 1\n"));
    let status = read_again(&host, |status| !status.waiting.is_empty()).await;
    assert_eq!(status.waiting, ["[job.test]".to_owned(), format!("[site.\"{SITE}\"]")]);
    let said = attention(&host).await;
    assert!(said.iter().any(|message| message.contains("[job.test]") && message.contains("next start")), "{said:?}");
    world.jobs(&before);
    // Asked for, which is as good as being seen.
    let status = host.operations().reload().await.unwrap();
    assert_eq!((status.waiting.len(), status.error), (0, None));
    assert!(attention(&host).await.is_empty());
    stop(host).await;
}
