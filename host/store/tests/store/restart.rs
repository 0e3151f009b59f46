//! Restarts, crashes, and a second opener.

use tollgate_core::{Timestamp, item::ItemStatus, outcome::Verdict};
use tollgate_store::{BlobSource, ItemQuery, RedbStore, Store, StoreError, StoreOptions};

use crate::fixture::{EXTRACT, FETCH, Fixture, copy, done, new_item, settlement, stage};

#[tokio::test]
async fn s04_work_in_flight_at_a_crash_runs_again() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b"], 1).await;
    fixture.run(FETCH, done("page"), 2).await;
    let in_flight = (fixture.claim_one(FETCH, 3).await, fixture.claim_one(EXTRACT, 3).await);
    // The files as a killed process leaves them: copied while the store is open, never closed.
    let crashed = tempfile::tempdir().unwrap();
    copy(fixture.folder.path(), crashed.path());
    let store = RedbStore::open(crashed.path(), StoreOptions::default()).unwrap();
    let after = Fixture { folder: crashed, store, job: fixture.job };
    let again = (after.claim_one(FETCH, 4).await, after.claim_one(EXTRACT, 4).await);
    assert_eq!((again.0.task, again.1.task), (in_flight.0.task, in_flight.1.task));
    assert_eq!(again.0.tally, in_flight.0.tally, "a crash costs no attempt");
    let refused = after.settle(settlement(&in_flight.0, done("late"), 5)).await;
    assert!(matches!(refused, Err(StoreError::StaleClaim(_))), "what a dead process claimed is void");
    assert_eq!(after.detail("a").await.item.outputs.len(), 1, "what was settled is there");
    after.sound().await;
}

#[tokio::test]
async fn s05_an_items_status_is_derived_and_counted_in_the_same_transaction() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    assert_eq!(fixture.view().await.items[&ItemStatus::Queued], 1);
    fixture.run(FETCH, done("x"), 2).await;
    assert_eq!(fixture.view().await.items[&ItemStatus::Queued], 1);
    fixture.run(EXTRACT, done("x"), 3).await;
    let view = fixture.view().await;
    assert_eq!((view.items[&ItemStatus::Queued], view.items[&ItemStatus::Done]), (0, 1));
    assert_eq!(fixture.detail("a").await.item.status, ItemStatus::Done);
    let fixture = fixture.restart().await;
    assert_eq!(fixture.view().await, view);
    fixture.sound().await;
}

#[tokio::test]
async fn a_folder_has_one_host() {
    let fixture = Fixture::new().await;
    let second = RedbStore::open(fixture.folder.path(), StoreOptions::default());
    assert!(matches!(second, Err(StoreError::InUse(_))));
    fixture.store.close().await.unwrap();
    RedbStore::open(fixture.folder.path(), StoreOptions::default()).unwrap();
}

#[tokio::test]
async fn s12_a_closed_store_says_so_and_breaks_nothing() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let closing = fixture.store.close();
    closing.await.unwrap();
    fixture.store.close().await.unwrap();
    let store = &fixture.store;
    let query = tollgate_store::ItemQuery { limit: 1, ..Default::default() };
    assert!(matches!(store.jobs().await, Err(StoreError::Closed)));
    assert!(matches!(store.items(fixture.job, query).await, Err(StoreError::Closed)));
    assert!(matches!(store.claim(fixture.lane(FETCH), 1, Timestamp(2)).await, Err(StoreError::Closed)));
    assert!(matches!(store.resume(fixture.job).await, Err(StoreError::Closed)));
    let blob = store.put_blob(BlobSource::Bytes("x".into())).await;
    assert!(matches!(blob, Err(StoreError::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s12_readers_see_one_snapshot_while_others_write() {
    const ITEMS: u64 = 200;
    let fixture = std::sync::Arc::new(Fixture::with(vec![stage("fetch", &[])]).await);
    fixture.submit(&["item 0"], 1).await;
    let writer = tokio::spawn({
        let fixture = fixture.clone();
        async move {
            // Each settlement writes an output, a state and the next item: rows of five tables, one transaction.
            for round in 1..=ITEMS {
                let Verdict::Done(mut output) = done("page") else { unreachable!() };
                output.found = vec![new_item(&format!("item {round}"))];
                fixture.run(FETCH, Verdict::Done(output), round).await;
            }
        }
    });
    let mut reads_midway = 0;
    loop {
        let is_last = writer.is_finished();
        let query = ItemQuery { limit: 1_000, outputs: true, ..ItemQuery::default() };
        let items = fixture.store.items(fixture.job, query).await.unwrap().entries;
        let (newest, before) = items.split_last().unwrap();
        assert_eq!((newest.status, newest.outputs.len()), (ItemStatus::Queued, 0), "{}", newest.key);
        for item in before {
            assert_eq!((item.status, item.outputs.len()), (ItemStatus::Done, 1), "{}", item.key);
        }
        reads_midway += u64::from(items.len() > 1 && (items.len() as u64) <= ITEMS);
        if is_last {
            break;
        }
    }
    writer.await.unwrap();
    assert!(reads_midway > 0, "nothing was read while it was written");
}

#[tokio::test]
async fn dropping_the_store_lets_the_folder_go() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let Fixture { folder, store, job } = fixture;
    drop(store);
    let store = RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
    let fixture = Fixture { folder, store, job };
    assert_eq!(fixture.claim(FETCH, 9, 2).await.len(), 1);
}
