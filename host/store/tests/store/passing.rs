//! Large binaries go once their last need has ended, and nothing else does (P06).

use std::{fs, path::Path};

use tollgate_core::{
    StageIx, Timestamp,
    outcome::Verdict,
    task::{Answers, SkipReason, TaskState},
};
use tollgate_store::{
    BLOB_ROW_BYTES_MAX, BlobSource, Gone, ItemQuery, Lacking, NewArtifact, Passing, Reopened, Selection, Settlement,
    StageItems, Store,
};

use crate::fixture::{EXTRACT, FETCH, Fixture, done, failed, key, name, settlement};

/// A file, in place of a row.
pub(crate) fn large(byte: u8) -> Vec<u8> {
    vec![byte; usize::try_from(BLOB_ROW_BYTES_MAX).unwrap() + 1]
}

pub(crate) async fn kept(fixture: &Fixture, name: &str, content_type: &str, bytes: Vec<u8>) -> NewArtifact {
    let blob = fixture.store.put_blob(BlobSource::Bytes(bytes.into())).await.unwrap();
    NewArtifact { name: name.to_owned(), content_type: content_type.to_owned(), blob }
}

/// `fetch` keeps these, with that end.
pub(crate) async fn fetch(fixture: &Fixture, passing: &[Passing], artifacts: Vec<NewArtifact>, verdict: Verdict) {
    let claim = fixture.claim_one(FETCH, 10).await;
    let settlement = Settlement { artifacts, passing: passing.into(), ..settlement(&claim, verdict, 10) };
    fixture.settle(settlement).await.unwrap();
}

/// `extract` comes to that end.
async fn extract(fixture: &Fixture, passing: &[Passing], verdict: Verdict) {
    let claim = fixture.claim_one(EXTRACT, 20).await;
    fixture.settle(Settlement { passing: passing.into(), ..settlement(&claim, verdict, 20) }).await.unwrap();
}

pub(crate) async fn names(fixture: &Fixture, key: &str) -> Vec<String> {
    fixture.detail(key).await.artifacts.into_iter().map(|kept| kept.artifact.name).collect()
}

pub(crate) fn count(folder: &Path) -> usize {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
}

/// Files of blobs that are left once the writers have come to their end.
async fn files(fixture: Fixture) -> (Fixture, usize) {
    let fixture = fixture.restart().await;
    fixture.sound().await;
    let left = count(&fixture.folder.path().join("blobs"));
    (fixture, left)
}

pub(crate) const ALONE: &[Passing] = &[Passing { maker: FETCH, readers: Vec::new(), after: Vec::new() }];

fn read() -> [Passing; 1] {
    [Passing { maker: FETCH, readers: vec![(EXTRACT, "media.webm".to_owned())], after: Vec::new() }]
}

#[tokio::test]
async fn p06_what_nobody_reads_goes_with_its_stage_s_end_and_text_and_small_things_stay() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let artifacts = vec![
        kept(&fixture, "media.webm", "audio/webm", large(1)).await,
        kept(&fixture, "page.html", "text/html; charset=utf-8", large(2)).await,
        kept(&fixture, "info.json", "application/json", large(3)).await,
        kept(&fixture, "cover.jpg", "image/jpeg", vec![4; 900]).await,
    ];
    fetch(&fixture, ALONE, artifacts, done("heard")).await;
    assert_eq!(names(&fixture, "a").await, ["cover.jpg", "info.json", "page.html"]);
    let (fixture, left) = files(fixture).await;
    assert_eq!(left, 2, "the two texts");
    assert_eq!(fixture.detail("a").await.item.outputs.len(), 1, "what was made of it stays");
}

#[tokio::test]
async fn p06_a_failure_keeps_it_for_the_next_try_and_what_says_nothing_lets_it_go() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let audio = kept(&fixture, "media.webm", "audio/webm", large(1)).await;
    fetch(&fixture, ALONE, vec![audio], failed("no")).await;
    assert_eq!(names(&fixture, "a").await, ["media.webm"]);
    let (fixture, left) = files(fixture).await;
    assert_eq!(left, 1);
    fixture
        .store
        .reopen(
            fixture.job,
            tollgate_store::Selection::Failed,
            tollgate_core::task::Answers::Anew,
            tollgate_core::Timestamp(9),
        )
        .await
        .unwrap();
    fetch(&fixture, ALONE, Vec::new(), Verdict::Nothing("nothing is said in it".to_owned())).await;
    assert!(names(&fixture, "a").await.is_empty());
    assert_eq!(files(fixture).await.1, 0);
}

#[tokio::test]
async fn p06_what_a_later_stage_reads_stays_until_that_has_ended_too() {
    for (verdict, left) in [
        (done("text"), 0),
        (Verdict::Skipped(SkipReason::Condition { when: "false".to_owned() }), 0),
        (failed("no"), 1),
    ] {
        let fixture = Fixture::new().await;
        fixture.submit(&["a"], 1).await;
        let audio = kept(&fixture, "media.webm", "audio/webm", large(1)).await;
        fetch(&fixture, &read(), vec![audio], done("fetched")).await;
        assert_eq!(names(&fixture, "a").await, ["media.webm"], "somebody needs it");
        extract(&fixture, &read(), verdict.clone()).await;
        assert_eq!(names(&fixture, "a").await.len(), left, "{verdict:?}");
        assert_eq!(files(fixture).await.1, left, "{verdict:?}");
    }
}

#[tokio::test]
async fn p06_equal_content_stays_as_long_as_another_names_it_or_is_about_to() {
    let fixture = Fixture::new().await;
    fixture.submit(&["b", "a", "c"], 1).await;
    // `b` has kept it, and isn't settled yet, when `a` lets it go.
    let b = fixture.claim_one(FETCH, 10).await;
    let of_b = kept(&fixture, "media.webm", "audio/webm", large(1)).await;
    let of_a = kept(&fixture, "media.webm", "audio/webm", large(1)).await;
    fetch(&fixture, ALONE, vec![of_a], done("a")).await;
    fixture.settle(Settlement { artifacts: vec![of_b.clone()], ..settlement(&b, done("b"), 11) }).await.unwrap();
    let (fixture, left) = files(fixture).await;
    assert_eq!(left, 1);
    assert_eq!(fixture.store.read_blob(of_b.blob.digest, None).await.unwrap(), large(1));
    let of_c = kept(&fixture, "media.webm", "audio/webm", large(1)).await;
    fetch(&fixture, ALONE, vec![of_c], done("c")).await;
    let (fixture, left) = files(fixture).await;
    assert_eq!((left, names(&fixture, "b").await.len(), names(&fixture, "c").await.len()), (1, 1, 0));
}

async fn shown(fixture: &Fixture, stage: StageIx) -> StageItems {
    let query = ItemQuery { limit: 9, ..ItemQuery::default() };
    fixture.store.stage_items(fixture.job, stage, query).await.unwrap()
}

async fn again(fixture: &Fixture, stage: StageIx, now: u64) -> Reopened {
    let of = Selection::Stage(stage, vec![key("a")]);
    fixture.store.reopen(fixture.job, of, Answers::Anew, Timestamp(now)).await.unwrap()
}

#[tokio::test]
async fn p06_what_has_gone_is_shown_before_a_re_run_and_who_reads_it_is_left_done_until_it_is_there_again() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let artifacts = vec![
        kept(&fixture, "media.webm", "audio/webm", large(1)).await,
        kept(&fixture, "film.mp4", "video/mp4", large(2)).await,
    ];
    fetch(&fixture, &read(), artifacts, done("fetched")).await;
    assert_eq!(shown(&fixture, FETCH).await.gone, Gone::default(), "nothing has gone yet");
    extract(&fixture, &read(), done("text")).await;
    let fixture = fixture.restart().await;
    fixture.sound().await;
    let gone = Gone { items: 1, binaries: 2, bytes: 2 * (BLOB_ROW_BYTES_MAX + 1) };
    let of_fetch = shown(&fixture, FETCH).await;
    assert_eq!((&of_fetch.entries, of_fetch.gone, of_fetch.lacking.len()), (&vec![key("a")], gone, 0));
    let lacking = vec![Lacking { key: key("a"), maker: name("fetch"), gone }];
    let of_extract = shown(&fixture, EXTRACT).await;
    assert_eq!((of_extract.entries.len(), of_extract.gone), (0, Gone::default()));
    assert_eq!(of_extract.lacking, lacking);
    let left = again(&fixture, EXTRACT, 30).await;
    assert_eq!((left.items, left.tasks, left.lacking), (0, 0, lacking));
    assert_eq!(fixture.state("a", "extract").await, TaskState::Done, "no failure is made of it");

    // As it says: first its maker, then itself. What nobody reads goes at once.
    assert_eq!(again(&fixture, FETCH, 31).await.items, 1);
    let artifacts = vec![
        kept(&fixture, "media.webm", "audio/webm", large(3)).await,
        kept(&fixture, "film.mp4", "video/mp4", large(4)).await,
    ];
    let claim = fixture.claim_one(FETCH, 32).await;
    let passing = read().into();
    fixture.settle(Settlement { artifacts, passing, ..settlement(&claim, done("anew"), 32) }).await.unwrap();
    assert_eq!(names(&fixture, "a").await, ["media.webm"]);
    assert_eq!(shown(&fixture, EXTRACT).await.entries, [key("a")]);
    assert_eq!(shown(&fixture, FETCH).await.gone, Gone { binaries: 1, bytes: gone.bytes / 2, ..gone });
    let opened = again(&fixture, EXTRACT, 33).await;
    assert_eq!((opened.items, opened.lacking.len()), (1, 0));
    let claim = fixture.claim_one(EXTRACT, 34).await;
    fixture.settle(Settlement { passing: read().into(), ..settlement(&claim, done("text"), 34) }).await.unwrap();
    assert_eq!(shown(&fixture, FETCH).await.gone, gone);
    assert_eq!(files(fixture).await.1, 0);
}

#[tokio::test]
async fn p06_who_reads_only_what_stays_runs_again_whatever_else_of_it_has_gone() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let artifacts = vec![
        kept(&fixture, "media.webm", "audio/webm", large(1)).await,
        kept(&fixture, "page.html", "text/html", large(2)).await,
    ];
    let read = [Passing { maker: FETCH, readers: vec![(EXTRACT, "page.html".to_owned())], after: Vec::new() }];
    fetch(&fixture, &read, artifacts, done("fetched")).await;
    extract(&fixture, &read, done("text")).await;
    assert_eq!(names(&fixture, "a").await, ["page.html"]);
    let of_extract = shown(&fixture, EXTRACT).await;
    assert_eq!((of_extract.entries, of_extract.lacking), (vec![key("a")], Vec::new()));
    assert_eq!(again(&fixture, EXTRACT, 30).await.items, 1);
}
