//! Rules of the ledger, each by calling it.

use super::*;
use crate::{budget::Limit, calendar::PeriodKind};

const DAY: u64 = 86_400_000;

fn money(nano: u64) -> Budget {
    Budget { day: Some(Limit::Money(NanoUsd(nano))), month: None }
}

fn reservation(at: u64, estimate: Cost, budgets: Budgets) -> Reservation {
    let caller = Caller { job: JobId(1), task: Some((ItemId(1), StageIx(0))), attempt: 1, number: 1 };
    let paid = Paid { kind: PaidKind::Model, provider: "p".into(), alias: "fast".into(), model: "p-1".into() };
    let call = Call { caller, paid, request: Digest::of(b"q"), at: Timestamp(at), estimate };
    Reservation { call, claim: ClaimToken(1), budgets, zone: Zone::default() }
}

fn known(nano: u64) -> Cost {
    Cost::Known(NanoUsd(nano))
}

/// What an empty ledger says.
fn first(estimate: Cost, budgets: Budgets) -> Result<Granted, Box<NoBudget>> {
    reserve(&reservation(DAY, estimate, budgets), <[Account; 3]>::default(), Beside::default()).unwrap()
}

#[test]
fn trap01_what_is_settled_and_reserved_is_never_more_than_the_limit() {
    let budgets = Budgets { job: money(100), ..Budgets::default() };
    let ask =
        |accounts, amount| reserve(&reservation(DAY, known(amount), budgets), accounts, Beside::default()).unwrap();
    let one = ask(<[Account; 3]>::default(), 60).unwrap();
    let refused = ask(one.accounts, 41).unwrap_err();
    assert_eq!((refused.scope.clone(), refused.until()), (Scope::Job(JobId(1)), None));
    assert!(matches!(refused.why, NoRoom::Held(_)), "it may come to less: {refused:?}");
    let mut two = ask(one.accounts, 40).unwrap();
    assert!(ask(two.accounts, 0).is_err(), "all of it is held");
    for account in &mut two.accounts {
        account.settle(two.periods, known(60), known(10)).unwrap();
        account.settle(two.periods, known(40), known(90)).unwrap();
    }
    assert_eq!((two.accounts[1].day.settled, two.accounts[1].day.reserved), (NanoUsd(100), NanoUsd::ZERO));
    let refused = ask(two.accounts, 1).unwrap_err();
    assert_eq!(refused.until(), Some(Timestamp(2 * DAY)));
    let said = refused.tell("news", &Zone::default());
    assert_eq!(
        said,
        "the budget of job news for this day is spent (0.0000001 USD of 0.0000001 USD; the call may cost 0.000000001 \
         USD), so nothing is sent; it goes on at 1970-01-03 00:00 UTC"
    );
}

#[test]
fn trap04_a_budget_of_nothing_lets_nothing_go_and_no_price_is_not_zero() {
    for place in 0..3 {
        let with = |budget| {
            let mut all = [Budget::default(); 3];
            all[place] = budget;
            let [everything, job, paid] = all;
            Budgets { everything, job, paid }
        };
        assert!(matches!(first(known(0), with(money(0))).unwrap_err().why, NoRoom::Spent(_)));
        assert_eq!(first(Cost::Unpriced, with(money(5))).unwrap_err().why, NoRoom::Unpriced);
        let bytes = Budget { day: None, month: Some(Limit::Bytes(5)) };
        assert!(matches!(first(known(1), with(bytes)).unwrap_err().why, NoRoom::Bytes(_)));
    }
    assert!(first(Cost::Unpriced, Budgets::default()).is_ok(), "nothing bounds it, so it is only marked");
    assert_eq!(Cost::Unpriced.charged(known(7)), NanoUsd(7), "what was held stays charged");
    let end = CallEnd { cost: Cost::Unpriced, ..CallEnd::lost(known(1), Timestamp(1)) };
    assert_eq!((Costs::of(&end).unpriced, Costs::of(&end).cost), (1, NanoUsd::ZERO));
}

#[test]
fn a03_the_budget_that_is_waited_for_longest_says_when_it_goes_on() {
    let month = Budget { day: None, month: Some(Limit::Money(NanoUsd(3))) };
    let budgets = Budgets { everything: month, job: money(2), paid: Budget::default() };
    // Two are spent before, so that none of the limits has room for two more.
    let second = |budgets| {
        let mut before = first(known(2), Budgets::default()).unwrap();
        for account in &mut before.accounts {
            account.settle(before.periods, known(2), known(2)).unwrap();
        }
        reserve(&reservation(DAY, known(2), budgets), before.accounts, Beside::default()).unwrap().unwrap_err()
    };
    let refused = second(budgets);
    assert_eq!((refused.scope.clone(), refused.until()), (Scope::Everything, Some(Timestamp(31 * DAY))));
    let both = Budget { day: Some(Limit::Money(NanoUsd(2))), month: Some(Limit::Money(NanoUsd(3))) };
    let refused = second(Budgets { job: both, ..Budgets::default() });
    let NoRoom::Spent(reached) = refused.why else { panic!("{refused:?}") };
    assert_eq!(reached.kind, PeriodKind::Month);
    let refused = first(Cost::Unpriced, budgets).unwrap_err();
    assert_eq!(refused.until(), None, "no wait gives it a price");
}

#[test]
fn a03_a_call_that_may_cost_more_than_a_whole_budget_is_too_dear_whatever_is_spent() {
    let month = Budget { day: None, month: Some(Limit::Money(NanoUsd(3))) };
    let budgets = Budgets { everything: money(0), job: month, paid: money(2) };
    let refused = first(known(4), budgets).unwrap_err();
    assert_eq!(
        (refused.scope.clone(), refused.why),
        (Scope::Job(JobId(1)), NoRoom::TooDear { kind: PeriodKind::Month, most: NanoUsd(3), asked: NanoUsd(4) })
    );
    assert_eq!(refused.until(), None, "no wait makes room for it");
    assert_eq!(
        refused.tell("news", &Zone::default()),
        "this one call may cost 0.000000004 USD, and the budget of job news is 0.000000003 USD for a whole month, so \
         it is never sent; raise `budget` of [job.news] in jobs.toml, or choose a cheaper model, a smaller \
         `output-max` or a shorter document, then `tollgate item retry news --failed`"
    );
    let refused = first(known(3), budgets).unwrap_err();
    assert_eq!(
        refused.why,
        NoRoom::TooDear { kind: PeriodKind::Day, most: NanoUsd(2), asked: NanoUsd(3) },
        "all of a budget is not more than it"
    );
    assert!(refused.tell("news", &Zone::default()).contains("raise `budget` of [model.fast] in jobs.toml"));
    let refused = first(known(2), budgets).unwrap_err();
    assert_eq!(refused.scope, Scope::Everything);
    assert!(matches!(refused.why, NoRoom::Spent(_)), "a budget of 0 is spent, and no call is too dear for it");
}

#[test]
fn a03_a_new_day_begins_at_nothing_and_a_late_settlement_is_of_its_own_day() {
    let budgets = Budgets { paid: money(10), ..Budgets::default() };
    let mut accounts = first(known(10), budgets).unwrap();
    let yesterday = accounts.periods;
    let next = reservation(2 * DAY, known(10), budgets);
    let granted = reserve(&next, accounts.accounts, Beside::default()).unwrap().unwrap();
    assert_eq!((granted.accounts[2].day.reserved, granted.accounts[2].month.reserved), (NanoUsd(10), NanoUsd(20)));
    accounts.accounts = granted.accounts;
    accounts.accounts[2].settle(yesterday, known(10), known(8)).unwrap();
    let Account { day, month } = accounts.accounts[2];
    assert_eq!((day.settled, day.reserved), (NanoUsd::ZERO, NanoUsd(10)));
    assert_eq!((month.settled, month.reserved), (NanoUsd(8), NanoUsd(10)));
    assert_eq!(accounts.accounts[2].settle(granted.periods, known(30), known(8)), Err(Unbalanced));
}

#[test]
fn a03_another_zone_begins_no_new_day_before_the_old_one_ends() {
    let budgets = Budgets { everything: money(10), ..Budgets::default() };
    let accounts = first(known(6), budgets).unwrap().accounts;
    let tokyo = Zone::named("Asia/Tokyo").unwrap();
    let later = |at| Reservation { zone: tokyo.clone(), ..reservation(at, known(6), budgets) };
    assert!(reserve(&later(DAY + DAY / 4 * 3), accounts, Beside::default()).unwrap().is_err());
    assert!(reserve(&later(2 * DAY), accounts, Beside::default()).unwrap().is_ok());
}

#[test]
fn a03_a_person_is_warned_once_a_period_of_each_budget() {
    let budgets = Budgets { everything: money(20), job: money(10), paid: Budget::default() };
    let granted = first(known(8), budgets).unwrap();
    assert_eq!(granted.warned.iter().map(|warned| &warned.scope).collect::<Vec<_>>(), [&Scope::Job(JobId(1))]);
    let again = reserve(&reservation(DAY, known(1), budgets), granted.accounts, Beside::default()).unwrap().unwrap();
    assert!(again.warned.is_empty());
}

#[test]
fn a03_what_proxies_cost_counts_towards_everything_and_no_other_budget() {
    let mut spending = crate::budget::Spending::default();
    spending.turn(&Zone::default(), Timestamp(DAY));
    spending.add_at(1, 0, NanoUsd(9));
    let beside = Beside::default().and(&spending, Timestamp(DAY));
    let of = |everything, job| {
        let reservation = reservation(DAY, known(2), Budgets { everything, job, paid: Budget::default() });
        reserve(&reservation, <[Account; 3]>::default(), beside).unwrap()
    };
    assert!(matches!(of(money(10), Budget::default()).unwrap_err().why, NoRoom::Spent(_)));
    assert!(of(money(11), money(10)).is_ok());
    assert_eq!(Beside::default().and(&spending, Timestamp(2 * DAY)).day, NanoUsd::ZERO, "of another day");
}

#[test]
fn scopes_are_read_as_they_are_shown() {
    for scope in [Scope::Everything, Scope::Job(JobId(7)), Scope::Paid(PaidKind::Search, "fast one".into())] {
        assert_eq!(scope.to_string().parse(), Ok(scope));
    }
    for bad in ["", "job", "job x", "site x", "everything else"] {
        assert!(bad.parse::<Scope>().is_err(), "{bad}");
    }
}
