//! Declaring: numbers that stay, items that follow a changed stage list.

use tollgate_core::{
    StageIx, Timestamp,
    item::ItemStatus,
    task::{Answers, LaterKind, TaskState},
};
use tollgate_store::{Selection, Store, StoreError};

use crate::fixture::{EXTRACT, FETCH, Fixture, declaration, done, failed, key, later, name, settlement, stage};

#[tokio::test]
async fn declaring_again_changes_nothing() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let before = fixture.view().await;
    let again = declaration(vec![stage("fetch", &[]), stage("extract", &["fetch"])]);
    let declared = fixture.store.declare(again, Timestamp(2)).await.unwrap();
    assert_eq!(declared.id, fixture.job);
    assert_eq!(fixture.view().await, before);
}

#[tokio::test]
async fn a_new_stage_reaches_items_that_are_done_and_a_removed_one_leaves_no_trace_in_the_queue() {
    let fixture = Fixture::new().await;
    fixture.submit(&["done", "new"], 1).await;
    fixture.run(FETCH, done("x"), 2).await;
    fixture.run(EXTRACT, done("x"), 3).await;
    let wider = declaration(vec![stage("score", &["extract"]), stage("fetch", &[]), stage("extract", &["fetch"])]);
    let declared = fixture.store.declare(wider, Timestamp(4)).await.unwrap();
    assert_eq!(declared.graph.by_name("score").unwrap().ix, StageIx(2), "known stages keep their numbers");
    assert_eq!(fixture.state("done", "score").await, TaskState::Ready { due: Timestamp(4) });
    assert!(matches!(fixture.state("new", "score").await, TaskState::Waiting { .. }));
    fixture.sound().await;
    let claimed = fixture.claim_one(FETCH, 5).await;
    let narrower = declaration(vec![stage("extract", &[])]);
    fixture.store.declare(narrower, Timestamp(6)).await.unwrap();
    fixture.sound().await;
    assert!(fixture.claim(FETCH, 9, 7).await.is_empty());
    let refused = fixture.settle(settlement(&claimed, done("x"), 8)).await;
    assert!(matches!(refused, Err(StoreError::StaleClaim(_))));
    assert_eq!(fixture.claim(EXTRACT, 9, 9).await.len(), 1, "it waits for nothing any more");
    let back = declaration(vec![stage("fetch", &[]), stage("extract", &["fetch"])]);
    fixture.store.declare(back, Timestamp(10)).await.unwrap();
    assert_eq!(fixture.state("done", "fetch").await, TaskState::Done, "what a stage came to stays known");
    assert_eq!(fixture.view().await.items[&ItemStatus::Done], 1);
    fixture.sound().await;
}

#[tokio::test]
async fn p01_a_need_that_is_declared_later_holds_for_what_was_ready() {
    let fixture = Fixture::new().await;
    fixture.submit(&["ready", "later", "claimed", "failed", "new"], 1).await;
    for _ in 0..4 {
        fixture.run(FETCH, done("page"), 2).await;
    }
    let claims = fixture.claim(EXTRACT, 4, 3).await;
    let of = |text: &str| claims.iter().find(|claim| claim.key == key(text)).unwrap();
    fixture.store.release(vec![(of("ready").task, of("ready").token)]).await.unwrap();
    fixture.settle(settlement(of("later"), later(50, LaterKind::Down), 4)).await.unwrap();
    fixture.settle(settlement(of("failed"), failed("x"), 4)).await.unwrap();
    let wider =
        || declaration(vec![stage("fetch", &[]), stage("clean", &["fetch"]), stage("extract", &["fetch", "clean"])]);
    fixture.store.declare(wider(), Timestamp(5)).await.unwrap();
    fixture.sound().await;
    let refused = fixture.settle(settlement(of("claimed"), done("x"), 6)).await;
    assert!(matches!(refused, Err(StoreError::StaleClaim(_))), "it ran without what it needs");
    fixture.store.reopen(fixture.job, Selection::Failed, Answers::Anew, Timestamp(7)).await.unwrap();
    assert!(fixture.claim(EXTRACT, 9, 60).await.is_empty());
    fixture.sound().await;
    let clean = StageIx(2);
    for _ in 0..4 {
        fixture.run(clean, done("clean"), 70).await;
    }
    assert_eq!(fixture.claim(EXTRACT, 9, 71).await.len(), 4);
    fixture.sound().await;
}

#[tokio::test]
async fn a_job_that_is_declared_no_more_can_still_be_looked_at_and_retried() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    fixture.run(FETCH, crate::fixture::failed("gone"), 2).await;
    let fixture = fixture.restart().await;
    assert_eq!(fixture.view().await.items[&ItemStatus::Failed], 1);
    assert_eq!(fixture.detail("a").await.item.tasks[0].stage, name("fetch"));
    let reopened = fixture
        .store
        .reopen(fixture.job, tollgate_store::Selection::Failed, Answers::Anew, Timestamp(3))
        .await
        .unwrap();
    assert_eq!(reopened.items, 1);
    fixture.sound().await;
}

#[tokio::test]
async fn what_makes_no_graph_is_refused() {
    let fixture = Fixture::new().await;
    let circle = declaration(vec![stage("fetch", &["extract"]), stage("extract", &["fetch"])]);
    let refused = fixture.store.declare(circle, Timestamp(1)).await;
    assert!(matches!(refused, Err(StoreError::Declaration(text)) if text.contains("circle")));
    let unknown = declaration(vec![stage("fetch", &["nobody"])]);
    assert!(matches!(fixture.store.declare(unknown, Timestamp(1)).await, Err(StoreError::Declaration(_))));
}
