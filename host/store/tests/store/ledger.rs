//! The ledger: room is taken in one step, once, durably, and what a call came to is counted once.

use std::sync::Arc;

use futures::{FutureExt as _, future::join_all};
use tollgate_core::{
    ClaimToken, JobName, Timestamp,
    budget::{Budget, GB, Limit, Price, Spending},
    calendar::Zone,
    ledger::{Budgets, CallEnd, CallId, Cost, How, NoRoom, PaidKind, Reservation, Scope},
    money::NanoUsd,
};
use tollgate_store::{
    CallSettled, CostGroup, JobDeclaration, LedgerQuery, RedbStore, Reserved, Store, StoreError, StoreOptions,
};

use crate::{
    disk::{FlakyDisk, Trouble},
    fixture::{FETCH, Fixture, declaration, done, settlement, stage},
    paying::{DAY, a_day, answered, by, known, paid, reservation},
};

const THREADS: usize = 8;
const CALLS: usize = 1_000;

/// Has many threads reserve, all at once; answers the calls that were let through.
fn reserve_at_once(store: &Arc<RedbStore>, reservation: &Reservation) -> Vec<CallId> {
    let barrier = std::sync::Barrier::new(THREADS);
    let one_thread = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        barrier.wait();
        runtime.block_on(async {
            let all = (0..CALLS / THREADS).map(|_| store.reserve_call(reservation.clone()));
            let made = join_all(all).await.into_iter().filter_map(|reserved| match reserved.unwrap() {
                Reserved::Made { call, .. } => Some(call),
                Reserved::Refused(_) => None,
            });
            made.collect::<Vec<_>>()
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one_thread)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap01_a_thousand_reservations_at_once_never_exceed_a_cap() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    for (place, scope) in [Scope::Everything, Scope::Job(fixture.job), Scope::Paid(PaidKind::Model, "fast".into())]
        .into_iter()
        .enumerate()
    {
        // Another day for each, so that each begins at nothing.
        let at = DAY * (place as u64 + 1);
        let mut all = [Budget::default(); 3];
        all[place] = a_day(1_000);
        let [everything, job, paid] = all;
        let budgets = Budgets { everything, job, paid };
        let asked = Reservation { budgets, ..reservation(&fixture, &claim, "q", known(7), at) };
        let made = reserve_at_once(&fixture.store, &asked);
        assert_eq!(made.len(), 1_000 / 7, "{scope}");
        assert_eq!(fixture.charged(&scope).await, (0, 1_000 / 7 * 7));
        let mut numbers = made.clone();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), made.len(), "each has its own number");
        // They cost less than they were held to, so that there is room for some more, and no more than that.
        join_all(made.iter().map(|call| fixture.store.settle_call(*call, answered(known(3), at), None))).await;
        let more = reserve_at_once(&fixture.store, &asked);
        assert_eq!(more.len(), (1_000 - 142 * 3) / 7);
        let (settled, reserved) = fixture.charged(&scope).await;
        assert!(settled + reserved <= 1_000 && settled + reserved + 7 > 1_000, "{settled} and {reserved}");
    }
    fixture.sound().await;
}

#[tokio::test]
async fn trap02_settling_twice_is_once_and_the_second_is_told() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let call = fixture.reserve(reservation(&fixture, &claim, "q", known(10), DAY)).await;
    assert_eq!(fixture.charged(&Scope::Everything).await, (0, 10));
    let settle = |cost| fixture.store.settle_call(call, answered(known(cost), DAY + 1), Some("{}".to_owned()));
    let both = tokio::join!(settle(4), settle(9));
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (CallSettled::Now, CallSettled::Before));
    assert_eq!(settle(9).await.unwrap(), CallSettled::Before);
    for scope in [Scope::Everything, Scope::Job(fixture.job), Scope::Paid(PaidKind::Model, "fast".into())] {
        assert_eq!(fixture.charged(&scope).await, (4, 0), "{scope}");
    }
    let day = fixture.store.costs(by(CostGroup::Day)).await.unwrap().entries.remove(0);
    assert_eq!((day.costs.calls, day.costs.cost, day.costs.tokens.sent()), (1, NanoUsd(4), 19));
    let unknown = fixture.store.settle_call(CallId(9), answered(known(1), DAY), None).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
    fixture.sound().await;
}

#[tokio::test]
async fn trap02_what_was_under_way_at_a_kill_is_settled_at_its_estimate_and_says_so() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let first = fixture.reserve(reservation(&fixture, &claim, "q", known(10), DAY)).await;
    let unpriced = fixture.reserve(reservation(&fixture, &claim, "r", Cost::Unpriced, DAY)).await;
    let settled = fixture.reserve(reservation(&fixture, &claim, "s", known(5), DAY)).await;
    fixture.store.settle_call(settled, answered(known(2), DAY), None).await.unwrap();
    let fixture = fixture.restart().await;
    fixture.sound().await;
    let claim = fixture.claim_one(FETCH, 2).await;
    let of_this_process = fixture.reserve(reservation(&fixture, &claim, "t", known(7), DAY)).await;
    let expired = fixture.store.expire_reservations(Timestamp(DAY + 9)).await.unwrap();
    assert_eq!((expired.calls, expired.cost, expired.unpriced, expired.estimates), (2, NanoUsd(10), 1, 2));
    assert_eq!(fixture.charged(&Scope::Everything).await, (12, 7));
    fixture.sound().await;
    let rows = fixture.store.ledger_entries(LedgerQuery { limit: 9, ..LedgerQuery::default() }).await.unwrap().entries;
    let of = |call| rows.iter().find(|row| row.entry.id == call).unwrap().entry.end.clone();
    let end = of(first).unwrap();
    assert_eq!((end.how, end.cost, end.is_estimate, end.at), (How::Lost, known(10), true, Timestamp(DAY + 9)));
    assert_eq!(of(unpriced).unwrap().cost, Cost::Unpriced, "it isn't 0");
    assert_eq!(of(of_this_process), None);
    let late = fixture.store.settle_call(first, answered(known(1), DAY), None).await.unwrap();
    assert_eq!(late, CallSettled::Before);
    let again = fixture.store.expire_reservations(Timestamp(DAY + 10)).await.unwrap();
    assert_eq!(again.calls, 0);
    fixture.sound().await;
}

#[tokio::test]
async fn trap02_more_than_one_transaction_takes_are_all_expired() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let calls = (0..2_100).map(|_| fixture.reserve(reservation(&fixture, &claim, "q", known(1), DAY)));
    join_all(calls).await;
    let fixture = fixture.restart().await;
    assert_eq!(fixture.store.expire_reservations(Timestamp(DAY)).await.unwrap().calls, 2_100);
    assert_eq!(fixture.charged(&Scope::Everything).await, (2_100, 0));
    fixture.sound().await;
}

#[tokio::test]
async fn trap02_a_reservation_whose_asker_has_gone_is_given_back() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let asked = reservation(&fixture, &claim, "q", known(10), DAY);
    assert!(fixture.store.reserve_call(asked).now_or_never().is_none(), "it is on its way");
    // What comes after it is answered after it, and what comes after that is done after it was given back.
    for _ in 0..2 {
        fixture.store.resume(fixture.job).await.unwrap();
    }
    assert_eq!(fixture.charged(&Scope::Everything).await, (0, 0));
    let rows = fixture.store.ledger_entries(LedgerQuery { limit: 9, ..LedgerQuery::default() }).await.unwrap().entries;
    assert_eq!(rows[0].entry.end.as_ref().map(|end| (end.how, end.cost)), Some((How::Cancelled, known(0))));
    fixture.sound().await;
}

#[tokio::test]
async fn trap03_a_ledger_that_cannot_be_written_reserves_nothing() {
    /// Reserves once on a disk with that trouble; answers what was said, and the changes before and after.
    async fn reserve_on(trouble: Trouble) -> (Result<Reserved, StoreError>, usize, usize, FlakyDisk) {
        let (disk, folder) = (FlakyDisk::new(trouble), tempfile::tempdir().unwrap());
        let store = RedbStore::open_on(&disk, folder.path(), StoreOptions::default()).unwrap();
        let job = store.declare(declaration(vec![stage("fetch", &[])]), Timestamp(0)).await.unwrap().id;
        let fixture = Fixture { folder, store, job };
        let claim = fixture.claim_new("a").await;
        let (_, before) = disk.counts();
        let said = fixture.store.reserve_call(reservation(&fixture, &claim, "q", known(10), DAY)).await;
        let (_, after) = disk.counts();
        drop(fixture.store.close().await);
        (said, before, after, disk)
    }
    let (said, before, after, _) = reserve_on(Trouble::None).await;
    assert!(matches!(said, Ok(Reserved::Made { .. })) && after > before);
    for change in before..after {
        let (said, _, _, disk) = reserve_on(Trouble::BadWrite { change }).await;
        assert!(matches!(said, Err(StoreError::Io(_))), "{change}: {said:?}");
        let folder = tempfile::tempdir().unwrap();
        disk.lay(folder.path(), 0);
        let store = RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
        assert_eq!(store.accounts().await.unwrap(), []);
        assert_eq!(store.ledger_entries(LedgerQuery::default()).await.unwrap().entries, []);
        assert!(store.verify().await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn trap04_a_budget_of_nothing_lets_nothing_go_and_no_price_is_marked() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let ask = |budget, estimate| {
        let budgets = Budgets { job: budget, ..Budgets::default() };
        fixture.store.reserve_call(Reservation { budgets, ..reservation(&fixture, &claim, "q", estimate, DAY) })
    };
    for (budget, estimate) in [(a_day(0), known(0)), (a_day(0), known(1)), (a_day(5), Cost::Unpriced)] {
        let Reserved::Refused(refused) = ask(budget, estimate).await.unwrap() else { panic!("{estimate:?} went") };
        assert_eq!(refused.scope, Scope::Job(fixture.job));
    }
    assert_eq!(fixture.store.accounts().await.unwrap(), [], "a refusal leaves nothing");
    let Reserved::Made { call, .. } = ask(Budget::default(), Cost::Unpriced).await.unwrap() else { panic!() };
    fixture.store.settle_call(call, answered(Cost::Unpriced, DAY), None).await.unwrap();
    let sum = fixture.store.costs(by(CostGroup::Job)).await.unwrap().entries.remove(0).costs;
    assert_eq!((sum.calls, sum.unpriced, sum.cost), (1, 1, NanoUsd::ZERO));
    let absurd = ask(Budget::default(), known(u64::MAX)).await;
    assert!(matches!(absurd, Err(StoreError::TooLarge { .. })));
    fixture.sound().await;
}

#[tokio::test]
async fn a03_each_budget_holds_on_its_own_until_its_period_ends_and_over_a_restart() {
    let mut fixture = Fixture::new().await;
    let name = JobName::new("other").unwrap();
    let other = JobDeclaration { name, ..declaration(vec![stage("fetch", &[])]) };
    let other = fixture.store.declare(other, Timestamp(0)).await.unwrap().id;
    let claim = fixture.claim_new("a").await;
    let month = Budget { day: None, month: Some(Limit::Money(NanoUsd(25))) };
    let budgets = Budgets { everything: month, job: a_day(10), paid: Budget::default() };
    let ask = |alias: &str, at| {
        let mut asked = Reservation { budgets, ..reservation(&fixture, &claim, "q", known(10), at) };
        asked.call.paid = paid(alias);
        asked
    };
    let call = fixture.reserve(ask("fast", DAY)).await;
    fixture.store.settle_call(call, answered(known(10), DAY), None).await.unwrap();
    let Reserved::Refused(refused) = fixture.store.reserve_call(ask("best", DAY + 1)).await.unwrap() else { panic!() };
    assert_eq!((refused.scope.clone(), refused.until()), (Scope::Job(fixture.job), Some(Timestamp(2 * DAY))));
    let next = ask("best", 2 * DAY);
    let after = ask("best", 3 * DAY);
    fixture = fixture.restart().await;
    let renewed = fixture.claim_one(FETCH, 2).await;
    let again = |asked: Reservation| Reservation { claim: renewed.token, ..asked };
    fixture.reserve(again(next)).await;
    let Reserved::Refused(refused) = fixture.store.reserve_call(again(after)).await.unwrap() else { panic!() };
    assert_eq!((refused.scope.clone(), refused.until()), (Scope::Everything, None), "{refused:?}");
    assert!(matches!(refused.why, NoRoom::Held(_)));
    // A token of this job's claim makes no calls of another job.
    let mut foreign = again(ask_of(&fixture, &renewed));
    foreign.call.caller.job = other;
    assert!(matches!(fixture.store.reserve_call(foreign).await, Err(StoreError::StaleClaim(_))));
    fixture.sound().await;
}

fn ask_of(fixture: &Fixture, claim: &tollgate_store::Claim) -> Reservation {
    reservation(fixture, claim, "q", known(1), 4 * DAY)
}

#[tokio::test]
async fn a03_what_proxies_cost_counts_towards_everything() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let mut spending = Spending::default();
    spending.turn(&Zone::default(), Timestamp(DAY));
    spending.add(GB, 0, Some(Price { money: NanoUsd(8), bytes: GB }));
    // The site was reached by that proxy: its money is the same.
    let rows = ["proxy main", "site *"].map(|name| (name.to_owned(), spending));
    fixture.store.keep_spending(rows.to_vec()).await.unwrap();
    let ask = |everything, job, at| {
        let budgets = Budgets { everything, job, ..Budgets::default() };
        fixture.store.reserve_call(Reservation { budgets, ..reservation(&fixture, &claim, "q", known(2), at) })
    };
    let made = ask(a_day(10), a_day(2), DAY).await.unwrap();
    let Reserved::Made { call, warned } = made else { panic!("{made:?}") };
    assert_eq!(warned.len(), 2, "everything and the job's are at their ends: {warned:?}");
    assert_eq!(warned[0].reached.share(), "0.00000001 USD of 0.00000001 USD");
    fixture.store.settle_call(call, answered(known(1), DAY), None).await.unwrap();
    let refused = ask(a_day(10), Budget::default(), DAY).await.unwrap();
    assert!(matches!(refused, Reserved::Refused(refused) if matches!(refused.why, NoRoom::Spent(_))));
    let tomorrow = ask(a_day(10), Budget::default(), 2 * DAY).await.unwrap();
    assert!(matches!(tomorrow, Reserved::Made { warned, .. } if warned.is_empty()));
    fixture.sound().await;
}

#[tokio::test]
async fn a03_a_late_settlement_is_charged_to_the_day_that_reserved_it() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let yesterday = fixture.reserve(reservation(&fixture, &claim, "q", known(10), DAY)).await;
    let today = fixture.reserve(reservation(&fixture, &claim, "r", known(5), 2 * DAY)).await;
    fixture.store.settle_call(yesterday, answered(known(9), 2 * DAY), None).await.unwrap();
    assert_eq!(fixture.charged(&Scope::Everything).await, (0, 5));
    fixture.store.settle_call(today, answered(known(4), 2 * DAY), None).await.unwrap();
    assert_eq!(fixture.charged(&Scope::Everything).await, (4, 0));
    assert_eq!(fixture.account(&Scope::Everything).await.month.settled, NanoUsd(13));
    let days = fixture.store.costs(by(CostGroup::Day)).await.unwrap().entries;
    assert_eq!(days.iter().map(|day| day.costs.cost.0).collect::<Vec<_>>(), [9, 4]);
    fixture.sound().await;
}

#[tokio::test]
async fn trap25_an_attempt_that_has_lost_its_claim_pays_for_nothing_more() {
    let fixture = Fixture::new().await;
    let claim = fixture.claim_new("a").await;
    let call = fixture.reserve(reservation(&fixture, &claim, "q", known(10), DAY)).await;
    fixture.settle(settlement(&claim, done("x"), 2)).await.unwrap();
    let refused = fixture.store.reserve_call(reservation(&fixture, &claim, "q", known(10), DAY)).await;
    assert!(matches!(refused, Err(StoreError::StaleClaim(_))));
    let settled = fixture.store.settle_call(call, CallEnd::lost(known(10), Timestamp(DAY)), None).await.unwrap();
    assert_eq!(settled, CallSettled::Now, "what was paid was paid");
    let mut found = reservation(&fixture, &claim, "q", known(10), DAY);
    found.call.caller.task = None;
    assert!(matches!(fixture.store.reserve_call(found.clone()).await, Err(StoreError::StaleDiscovery(_))));
    found.claim = fixture.store.claim_discovery(fixture.job).await.unwrap().token;
    fixture.reserve(found.clone()).await;
    found.claim = ClaimToken(1);
    assert!(fixture.store.reserve_call(found).await.is_err());
    fixture.sound().await;
}
