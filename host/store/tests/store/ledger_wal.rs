//! Paid calls are durable in the log alone until something else is written: what was answered outlives the process, and
//! power, and counts once.

use futures::future::join_all;
use tollgate_core::{
    Digest, Timestamp,
    budget::Budget,
    ledger::{Budgets, CallId, Reservation, Scope},
};
use tollgate_store::{
    ANSWER_INLINE_BYTES_MAX, AnswerKey, CallSettled, Claim, LedgerQuery, RedbStore, Reserved, Store, StoreError,
    StoreOptions,
};

use crate::{
    disk::{FlakyDisk, Trouble},
    fixture::{Fixture, declaration, stage},
    paying::{DAY, a_day, answered, known, reservation},
};

const WAL: &str = "ledger.wal";

/// A store on that disk, with a claim.
pub(crate) async fn on(disk: &FlakyDisk) -> (Fixture, Claim) {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open_on(disk, folder.path(), StoreOptions::default()).unwrap();
    let job = store.declare(declaration(vec![stage("fetch", &[])]), Timestamp(0)).await.unwrap().id;
    let fixture = Fixture { folder, store, job };
    let claim = fixture.claim_new("a").await;
    (fixture, claim)
}

/// What the disk has when power comes back, opened. Of what wasn't synced, `seed` says what came to it.
async fn after_power_is_lost(disk: &FlakyDisk, seed: u64) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    disk.lay(folder.path(), seed);
    let store = RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
    let job = store.jobs().await.unwrap()[0].id;
    Fixture { folder, store, job }
}

fn answer(number: u64) -> String {
    format!("\"the answer to {number}\"")
}

/// The answer to the request of that number.
pub(crate) async fn found(fixture: &Fixture, claim: &Claim, number: u64) -> Option<String> {
    let request = Digest::of(format!("q {number}").as_bytes());
    let task = Some((claim.task.item, claim.task.stage));
    let key = AnswerKey { job: fixture.job, task, request };
    fixture.store.kept_answer(key).await.unwrap().map(|kept| kept.json)
}

#[tokio::test]
async fn trap02_calls_that_only_the_log_has_outlive_the_power_and_count_once() {
    /// More than the book waits with, so that the tables take it in more than once on the way.
    const CALLS: u64 = 420;
    let disk = FlakyDisk::new(Trouble::None);
    let (fixture, claim) = on(&disk).await;
    let pay = async |number: u64| {
        let call = fixture.reserve(reservation(&fixture, &claim, &format!("q {number}"), known(10), DAY)).await;
        if number.is_multiple_of(3) {
            return (call, None);
        }
        let settled =
            fixture.store.settle_call(call, answered(known(number), DAY), Some(answer(number))).await.unwrap();
        assert_eq!(settled, CallSettled::Now);
        (call, Some(number))
    };
    let mut paid = Vec::new();
    for first in (0..CALLS).step_by(6) {
        paid.extend(join_all((first..first + 6).map(&pay)).await);
    }
    let cost: u64 = paid.iter().filter_map(|(_, number)| *number).sum();
    let open = paid.iter().filter(|(_, number)| number.is_none()).count() as u64;
    for seed in [0, 1, 2] {
        let mut after = after_power_is_lost(&disk, seed).await;
        for again in 0..2 {
            assert_eq!(after.charged(&Scope::Everything).await, (cost, 10 * open), "{seed}, {again}");
            after.sound().await;
            let rows =
                after.store.ledger_entries(LedgerQuery { limit: 1_000, ..LedgerQuery::default() }).await.unwrap();
            assert_eq!(rows.entries.len() as u64, CALLS);
            for (call, number) in &paid {
                let entry = &rows.entries.iter().find(|row| row.entry.id == *call).unwrap().entry;
                assert_eq!(entry.end.as_ref().map(|end| end.cost), number.map(known));
                if let Some(number) = number {
                    assert_eq!(found(&after, &claim, *number).await, Some(answer(*number)));
                }
            }
            after = after.restart().await;
        }
        let lost = after.store.expire_reservations(Timestamp(DAY)).await.unwrap();
        assert_eq!((lost.calls, lost.cost.0), (open, 10 * open));
        assert_eq!(after.charged(&Scope::Everything).await, (cost + 10 * open, 0));
        // Numbers go on where they were.
        let claim = after.claim_one(claim.task.stage, 9).await;
        let next = after.reserve(reservation(&after, &claim, "next", known(1), DAY)).await;
        assert_eq!(next, CallId(CALLS + 1));
        after.sound().await;
    }
}

#[tokio::test]
async fn a_step_of_a_call_costs_one_write_and_one_sync_and_a_refusal_none() {
    let disk = FlakyDisk::new(Trouble::None);
    let (fixture, claim) = on(&disk).await;
    let ask = |budget: Budget| {
        let budgets = Budgets { job: budget, ..Budgets::default() };
        Reservation { budgets, ..reservation(&fixture, &claim, "q", known(1), DAY) }
    };
    let before = disk.counts();
    let call = fixture.reserve(ask(a_day(10))).await;
    let reserved = disk.counts();
    assert_eq!((reserved.0 - before.0, reserved.1 - before.1), (1, 1));
    fixture.store.settle_call(call, answered(known(1), DAY), Some("1".to_owned())).await.unwrap();
    let settled = disk.counts();
    assert_eq!((settled.0 - reserved.0, settled.1 - reserved.1), (1, 1));
    assert!(matches!(fixture.store.reserve_call(ask(a_day(0))).await.unwrap(), Reserved::Refused(_)));
    let again = fixture.store.settle_call(call, answered(known(1), DAY), None).await.unwrap();
    assert_eq!(again, CallSettled::Before);
    assert!(matches!(
        fixture.store.settle_call(CallId(99), answered(known(1), DAY), None).await,
        Err(StoreError::NotFound(_))
    ));
    assert_eq!(disk.counts(), settled, "nothing was done, so nothing is written");
    fixture.sound().await;
}

#[tokio::test]
async fn the_tables_take_the_book_in_once_so_many_calls_wait_for_that() {
    /// As many as the book waits with. The log has room for more steps than they take here.
    const CALLS: u64 = 192;
    /// Those that are settled at once.
    const SETTLED: u64 = 32;
    let disk = FlakyDisk::new(Trouble::None);
    let (fixture, claim) = on(&disk).await;
    let changes = || disk.counts().1;
    let reserve = async |number: u64| {
        let before = changes();
        let call = fixture.reserve(reservation(&fixture, &claim, &format!("q {number}"), known(1), DAY)).await;
        (call, changes() - before > 1)
    };
    let settle = async |call: CallId| {
        let before = changes();
        fixture.store.settle_call(call, answered(known(1), DAY), None).await.unwrap();
        changes() - before > 1
    };
    let mut waiting = Vec::new();
    for number in 0..SETTLED {
        let (call, is_folded) = reserve(number).await;
        assert!(!is_folded && !settle(call).await, "{number}: a call is one, reserved and settled");
    }
    for number in SETTLED..CALLS {
        let (call, is_folded) = reserve(number).await;
        assert_eq!(is_folded, number + 1 == CALLS, "{number}");
        waiting.push(call);
    }
    for call in waiting {
        assert!(!settle(call).await, "{}: those that the tables have don't wait any more", call.0);
    }
    for number in CALLS..CALLS + SETTLED {
        let (_, is_folded) = reserve(number).await;
        assert_eq!(is_folded, number + 1 == CALLS + SETTLED, "{number}: settled, they wait again");
    }
    fixture.sound().await;
}

#[tokio::test]
async fn trap03_a_sync_of_the_log_that_failed_lets_no_call_go_until_the_next_start() {
    let disk = FlakyDisk::new(Trouble::None);
    let (fixture, claim) = on(&disk).await;
    let ask = || reservation(&fixture, &claim, "q", known(1), DAY);
    fixture.reserve(ask()).await;
    disk.give(Trouble::BadSync { sync: disk.counts().0 });
    for _ in 0..2 {
        let refused = fixture.store.reserve_call(ask()).await;
        assert!(matches!(refused, Err(StoreError::Io(_))), "{refused:?}");
    }
    // What the disk has forgotten nobody was told.
    let after = after_power_is_lost(&disk, 0).await;
    assert_eq!(after.charged(&Scope::Everything).await, (0, 1));
    after.sound().await;
}

#[tokio::test]
async fn answers_too_long_for_the_log_are_durable_in_the_tables() {
    let disk = FlakyDisk::new(Trouble::None);
    let (fixture, claim) = on(&disk).await;
    let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    // Several that don't fit into what is left of it, then one that is a blob.
    let lengths = [ANSWER_INLINE_BYTES_MAX - 2; 6].into_iter().chain([ANSWER_INLINE_BYTES_MAX + 1]);
    for (number, bytes) in (0..).zip(lengths.clone()) {
        let call = fixture.reserve(reservation(&fixture, &claim, &format!("q {number}"), known(1), DAY)).await;
        fixture.store.settle_call(call, answered(known(1), DAY), Some(long(bytes))).await.unwrap();
    }
    let after = after_power_is_lost(&disk, 0).await;
    for (number, bytes) in (0..).zip(lengths) {
        // Blobs of that size are rows, which are on the same disk.
        assert_eq!(found(&after, &claim, number).await.map(|json| json.len()), Some(bytes + 2));
    }
    assert_eq!(after.charged(&Scope::Everything).await, (7, 0));
    after.sound().await;
}

#[tokio::test]
async fn a_log_whose_frames_say_nothing_that_can_be_read_is_told_and_left_as_it_is() {
    let disk = FlakyDisk::new(Trouble::None);
    let (fixture, claim) = on(&disk).await;
    fixture.reserve(reservation(&fixture, &claim, "q", known(1), DAY)).await;
    let folder = tempfile::tempdir().unwrap();
    disk.lay(folder.path(), 0);
    let path = folder.path().join(WAL);
    let mut bytes = std::fs::read(&path).unwrap();
    // A version that nobody knows, in a frame that is whole.
    let frame = &mut bytes[4_096..];
    let length = u32::from_le_bytes(frame[40..44].try_into().unwrap()) as usize;
    frame[44] = 99;
    let digest = Digest::of(&frame[32..44 + length]);
    frame[..32].copy_from_slice(&digest.0);
    std::fs::write(&path, &bytes).unwrap();
    let refused = RedbStore::open(folder.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(&refused, StoreError::DamagedLog(_)), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn of_a_log_that_is_damaged_counts_what_stands_before_and_nothing_is_held_for_the_rest() {
    let disk = FlakyDisk::new(Trouble::None);
    let (fixture, claim) = on(&disk).await;
    let ask = async |number: u64| {
        fixture.reserve(reservation(&fixture, &claim, &format!("q {number}"), known(10), DAY)).await
    };
    let paid = ask(0).await;
    fixture.store.settle_call(paid, answered(known(3), DAY), Some(answer(0))).await.unwrap();
    let (open, lost) = (ask(1).await, ask(2).await);
    fixture.store.settle_call(lost, answered(known(4), DAY), Some(answer(2))).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    disk.lay(folder.path(), 0);
    let path = folder.path().join(WAL);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4 * 4_096] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(RedbStore::open(folder.path(), StoreOptions::default()), Err(StoreError::DamagedLog(_))));
    let (store, set_aside) = RedbStore::open_without_log(folder.path(), StoreOptions::default()).unwrap();
    assert_eq!((set_aside.frames, set_aside.behind_damage), (3, 1));
    let job = store.jobs().await.unwrap()[0].id;
    let mut after = Fixture { folder, store, job };
    for _ in 0..2 {
        after.sound().await;
        let rows = after.store.ledger_entries(LedgerQuery { limit: 9, ..LedgerQuery::default() }).await.unwrap();
        let calls: Vec<_> = rows.entries.iter().map(|row| row.entry.id).collect();
        assert_eq!(calls.len(), 2, "{calls:?}");
        assert!(calls.contains(&paid) && calls.contains(&open));
        assert_eq!(found(&after, &claim, 0).await, Some(answer(0)));
        assert_eq!(after.charged(&Scope::Everything).await, (3, 10));
        after = after.restart().await;
    }
    after.store.expire_reservations(Timestamp(DAY)).await.unwrap();
    assert_eq!(after.charged(&Scope::Everything).await, (13, 0));
    assert_eq!(std::fs::read(after.folder.path().join("ledger.wal.aside")).unwrap(), bytes);
}

#[tokio::test]
async fn an_answer_that_comes_late_takes_the_place_of_none_that_was_asked_for_later() {
    for (is_folded, bytes) in [(false, 2), (true, 2), (false, ANSWER_INLINE_BYTES_MAX)] {
        let disk = FlakyDisk::new(Trouble::None);
        let (fixture, claim) = on(&disk).await;
        let ask = async || fixture.reserve(reservation(&fixture, &claim, "q 1", known(1), DAY)).await;
        let (early, late) = (ask().await, ask().await);
        let [one, two] = ["1", "2"].map(|text| format!("\"{}\"", text.repeat(bytes)));
        fixture.store.settle_call(late, answered(known(1), DAY), Some(two.clone())).await.unwrap();
        assert_eq!(found(&fixture, &claim, 1).await.as_ref(), Some(&two));
        if is_folded {
            fixture.charged(&Scope::Everything).await;
        }
        fixture.store.settle_call(early, answered(known(1), DAY), Some(one)).await.unwrap();
        assert_eq!(found(&fixture, &claim, 1).await.as_ref(), Some(&two), "{is_folded}, {bytes}: live");
        let after = after_power_is_lost(&disk, 0).await;
        assert_eq!(found(&after, &claim, 1).await.as_ref(), Some(&two), "{is_folded}, {bytes}: after the power");
        assert_eq!(after.charged(&Scope::Everything).await, (2, 0), "both are paid");
        after.sound().await;
        assert_eq!(found(&after, &claim, 1).await.as_ref(), Some(&two));
    }
}

#[tokio::test]
async fn an_answer_is_found_while_the_log_alone_has_it() {
    let disk = FlakyDisk::new(Trouble::None);
    let (fixture, claim) = on(&disk).await;
    let call = fixture.reserve(reservation(&fixture, &claim, "q 1", known(1), DAY)).await;
    let task = (claim.task.item, claim.task.stage);
    assert!(fixture.store.kept_requests(fixture.job, task).await.unwrap().is_empty());
    fixture.store.settle_call(call, answered(known(1), DAY), Some(answer(1))).await.unwrap();
    let settled = disk.counts();
    assert_eq!(found(&fixture, &claim, 1).await, Some(answer(1)));
    let requests = fixture.store.kept_requests(fixture.job, task).await.unwrap();
    assert_eq!(requests.into_iter().collect::<Vec<_>>(), [Digest::of(b"q 1")]);
    assert_eq!(disk.counts(), settled, "the tables don't have it yet");
}
