//! Turns, allowances and what providers say of waiting.

use futures::{FutureExt, future::BoxFuture};

use super::*;

/// A clock that stands still.
struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn sleep_until(&self, _until: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

const NOW: Timestamp = Timestamp(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);

fn paces() -> Paces {
    Paces::new(Arc::new(Still(NOW)), Vec::new())
}

fn account() -> Account {
    Account("a".to_owned())
}

#[test]
fn a_period_gives_what_it_allows_at_once_and_then_evenly() {
    let taken = |flow: &mut Flow, allowance: Allowance, count: u64| {
        let wait = flow.wait(allowance, count, NOW);
        flow.hold(allowance, count, NOW);
        wait.as_secs()
    };
    let (mut flow, allowance) = (Flow::default(), Allowance { count: 3, per: MINUTE });
    let waits: Vec<u64> = (0..5).map(|_| taken(&mut flow, allowance, 1)).collect();
    assert_eq!(waits, [0, 0, 0, 20, 40]);
    let (mut flow, allowance) = (Flow::default(), Allowance { count: 100, per: MINUTE });
    assert_eq!(taken(&mut flow, allowance, 250), 0, "more than a period's");
    assert_eq!(taken(&mut flow, allowance, 50), 120);
}

#[test]
fn r07_what_a_call_has_not_used_is_given_back_and_no_more_than_that() {
    let allowance = Allowance { count: 60, per: MINUTE };
    let at = |seconds: u64| NOW.after(Duration::from_secs(seconds));
    // A token a second; each is held to take 50, and takes 5.
    let mut flow = Flow::default();
    let first = flow.hold(allowance, 50, NOW);
    assert_eq!(flow.wait(allowance, 50, at(1)).as_secs(), 39);
    flow.end(first, allowance, 5, at(1));
    assert_eq!(flow.wait(allowance, 50, at(1)), Duration::ZERO, "there is room for the next");
    // In any minute no more are sent than 60 and what flows off in it: of 50 that were held for 30 s, 20 are left.
    let mut flow = Flow::default();
    let (first, second) = (flow.hold(allowance, 50, NOW), flow.hold(allowance, 10, NOW));
    flow.end(first, allowance, 5, at(30));
    assert_eq!(flow.even_us, us_of(at(40)), "what has flowed off is gone");
    // The second has moved up behind it: four of it have flowed off by now, and those it has used.
    flow.end(second, allowance, 4, at(34));
    assert_eq!(flow.even_us, us_of(at(34)));
    // Who has used more takes it.
    let third = flow.hold(allowance, 1, at(100));
    flow.end(third, allowance, 11, at(200));
    assert_eq!(flow.even_us, us_of(at(210)));
    assert!(flow.held.is_empty());
}

#[tokio::test]
async fn r07_who_is_not_sent_gives_all_back_and_who_is_sent_what_its_provider_has_not_counted() {
    let paces = paces();
    let allowed = Allowed { requests: None, tokens: Some(Allowance { count: 100, per: MINUTE }) };
    for _ in 0..3 {
        drop(paces.enter(&account(), allowed, 90, MINUTE).await.unwrap());
    }
    for used in [9, 1] {
        let mut turn = paces.enter(&account(), allowed, 90, MINUTE).await.unwrap();
        turn.sent();
        turn.used(used);
    }
    let mut turn = paces.enter(&account(), allowed, 90, MINUTE).await.unwrap();
    turn.sent();
    drop(turn);
    let waits = paces.enter(&account(), allowed, 90, MINUTE).await.err();
    assert_eq!(waits, Some(Waits::Used("tokens", Duration::from_secs(54))), "100 were used");
}

#[tokio::test]
async fn r07_a_request_that_is_not_sent_is_given_back_and_one_that_is_sent_is_not() {
    let paces = paces();
    let allowed = Allowed { requests: Some(Allowance { count: 2, per: MINUTE }), tokens: None };
    for _ in 0..3 {
        drop(paces.enter(&account(), allowed, 10, MINUTE).await.unwrap());
    }
    // One that isn't sent makes room for who came after it, too.
    let first = paces.enter(&account(), allowed, 10, MINUTE).await.unwrap();
    let mut second = paces.enter(&account(), allowed, 10, MINUTE).await.unwrap();
    drop(first);
    second.sent();
    // Its provider refuses it and counts no tokens: a request it was all the same.
    second.used(0);
    drop(second);
    paces.enter(&account(), allowed, 10, MINUTE).await.unwrap().sent();
    let waits = paces.enter(&account(), allowed, 10, MINUTE).await.err();
    assert_eq!(waits, Some(Waits::Used("requests", MINUTE / 2)), "two were sent");
}

#[tokio::test]
async fn a_turn_that_comes_when_little_of_the_calls_time_is_left_is_refused_at_once_and_takes_none() {
    let paces = paces();
    let allowed = Allowed { requests: Some(Allowance { count: 12, per: MINUTE }), tokens: None };
    for _ in 0..12 {
        paces.enter(&account(), allowed, 10, MINUTE).await.unwrap().sent();
    }
    let five = Duration::from_secs(5);
    for time in [1, 5, 6].map(Duration::from_secs) {
        for _ in 0..3 {
            let waits = paces.enter(&account(), allowed, 10, time).await.err();
            assert_eq!(waits, Some(Waits::Used("requests", five)), "within {time:?}");
        }
    }
    // A quarter of it is left.
    let longer = Duration::from_secs(7);
    assert!(paces.enter(&account(), allowed, 10, longer).now_or_never().is_none(), "it is waited for");
}

#[tokio::test]
async fn trap09_who_is_sent_away_has_taken_nothing_and_a_refusal_is_everybodys() {
    let paces = paces();
    let allowed = Allowed { requests: Some(Allowance { count: 1, per: MINUTE }), tokens: None };
    paces.enter(&account(), allowed, 10, MINUTE).await.unwrap().sent();
    for _ in 0..3 {
        let waits = paces.enter(&account(), allowed, 10, MINUTE).await.err();
        assert_eq!(waits, Some(Waits::Used("requests", MINUTE)));
    }
    let cooling = |seconds| Cooling {
        until: NOW.after(Duration::from_secs(seconds)),
        reason: "slow down".to_owned(),
        is_terminal: false,
    };
    assert_eq!(paces.cool(&account(), cooling(5)), Some(cooling(5)));
    assert_eq!(paces.cool(&account(), cooling(3)), None, "a longer one stands");
    assert_eq!(paces.check(&account()), Err(Waits::Cools(cooling(5))));
    assert_eq!(paces.cooling(&account()), Some(cooling(5)));
    assert_eq!(paces.check(&Account("b".to_owned())), Ok(()));
}

#[test]
fn trap09_an_account_of_a_long_name_is_one_of_its_own_and_short_enough_to_be_kept() {
    let named = |name: &str| Account::named(name.to_owned());
    assert_eq!(named("https://a.test  m").0, "https://a.test  m");
    let long = format!("https://a.test/{} m", "ä".repeat(ACCOUNT_BYTES_MAX));
    let (one, other) = (named(&long), named(&format!("{long}2")));
    assert!(one.0.len() <= ACCOUNT_BYTES_MAX && one.0.starts_with("https://a.test/ä"), "{one:?}");
    assert_eq!((one == named(&long), one == other), (true, false));
}
