//! Verifying: what a crash or a bug could break is seen.

use redb::{Database, ReadableTable as _, TableDefinition, WriteTransaction};
use tollgate_store::{BLOB_ROW_BYTES_MAX, BlobSource, NewArtifact, Store};

use crate::{
    fixture::{EXTRACT, FETCH, Fixture, done, failed, settlement},
    paying::{DAY, answered, known, reservation},
};

const SPENDING: Rows<'_, &str> = TableDefinition::new("spending");

type Rows<'k, K> = TableDefinition<'k, K, &'static [u8]>;
const ITEMS: Rows<'_, u64> = TableDefinition::new("items");
const OUTPUTS: Rows<'_, &[u8; 10]> = TableDefinition::new("outputs");
const FILES: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("files");
const BLOBS: Rows<'_, &[u8; 32]> = TableDefinition::new("blobs");

/// A sound store with an item that is done, its attempts, and an artifact as a row and one as a file.
async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let claim = fixture.claim_one(FETCH, 2).await;
    let mut fetched = settlement(&claim, done("page"), 2);
    let large = BlobSource::Bytes(vec![7; BLOB_ROW_BYTES_MAX as usize + 1].into());
    let blob = fixture.store.put_blob(large).await.unwrap();
    let large = NewArtifact { name: "audio".into(), content_type: "audio/ogg".into(), blob };
    fetched.artifacts = vec![fixture.artifact("page.html", "raw").await, large];
    fixture.settle(fetched).await.unwrap();
    fixture.run(EXTRACT, done("text"), 3).await;
    fixture.sound().await;
    fixture
}

/// Breaks one of the closed store's databases; gives what is then found.
async fn broken(fixture: Fixture, database: &str, breaks: impl FnOnce(&WriteTransaction)) -> Vec<String> {
    fixture.store.close().await.unwrap();
    {
        let database = Database::open(fixture.folder.path().join(database)).unwrap();
        let transaction = database.begin_write().unwrap();
        breaks(&transaction);
        transaction.commit().unwrap();
    }
    let report = fixture.restart_closed().store.verify().await.unwrap();
    assert!(!report.is_sound());
    report.problems
}

fn says(problems: &[String], text: &str) {
    assert!(problems.iter().any(|problem| problem.contains(text)), "{text:?} is not among {problems:?}");
}

#[tokio::test]
async fn s04_a_task_that_is_done_without_an_output_is_seen() {
    let problems = broken(fixture().await, "queue.redb", |transaction| {
        transaction.open_table(OUTPUTS).unwrap().retain(|_, _| false).unwrap();
    })
    .await;
    says(&problems, "stage 1: done, but it has no output");
}

#[tokio::test]
async fn s04_rows_without_their_item_are_seen() {
    let problems = broken(fixture().await, "queue.redb", |transaction| {
        transaction.open_table(ITEMS).unwrap().retain(|_, _| false).unwrap();
    })
    .await;
    for table in ["tasks", "outputs", "attempts", "artifacts"] {
        says(&problems, &format!("{table} has a row of item 1"));
    }
}

#[tokio::test]
async fn s04_a_blob_that_is_named_and_not_kept_is_seen() {
    let problems = broken(fixture().await, "content.redb", |transaction| {
        transaction.open_table(BLOBS).unwrap().retain(|_, _| false).unwrap();
    })
    .await;
    assert_eq!(problems.len(), 2);
    says(&problems, "which isn't kept");
    says(&problems, "0 blobs are rows, 1 are listed");
    let fixture = fixture().await;
    std::fs::remove_dir_all(fixture.folder.path().join("blobs")).unwrap();
    let problems = broken(fixture, "content.redb", |_| {}).await;
    assert_eq!(problems.len(), 1);
    says(&problems, "which isn't kept");
}

#[tokio::test]
async fn p06_files_that_are_counted_wrongly_are_seen() {
    for (change, says_it) in [(Some(2), "named 2 times, 1 rows name it"), (None, "named 0 times, 1 rows name it")] {
        let problems = broken(fixture().await, "queue.redb", |transaction| {
            let mut files = transaction.open_table(FILES).unwrap();
            let digest = *files.iter().unwrap().next().unwrap().unwrap().0.value();
            match change {
                Some(count) => drop(files.insert(&digest, count).unwrap()),
                None => drop(files.remove(&digest).unwrap()),
            }
            let other = change.map(|_| &[9; 32]);
            other.map(|other| files.insert(other, 1).map(drop)).transpose().unwrap();
        })
        .await;
        says(&problems, says_it);
        assert_eq!(problems.len(), if change.is_some() { 2 } else { 1 });
    }
}

/// Fixed keys of any table, with or without values.
type Keys<const N: usize> = TableDefinition<'static, &'static [u8; N], ()>;

/// What one damage to a store with a queued and a failed item makes of it.
async fn damaged(breaks: impl FnOnce(&WriteTransaction)) -> Vec<String> {
    let fixture = fixture().await;
    fixture.submit(&["fails", "waits"], 4).await;
    let failing = fixture.claim_one(FETCH, 5).await;
    fixture.settle(settlement(&failing, failed("gone"), 5)).await.unwrap();
    fixture.sound().await;
    broken(fixture, "queue.redb", breaks).await
}

/// Takes the figures of a kind away.
fn without_figure(transaction: &WriteTransaction, kind: u8) {
    let figures: Rows<'_, &[u8; 13]> = TableDefinition::new("figures");
    transaction.open_table(figures).unwrap().retain(|key, _| key[4] != kind).unwrap();
}

#[tokio::test]
async fn s05_every_queue_list_and_counter_is_held_against_the_rows() {
    const READY: Keys<26> = TableDefinition::new("ready");
    const FAILED: Keys<12> = TableDefinition::new("failed");
    let problems = damaged(|transaction| transaction.open_table(READY).unwrap().retain(|_, ()| false).unwrap()).await;
    says(&problems, "stands in no queue of stage 0");
    let problems = damaged(|transaction| {
        transaction.open_table(READY).unwrap().insert(&[9; 26], ()).unwrap();
    })
    .await;
    says(&problems, "ready has 2 rows, 1 belong there");
    let problems = damaged(|transaction| transaction.open_table(FAILED).unwrap().retain(|_, ()| false).unwrap()).await;
    says(&problems, "wrongly listed, or not, as failed");
    let problems = damaged(|transaction| {
        let keys: TableDefinition<'_, &[u8], u64> = TableDefinition::new("keys");
        transaction.open_table(keys).unwrap().retain(|_, _| false).unwrap();
    })
    .await;
    says(&problems, "doesn't lead to item 1");
    let problems = damaged(|transaction| without_figure(transaction, 1)).await;
    says(&problems, "items counted");
    let problems = damaged(|transaction| without_figure(transaction, 2)).await;
    says(&problems, "tasks counted");
    let problems = damaged(|transaction| without_figure(transaction, 5)).await;
    says(&problems, "is in no span of job");
    let problems = damaged(|transaction| {
        let figures: Rows<'_, &[u8; 13]> = TableDefinition::new("figures");
        let mut figures = transaction.open_table(figures).unwrap();
        figures.insert(&[0, 0, 0, 1, 5, 0, 0, 0, 0, 0, 0, 0, 1], 7_u64.to_le_bytes().as_slice()).unwrap();
    })
    .await;
    says(&problems, "the span of items 1 to 7 is out of line");
}

#[tokio::test]
async fn a03_what_was_spent_and_cannot_be_is_seen_and_is_not_taken_for_nothing() {
    let fixture = fixture().await;
    let mut spending = tollgate_core::budget::Spending::default();
    spending.turn(&tollgate_core::calendar::Zone::default(), tollgate_core::Timestamp(1));
    spending.day.bytes = 7;
    fixture.store.keep_spending(vec![("proxy main".to_owned(), spending)]).await.unwrap();
    let problems = broken(fixture, "queue.redb", |transaction| {
        transaction.open_table(SPENDING).unwrap().insert("site *", [0xff].as_slice()).unwrap();
    })
    .await;
    says(&problems, "proxy main has spent more of a day than of its month");
    says(&problems, "what site * has spent can't be read");
}

/// What one damage to a store with two settled calls, one under way and two kept answers makes of it.
async fn damaged_ledger(database: &str, breaks: impl FnOnce(&WriteTransaction)) -> Vec<String> {
    let fixture = fixture().await;
    let claim = fixture.claim_new("pays").await;
    for answer in ["{}".to_owned(), format!("{:?}", "x".repeat(tollgate_store::ANSWER_INLINE_BYTES_MAX))] {
        let call = fixture.reserve(reservation(&fixture, &claim, &answer, known(5), DAY)).await;
        fixture.store.settle_call(call, answered(known(3), DAY), Some(answer)).await.unwrap();
    }
    fixture.reserve(reservation(&fixture, &claim, "q", known(5), DAY)).await;
    fixture.sound().await;
    broken(fixture, database, breaks).await
}

#[tokio::test]
async fn trap02_accounts_sums_and_lists_are_held_against_the_ledger() {
    fn emptied(name: &'static str) -> impl FnOnce(&WriteTransaction) {
        move |transaction| {
            let table: Rows<'static, &[u8]> = TableDefinition::new(name);
            transaction.open_table(table).unwrap().retain(|_, _| false).unwrap();
        }
    }
    const LEDGER: Rows<'_, u64> = TableDefinition::new("ledger");
    const ACCOUNTS: Rows<'_, &str> = TableDefinition::new("accounts");
    let problems = damaged_ledger("queue.redb", emptied("costs")).await;
    says(&problems, "1 sums of costs are missing");
    let problems = damaged_ledger("queue.redb", |transaction| {
        transaction.open_table(ACCOUNTS).unwrap().retain(|scope, _| scope != "everything").unwrap();
    })
    .await;
    assert_eq!(problems.len(), 1);
    says(&problems, "the account of everything says");
    let problems = damaged_ledger("queue.redb", |transaction| {
        transaction.open_table(ACCOUNTS).unwrap().insert("model fast", [0xff].as_slice()).unwrap();
    })
    .await;
    says(&problems, "the account of model fast can't be read");
    let problems = damaged_ledger("queue.redb", |transaction| {
        transaction.open_table(LEDGER).unwrap().remove(1).unwrap();
    })
    .await;
    for text in ["the account of", "a sum of costs says", "item_calls has 3 rows, 2", "an answer is kept of call 1"] {
        says(&problems, text);
    }
    let problems = damaged_ledger("queue.redb", |transaction| {
        let table: TableDefinition<'_, u64, u64> = TableDefinition::new("calls_under_way");
        transaction.open_table(table).unwrap().insert(2, 1).unwrap();
    })
    .await;
    says(&problems, "call 2 is wrongly listed, or not, as under way");
    let problems = damaged_ledger("queue.redb", |transaction| {
        let table: TableDefinition<'_, &[u8; 20], ()> = TableDefinition::new("item_calls");
        transaction.open_table(table).unwrap().retain(|_, ()| false).unwrap();
    })
    .await;
    says(&problems, "call 3 isn't listed by its item or its day");
    let problems = damaged_ledger("queue.redb", |transaction| {
        let table: TableDefinition<'_, &[u8; 46], u64> = TableDefinition::new("answer_calls");
        transaction.open_table(table).unwrap().retain(|_, _| false).unwrap();
    })
    .await;
    says(&problems, "the answer of call 1 isn't found by its request");
    let problems = damaged_ledger("content.redb", |transaction| {
        transaction.open_table(BLOBS).unwrap().retain(|_, _| false).unwrap();
    })
    .await;
    says(&problems, "the answer of call 2 names");
}
