//! Rows of money that nobody can read, or that contradict others: who needs them is told, and nobody else stands back.

use std::borrow::Borrow;

use redb::{Database, Key, ReadableTable as _, TableDefinition, Value};
use tempfile::TempDir;
use tollgate_core::{Digest, Timestamp, ledger::Scope};
use tollgate_store::{BLOB_ROW_BYTES_MAX, CallSettled, RedbStore, Store, StoreError, StoreOptions};

use crate::{
    disk::{FlakyDisk, Trouble},
    fixture::Fixture,
    ledger_wal::{found, on},
    paying::{DAY, answered, known, paid, reservation},
};

/// No row of any table.
const UNREADABLE: &[u8] = &[0xff];

/// Puts a row into a table of a store that is closed.
fn put<'k, 'v, K: Key + 'static, V: Value + 'static>(
    folder: &TempDir,
    table: &str,
    key: impl Borrow<K::SelfType<'k>>,
    value: impl Borrow<V::SelfType<'v>>,
) {
    let queue = Database::open(folder.path().join("queue.redb")).unwrap();
    let transaction = queue.begin_write().unwrap();
    transaction.open_table(TableDefinition::<K, V>::new(table)).unwrap().insert(key, value).unwrap();
    transaction.commit().unwrap();
}

/// The first row of such a table, as it is stored.
fn first<K: Key + 'static>(folder: &TempDir, table: &str) -> (Vec<u8>, Vec<u8>) {
    let queue = Database::open(folder.path().join("queue.redb")).unwrap();
    let transaction = queue.begin_write().unwrap();
    let rows = transaction.open_table(TableDefinition::<K, &[u8]>::new(table)).unwrap();
    let (key, row) = rows.first().unwrap().unwrap();
    (K::as_bytes(&key.value()).as_ref().to_vec(), row.value().to_vec())
}

#[tokio::test]
async fn sums_that_cannot_be_read_keep_no_killed_hosts_store_from_being_opened() {
    let disk = FlakyDisk::new(Trouble::None);
    let (fixture, claim) = on(&disk).await;
    for number in 0..2 {
        let call = fixture.reserve(reservation(&fixture, &claim, &format!("q {number}"), known(5), DAY)).await;
        fixture.store.settle_call(call, answered(known(3), DAY), None).await.unwrap();
        if number == 0 {
            fixture.charged(&Scope::Everything).await;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    disk.lay(folder.path(), 0);
    let key = first::<&[u8]>(&folder, "costs").0;
    put::<&[u8], &[u8]>(&folder, "costs", key.as_slice(), UNREADABLE);
    let store = RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
    let job = store.jobs().await.unwrap()[0].id;
    let after = Fixture { folder, store, job };
    // The log has them whole.
    after.sound().await;
    assert_eq!(after.charged(&Scope::Everything).await, (6, 0));
}

#[tokio::test]
async fn a_log_that_says_of_a_call_what_the_tables_contradict_is_told() {
    let disk = FlakyDisk::new(Trouble::None);
    let (fixture, claim) = on(&disk).await;
    let pay = async |number: u64| {
        let call = fixture.reserve(reservation(&fixture, &claim, &format!("q {number}"), known(5), DAY)).await;
        fixture.store.settle_call(call, answered(known(3), DAY), None).await.unwrap();
    };
    pay(1).await;
    fixture.charged(&Scope::Everything).await;
    pay(2).await;
    let folder = tempfile::tempdir().unwrap();
    disk.lay(folder.path(), 0);
    let row = first::<u64>(&folder, "ledger").1;
    put::<u64, &[u8]>(&folder, "ledger", 2, row.as_slice());
    let refused = RedbStore::open(folder.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(&refused, StoreError::DamagedLog(why) if why.contains("another call 2")), "{refused}");
    // The way on that it names.
    let (store, log) = RedbStore::open_without_log(folder.path(), StoreOptions::default()).unwrap();
    assert_eq!((log.frames, log.behind_damage), (0, 2));
    store.close().await.unwrap();
    RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
}

#[tokio::test]
async fn a_call_under_way_whose_account_cannot_be_read_keeps_no_other_from_being_settled_nor_the_host_from_starting() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let ask = |alias: &str| {
        let mut asked = reservation(&fixture, &claim, "q", known(5), DAY);
        asked.call.paid = paid(alias);
        asked
    };
    for alias in ["fast", "best", "fast", "best"] {
        fixture.reserve(ask(alias)).await;
    }
    fixture.store.close().await.unwrap();
    put::<&str, &[u8]>(&fixture.folder, "accounts", "model fast", UNREADABLE);
    put::<u64, u64>(&fixture.folder, "calls_under_way", 99, 1);
    let fixture = fixture.restart_closed();
    for expected in [2, 0] {
        let lost = fixture.store.expire_reservations(Timestamp(DAY)).await.unwrap();
        assert_eq!((lost.calls, lost.cost.0), (expected, 5 * expected));
    }
    assert!(!fixture.store.verify().await.unwrap().is_sound(), "it is told");
}

#[tokio::test]
async fn an_answer_whose_file_cannot_be_counted_any_more_is_paid_and_kept_all_the_same() {
    let fixture = Fixture::new().await;
    let long = format!("\"{}\"", "x".repeat(BLOB_ROW_BYTES_MAX as usize + 1));
    fixture.store.close().await.unwrap();
    put::<&[u8; 32], u64>(&fixture.folder, "files", &Digest::of(long.as_bytes()).0, u64::MAX);
    let fixture = fixture.restart_closed();
    let claim = fixture.claim_new("a").await;
    let call = fixture.reserve(reservation(&fixture, &claim, "q 1", known(5), DAY)).await;
    let settled = fixture.store.settle_call(call, answered(known(1), DAY), Some(long.clone())).await.unwrap();
    assert_eq!(settled, CallSettled::Now);
    assert_eq!(found(&fixture, &claim, 1).await.map(|json| json.len()), Some(long.len()));
    assert_eq!(fixture.submit(&["b"], 10).await.new, 1, "the writer goes on");
}

#[tokio::test]
async fn money_that_cannot_be_read_fails_who_pays_by_it_and_nobody_else() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let call = fixture.reserve(reservation(&fixture, &claim, "q", known(1), DAY)).await;
    fixture.store.settle_call(call, answered(known(1), DAY), None).await.unwrap();
    fixture.store.close().await.unwrap();
    put::<&str, &[u8]>(&fixture.folder, "accounts", "model fast", UNREADABLE);
    let key = first::<&[u8]>(&fixture.folder, "costs").0;
    put::<&[u8], &[u8]>(&fixture.folder, "costs", key.as_slice(), UNREADABLE);
    let fixture = fixture.restart_closed();
    let claim = fixture.claim_one(claim.task.stage, 9).await;
    let ask = |alias: &str, at| {
        let mut asked = reservation(&fixture, &claim, "q", known(1), at);
        asked.call.paid = paid(alias);
        asked
    };
    let unreadable = fixture.store.reserve_call(ask("fast", DAY)).await;
    assert!(matches!(unreadable, Err(StoreError::Corrupt(_))), "{unreadable:?}");
    // The same in the sums: of another model they are another row.
    let call = fixture.reserve(ask("best", DAY)).await;
    assert_eq!(fixture.store.settle_call(call, answered(known(1), DAY), None).await.unwrap(), CallSettled::Now);
    assert_eq!(fixture.submit(&["b"], 10).await.new, 1, "the tables have taken the book in");
    assert!(!fixture.store.verify().await.unwrap().is_sound());
}

#[tokio::test]
async fn trap02_a_settled_call_that_is_listed_as_under_way_is_not_expired_again_and_again() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let call = fixture.reserve(reservation(&fixture, &claim, "q", known(5), DAY)).await;
    fixture.store.settle_call(call, answered(known(1), DAY), None).await.unwrap();
    fixture.store.close().await.unwrap();
    put::<u64, u64>(&fixture.folder, "calls_under_way", call.0, 1);
    let fixture = fixture.restart_closed();
    let lost = fixture.store.expire_reservations(Timestamp(DAY)).await.unwrap();
    assert_eq!((lost.calls, fixture.charged(&Scope::Everything).await), (0, (1, 0)));
    assert!(!fixture.store.verify().await.unwrap().is_sound(), "it is told");
}
