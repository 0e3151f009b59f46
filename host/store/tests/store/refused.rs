//! A page that a check refused is taken back with what stands on it, and one stage alone is opened again (R01, P07).

use tollgate_core::{
    StageIx, Timestamp,
    item::ItemStatus,
    outcome::Verdict,
    task::{Answers, ErrorKind, LaterKind, LaterReason, Tally, TaskError, TaskState},
};
use tollgate_store::{ItemQuery, RefusedPage, Selection, Settlement, Store, StoreError};

use crate::fixture::{FETCH, Fixture, done, failed, key, settlement, stage};

const CHECK: StageIx = StageIx(1);
const EXTRACT: StageIx = StageIx(2);

/// `fetch`, its `check`, and `extract`, which doesn't wait for it.
async fn fetched() -> (Fixture, tollgate_store::NewArtifact) {
    let stages = vec![stage("fetch", &[]), stage("check", &["fetch"]), stage("extract", &["fetch"])];
    let fixture = Fixture::with(stages).await;
    fixture.submit(&["a"], 1).await;
    let page = fixture.artifact("page.html", "an offer to join").await;
    let claim = fixture.claim_one(FETCH, 2).await;
    let made = Settlement { artifacts: vec![page.clone()], ..settlement(&claim, done("page"), 2) };
    fixture.settle(made).await.unwrap();
    (fixture, page)
}

#[tokio::test]
async fn r01_a_refused_page_is_kept_apart_and_its_task_goes_on_with_what_is_counted_of_it() {
    let (fixture, page) = fetched().await;
    fixture.run(EXTRACT, done("made of it"), 3).await;
    let claim = fixture.claim_one(CHECK, 4).await;
    let (reason, error) = ("it is an offer", TaskError::new(ErrorKind::Transport, "guard `check.check`"));
    let state = TaskState::RetryLater {
        due: Timestamp(60),
        reason: LaterReason { kind: LaterKind::Transport, message: "x".into() },
    };
    let tally = Tally { attempts: 1, counted: 1, first_at: Some(Timestamp(2)), ..Tally::default() };
    let refused = RefusedPage {
        stage: FETCH,
        blob: page.blob.digest,
        name: "guarded-check.check".into(),
        state: state.clone(),
        tally,
        error: Some(error),
    };
    let refusal = Settlement { refused: Some(refused), ..settlement(&claim, Verdict::Reject(reason.into()), 4) };
    let settled = fixture.settle(refusal).await.unwrap();
    assert!(settled.opened.contains(&FETCH), "its lane is told: {settled:?}");
    let item = fixture.detail("a").await;
    assert_eq!(fixture.state("a", "fetch").await, state);
    assert_eq!(item.item.tasks[0].tally, tally);
    for name in ["check", "extract"] {
        assert!(matches!(fixture.state("a", name).await, TaskState::Waiting { .. }), "{item:#?}");
    }
    assert!(item.item.outputs.is_empty(), "{item:#?}");
    let kept: Vec<_> = item.artifacts.iter().map(|kept| (kept.artifact.name.as_str(), kept.pending)).collect();
    assert_eq!(kept, [("guarded-check.check", true)]);
    let errors = fixture.store.recent_errors(fixture.job, 10).await.unwrap();
    assert_eq!((errors.len(), errors[0].stage.as_str()), (1, "fetch"));
    fixture.sound().await;
    let fixture = fixture.restart().await;
    fixture.sound().await;
    assert!(fixture.claim(FETCH, 9, 59).await.is_empty());
    assert_eq!(fixture.claim(FETCH, 9, 60).await.len(), 1);
}

#[tokio::test]
async fn r01_a_task_that_works_on_a_page_which_is_refused_meanwhile_settles_nothing() {
    let (fixture, page) = fetched().await;
    let working = fixture.claim_one(EXTRACT, 3).await;
    let claim = fixture.claim_one(CHECK, 4).await;
    let refused = RefusedPage {
        stage: FETCH,
        blob: page.blob.digest,
        name: "guarded-check.check".into(),
        state: TaskState::Failed { error: TaskError::new(ErrorKind::Transport, "x") },
        tally: Tally::default(),
        error: None,
    };
    let refusal = Settlement { refused: Some(refused), ..settlement(&claim, Verdict::Reject("no".into()), 4) };
    fixture.settle(refusal).await.unwrap();
    let late = fixture.settle(settlement(&working, done("made of it"), 5)).await;
    assert!(matches!(late, Err(StoreError::StaleClaim(_))), "{late:?}");
    for name in ["check", "extract"] {
        assert!(matches!(fixture.state("a", name).await, TaskState::Unreachable { .. }));
    }
    fixture.sound().await;
}

#[tokio::test]
async fn p07_one_stage_of_an_item_is_opened_alone() {
    let (fixture, _) = fetched().await;
    let again = || {
        fixture.store.reopen(
            fixture.job,
            Selection::Stage(CHECK, vec![key("a"), key("b")]),
            Answers::Anew,
            Timestamp(6),
        )
    };
    let early = again().await.unwrap();
    assert_eq!((early.tasks, early.in_progress, early.unknown), (0, vec![key("a")], vec![key("b")]));
    fixture.run(CHECK, done("it is one"), 3).await;
    fixture.run(EXTRACT, done("made of it"), 4).await;
    let opened = again().await.unwrap();
    assert_eq!((opened.items, opened.tasks, opened.opened), (1, 1, vec![CHECK]));
    assert_eq!(fixture.state("a", "check").await, TaskState::Ready { due: Timestamp(6) });
    for name in ["fetch", "extract"] {
        assert_eq!(fixture.state("a", name).await, TaskState::Done);
    }
    assert_eq!(fixture.detail("a").await.item.outputs.len(), 3, "its last answer serves until there is another");
    fixture.sound().await;
}

#[tokio::test]
async fn p07_what_a_retry_of_one_stage_would_open_is_shown_and_is_what_it_opens() {
    let stages = vec![stage("fetch", &[]), stage("check", &["fetch"]), stage("extract", &["check"])];
    let fixture = Fixture::with(stages).await;
    fixture.submit(&["done", "failed", "nothing", "excluded", "fresh"], 1).await;
    for _ in 0..5 {
        fixture.run(FETCH, done("x"), 2).await;
    }
    for verdict in [done("yes"), failed("no"), Verdict::Nothing("none".into())] {
        fixture.run(CHECK, verdict, 3).await;
    }
    fixture.store.exclude(fixture.job, vec![key("excluded")], "not ours".into(), Timestamp(4)).await.unwrap();
    let shown = async |status, after, limit| {
        let query = ItemQuery { status, after, limit, outputs: false };
        fixture.store.stage_items(fixture.job, CHECK, query).await.unwrap()
    };
    let all = shown(None, None, 9).await;
    assert_eq!((&all.entries, all.next), (&["done", "failed", "nothing"].map(key).to_vec(), None), "{all:?}");
    assert_eq!(shown(Some(ItemStatus::Failed), None, 9).await.entries, [key("failed")]);
    assert!(shown(Some(ItemStatus::Skipped), None, 9).await.entries.is_empty(), "a person left it out");
    let first = shown(None, None, 2).await;
    let rest = shown(None, first.next, 2).await;
    assert_eq!([first.entries, rest.entries].concat(), all.entries);
    let opened = fixture
        .store
        .reopen(fixture.job, Selection::Stage(CHECK, all.entries), Answers::Anew, Timestamp(6))
        .await
        .unwrap();
    assert_eq!((opened.items, opened.tasks, opened.in_progress.len()), (3, 3, 0));
    assert!(shown(None, None, 9).await.entries.is_empty(), "they run again already");
    fixture.sound().await;
}
