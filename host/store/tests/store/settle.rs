//! Settling: what follows from each verdict, in one transaction.

use tollgate_core::{
    Timestamp,
    item::ItemStatus,
    outcome::Verdict,
    pause::PauseReason,
    task::{Answers, LaterKind, SkipReason, TaskKind, TaskState},
};
use tollgate_store::{BlobPart, Selection, Store, StoreError};

use crate::fixture::{EXTRACT, FETCH, Fixture, done, failed, handler, key, later, name, new_item, settlement, stage};

#[tokio::test]
async fn an_output_opens_the_next_stage_and_is_brought_to_it() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let settled = fixture.run(FETCH, done("page"), 2).await;
    assert_eq!(settled.opened, [EXTRACT]);
    let claim = fixture.claim_one(EXTRACT, 3).await;
    assert_eq!(claim.key, key("a"));
    assert_eq!(claim.data.parse().unwrap()["url"], "a");
    assert_eq!(claim.inputs[&name("fetch")].fields.parse().unwrap()["text"], "page");
    fixture.settle(settlement(&claim, done("text"), 4)).await.unwrap();
    let view = fixture.view().await;
    assert_eq!(view.items[&ItemStatus::Done], 1);
    assert_eq!(view.stages[1].tasks[&TaskKind::Done], 1);
    assert_eq!(view.stages[1].last_progress_at, Some(Timestamp(4)));
    fixture.sound().await;
}

#[tokio::test]
async fn s09_a_stage_writes_its_own_output_and_artifacts_only() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let claim = fixture.claim_one(FETCH, 2).await;
    let mut fetched = settlement(&claim, done("page"), 2);
    fetched.artifacts = vec![fixture.artifact("page.html", "<html>raw").await];
    fixture.settle(fetched).await.unwrap();
    let before = fixture.detail("a").await;
    fixture.run(EXTRACT, done("text"), 3).await;
    let after = fixture.detail("a").await;
    assert_eq!(after.item.outputs[&name("fetch")], before.item.outputs[&name("fetch")]);
    assert_eq!(after.artifacts, before.artifacts);
    assert_eq!(after.attempts[&name("fetch")], before.attempts[&name("fetch")]);
    let raw = fixture.store.read_blob(after.artifacts[0].artifact.digest, None).await.unwrap();
    assert_eq!(raw, b"<html>raw");
    let part = BlobPart { offset: 1, length: 4 };
    assert_eq!(fixture.store.read_blob(after.artifacts[0].artifact.digest, Some(part)).await.unwrap(), b"html");
}

#[tokio::test]
async fn s14_every_attempt_keeps_its_error_as_far_as_policy_says() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    for round in 1..=5 {
        let claim = fixture.claim_one(FETCH, round * 10).await;
        let mut one = settlement(&claim, later(round * 10 + 5, LaterKind::Failed), round * 10);
        let attempt = one.attempt.as_mut().unwrap();
        attempt.error =
            Some(tollgate_core::task::TaskError::new(tollgate_core::task::ErrorKind::Failed, format!("error {round}")));
        fixture.settle(one).await.unwrap();
    }
    let detail = fixture.detail("a").await;
    let attempts = &detail.attempts[&name("fetch")];
    let errors: Vec<_> = attempts.iter().map(|one| one.error.as_ref().unwrap().message.as_str()).collect();
    assert_eq!(errors, ["error 3", "error 4", "error 5"], "keep_attempts is 3");
    let listed = fixture.store.recent_errors(fixture.job, 10).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|one| one.error.message.as_str()).collect();
    assert_eq!(listed, ["error 5", "error 4", "error 3", "error 2", "error 1"]);
}

#[tokio::test]
async fn s14_attempts_that_only_had_to_wait_keep_their_reason_and_evict_no_failure() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    for round in 1..=12 {
        let claim = fixture.claim_one(FETCH, round * 10).await;
        let kind = match round {
            1 | 2 => LaterKind::Failed,
            _ if round % 2 == 0 => LaterKind::Down,
            _ => LaterKind::RateLimited,
        };
        let mut one = settlement(&claim, later(round * 10 + 5, kind), round * 10);
        one.attempt.as_mut().unwrap().reason = Some(format!("reason {round}"));
        fixture.settle(one).await.unwrap();
    }
    let fixture = fixture.restart().await;
    let detail = fixture.detail("a").await;
    let kept: Vec<_> = detail.attempts[&name("fetch")].iter().map(|one| (one.number, one.reason.as_deref())).collect();
    let reasons = ["reason 1", "reason 2", "reason 10", "reason 11", "reason 12"].map(Some);
    assert_eq!(kept, [1, 2, 10, 11, 12].into_iter().zip(reasons).collect::<Vec<_>>(), "keep_attempts is 3");
}

#[tokio::test]
async fn trap26_snoozing_changes_no_count_by_itself() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    for round in 1..=20 {
        let claim = fixture.claim_one(FETCH, round * 10).await;
        assert_eq!(claim.tally.counted, 0);
        let settled =
            fixture.settle(settlement(&claim, later(round * 10 + 5, LaterKind::RateLimited), round * 10)).await;
        assert_eq!(settled.unwrap().due, Some(Timestamp(round * 10 + 5)));
        assert!(fixture.claim(FETCH, 1, round * 10 + 4).await.is_empty(), "not before it is due");
    }
    let view = fixture.view().await;
    assert_eq!(view.stages[0].breaker, 0);
    assert!(view.pause.is_none());
    assert_eq!(view.items[&ItemStatus::Retrying], 1);
    assert_eq!(fixture.store.next_due(fixture.lane(FETCH), Timestamp(200)).await.unwrap(), Some(Timestamp(205)));
    assert_eq!(fixture.store.next_due(fixture.lane(FETCH), Timestamp(205)).await.unwrap(), None);
    fixture.sound().await;
}

#[tokio::test]
async fn trap27_an_attempt_bears_the_handler_that_ran() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    fixture.run(FETCH, done("page"), 2).await;
    let detail = fixture.detail("a").await;
    assert_eq!(detail.attempts[&name("fetch")][0].handler, handler());
}

#[tokio::test]
async fn s03_failures_of_distinct_items_pause_the_job_with_the_last_error() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b", "c", "d"], 1).await;
    assert_eq!(fixture.run(FETCH, failed("first"), 2).await.paused, None);
    assert_eq!(fixture.run(FETCH, failed("second"), 3).await.paused, None);
    let paused = fixture.run(FETCH, failed("third"), 4).await.paused.expect("three items failed");
    assert_eq!(paused.reason, PauseReason::Breaker { stage: name("fetch"), failures: 3 });
    assert_eq!(paused.evidence, "failed: third");
    assert_eq!(fixture.view().await.pause, Some(paused.clone()));
    assert!(fixture.claim(FETCH, 1, 5).await.is_empty(), "nothing of a paused job is claimed");
    let fixture = fixture.restart().await;
    assert_eq!(fixture.view().await.pause, Some(paused.clone()));
    assert_eq!(fixture.store.resume(fixture.job).await.unwrap(), Some(paused));
    assert_eq!(fixture.view().await.stages[0].breaker, 0);
    assert_eq!(fixture.claim(FETCH, 5, 6).await.len(), 1);
    fixture.sound().await;
}

#[tokio::test]
async fn p04_a_rejection_skips_the_rest_of_the_item() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    fixture.run(FETCH, Verdict::Reject("parked".into()), 2).await;
    let reason = SkipReason::Rejected { by: name("fetch"), reason: "parked".into() };
    assert_eq!(fixture.state("a", "fetch").await, TaskState::Skipped { reason: reason.clone() });
    assert_eq!(fixture.state("a", "extract").await, TaskState::Skipped { reason });
    assert_eq!(fixture.view().await.items[&ItemStatus::Skipped], 1);
    fixture.sound().await;
}

#[tokio::test]
async fn found_items_are_part_of_the_same_settle() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let Verdict::Done(mut output) = done("page") else { unreachable!() };
    output.found = vec![new_item("b"), new_item("a"), new_item("b")];
    let settled = fixture.run(FETCH, Verdict::Done(output), 2).await;
    assert_eq!((settled.found.new, settled.found.known), (1, 2));
    assert_eq!(settled.opened, [EXTRACT, FETCH]);
    assert_eq!(fixture.claim(FETCH, 10, 3).await.len(), 1);
    fixture.sound().await;
}

#[tokio::test]
async fn a_failed_rerun_leaves_the_last_good_output_and_its_artifacts() {
    let fixture = Fixture::with(vec![stage("fetch", &[])]).await;
    fixture.submit(&["a"], 1).await;
    let claim = fixture.claim_one(FETCH, 2).await;
    let mut first = settlement(&claim, done("old"), 2);
    first.artifacts = vec![fixture.artifact("page.html", "old page").await];
    fixture.settle(first).await.unwrap();
    fixture.store.reopen(fixture.job, Selection::Items(vec![key("a")]), Answers::Anew, Timestamp(3)).await.unwrap();
    let serving = fixture.detail("a").await;
    assert_eq!(serving.item.outputs[&name("fetch")]["text"], "old", "it serves until a re-run has settled");
    let claim = fixture.claim_one(FETCH, 4).await;
    assert_eq!(claim.tally.attempts, 1, "attempts go on being numbered");
    let mut second = settlement(&claim, failed("gone"), 4);
    second.artifacts =
        vec![fixture.artifact("page.html", "new page").await, fixture.artifact("error.html", "oops").await];
    fixture.settle(second).await.unwrap();
    let detail = fixture.detail("a").await;
    assert_eq!(detail.item.outputs[&name("fetch")]["text"], "old");
    let others = fixture.store.artifacts(detail.item.id, None).await.unwrap();
    assert_eq!(others.len(), 1);
    assert_eq!(fixture.store.read_blob(others[0].artifact.digest, None).await.unwrap(), b"old page");
    let own = fixture.store.artifacts(detail.item.id, Some(FETCH)).await.unwrap();
    let mut own: Vec<_> = own.iter().map(|one| (one.artifact.name.as_str(), one.pending)).collect();
    own.sort_unstable();
    assert_eq!(own, [("error.html", true), ("page.html", true)], "what it left hides the older one");
    fixture.store.reopen(fixture.job, Selection::Failed, Answers::Anew, Timestamp(5)).await.unwrap();
    fixture.run(FETCH, done("new"), 6).await;
    let detail = fixture.detail("a").await;
    assert_eq!(detail.item.outputs[&name("fetch")]["text"], "new");
    assert!(detail.artifacts.is_empty(), "an output's attempt replaces all of them");
    fixture.sound().await;
}

#[tokio::test]
async fn one_bad_settlement_harms_no_other() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b"], 1).await;
    let claims = fixture.claim(FETCH, 2, 2).await;
    let mut stale = settlement(&claims[0], done("x"), 3);
    stale.token = tollgate_core::ClaimToken(7);
    let large = Verdict::Done(tollgate_core::outcome::StageOutput {
        fields: crate::fixture::object(serde_json::json!({ "text": "x".repeat(tollgate_store::OUTPUT_BYTES_MAX) })),
        found: Vec::new(),
        quality_flags: Vec::new(),
    });
    let large = settlement(&claims[0], large, 3);
    let good = settlement(&claims[1], done("y"), 3);
    let answers = fixture.store.settle(vec![stale, large, good.clone(), good]).await.unwrap();
    assert!(matches!(answers[0], Err(StoreError::StaleClaim(_))));
    assert!(matches!(answers[1], Err(StoreError::TooLarge { .. })));
    assert!(answers[2].is_ok());
    assert!(matches!(answers[3], Err(StoreError::StaleClaim(_))), "settled once, within one batch too");
    assert!(fixture.settle(settlement(&claims[0], done("z"), 4)).await.is_ok(), "its claim still stands");
    fixture.sound().await;
}

#[tokio::test]
async fn r06_a_lane_knows_since_when_it_had_nothing_but_another_try() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b"], 1).await;
    let since = async || fixture.view().await.stages[0].later_since;
    fixture.run(FETCH, later(5, LaterKind::Down), 2).await;
    fixture.run(FETCH, later(50, LaterKind::Asked), 3).await;
    assert_eq!(since().await, Some(Timestamp(2)));
    fixture.run(FETCH, done("page"), 60).await;
    assert_eq!(since().await, None);
    fixture.sound().await;
}
