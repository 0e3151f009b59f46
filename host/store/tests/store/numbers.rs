//! Numbers that have come to their end, as only a damaged row has them: told by name, and no end of the writer.

use redb::{Database, Key, TableDefinition, Value};
use serde_json::json;
use tollgate_core::{Digest, JobName, Timestamp};
use tollgate_store::{
    DeclaredDiscovery, DiscoveryPage, DiscoveryResult, JobDeclaration, RedbStore, StateChange, Store, StoreError,
    StoreOptions,
};

use crate::fixture::{FETCH, Fixture, declaration, done, failed, new_item, settlement, stage};

/// The largest number as rows have it: postcard's.
const LAST: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];

/// A store with one item, after `row` was put into `table`.
async fn with_row<K: Key + 'static, V: Value + 'static>(
    table: &str,
    key: K::SelfType<'_>,
    row: V::SelfType<'_>,
) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    fixture.store.close().await.unwrap();
    let queue = Database::open(fixture.folder.path().join("queue.redb")).unwrap();
    let transaction = queue.begin_write().unwrap();
    transaction.open_table(TableDefinition::<K, V>::new(table)).unwrap().insert(key, row).unwrap();
    transaction.commit().unwrap();
    drop(queue);
    fixture
}

/// The same with a row of the figures of job 1, or of the store as a whole.
async fn with_figure(job: u8, figure: u8, row: &[u8]) -> Fixture {
    let key = [0, 0, 0, job, figure, 0, 0, 0, 0, 0, 0, 0, 0];
    with_row::<&[u8; 13], &[u8]>("figures", &key, row).await.restart_closed()
}

/// It was told, and the store goes on.
async fn goes_on<T: std::fmt::Debug>(fixture: &Fixture, told: Result<T, StoreError>, what: &str) {
    assert!(matches!(&told, Err(StoreError::Corrupt(text)) if text.contains(what)), "{told:?}");
    fixture.store.resume(fixture.job).await.unwrap();
    fixture.run(FETCH, done("page"), 9).await;
}

#[tokio::test]
async fn openings_at_their_end_are_told() {
    let fixture = with_row::<&str, u64>("meta", "opened", u64::MAX).await;
    let refused = RedbStore::open(fixture.folder.path(), StoreOptions::default());
    assert!(matches!(&refused, Err(StoreError::Corrupt(text)) if text.contains("openings")), "{refused:?}");
}

#[tokio::test]
async fn items_at_their_end_are_told_and_the_writer_goes_on() {
    let fixture = with_figure(0, 0, &u64::MAX.to_le_bytes()).await;
    let told = fixture.store.submit(fixture.job, vec![new_item("b")], Timestamp(2)).await;
    goes_on(&fixture, told, "items").await;
}

#[tokio::test]
async fn errors_and_versions_of_the_state_at_their_end_are_told_and_the_writer_goes_on() {
    let counters = [0, 5, 1, 1, 1, 1, 1];
    let fixture = with_figure(1, 1, &[&counters[..], &LAST, &LAST].concat()).await;
    let change = StateChange { key: "cursor".to_owned(), value: Some(b"42".to_vec()), expect: None };
    let told = fixture.store.state_apply(fixture.job, vec![change]).await;
    assert!(matches!(&told, Err(StoreError::Corrupt(text)) if text.contains("versions")), "{told:?}");
    let claim = fixture.claim_one(FETCH, 2).await;
    let told = fixture.settle(settlement(&claim, failed("no title"), 2)).await;
    fixture.store.release(vec![(claim.task, claim.token)]).await.unwrap();
    goes_on(&fixture, told, "errors").await;
}

#[tokio::test]
async fn rounds_at_their_end_are_counted_no_further() {
    // Version 1 of a discovery: no cursor, rounds, found in the round, empty rounds, nothing else.
    let empty = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let row = [&[0, 0][..], &LAST, &[0], &empty, &[0, 0, 0, 0, 0]].concat();
    let fixture = with_figure(1, 4, &row).await;
    for items in [vec![], vec![new_item("b")]] {
        let token = fixture.store.claim_discovery(fixture.job).await.unwrap().token;
        let result = DiscoveryResult::Page { items, cursor: None, next_round: None };
        let page = DiscoveryPage { job: fixture.job, token, result, now: Timestamp(2) };
        fixture.store.settle_discovery(page).await.unwrap();
    }
    let state = fixture.store.discovery(fixture.job).await.unwrap();
    assert_eq!((state.rounds, state.empty_rounds), (u64::MAX, 0));
}

#[tokio::test]
async fn jobs_at_their_end_are_told_and_the_writer_goes_on() {
    // A job without stages, whose name is `x`.
    let row = [0, 1, b'x', 1, 0, 0, 1, 1];
    let fixture = with_row::<u32, &[u8]>("jobs", u32::MAX, &row).await.restart_closed();
    let name = JobName::new("another").unwrap();
    let discovery = Some(DeclaredDiscovery { basis: Digest::of(json!({}).to_string().as_bytes()), every: None });
    let another = JobDeclaration { name, discovery, ..declaration(vec![stage("fetch", &[])]) };
    let told = fixture.store.declare(another, Timestamp(2)).await;
    goes_on(&fixture, told, "jobs").await;
}
