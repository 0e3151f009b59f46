//! Older stores stay readable, newer ones are refused (S10).

use std::path::Path;

use redb::{Database, TableDefinition};
use tollgate_core::{
    Digest, JobName, Timestamp, item::ItemStatus, money::NanoUsd, pause::PauseReason, task::TaskState,
};
use tollgate_store::{
    AnswerKey, AttemptEnd, CostGroup, LedgerQuery, RedbStore, Store, StoreError, StoreOptions, schema_version,
};

use crate::{
    fixture::{EXTRACT, FETCH, Fixture, copy, done, name},
    paying::by,
};

/// Opens a copy of a checked-in store that a program of that version wrote.
async fn fixture_of(version: u32) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{version}")), folder.path());
    let store = RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
    let job = store.job_id(JobName::new("pages").unwrap()).await.unwrap().expect("the job is there");
    Fixture { folder, store, job }
}

#[tokio::test]
async fn s10_a_store_of_every_version_is_readable_and_goes_on() {
    for version in 1..=schema_version() {
        let fixture = fixture_of(version).await;
        fixture.sound().await;
        let view = fixture.view().await;
        assert_eq!(view.items.values().copied().collect::<Vec<_>>(), [1, 1, 1, 1, 1]);
        assert_eq!(view.items[&ItemStatus::Done], 1);
        assert_eq!((view.stages[0].breaker, view.discovery.rounds), (1, 1));
        let pause = view.pause.expect("it was paused");
        assert_eq!((pause.reason, pause.evidence.as_str()), (PauseReason::Manual, "for the fixture"));
        let detail = fixture.detail("done").await;
        assert_eq!(detail.item.data["url"], "https://pages.example/done");
        assert_eq!(detail.item.outputs[&name("extract")]["text"], "a title");
        assert_eq!(detail.quality_flags[&name("fetch")], ["short"]);
        assert_eq!(detail.fingerprints[&name("extract")].inputs[0].0, name("fetch"));
        assert_eq!(detail.attempts[&name("fetch")][0].ended, AttemptEnd::Done);
        let waited = &fixture.detail("later").await.attempts[&name("fetch")][0];
        assert_eq!(waited.reason.as_deref(), (version > 1).then_some("429"), "kept from version 2 on");
        assert_eq!(view.discovery.basis.is_some(), version > 1);
        assert_eq!(detail.artifacts.len(), 1);
        let raw = fixture.store.read_blob(detail.artifacts[0].artifact.digest, None).await.unwrap();
        assert_eq!(raw, "<html>raw</html>".repeat(20).into_bytes());
        assert!(matches!(fixture.state("later", "fetch").await, TaskState::RetryLater { due: Timestamp(50_000), .. }));
        assert!(matches!(fixture.state("rejected", "extract").await, TaskState::Skipped { .. }));
        let errors = fixture.store.recent_errors(fixture.job, 9).await.unwrap();
        assert_eq!(errors[0].error.message, "no title on the page");
        let entry = fixture.store.state_get(fixture.job, "cursor".into()).await.unwrap().unwrap();
        assert_eq!((entry.value.as_slice(), entry.version), (&b"42"[..], 1));
        let spent: Vec<(String, u64, u64)> = (fixture.store.spending().await.unwrap().into_iter())
            .map(|(name, spending)| (name, spending.day.bytes, spending.month.money.0))
            .collect();
        let kept = [("proxy main".to_owned(), 1_500, 12_600)];
        assert_eq!(spent, if version > 2 { &kept[..] } else { &[] }, "kept from version 3 on");
        let rows = fixture.store.ledger_entries(LedgerQuery::default()).await.unwrap().entries;
        assert_eq!(rows.len(), if version > 3 { 1 } else { 0 }, "a page of one; kept from version 4 on");
        let expired = fixture.store.expire_reservations(Timestamp(70_000)).await.unwrap();
        let costs = fixture.store.costs(by(CostGroup::Model)).await.unwrap().entries;
        // From version 5 on one of them stands in the log alone.
        let new = fixture.detail("new").await.item.id;
        let paid: &[_] = match version {
            ..4 => &[],
            4 => &[(detail.item.id, EXTRACT, &b"request"[..])],
            _ => &[(detail.item.id, EXTRACT, b"request"), (new, FETCH, b"in the log")],
        };
        let each = paid.len() as u64;
        assert_eq!((expired.calls, expired.cost), (each, NanoUsd(700 * each)));
        let sums: Vec<_> = costs.iter().map(|row| (row.costs.calls, row.costs.cost)).collect();
        assert_eq!(sums, if each > 0 { vec![(2 * each, NanoUsd(1_000 * each))] } else { Vec::new() });
        for (item, stage, request) in paid {
            let key = AnswerKey { job: fixture.job, task: Some((*item, *stage)), request: Digest::of(request) };
            assert_eq!(fixture.store.kept_answer(key).await.unwrap().unwrap().json, r#"{"title":"a title"}"#);
        }
        fixture.store.resume(fixture.job).await.unwrap();
        fixture.run(FETCH, done("page"), 60_000).await;
        fixture.run(EXTRACT, done("text"), 60_001).await;
        fixture.sound().await;
    }
}

#[tokio::test]
async fn s10_a_store_of_an_unknown_newer_version_is_refused_and_left_as_it_is() {
    let fixture = Fixture::new().await;
    fixture.store.close().await.unwrap();
    let set = |version| {
        let queue = Database::open(fixture.folder.path().join("queue.redb")).unwrap();
        let transaction = queue.begin_write().unwrap();
        let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
        transaction.open_table(meta).unwrap().insert("schema", version).unwrap();
        transaction.commit().unwrap();
    };
    set(u64::from(schema_version()) + 1);
    for _ in 0..2 {
        let refused = RedbStore::open(fixture.folder.path(), StoreOptions::default()).err();
        let Some(StoreError::NewerVersion { found, known }) = refused else { panic!("{refused:?}") };
        assert_eq!((found, known), (schema_version() + 1, schema_version()));
    }
    set(u64::from(schema_version()));
    RedbStore::open(fixture.folder.path(), StoreOptions::default()).unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_read_fails_what_needs_it_and_nothing_else() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a", "b"], 1).await;
    let id = fixture.detail("a").await.item.id;
    fixture.store.close().await.unwrap();
    {
        let queue = Database::open(fixture.folder.path().join("queue.redb")).unwrap();
        let transaction = queue.begin_write().unwrap();
        let tasks: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("tasks");
        transaction.open_table(tasks).unwrap().insert(id.0, [0xff, 0xff].as_slice()).unwrap();
        transaction.commit().unwrap();
    }
    let fixture = fixture.restart_closed();
    let claimed = fixture.store.claim(fixture.lane(FETCH), 2, Timestamp(2)).await;
    assert!(matches!(claimed, Err(StoreError::Corrupt(_))), "said, not skipped in silence");
    let keys = vec![crate::fixture::key("a")];
    let bad = fixture.store.exclude(fixture.job, keys, "x".into(), Timestamp(3));
    let keys = vec![crate::fixture::key("b")];
    let good = fixture.store.exclude(fixture.job, keys, "x".into(), Timestamp(3));
    let (bad, good, submitted) = tokio::join!(bad, good, fixture.submit(&["c"], 4));
    assert!(matches!(bad, Err(StoreError::Corrupt(_))));
    assert_eq!((good.unwrap().items, submitted.new), (1, 1), "others in the same batch are done");
}

#[tokio::test]
async fn s10_rows_that_cannot_be_read_keep_no_older_store_from_being_opened() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v4");
    let folder = tempfile::tempdir().unwrap();
    copy(&fixtures, folder.path());
    {
        let queue = Database::open(folder.path().join("queue.redb")).unwrap();
        let transaction = queue.begin_write().unwrap();
        let artifacts: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("artifacts");
        let answers: TableDefinition<'_, &[u8; 22], &[u8]> = TableDefinition::new("answers");
        let key = [[0; 10].as_slice(), b"\0page"].concat();
        transaction.open_table(artifacts).unwrap().insert(key.as_slice(), [0xff].as_slice()).unwrap();
        transaction.open_table(answers).unwrap().insert(&[0xfe; 22], [0xff].as_slice()).unwrap();
        transaction.commit().unwrap();
    }
    let store = RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
    assert!(!store.verify().await.is_ok_and(|report| report.is_sound()), "it is told");
    store.close().await.unwrap();
}
