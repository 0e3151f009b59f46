//! Retry, reprocess, exclude.

use tollgate_core::{
    Timestamp,
    item::{ItemStatus, NewItem},
    outcome::Verdict,
    pause::{Pause, PauseReason},
    task::{Answers, LaterKind, SkipReason, TaskKind, TaskState},
};
use tollgate_store::{Selection, Store, StoreError};

use crate::fixture::{EXTRACT, FETCH, Fixture, done, failed, key, later, new_item, settlement};

#[tokio::test]
async fn r12_a_retry_resumes_the_job_and_says_so() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b", "c", "d"], 1).await;
    for round in 2..5 {
        fixture.run(FETCH, failed("down"), round).await;
    }
    assert!(fixture.view().await.pause.is_some());
    assert!(matches!(fixture.state("a", "extract").await, TaskState::Unreachable { .. }));
    let reopened = fixture.store.reopen(fixture.job, Selection::Failed, Answers::Anew, Timestamp(6)).await.unwrap();
    assert_eq!((reopened.items, reopened.tasks, reopened.opened.as_slice()), (3, 3, &[FETCH][..]));
    assert!(matches!(reopened.resumed, Some(Pause { reason: PauseReason::Breaker { .. }, .. })));
    let view = fixture.view().await;
    assert_eq!((view.pause, view.stages[0].breaker, view.items[&ItemStatus::Queued]), (None, 0, 4));
    assert!(matches!(fixture.state("a", "extract").await, TaskState::Waiting { .. }));
    let claim = fixture.claim(FETCH, 9, 7).await.into_iter().find(|claim| claim.key == key("a")).unwrap();
    assert_eq!((claim.tally.attempts, claim.tally.counted), (1, 0));
    fixture.sound().await;
}

#[tokio::test]
async fn more_failed_items_than_one_transaction_takes_are_all_opened() {
    const ITEMS: usize = 5_100;
    let fixture = Fixture::new().await;
    let keys: Vec<String> = (0..ITEMS).map(|number| format!("item {number}")).collect();
    fixture.submit(&keys.iter().map(String::as_str).collect::<Vec<_>>(), 1).await;
    for _ in 0..ITEMS.div_ceil(1_000) {
        let claims = fixture.claim(FETCH, 1_000, 2).await;
        let settlements = claims.iter().map(|claim| {
            let breaker = tollgate_core::outcome::BreakerEffect::None;
            tollgate_store::Settlement { breaker, ..settlement(claim, failed("down"), 3) }
        });
        fixture.store.settle(settlements.collect()).await.unwrap();
    }
    assert_eq!(fixture.view().await.items[&ItemStatus::Failed], ITEMS as u64);
    let reopened = fixture.store.reopen(fixture.job, Selection::Failed, Answers::Anew, Timestamp(6)).await.unwrap();
    assert_eq!((reopened.items, reopened.tasks), (ITEMS as u64, ITEMS as u64));
    assert_eq!(fixture.view().await.items[&ItemStatus::Queued], ITEMS as u64);
    fixture.sound().await;
}

#[tokio::test]
async fn an_item_that_waits_to_be_tried_again_is_ready_at_once() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    fixture.run(FETCH, later(1_000, LaterKind::Down), 2).await;
    let what = Selection::Items(vec![key("a"), key("nobody")]);
    let reopened = fixture.store.reopen(fixture.job, what, Answers::Anew, Timestamp(3)).await.unwrap();
    assert_eq!((reopened.items, reopened.tasks, reopened.unknown), (1, 1, vec![key("nobody")]));
    assert_eq!(fixture.claim(FETCH, 1, 3).await.len(), 1);
    fixture.sound().await;
}

#[tokio::test]
async fn an_item_that_has_ended_begins_anew_and_one_in_progress_is_left_to_it() {
    let fixture = Fixture::new().await;
    fixture.submit(&["ended", "claimed", "queued", "new"], 1).await;
    for _ in 0..3 {
        fixture.run(FETCH, done("x"), 2).await;
    }
    fixture.run(EXTRACT, done("x"), 3).await;
    let claimed = fixture.claim_one(EXTRACT, 4).await;
    let all = ["ended", "claimed", "queued", "new"].map(key);
    let reopened =
        fixture.store.reopen(fixture.job, Selection::Items(all.to_vec()), Answers::Anew, Timestamp(5)).await.unwrap();
    assert_eq!((reopened.items, reopened.tasks), (1, 2));
    assert_eq!(reopened.in_progress, all[1..]);
    assert_eq!(fixture.state("ended", "fetch").await, TaskState::Ready { due: Timestamp(5) });
    assert!(
        matches!(fixture.state("ended", "extract").await, TaskState::Waiting { .. }),
        "it stands on what runs again"
    );
    for text in ["claimed", "queued"] {
        assert_eq!(fixture.state(text, "fetch").await, TaskState::Done, "{text}: paid work isn't done again");
    }
    fixture.settle(settlement(&claimed, done("x"), 6)).await.unwrap();
    assert_eq!(fixture.state("claimed", "extract").await, TaskState::Done);
    fixture.sound().await;
}

#[tokio::test]
async fn kept_answers_are_taken_again_by_what_comes_to_run_over_a_restart_and_by_nothing_else() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b"], 1).await;
    let reuses = async |fixture: &Fixture, text: &str| {
        let tasks = fixture.detail(text).await.item.tasks;
        tasks.iter().map(|task| task.tally.reuses).collect::<Vec<_>>()
    };
    fixture.run(FETCH, done("x"), 2).await;
    fixture.run(FETCH, failed("x"), 2).await;
    fixture.run(EXTRACT, later(3, LaterKind::Asked), 2).await;
    fixture.run(EXTRACT, done("x"), 3).await;
    let open = async |fixture: &Fixture, what, answers| {
        fixture.store.reopen(fixture.job, what, answers, Timestamp(4)).await.unwrap()
    };
    let all = || Selection::Items(vec![key("a")]);
    open(&fixture, all(), Answers::Kept).await;
    assert_eq!(reuses(&fixture, "a").await, [Some(1), Some(2)], "of all attempts so far");
    assert_eq!(reuses(&fixture, "b").await, [None, None]);
    let fixture = fixture.restart().await;
    let claim = fixture.claim_one(FETCH, 5).await;
    assert_eq!((claim.tally.reuses, claim.tally.counted), (Some(1), 0));
    fixture.settle(settlement(&claim, done("x"), 6)).await.unwrap();
    fixture.run(EXTRACT, done("x"), 7).await;
    open(&fixture, all(), Answers::Anew).await;
    assert_eq!(reuses(&fixture, "a").await, [None, None], "who says nothing of it wants them anew");
    fixture.run(FETCH, done("x"), 8).await;
    fixture.run(EXTRACT, done("x"), 9).await;
    open(&fixture, Selection::Stage(EXTRACT, vec![key("a")]), Answers::Kept).await;
    assert_eq!(reuses(&fixture, "a").await, [None, Some(4)]);
    open(&fixture, Selection::Failed, Answers::Kept).await;
    assert_eq!(reuses(&fixture, "b").await, [Some(1), None], "the other has never run");
    fixture.sound().await;
}

#[tokio::test]
async fn a_new_revision_leaves_an_excluded_item_out_until_a_retry_takes_it_in() {
    let fixture = Fixture::new().await;
    let revision = |text: &str| {
        let data = crate::fixture::object(serde_json::json!({ "url": text }));
        vec![NewItem { revision: Some(text.into()), data, ..new_item("a") }]
    };
    let submit =
        async |text: &str, now| fixture.store.submit(fixture.job, revision(text), Timestamp(now)).await.unwrap();
    submit("first", 1).await;
    fixture.run(FETCH, done("of the first"), 2).await;
    fixture.store.exclude(fixture.job, vec![key("a")], "not ours".into(), Timestamp(3)).await.unwrap();
    let submitted = submit("second", 4).await;
    assert_eq!((submitted.reopened, submitted.known, submitted.opened), (0, 1, vec![]));
    assert_eq!(fixture.view().await.items[&ItemStatus::Skipped], 1);
    assert!(fixture.claim(FETCH, 9, 5).await.is_empty());
    fixture.sound().await;
    let reopened =
        fixture.store.reopen(fixture.job, Selection::Items(vec![key("a")]), Answers::Anew, Timestamp(6)).await.unwrap();
    assert_eq!((reopened.items, reopened.tasks), (1, 2));
    let claim = fixture.claim_one(FETCH, 7).await;
    assert_eq!(claim.data.parse().unwrap()["url"], "second");
    fixture.sound().await;
}

#[tokio::test]
async fn an_excluded_item_is_skipped_and_what_its_attempt_brings_is_refused() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b"], 1).await;
    let claims = fixture.claim(FETCH, 2, 2).await;
    let done_one = fixture.store.exclude(fixture.job, vec![key("a")], "not ours".into(), Timestamp(3)).await.unwrap();
    assert_eq!((done_one.items, done_one.tasks), (1, 2));
    let reason = SkipReason::Excluded { reason: "not ours".into() };
    assert_eq!(fixture.state("a", "extract").await, TaskState::Skipped { reason });
    let refused = fixture.settle(settlement(&claims[0], done("x"), 4)).await;
    assert!(matches!(refused, Err(StoreError::StaleClaim(_))));
    fixture.settle(settlement(&claims[1], Verdict::Nothing("none".into()), 4)).await.unwrap();
    let view = fixture.view().await;
    assert_eq!((view.items[&ItemStatus::Skipped], view.items[&ItemStatus::Done]), (1, 1));
    assert_eq!(view.stages[0].tasks[&TaskKind::Nothing], 1);
    fixture.sound().await;
    fixture.store.reopen(fixture.job, Selection::Items(vec![key("a")]), Answers::Anew, Timestamp(5)).await.unwrap();
    assert_eq!(fixture.claim(FETCH, 2, 6).await.len(), 1, "a retry takes it in again");
    fixture.sound().await;
}

#[tokio::test]
async fn a_pause_of_the_hosts_leaves_one_that_a_person_has_to_end() {
    let fixture = Fixture::new().await;
    let pause = |reason: PauseReason| {
        let (by, evidence) = ("someone".to_owned(), reason.as_str().to_owned());
        fixture.store.pause(fixture.job, Pause { reason, by, at: Timestamp(1), evidence, until: None })
    };
    for (reason, stands) in [
        (PauseReason::Handler, PauseReason::Handler),
        (PauseReason::Budget, PauseReason::Budget),
        (PauseReason::Handler, PauseReason::Budget),
        (PauseReason::Host, PauseReason::Budget),
        (PauseReason::Manual, PauseReason::Manual),
        (PauseReason::Discovery, PauseReason::Manual),
    ] {
        pause(reason).await.unwrap();
        assert_eq!(fixture.view().await.pause.map(|pause| pause.reason), Some(stands));
    }
}

#[tokio::test]
async fn a03_a_pause_that_has_an_end_ends_then_and_a_persons_does_not() {
    let fixture = Fixture::new().await;
    let pause = |reason, until| {
        let (by, evidence) = ("host".to_owned(), "spent".to_owned());
        fixture.store.pause(fixture.job, Pause { reason, by, at: Timestamp(1), evidence, until })
    };
    pause(PauseReason::Budget, Some(Timestamp(100))).await.unwrap();
    assert_eq!(fixture.store.end_pause(fixture.job, Timestamp(99)).await.unwrap(), None);
    assert!(fixture.view().await.pause.is_some());
    let ended = fixture.store.end_pause(fixture.job, Timestamp(100)).await.unwrap();
    assert_eq!(ended.unwrap().reason, PauseReason::Budget);
    assert!(fixture.view().await.pause.is_none());
    pause(PauseReason::Budget, Some(Timestamp(200))).await.unwrap();
    pause(PauseReason::Manual, None).await.unwrap();
    assert_eq!(fixture.store.end_pause(fixture.job, Timestamp(300)).await.unwrap(), None, "a person ends it");
}
