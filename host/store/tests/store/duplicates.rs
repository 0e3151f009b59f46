//! Pages that several items hold: flagged, refused past their number, and taken back from all (S11).

use tollgate_core::{
    Digest, StageIx, Timestamp,
    outcome::Verdict,
    task::{Answers, LaterKind, LaterReason, TaskState},
};
use tollgate_store::{
    KeptPage, POSSIBLE_DUPLICATE, PageCopy, Rechecked, Settled, Settlement, Store, StoreError, TakeBack,
};

use crate::fixture::{EXTRACT, FETCH, Fixture, done, failed, later, name, settlement};

const MOST: u32 = 2;

/// The page of that text, asked for at that address.
async fn page(fixture: &Fixture, shows: &str, asked: &str) -> (tollgate_store::NewArtifact, KeptPage) {
    let body: &'static str = Box::leak(format!("{shows} for {asked}").into_boxed_str());
    let artifact = fixture.artifact("raw-1", body).await;
    let signature = Digest::of(shows.as_bytes());
    let copy = Some(PageCopy { signature, asked: Digest::of(asked.as_bytes()), items_max: MOST });
    let url = format!("https://pages.example/{asked}");
    (artifact.clone(), KeptPage { blob: artifact.blob.digest, url, status: 200, copy })
}

/// An attempt of the item's first stage that was served such a page.
async fn served(fixture: &Fixture, key: &str, what: (&str, &str), now: u64) -> (Settlement, KeptPage) {
    served_in(fixture, FETCH, key, what, now).await
}

/// The same, of that stage.
async fn served_in(
    fixture: &Fixture,
    stage: StageIx,
    key: &str,
    (shows, asked): (&str, &str),
    now: u64,
) -> (Settlement, KeptPage) {
    let claim = fixture.claim(stage, 100, now).await;
    let mut own = None;
    for claim in claim {
        if claim.key.as_str() == key {
            own = Some(claim);
        } else {
            fixture.store.release(vec![(claim.task, claim.token)]).await.unwrap();
        }
    }
    let (artifact, page) = page(fixture, shows, asked).await;
    let mut settlement = settlement(&own.expect("it is due"), done("page"), now);
    settlement.artifacts = vec![artifact];
    settlement.pages = vec![page.clone()];
    (settlement, page)
}

async fn serve(fixture: &Fixture, key: &str, what: (&str, &str), now: u64) -> Result<Settled, StoreError> {
    let (settlement, _) = served(fixture, key, what, now).await;
    fixture.settle(settlement).await
}

async fn reopen(fixture: &Fixture, key: &str, now: u64) {
    let what = tollgate_store::Selection::Items(vec![crate::fixture::key(key)]);
    fixture.store.reopen(fixture.job, what, Answers::Anew, Timestamp(now)).await.unwrap();
}

async fn flags(fixture: &Fixture, key: &str) -> Vec<String> {
    flags_of(fixture, key, "fetch").await
}

async fn flags_of(fixture: &Fixture, key: &str, stage: &str) -> Vec<String> {
    let detail = fixture.detail(key).await;
    detail.quality_flags.get(&name(stage)).cloned().unwrap_or_default()
}

#[tokio::test]
async fn s11_all_who_hold_one_page_are_flagged_until_one_is_left() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b", "c", "d"], 1).await;
    serve(&fixture, "a", ("teaser", "a"), 2).await.unwrap();
    assert!(flags(&fixture, "a").await.is_empty(), "it is the only one");
    serve(&fixture, "b", ("teaser", "b"), 3).await.unwrap();
    let both = [flags(&fixture, "a").await, flags(&fixture, "b").await].concat();
    assert_eq!(
        both,
        [format!("{POSSIBLE_DUPLICATE}: the same page as b"), format!("{POSSIBLE_DUPLICATE}: the same page as a")]
    );
    // The same page at the same address is no copy, and another page is another.
    serve(&fixture, "c", ("another", "c"), 4).await.unwrap();
    serve(&fixture, "d", ("another", "c"), 5).await.unwrap();
    assert!(flags(&fixture, "c").await.is_empty() && flags(&fixture, "d").await.is_empty());
    fixture.sound().await;
    fixture.run(EXTRACT, done("text"), 6).await;
    fixture.run(EXTRACT, done("text"), 6).await;
    reopen(&fixture, "b", 7).await;
    serve(&fixture, "b", ("an idea", "b"), 8).await.unwrap();
    assert!(
        flags(&fixture, "a").await.is_empty(),
        "its other holder has a page of its own: {:?}",
        flags(&fixture, "a").await
    );
    fixture.sound().await;
    let fixture = fixture.restart().await;
    fixture.sound().await;
}

#[tokio::test]
async fn s11_one_too_many_is_refused_and_the_page_taken_back_from_all_in_one_transaction() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b", "c"], 1).await;
    serve(&fixture, "a", ("teaser", "a"), 2).await.unwrap();
    serve(&fixture, "b", ("teaser", "b"), 3).await.unwrap();
    fixture.run(EXTRACT, done("made of a teaser"), 4).await;
    let (third, page) = served(&fixture, "c", ("teaser", "c"), 5).await;
    let refused = fixture.settle(third.clone()).await.unwrap_err();
    let StoreError::Duplicate(found) = refused else { panic!("{refused}") };
    assert_eq!((found.items, found.others.len()), (3, 2));
    assert!(matches!(fixture.state("c", "fetch").await, TaskState::Ready { .. }), "nothing is settled yet");
    let reason = LaterReason { kind: LaterKind::Blocked, message: "guard `duplicate`".into() };
    let mut again = Settlement { verdict: later(60, LaterKind::Blocked), fingerprint: None, ..third };
    again.artifacts[0].name = "guarded-duplicate".into();
    let signature = page.copy.unwrap().signature;
    again.take_back = Some(TakeBack { signature, name: "guarded-duplicate".into(), due: Timestamp(60), reason });
    let settled = fixture.settle(again).await.unwrap();
    assert_eq!(settled.due, Some(Timestamp(60)));
    for key in ["a", "b", "c"] {
        let detail = fixture.detail(key).await;
        assert!(
            matches!(fixture.state(key, "fetch").await, TaskState::RetryLater { due: Timestamp(60), .. }),
            "{detail:#?}"
        );
        assert!(matches!(fixture.state(key, "extract").await, TaskState::Waiting { .. }));
        assert!(detail.item.outputs.is_empty() && detail.quality_flags.is_empty(), "{detail:#?}");
        let names: Vec<_> = detail.artifacts.iter().map(|kept| (kept.artifact.name.as_str(), kept.pending)).collect();
        assert_eq!(names, [("guarded-duplicate", true)]);
    }
    fixture.sound().await;
    // It is known by now: each is refused by itself, and nobody else is touched.
    let fixture = fixture.restart().await;
    serve(&fixture, "a", ("an idea", "a"), 61).await.unwrap();
    let refused = serve(&fixture, "b", ("teaser", "b"), 62).await.unwrap_err();
    assert!(matches!(refused, StoreError::Duplicate(_)), "{refused}");
    assert!(matches!(fixture.state("a", "fetch").await, TaskState::Done));
    fixture.sound().await;
}

#[tokio::test]
async fn s11_a_holder_goes_on_holding_while_a_later_attempt_fails() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b"], 1).await;
    serve(&fixture, "a", ("teaser", "a"), 2).await.unwrap();
    fixture.run(EXTRACT, done("text"), 3).await;
    reopen(&fixture, "a", 4).await;
    let (mut attempt, _) = served(&fixture, "a", ("wall", "a"), 5).await;
    attempt.verdict = failed("no title");
    fixture.settle(attempt).await.unwrap();
    serve(&fixture, "b", ("teaser", "b"), 6).await.unwrap();
    assert_eq!(flags(&fixture, "b").await, [format!("{POSSIBLE_DUPLICATE}: the same page as a")]);
    fixture.sound().await;
}

#[tokio::test]
async fn s11_who_made_the_same_request_is_no_copy_and_is_taken_back_with_the_rest() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b", "c", "d"], 1).await;
    for key in ["a", "b"] {
        serve(&fixture, key, ("teaser", "one"), 2).await.unwrap();
    }
    serve(&fixture, "c", ("teaser", "c"), 3).await.unwrap();
    assert_eq!(flags(&fixture, "c").await, [format!("{POSSIBLE_DUPLICATE}: the same page as a")]);
    fixture.sound().await;
    let (mut fourth, page) = served(&fixture, "d", ("teaser", "d"), 4).await;
    let StoreError::Duplicate(found) = fixture.settle(fourth.clone()).await.unwrap_err() else { panic!("it is one") };
    assert_eq!(found.items, 3, "each request once");
    let reason = LaterReason { kind: LaterKind::Blocked, message: "guard `duplicate`".into() };
    (fourth.verdict, fourth.artifacts[0].name) = (later(60, LaterKind::Blocked), "guarded-duplicate".into());
    let signature = page.copy.unwrap().signature;
    fourth.take_back = Some(TakeBack { signature, name: "guarded-duplicate".into(), due: Timestamp(60), reason });
    fixture.settle(fourth).await.unwrap();
    for key in ["a", "b", "c", "d"] {
        assert!(matches!(fixture.state(key, "fetch").await, TaskState::RetryLater { .. }), "{key}");
        assert!(fixture.detail(key).await.item.outputs.is_empty(), "{key}");
    }
    fixture.sound().await;
}

#[tokio::test]
async fn s11_who_shares_a_request_holds_the_page_once_its_holder_has_another() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b", "c"], 1).await;
    for key in ["a", "b"] {
        serve(&fixture, key, ("teaser", "one"), 2).await.unwrap();
    }
    fixture.run(EXTRACT, done("text"), 3).await;
    reopen(&fixture, "a", 4).await;
    serve(&fixture, "a", ("an idea", "one"), 5).await.unwrap();
    fixture.sound().await;
    let fixture = fixture.restart().await;
    serve(&fixture, "c", ("teaser", "c"), 6).await.unwrap();
    assert_eq!(flags(&fixture, "c").await, [format!("{POSSIBLE_DUPLICATE}: the same page as b")]);
    assert_eq!(flags(&fixture, "b").await, [format!("{POSSIBLE_DUPLICATE}: the same page as c")]);
    fixture.sound().await;
}

#[tokio::test]
async fn r02_a_page_of_the_last_good_output_keeps_its_address_over_a_run_that_finds_nothing() {
    for verdict in [Verdict::Nothing("none".into()), Verdict::Reject("no".into()), failed("no title")] {
        let fixture = Fixture::new().await;
        fixture.submit(&["a", "b"], 1).await;
        serve(&fixture, "a", ("teaser", "a"), 2).await.unwrap();
        serve(&fixture, "b", ("teaser", "b"), 3).await.unwrap();
        fixture.run(EXTRACT, done("text"), 4).await;
        let holds_on = matches!(verdict, Verdict::Failed(_));
        reopen(&fixture, "a", 5).await;
        let (mut attempt, _) = served(&fixture, "a", ("empty", "b"), 6).await;
        (attempt.verdict, attempt.artifacts[0].name) = (verdict, "raw-2".into());
        fixture.settle(attempt).await.unwrap();
        let kept = fixture.store.pages(fixture.job, None, 1).await.unwrap().entries.remove(0);
        let came = kept.pages.iter().map(|page| (page.stored.artifact.name.as_str(), page.came.clone()));
        let came: Vec<_> = came.map(|(name, came)| (name, came.expect("its address is known").0)).collect();
        let wanted = [("raw-1", "https://pages.example/a"), ("raw-2", "https://pages.example/b")];
        assert_eq!(came, wanted.map(|(name, url)| (name, url.to_owned())));
        assert_eq!(flags(&fixture, "b").await.len(), usize::from(holds_on), "an output that is none holds no page");
        fixture.sound().await;
    }
}

#[tokio::test]
async fn s11_what_stood_on_a_page_that_is_taken_back_holds_its_own_pages_no_more() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b"], 1).await;
    let (fetched, page) = served(&fixture, "a", ("a wall", "a"), 2).await;
    let task = fetched.task;
    fixture.settle(fetched).await.unwrap();
    serve(&fixture, "b", ("an idea", "b"), 2).await.unwrap();
    for key in ["a", "b"] {
        let (made, _) = served_in(&fixture, EXTRACT, key, ("teaser", key), 3).await;
        fixture.settle(made).await.unwrap();
    }
    assert_eq!(flags_of(&fixture, "b", "extract").await, [format!("{POSSIBLE_DUPLICATE}: the same page as a")]);
    let caught = Rechecked::Caught { task, pages: vec![(page.blob, "guarded-wall".into())] };
    let queued = fixture.store.recheck(fixture.job, vec![caught], Timestamp(4)).await.unwrap();
    assert_eq!(queued.tasks, 1);
    assert!(fixture.detail("a").await.item.outputs.is_empty());
    assert!(flags_of(&fixture, "b", "extract").await.is_empty(), "nothing of a's stands on that page any more");
    fixture.sound().await;
}

#[tokio::test]
async fn r02_what_was_made_of_a_page_goes_with_it_though_its_own_stage_found_nothing_since() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let (fetched, page) = served(&fixture, "a", ("a wall", "a"), 2).await;
    let task = fetched.task;
    fixture.settle(fetched).await.unwrap();
    fixture.run(EXTRACT, done("made of a wall"), 3).await;
    let alone = tollgate_store::Selection::Stage(FETCH, vec![crate::fixture::key("a")]);
    fixture.store.reopen(fixture.job, alone, Answers::Anew, Timestamp(4)).await.unwrap();
    fixture.run(FETCH, Verdict::Nothing("none".into()), 5).await;
    assert_eq!(fixture.state("a", "extract").await, TaskState::Done);
    let caught = Rechecked::Caught { task, pages: vec![(page.blob, "guarded-wall".into())] };
    fixture.store.recheck(fixture.job, vec![caught], Timestamp(6)).await.unwrap();
    let detail = fixture.detail("a").await;
    assert!(detail.item.outputs.is_empty(), "{detail:#?}");
    assert!(matches!(fixture.state("a", "extract").await, TaskState::Unreachable { .. }), "{detail:#?}");
    let names: Vec<_> = detail.artifacts.iter().map(|kept| kept.artifact.name.as_str()).collect();
    assert_eq!(names, ["guarded-wall"]);
    fixture.sound().await;
}
