//! Submitting: known keys, revisions, limits, discovery.

use tollgate_core::{
    Timestamp,
    item::NewItem,
    task::{ErrorKind, TaskError},
};
use tollgate_store::{DiscoveryPage, DiscoveryResult, ItemQuery, Store, StoreError, Submitted};

use crate::fixture::{EXTRACT, FETCH, Fixture, done, name, new_item, object, settlement};

#[tokio::test]
async fn a_known_key_is_left_alone_within_a_batch_too() {
    let fixture = Fixture::new().await;
    let first = fixture.submit(&["a", "b", "a"], 1).await;
    assert_eq!(first, Submitted { new: 2, known: 1, reopened: 0, opened: vec![FETCH] });
    let second = fixture.submit(&["b", "c"], 2).await;
    assert_eq!((second.new, second.known), (1, 1));
    fixture.sound().await;
}

#[tokio::test]
async fn another_revision_opens_the_item_with_its_new_data_and_refuses_the_old_attempt() {
    let fixture = Fixture::new().await;
    let revised = |text: &str, data: &str, priority| NewItem {
        revision: Some(text.into()),
        data: object(serde_json::json!({ "url": data })),
        priority,
        ..new_item("a")
    };
    fixture.store.submit(fixture.job, vec![revised("1", "old", 0)], Timestamp(1)).await.unwrap();
    fixture.run(FETCH, done("page"), 2).await;
    let extracting = fixture.claim_one(EXTRACT, 3).await;
    let same = fixture.store.submit(fixture.job, vec![revised("1", "old", 0)], Timestamp(4)).await.unwrap();
    assert_eq!((same.known, same.reopened), (1, 0));
    let other = fixture.store.submit(fixture.job, vec![revised("2", "new", 5)], Timestamp(5)).await.unwrap();
    assert_eq!((other.known, other.reopened, other.opened), (0, 1, vec![FETCH]));
    let refused = fixture.settle(settlement(&extracting, done("of old data"), 6)).await;
    assert!(matches!(refused, Err(StoreError::StaleClaim(_))));
    let claim = fixture.claim_one(FETCH, 7).await;
    assert_eq!(claim.data.parse().unwrap()["url"], "new");
    let detail = fixture.detail("a").await;
    assert_eq!(detail.item.outputs[&name("fetch")]["text"], "page", "it serves until the new one is there");
    assert_eq!(detail.item.created_at, Timestamp(1));
    fixture.sound().await;
}

#[tokio::test]
async fn a_first_revision_is_taken_down_and_opens_nothing() {
    let fixture = Fixture::new().await;
    let revised =
        |text: &str| NewItem { revision: Some(text.into()), data: object(serde_json::json!({})), ..new_item("a") };
    fixture.submit(&["a"], 1).await;
    fixture.run(FETCH, done("page"), 2).await;
    let first = fixture.store.submit(fixture.job, vec![revised("1")], Timestamp(3)).await.unwrap();
    assert_eq!((first.known, first.reopened, first.opened), (1, 0, vec![]));
    assert_eq!(fixture.detail("a").await.item.data["url"], "a", "what it was fetched by stays");
    let other = fixture.store.submit(fixture.job, vec![revised("2")], Timestamp(4)).await.unwrap();
    assert_eq!((other.known, other.reopened, other.opened), (0, 1, vec![FETCH]));
    fixture.sound().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_whole() {
    let fixture = Fixture::new().await;
    let mut large = new_item("large");
    large.data.insert("text".into(), "x".repeat(tollgate_store::ITEM_DATA_BYTES_MAX).into());
    let refused = fixture.store.submit(fixture.job, vec![new_item("small"), large], Timestamp(1)).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    assert!(fixture.store.item(fixture.job, crate::fixture::key("small")).await.unwrap().is_none());
}

#[tokio::test]
async fn items_of_two_jobs_interleaved_are_listed_apart_in_pages() {
    let fixture = Fixture::new().await;
    let mut other = crate::fixture::declaration(vec![crate::fixture::stage("fetch", &[])]);
    other.name = tollgate_core::JobName::new("other").unwrap();
    let other = fixture.store.declare(other, Timestamp(0)).await.unwrap().id;
    for round in 0..10 {
        fixture.submit(&[&format!("a{round}"), &format!("b{round}")], round).await;
        fixture.store.submit(other, vec![new_item(&format!("o{round}"))], Timestamp(round)).await.unwrap();
    }
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let query = ItemQuery { after, limit: 3, ..ItemQuery::default() };
        let page = fixture.store.items(fixture.job, query).await.unwrap();
        listed.extend(page.entries.into_iter().map(|item| item.key.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (0..10).flat_map(|round| [format!("a{round}"), format!("b{round}")]).collect();
    assert_eq!(listed, expected);
    fixture.sound().await;
}

#[tokio::test]
async fn q07_rounds_that_find_nothing_are_counted() {
    let fixture = Fixture::new().await;
    let settle = async |result, now| {
        let token = fixture.store.claim_discovery(fixture.job).await.unwrap().token;
        let page = DiscoveryPage { job: fixture.job, token, result, now: Timestamp(now) };
        fixture.store.settle_discovery(page).await.unwrap();
        fixture.store.discovery(fixture.job).await.unwrap()
    };
    let page = |items, cursor: Option<&str>, next_round| DiscoveryResult::Page {
        items,
        cursor: cursor.map(str::to_owned),
        next_round,
    };
    let again = Some(Timestamp(100));
    let state = settle(page(vec![new_item("a")], Some("p2"), None), 5).await;
    assert_eq!(state.cursor.as_deref(), Some("p2"));
    let state = settle(page(vec![], None, again), 5).await;
    assert_eq!((state.rounds, state.empty_rounds, state.due, state.finished), (1, 0, again, false));
    settle(page(vec![], None, again), 5).await;
    settle(page(vec![], None, None), 5).await;
    let error = TaskError::new(ErrorKind::Transport, "no such host");
    settle(DiscoveryResult::Error { error: error.clone(), counted: true, retry_at: Timestamp(200), pause: None }, 6)
        .await;
    let fixture = fixture.restart().await;
    let state = fixture.store.discovery(fixture.job).await.unwrap();
    assert_eq!((state.rounds, state.empty_rounds, state.finished, state.errors), (3, 2, true, 1));
    assert_eq!((state.last_error, state.due), (Some(error), Some(Timestamp(200))));
}

#[tokio::test]
async fn a_revision_names_the_lane_of_a_task_that_is_ready_and_claimed() {
    let fixture = Fixture::new().await;
    let revised = |text: &str| NewItem { revision: Some(text.into()), ..new_item("a") };
    fixture.store.submit(fixture.job, vec![revised("1")], Timestamp(1)).await.unwrap();
    let fetching = fixture.claim_one(FETCH, 2).await;
    // In the same moment too: the task's state is then just what it was.
    for (revision, now) in [("2", 1), ("3", 9)] {
        let again = fixture.store.submit(fixture.job, vec![revised(revision)], Timestamp(now)).await.unwrap();
        assert_eq!((again.reopened, again.opened), (1, vec![FETCH]));
    }
    assert!(matches!(fixture.settle(settlement(&fetching, done("old"), 10)).await, Err(StoreError::StaleClaim(_))));
    fixture.sound().await;
}

#[tokio::test]
async fn discovery_counts_what_counts_and_pauses_with_its_last_error() {
    let fixture = Fixture::new().await;
    let page = async |counted, pause: Option<tollgate_core::pause::Pause>| {
        let token = fixture.store.claim_discovery(fixture.job).await?.token;
        let error = TaskError::new(ErrorKind::Failed, "down");
        let result = DiscoveryResult::Error { error, counted, retry_at: Timestamp(200), pause };
        fixture.store.settle_discovery(DiscoveryPage { job: fixture.job, token, result, now: Timestamp(100) }).await
    };
    page(false, None).await.unwrap();
    page(true, None).await.unwrap();
    assert_eq!(fixture.view().await.discovery.errors, 1);
    let (reason, by, evidence) = (tollgate_core::pause::PauseReason::Discovery, "host".into(), "down".into());
    let pause = tollgate_core::pause::Pause { reason, by, at: Timestamp(100), evidence, until: None };
    page(true, Some(pause.clone())).await.unwrap();
    assert_eq!(fixture.view().await.pause, Some(pause));
    fixture.store.resume(fixture.job).await.unwrap();
    let discovery = fixture.view().await.discovery;
    assert_eq!((discovery.errors, discovery.due), (0, None), "it is tried at once");
}
