//! Paid answers are kept, durable before anybody sees them, and found by their requests.

use tollgate_core::{
    Digest, StageIx,
    ledger::{CallEnd, CallId, How},
    task::Answers,
};
use tollgate_store::{
    ANSWER_BYTES_MAX, ANSWER_INLINE_BYTES_MAX, ANSWERS_PER_TASK_KEPT, AnswerKey, Claim, Store, StoreError,
};

use crate::{
    fixture::{FETCH, Fixture, done, settlement},
    paying::{DAY, answered, known, reservation},
};

/// Makes a call with that answer.
async fn call(fixture: &Fixture, claim: &Claim, request: &str, answer: &str) -> CallId {
    let call = fixture.reserve(reservation(fixture, claim, request, known(2), DAY)).await;
    fixture.store.settle_call(call, answered(known(1), DAY + 5), Some(answer.to_owned())).await.unwrap();
    call
}

fn key(fixture: &Fixture, claim: &Claim, request: &str) -> AnswerKey {
    let task = Some((claim.task.item, claim.task.stage));
    AnswerKey { job: fixture.job, task, request: Digest::of(request.as_bytes()) }
}

async fn found(fixture: &Fixture, claim: &Claim, request: &str) -> Option<String> {
    let found = fixture.store.kept_answer(key(fixture, claim, request)).await.unwrap();
    found.map(|answer| answer.json)
}

#[tokio::test]
async fn a_task_that_runs_again_after_a_kill_finds_what_it_paid_for() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let long = format!("{:?}", "x".repeat(ANSWER_INLINE_BYTES_MAX));
    call(&fixture, &claim, "short", r#"{"is":"short"}"#).await;
    let id = call(&fixture, &claim, "long", &long).await;
    let fixture = fixture.restart().await;
    assert_eq!(found(&fixture, &claim, "short").await.as_deref(), Some(r#"{"is":"short"}"#));
    let kept = fixture.store.kept_answer(key(&fixture, &claim, "long")).await.unwrap().unwrap();
    assert_eq!((kept.call, kept.attempt, kept.at.0, kept.json), (id, 1, DAY + 5, long));
    assert_eq!(found(&fixture, &claim, "another").await, None);
    let other = AnswerKey { task: Some((claim.task.item, StageIx(1))), ..key(&fixture, &claim, "short") };
    assert_eq!(fixture.store.kept_answer(other).await.unwrap(), None, "it is of one task alone");
    let requests = async |stage| fixture.store.kept_requests(fixture.job, (claim.task.item, stage)).await.unwrap();
    let both = ["long", "short"].map(|request| Digest::of(request.as_bytes()));
    assert_eq!((requests(claim.task.stage).await, requests(StageIx(1)).await), (both.into(), [].into()));
    let discovery = AnswerKey { task: None, ..other };
    assert_eq!(fixture.store.kept_answer(discovery).await.unwrap(), None);
    fixture.sound().await;
}

#[tokio::test]
async fn the_newer_answer_to_a_request_is_the_one_that_is_kept() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let first = call(&fixture, &claim, "q", "1").await;
    let second = call(&fixture, &claim, "q", "2").await;
    let of = async |call: CallId| fixture.store.answer_of(call).await.unwrap().map(|kept| kept.json);
    assert_eq!((of(first).await, of(second).await.as_deref(), of(CallId(99)).await), (None, Some("2"), None));
    assert_eq!(found(&fixture, &claim, "q").await.as_deref(), Some("2"));
    let refused = fixture.reserve(reservation(&fixture, &claim, "q", known(2), DAY)).await;
    let end = CallEnd { how: How::Refused, ..answered(known(0), DAY) };
    fixture.store.settle_call(refused, end, None).await.unwrap();
    assert_eq!(found(&fixture, &claim, "q").await.as_deref(), Some("2"), "a refusal is no answer");
    fixture.sound().await;
}

#[tokio::test]
async fn an_attempt_keeps_all_its_answers_and_makes_room_among_those_of_earlier_ones() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    for number in 0..ANSWERS_PER_TASK_KEPT + 2 {
        call(&fixture, &claim, &format!("first {number}"), "1").await;
    }
    assert!(found(&fixture, &claim, "first 0").await.is_some(), "nothing of the attempt under way goes");
    fixture.settle(settlement(&claim, done("x"), 3)).await.unwrap();
    let again = tollgate_store::Selection::Stage(FETCH, vec![crate::fixture::key("a")]);
    fixture.store.reopen(fixture.job, again, Answers::Anew, tollgate_core::Timestamp(4)).await.unwrap();
    let claim = fixture.claim_one(FETCH, 5).await;
    assert_eq!(claim.tally.attempts, 1);
    call(&fixture, &claim, "second", "2").await;
    // Room is made when the tables take the book in, as this has them do.
    fixture.sound().await;
    assert_eq!(found(&fixture, &claim, "first 0").await, None);
    assert_eq!(found(&fixture, &claim, "first 2").await.as_deref(), Some("1"));
    assert_eq!(found(&fixture, &claim, "second").await.as_deref(), Some("2"));
    fixture.sound().await;
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_refused_and_its_call_can_be_settled_without() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let id = fixture.reserve(reservation(&fixture, &claim, "q", known(2), DAY)).await;
    let refused = fixture.store.settle_call(id, answered(known(1), DAY), Some("x".repeat(ANSWER_BYTES_MAX + 1))).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    let mut end = answered(known(1), DAY);
    end.provider_request = Some("é".repeat(1_000));
    fixture.store.settle_call(id, end, None).await.unwrap();
    fixture.sound().await;
}
