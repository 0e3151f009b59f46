//! What follows from each outcome: a row for each rule.

use super::*;
use crate::task::Answers;

const NOW: Timestamp = Timestamp(1_000_000_000);
const POLICY: RetryPolicy =
    RetryPolicy { attempts_max: 3, backoff: Duration::from_secs(10), retry_for: Duration::from_hours(24) };

fn refusal(kind: RefusalKind) -> Refusal {
    Refusal { kind, about: "a.example".into(), message: "refused".into(), after: Some(Duration::from_secs(30)) }
}

fn decided(outcome: Outcome, refusal: Option<RefusalKind>, before: Tally) -> Decision {
    decide(outcome, refusal.map(self::refusal).as_ref(), before, &POLICY, NOW, 0.5)
}

/// How a verdict reads in a table.
fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Done(_) => "done".into(),
        Verdict::Nothing(_) => "nothing".into(),
        Verdict::Reject(_) => "reject".into(),
        Verdict::Skipped(_) => "skipped".into(),
        Verdict::Failed(error) => format!("failed {}", error.kind.as_str()),
        Verdict::Later { reason, .. } => reason.kind.as_str().into(),
    }
}

fn due(decision: &Decision) -> Timestamp {
    match &decision.verdict {
        Verdict::Later { due, .. } => *due,
        other => panic!("not to be tried again: {other:?}"),
    }
}

fn output() -> Outcome {
    Outcome::Output(StageOutput { fields: Map::new(), found: Vec::new(), quality_flags: Vec::new() })
}

fn later(after: Option<Duration>) -> Outcome {
    Outcome::Stage(StageError::RetryLater { reason: "not yet".into(), after })
}

fn failed() -> Outcome {
    Outcome::Stage(StageError::Failed("x".into()))
}

fn trap() -> Outcome {
    Outcome::Trap("x".into())
}

#[test]
fn s03_each_outcome_has_its_verdict_its_count_and_its_effect_on_the_breaker() {
    use BreakerEffect::{Failure, None as Leaves, Success};
    let stage = |error: fn(String) -> StageError| Outcome::Stage(error("x".into()));
    let rows = [
        (output(), "done", 0, Success),
        (stage(StageError::NothingHere), "nothing", 0, Success),
        (stage(StageError::Reject), "reject", 0, Success),
        (later(None), "not yet", 0, Leaves),
        (stage(StageError::Blocked), "blocked", 0, Leaves),
        (stage(StageError::LoginRequired), "login required", 0, Leaves),
        (stage(StageError::Permanent), "failed permanent", 0, Leaves),
        (failed(), "failed", 1, Failure),
        (Outcome::Contract("x".into()), "failed", 1, Failure),
        (trap(), "failed", 1, Failure),
        (Outcome::Timeout("x".into()), "failed", 1, Failure),
        (Outcome::Limit("x".into()), "failed", 1, Failure),
        (Outcome::Host("x".into()), "failed", 1, Failure),
    ];
    for (outcome, verdict, counted, breaker) in rows {
        let decision = decided(outcome.clone(), None, Tally::default());
        let found = (word(&decision.verdict), decision.tally.counted, decision.breaker);
        assert_eq!(found, (verdict.into(), counted, breaker), "{outcome:?}");
        assert_eq!((decision.tally.attempts, decision.tally.first_at), (1, Some(NOW)), "{outcome:?}");
    }
}

#[test]
fn r06_r07_a_refusal_decides_however_the_handler_took_it() {
    use RefusalKind::{Blocked, Down, LoginRequired, RateLimited, Transport};
    let careless = || [failed(), later(None), trap(), Outcome::Timeout("x".into()), Outcome::Contract("x".into())];
    let kinds = [
        (RateLimited, "rate limited", 0),
        (Down, "down", 0),
        (Blocked, "blocked", 0),
        (LoginRequired, "login required", 0),
        (Transport, "transport error", 1),
    ];
    for (kind, verdict, counted) in kinds {
        for outcome in careless() {
            let before = Tally { crashes: CRASHES_MAX - 1, ..Tally::default() };
            let decision = decided(outcome.clone(), Some(kind), before);
            let found = (word(&decision.verdict), decision.tally.counted, decision.tally.crashes, decision.breaker);
            assert_eq!(found, (verdict.into(), counted, 0, BreakerEffect::None), "{kind:?}, {outcome:?}");
        }
    }
    // What a stage says of the item itself, and an output, stand beside a refusal; so do the sandbox's own limits.
    let stage = |error: fn(String) -> StageError| Outcome::Stage(error("x".into()));
    for (outcome, verdict) in [
        (output(), "done"),
        (stage(StageError::NothingHere), "nothing"),
        (stage(StageError::Reject), "reject"),
        (stage(StageError::Permanent), "failed permanent"),
        (Outcome::Limit("x".into()), "failed"),
        (Outcome::Host("x".into()), "failed"),
    ] {
        assert_eq!(word(&decided(outcome, Some(RateLimited), Tally::default()).verdict), verdict);
    }
}

#[test]
fn two_crashes_in_a_row_are_poison_and_anything_between_them_is_not() {
    let once = decided(trap(), None, Tally::default());
    assert_eq!((word(&once.verdict).as_str(), once.tally.crashes), ("failed", 1));
    let twice = decided(Outcome::Timeout("x".into()), None, once.tally);
    assert_eq!((word(&twice.verdict).as_str(), twice.breaker), ("failed poison", BreakerEffect::Failure));
    let between = decided(failed(), None, once.tally);
    assert_eq!(between.tally.crashes, 0);
    assert_eq!(decided(trap(), None, Tally { counted: 0, ..between.tally }).tally.crashes, 1);
}

#[test]
fn kept_answers_are_taken_again_until_the_task_ends() {
    let before = Tally { attempts: 2, ..Tally::default() }.with_answers(Answers::Kept);
    assert_eq!(before.reuses, Some(2));
    for outcome in [failed(), later(None)] {
        assert_eq!(decided(outcome, None, before).tally.reuses, Some(2));
    }
    let twice = Tally { counted: 1, ..before };
    assert_eq!(decided(failed(), None, twice).tally.reuses, None, "it may have failed of one that is kept");
    let last = Tally { counted: POLICY.attempts_max - 1, ..before };
    assert_eq!([output(), failed()].map(|outcome| decided(outcome, None, last).tally.reuses), [None; 2]);
    assert_eq!(before.with_answers(Answers::Anew).reuses, None);
    assert_eq!(Tally::default().with_answers(Answers::Kept).reuses, None, "there are none");
}

#[test]
fn counted_attempts_are_bounded_and_say_so() {
    let mut tally = Tally::default();
    for counted in 1..POLICY.attempts_max {
        let decision = decided(failed(), None, tally);
        assert_eq!((word(&decision.verdict).as_str(), decision.tally.counted), ("failed", counted));
        tally = decision.tally;
    }
    let last = decided(Outcome::Limit("too large".into()), None, tally);
    assert_eq!(last.error.map(|error| error.message).as_deref(), Some("gave up after 3: too large"));
}

#[test]
fn r06_nothing_is_tried_past_retry_for_counted_or_not() {
    let at =
        |since: Duration| Tally { first_at: Some(Timestamp(NOW.0 - since.as_millis() as u64)), ..Tally::default() };
    for outcome in [later(Some(Duration::from_secs(5))), failed()] {
        let before = at(POLICY.retry_for - Duration::from_millis(1));
        assert!(matches!(decided(outcome.clone(), None, before).verdict, Verdict::Later { .. }));
        let decision = decided(outcome, None, at(POLICY.retry_for));
        assert_eq!(word(&decision.verdict), "failed expired");
    }
    // Whatever a stage or a site asks for, the last try comes when the time is over.
    for after in [Duration::from_hours(1_000_000), Duration::from_millis(u64::MAX), Duration::MAX] {
        let decision = decided(later(Some(after)), None, at(Duration::from_hours(1)));
        assert_eq!(due(&decision), NOW.after(Duration::from_hours(23)), "{after:?}");
    }
    let before = at(POLICY.retry_for - Duration::from_millis(7));
    let decision = decide(failed(), None, before, &POLICY, NOW, 1.0);
    assert_eq!(due(&decision), Timestamp(NOW.0 + 7));
}

#[test]
fn waits_have_their_bounds_and_their_jitter() {
    let wait =
        |outcome: Outcome, chance| due(&decide(outcome, None, Tally::default(), &POLICY, NOW, chance)).since(NOW);
    // Uncounted: what was asked and up to a tenth more, and never so little that it spins.
    for (asked, low, high) in [(None, 60_000, 66_000), (Some(20_000), 20_000, 22_000), (Some(0), 1_000, 1_100)] {
        let outcome = later(asked.map(Duration::from_millis));
        assert_eq!(wait(outcome.clone(), 0.0), Duration::from_millis(low));
        assert_eq!(wait(outcome, 1.0), Duration::from_millis(high));
    }
    // Counted: full jitter.
    assert_eq!(wait(failed(), 0.0), Duration::ZERO);
    assert_eq!(wait(failed(), 1.0), POLICY.backoff);
}

#[test]
fn the_longer_of_what_the_site_and_the_stage_ask_for_counts() {
    for (asked, wait) in [(10, 30), (50, 50)] {
        let outcome = later(Some(Duration::from_secs(asked)));
        let refusal = refusal(RefusalKind::RateLimited);
        let decision = decide(outcome, Some(&refusal), Tally::default(), &POLICY, NOW, 0.0);
        assert_eq!(due(&decision), NOW.after(Duration::from_secs(wait)));
    }
}

#[test]
fn r11_an_address_s_own_word_outweighs_a_stage_s_failure_and_no_more() {
    let decision = decided(failed(), Some(RefusalKind::Permanent), Tally::default());
    assert_eq!((word(&decision.verdict).as_str(), decision.breaker), ("failed permanent", BreakerEffect::None));
    let decision = decided(failed(), Some(RefusalKind::Later), Tally::default());
    assert_eq!((word(&decision.verdict).as_str(), decision.tally.counted), ("not yet", 0));
    assert!(due(&decision) >= NOW.after(Duration::from_secs(30)));
    let decision = decided(later(None), Some(RefusalKind::Permanent), Tally::default());
    assert_eq!(word(&decision.verdict), "not yet", "a stage that knows better has the last word");
}

#[test]
fn a03_a_call_too_dear_for_a_whole_budget_fails_its_item_at_once_and_moves_the_breaker() {
    for outcome in [failed(), later(None), Outcome::Trap("unwrapped it".to_owned())] {
        let decision = decided(outcome, Some(RefusalKind::TooDear), Tally::default());
        assert_eq!((word(&decision.verdict).as_str(), decision.breaker), ("failed failed", BreakerEffect::Failure));
    }
}
