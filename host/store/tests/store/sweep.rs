//! Blobs that no row names: files go as soon as nobody can name or read them any more, all others at the next start,
//! and what a row names stays (P06).

use std::time::Duration;

use redb::{Database, ReadableTable as _, TableDefinition, WriteTransaction};
use tollgate_core::{
    Timestamp,
    outcome::Verdict,
    task::{Answers, TaskState},
};
use tollgate_store::{
    ANSWER_INLINE_BYTES_MAX, BLOB_ROW_BYTES_MAX, BlobSource, NewArtifact, Passing, RedbStore, Selection, Settlement,
    Store, StoreOptions, Swept,
};

use crate::{
    fixture::{EXTRACT, FETCH, Fixture, copy, done, failed, key, settlement},
    passing::{ALONE, count, fetch, kept, large, names},
    paying::{DAY, answered, known, reservation},
};

const BYTES: u64 = BLOB_ROW_BYTES_MAX + 1;

/// Files of blobs, once all that was asked of the content's writer is done.
async fn files(fixture: &Fixture) -> usize {
    fixture.store.put_blob(BlobSource::Bytes("asked".as_bytes().into())).await.unwrap();
    count(&fixture.folder.path().join("blobs"))
}

/// Has `fetch` of an item run again, alone.
async fn again(fixture: &Fixture, text: &str) {
    let of = Selection::Stage(FETCH, vec![key(text)]);
    assert_eq!(fixture.store.reopen(fixture.job, of, Answers::Anew, Timestamp(9)).await.unwrap().items, 1);
}

/// A small blob, as an artifact.
async fn small(fixture: &Fixture, name: &str, text: &'static str) -> NewArtifact {
    fixture.artifact(name, text).await
}

/// A file that is no binary, so that it passes with no stage.
async fn text(fixture: &Fixture, name: &str, byte: u8) -> NewArtifact {
    kept(fixture, name, "text/plain", large(byte)).await
}

#[tokio::test]
async fn p06_a_maker_that_runs_again_leaves_no_earlier_file() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let (first, also) = (text(&fixture, "page", 1).await, text(&fixture, "also", 2).await);
    fetch(&fixture, &[], vec![first, also.clone()], done("once")).await;
    assert_eq!(files(&fixture).await, 2);
    again(&fixture, "a").await;
    let second = text(&fixture, "page", 3).await;
    fetch(&fixture, &[], vec![second, also], done("again")).await;
    assert_eq!(files(&fixture).await, 2, "what it has left again stays, what it replaced is gone");
    assert_eq!(names(&fixture, "a").await, ["also", "page"]);
    fixture.sound().await;
}

#[tokio::test]
async fn p06_a_file_that_was_replaced_stays_for_who_may_be_reading_it() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let first = text(&fixture, "page", 1).await;
    let read = first.blob.digest;
    fetch(&fixture, &[], vec![first], done("once")).await;
    let reader = fixture.claim_one(EXTRACT, 10).await;
    again(&fixture, "a").await;
    let second = text(&fixture, "page", 2).await;
    fetch(&fixture, &[], vec![second], done("again")).await;
    assert_eq!(files(&fixture).await, 2);
    assert_eq!(fixture.store.read_blob(read, None).await.unwrap(), large(1));
    fixture.settle(settlement(&reader, done("read"), 11)).await.unwrap();
    assert_eq!(files(&fixture).await, 1, "with the reader's end it goes");
}

#[tokio::test]
async fn p06_a_retry_that_keeps_the_same_file_again_pins_nothing() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let audio = kept(&fixture, "media.webm", "audio/webm", large(1)).await;
    fetch(&fixture, ALONE, vec![audio], failed("no")).await;
    fixture.store.reopen(fixture.job, Selection::Failed, Answers::Anew, Timestamp(9)).await.unwrap();
    for _ in 0..3 {
        kept(&fixture, "media.webm", "audio/webm", large(1)).await;
    }
    let audio = kept(&fixture, "media.webm", "audio/webm", large(1)).await;
    fetch(&fixture, ALONE, vec![audio], done("heard")).await;
    assert_eq!((files(&fixture).await, names(&fixture, "a").await.len()), (0, 0));
}

#[tokio::test]
async fn p06_what_an_attempt_kept_and_never_named_goes_once_its_claim_has_ended() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b", "c"], 1).await;
    let killed = fixture.claim_one(FETCH, 2).await;
    text(&fixture, "page", 1).await;
    let audio = |byte| kept(&fixture, "media.webm", "audio/webm", large(byte));
    let of_b = audio(2).await;
    fetch(&fixture, ALONE, vec![of_b], done("b")).await;
    assert_eq!(files(&fixture).await, 2, "its attempt may still name the one, or read the other");
    fixture.store.release(vec![(killed.task, killed.token)]).await.unwrap();
    let again = fixture.claim_one(FETCH, 3).await;
    fixture.settle(settlement(&again, done("without"), 3)).await.unwrap();
    assert_eq!(files(&fixture).await, 0);
    fixture.sound().await;
}

#[tokio::test]
async fn p06_a_close_overtakes_no_file_that_is_to_go_and_takes_none_that_is_about_to_be_named() {
    for (passing, left) in [(ALONE, 0), (&[], 1)] {
        let fixture = Fixture::new().await;
        fixture.submit(&["a"], 1).await;
        let claim = fixture.claim_one(FETCH, 10).await;
        let artifacts = vec![kept(&fixture, "media.webm", "audio/webm", large(1)).await];
        let last = Settlement { artifacts, passing: passing.into(), ..settlement(&claim, done("heard"), 10) };
        // Closed while the settlement is on its way.
        let (settled, closed) = tokio::join!(fixture.store.settle(vec![last]), fixture.store.close());
        settled.unwrap().remove(0).unwrap();
        closed.unwrap();
        assert_eq!(count(&fixture.folder.path().join("blobs")), left);
        let (fixture, swept) = fixture.restart_closed().swept().await;
        assert_eq!((swept, names(&fixture, "a").await.len()), (Swept::default(), left));
        fixture.sound().await;
    }
}

#[tokio::test]
async fn p06_who_else_names_a_file_is_known_without_a_look_at_other_rows() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b"], 1).await;
    fetch(&fixture, &[], vec![small(&fixture, "page", "of a").await], done("a")).await;
    fixture.store.close().await.unwrap();
    in_queue(&fixture, |transaction| {
        let artifacts: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("artifacts");
        transaction.open_table(artifacts).unwrap().insert([0xff; 12].as_slice(), [0xff].as_slice()).unwrap();
    });
    let fixture = fixture.restart_closed();
    let audio = kept(&fixture, "media.webm", "audio/webm", large(1)).await;
    fetch(&fixture, ALONE, vec![audio], done("heard")).await;
    assert_eq!(files(&fixture).await, 0, "a row that can't be read is of no concern");
}

#[tokio::test]
async fn p06_a_file_that_a_kept_answer_shares_stays_until_that_goes_too() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let answer = String::from_utf8(large(b'1')).unwrap();
    let call = fixture.reserve(reservation(&fixture, &claim, "q", known(5), DAY)).await;
    fixture.store.settle_call(call, answered(known(3), DAY), Some(answer.clone())).await.unwrap();
    let audio = kept(&fixture, "media.webm", "audio/webm", large(b'1')).await;
    let heard = Settlement { artifacts: vec![audio], passing: ALONE.into(), ..settlement(&claim, done("heard"), 10) };
    fixture.settle(heard).await.unwrap();
    assert_eq!((files(&fixture).await, names(&fixture, "a").await.len()), (1, 0));
    assert_eq!(fixture.store.answer_of(call).await.unwrap().unwrap().json, answer);
    let (fixture, swept) = fixture.swept().await;
    assert_eq!((swept.files, fixture.store.answer_of(call).await.unwrap().unwrap().json), (0, answer));

    // Another answer to the same request takes its place.
    again(&fixture, "a").await;
    let claim = fixture.claim_one(FETCH, 12).await;
    let call = fixture.reserve(reservation(&fixture, &claim, "q", known(5), DAY)).await;
    let longer = "2".repeat(large(0).len() + 1);
    fixture.store.settle_call(call, answered(known(3), DAY), Some(longer)).await.unwrap();
    fixture.settle(settlement(&claim, done("again"), 13)).await.unwrap();
    assert_eq!(files(&fixture).await, 1);
    fixture.sound().await;
}

/// Changes the closed store's `queue.redb`.
fn in_queue(fixture: &Fixture, change: impl FnOnce(&WriteTransaction)) {
    change_in(fixture, "queue.redb", change);
}

fn change_in(fixture: &Fixture, database: &str, change: impl FnOnce(&WriteTransaction)) {
    let database = Database::open(fixture.folder.path().join(database)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
    database.close().unwrap();
}

/// A store with a blob of each kind that a row names: as a row of `content.redb` and as a file, of an output, of an
/// attempt that made none, and of a paid answer. Answers their digests.
async fn named() -> (Fixture, Vec<tollgate_core::Digest>) {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b"], 1).await;
    let of_a = vec![small(&fixture, "page", "of a").await, text(&fixture, "text", 1).await];
    let of_b = vec![small(&fixture, "page", "of b").await, text(&fixture, "text", 2).await];
    let mut blobs: Vec<_> = of_a.iter().chain(&of_b).map(|artifact| artifact.blob.digest).collect();
    fetch(&fixture, &[], of_a, done("a")).await;
    fetch(&fixture, &[], of_b, failed("b")).await;
    assert!(matches!(fixture.state("b", "fetch").await, TaskState::Failed { .. }));
    let claim = fixture.claim_one(EXTRACT, 10).await;
    for size in [ANSWER_INLINE_BYTES_MAX + 1, large(0).len()] {
        let answer = "3".repeat(size);
        blobs.push(tollgate_core::Digest::of(answer.as_bytes()));
        let call = fixture.reserve(reservation(&fixture, &claim, &answer, known(5), DAY)).await;
        fixture.store.settle_call(call, answered(known(3), DAY), Some(answer)).await.unwrap();
    }
    fixture.store.release(vec![(claim.task, claim.token)]).await.unwrap();
    (fixture, blobs)
}

async fn are_kept(fixture: &Fixture, blobs: &[tollgate_core::Digest]) {
    fixture.sound().await;
    for blob in blobs {
        fixture.store.read_blob(*blob, None).await.unwrap();
    }
}

#[tokio::test]
async fn p06_what_killed_attempts_kept_goes_at_the_next_start_and_what_a_row_names_stays() {
    let (fixture, blobs) = named().await;
    small(&fixture, "page", "of a killed attempt").await;
    small(&fixture, "page", "of another one").await;
    text(&fixture, "text", 9).await;
    let (fixture, swept) = fixture.killed().swept().await;
    // Closing it in between has removed no file: that it is there is not known to who didn't keep it.
    assert_eq!((swept.rows, swept.files), (2, 1), "{swept:?}");
    assert!(swept.bytes > BYTES && swept.bytes < BYTES + 200, "{swept:?}");
    are_kept(&fixture, &blobs).await;
    let (fixture, swept) = fixture.swept().await;
    assert_eq!(swept, Swept::default(), "all that was to go has gone");
    are_kept(&fixture, &blobs).await;
}

#[tokio::test]
async fn p06_what_was_replaced_goes_at_the_next_start_where_it_is_a_row() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    for (number, page) in ["first", "second", "third"].into_iter().enumerate() {
        if number > 0 {
            again(&fixture, "a").await;
        }
        fetch(&fixture, &[], vec![small(&fixture, "page", page).await], done(page)).await;
    }
    let (fixture, swept) = fixture.swept().await;
    assert_eq!((swept.rows, swept.files), (2, 0));
    let left = fixture.detail("a").await.artifacts.remove(0);
    assert_eq!(fixture.store.read_blob(left.artifact.digest, None).await.unwrap(), b"third");
    // What has gone may come again.
    let first = small(&fixture, "page", "first").await;
    assert_eq!(fixture.store.read_blob(first.blob.digest, None).await.unwrap(), b"first");
    fixture.sound().await;
}

#[tokio::test]
async fn p06_many_rows_go_some_a_transaction() {
    let fixture = Fixture::new().await;
    let all: Vec<_> = (0..300_u32).map(|number| BlobSource::Bytes(number.to_be_bytes().to_vec().into())).collect();
    futures::future::join_all(all.into_iter().map(|body| fixture.store.put_blob(body))).await;
    let named = small(&fixture, "page", "of a").await;
    fixture.submit(&["a"], 1).await;
    fetch(&fixture, &[], vec![named.clone()], done("a")).await;
    let (fixture, swept) = fixture.swept().await;
    assert_eq!(swept.rows, 300);
    are_kept(&fixture, &[named.blob.digest]).await;
}

#[tokio::test]
async fn p06_a_row_that_cannot_be_read_lets_nothing_go() {
    let (fixture, blobs) = named().await;
    let lost = text(&fixture, "text", 9).await;
    let fixture = fixture.killed();
    fixture.store.close().await.unwrap();
    in_queue(&fixture, |transaction| {
        let artifacts: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("artifacts");
        transaction.open_table(artifacts).unwrap().insert([0xff; 12].as_slice(), [0xff].as_slice()).unwrap();
    });
    let options = StoreOptions { sweep: true, ..StoreOptions::default() };
    let store = RedbStore::open(fixture.folder.path(), options).unwrap();
    assert_eq!(store.swept().await, None, "whose blob it names isn't known");
    for blob in blobs.iter().chain([&lost.blob.digest]) {
        store.read_blob(*blob, None).await.unwrap();
    }
}

#[tokio::test]
async fn s10_a_store_from_before_files_were_counted_and_blobs_listed_is_counted_and_swept() {
    let (fixture, blobs) = named().await;
    small(&fixture, "page", "of a killed attempt").await;
    text(&fixture, "text", 9).await;
    let fixture = fixture.killed();
    fixture.store.close().await.unwrap();
    let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    in_queue(&fixture, |transaction| {
        let files: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("files");
        assert_eq!(transaction.open_table(files).unwrap().iter().unwrap().count(), 3);
        transaction.delete_table(files).unwrap();
        transaction.open_table(meta).unwrap().insert("schema", 4).unwrap();
    });
    change_in(&fixture, "content.redb", |transaction| {
        let listed: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("listed");
        transaction.delete_table(listed).unwrap();
        transaction.open_table(meta).unwrap().insert("schema", 1).unwrap();
    });
    let (fixture, swept) = fixture.restart_closed().swept().await;
    assert_eq!((swept.rows, swept.files), (1, 1));
    are_kept(&fixture, &blobs).await;
}

#[tokio::test]
async fn p06_a_sweep_that_a_close_cuts_short_is_made_up_for() {
    let (fixture, blobs) = named().await;
    for byte in 9..40 {
        text(&fixture, "text", byte).await;
    }
    let fixture = fixture.killed();
    let folder = fixture.folder.path().to_owned();
    fixture.store.close().await.unwrap();
    let options = StoreOptions { sweep: true, ..StoreOptions::default() };
    // Until a close comes before the sweep has ended, which a busy machine may keep it from.
    let killed = async {
        loop {
            let killed = tempfile::tempdir().unwrap();
            copy(&folder, killed.path());
            let store = RedbStore::open(killed.path(), options).unwrap();
            store.close().await.unwrap();
            if store.swept().await.is_none() {
                return killed;
            }
        }
    };
    let killed = tokio::time::timeout(Duration::from_secs(60), killed).await.expect("no close cuts it short");
    let store = RedbStore::open(killed.path(), options).unwrap();
    store.swept().await.expect("nothing stands in its way");
    assert_eq!(count(&killed.path().join("blobs")), 3);
    are_kept(&Fixture { folder: killed, store, job: fixture.job }, &blobs).await;
}

#[tokio::test]
async fn p06_what_passes_is_counted_down_once_however_many_names_it_has() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b"], 1).await;
    let twice = |text: &'static str| kept(&fixture, text, "audio/webm", large(1));
    let of_a = vec![twice("one.webm").await, twice("two.webm").await];
    let of_b = vec![twice("one.webm").await];
    fetch(&fixture, &[] as &[Passing], of_b, done("b")).await;
    fetch(&fixture, ALONE, of_a, Verdict::Nothing("nothing is said".to_owned())).await;
    assert_eq!(files(&fixture).await, 1, "one item still has it");
    fixture.sound().await;
}
