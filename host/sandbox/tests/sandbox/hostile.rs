//! Guests that mean harm: each is ended with its reason, and harms no other (traps 18 to 20, 23, 24; R08).

use std::{sync::Arc, time::Duration};

use tollgate_sandbox::call::{CallFailure, CallLimits};

use crate::guests::{Bench, EMPTY, Guest, Log, SEEN, first, no_gates, task};

const EVENT: &str = r#"(import "tollgate:handler/log@0.1.0" "event" (func $event (param i32 i32 i32 i32 i32)))"#;
const RANDOM: &str = r#"(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))"#;
const ENVIRONMENT: &str = r#"(import "wasi:cli/environment@0.2.0" "get-environment" (func $environment (param i32)))"#;
const SPIN: &str = "(loop $on (br $on)) unreachable";

/// Runs one guest to its end.
async fn failure(guest: Guest<'_>, limits: CallLimits) -> CallFailure {
    let handler = Bench::new().guest(guest).await;
    handler.run_stage(task(), no_gates(), &limits).await.result.unwrap_err()
}

#[tokio::test]
async fn trap18_a_guest_that_spins_is_ended_by_its_processor_time() {
    let limits = CallLimits { guest_time: Duration::from_millis(50), ..CallLimits::default() };
    let failure = failure(Guest { process: SPIN, ..Guest::default() }, limits).await;
    assert_eq!(failure, CallFailure::Timeout("it computed for longer than 50ms".to_owned()));
}

#[tokio::test]
async fn r08_trap19_others_run_beside_a_guest_that_spins_and_dropping_it_is_safe() {
    let bench = Bench::new();
    let spinning = bench.guest(Guest { process: SPIN, ..Guest::default() }).await;
    let outcomes = bench.outcomes().await;
    // One thread alone runs everything: were the spinning guest to hold it, nothing else would come to an end.
    let spin = tokio::spawn(async move {
        let limits = CallLimits { guest_time: Duration::from_hours(1), ..CallLimits::default() };
        spinning.run_stage(task(), no_gates(), &limits).await
    });
    let mut timer = tokio::time::interval(Duration::from_millis(1));
    for _ in 0..10 {
        let report = outcomes.run_stage(first("done"), no_gates(), &CallLimits::default()).await;
        assert_eq!(report.result.unwrap().unwrap().fields["text"], "done");
        // A timer comes to its turn too (wasmCloud#5451).
        timer.tick().await;
    }
    assert!(!spin.is_finished());
    spin.abort();
    assert!(spin.await.unwrap_err().is_cancelled());
    let report = outcomes.run_stage(first("done"), no_gates(), &CallLimits::default()).await;
    assert!(report.result.unwrap().is_ok());
}

#[tokio::test]
async fn trap18_a_guest_that_takes_memory_without_end_is_told_the_limit() {
    let outcomes = Bench::new().outcomes().await;
    let limits = CallLimits { memory_bytes: 64 << 20, ..CallLimits::default() };
    let report = outcomes.run_stage(first("allocate"), no_gates(), &limits).await;
    let failure = report.result.unwrap_err();
    assert!(matches!(&failure, CallFailure::Limit(text) if text.contains("67108864 is the limit")), "{failure:?}");
    assert!(report.memory_peak_bytes <= 64 << 20);
}

#[tokio::test]
async fn trap18_a_guest_that_recurses_without_end_is_told_so() {
    let functions = "(func $down (param i32) (result i32) (i32.add (i32.const 1) (call $down (local.get 0))))";
    let guest = Guest { functions, process: "(call $down (i32.const 0))", ..Guest::default() };
    let failure = failure(guest, CallLimits::default()).await;
    assert!(matches!(&failure, CallFailure::Limit(text) if text.contains("recursed")), "{failure:?}");
}

#[tokio::test]
async fn trap18_a_guest_that_logs_without_end_is_ended_by_its_budget() {
    // Empty events: even they aren't free.
    let process = "(loop $on (call $event (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        (br $on)) unreachable";
    let failure = failure(Guest { imports: EVENT, process, ..Guest::default() }, CallLimits::default()).await;
    assert_eq!(failure, CallFailure::Limit("it logged more than 1048576 bytes".to_owned()));
    let outcomes = Bench::new().outcomes().await;
    let report = outcomes.run_stage(first("log-flood 100000"), no_gates(), &CallLimits::default()).await;
    assert!(matches!(report.result, Err(CallFailure::Limit(_))), "{:?}", report.result);
}

#[tokio::test]
async fn trap18_random_bytes_have_a_total() {
    let process = "(loop $on (global.set $top (i32.const 65536))
        (call $random (i64.const 4096) (i32.const 16)) (br $on)) unreachable";
    let failure = failure(Guest { imports: RANDOM, process, ..Guest::default() }, CallLimits::default()).await;
    assert_eq!(failure, CallFailure::Limit("it asked for more than 1048576 random bytes".to_owned()));
}

#[tokio::test]
async fn trap18_a_huge_answer_is_refused_before_it_is_taken_and_a_large_one_names_its_field() {
    let answer = |bytes: u32| format!("(i32.store (i32.const {}) (i32.const {bytes})) (i32.const {EMPTY})", EMPTY + 12);
    let huge = answer(200 << 20);
    let guest = Guest { process: &huge, pages: 4_000, ..Guest::default() };
    assert_eq!(
        failure(guest, CallLimits::default()).await,
        CallFailure::Limit("it handed over more than 134217728 bytes at once".to_owned())
    );
    let large = answer(9 << 20);
    let guest = Guest { process: &large, pages: 4_000, ..Guest::default() };
    let failure = failure(guest, CallLimits::default()).await;
    assert!(matches!(&failure, CallFailure::Invalid(text) if text.starts_with("fields: 9437184")), "{failure:?}");
}

#[tokio::test]
async fn a_trap_says_what_it_was_and_a_panic_what_it_said() {
    let failure = failure(Guest::default(), CallLimits::default()).await;
    assert!(matches!(&failure, CallFailure::Trap(text) if text.contains("unreachable")), "{failure:?}");
    let outcomes = Bench::new().outcomes().await;
    let report = outcomes.run_stage(first("panic"), no_gates(), &CallLimits::default()).await;
    let Err(CallFailure::Trap(text)) = report.result else { panic!("{:?}", report.result) };
    assert!(text.starts_with("panicked at ") && text.ends_with("asked to"), "{text:?}");
}

#[tokio::test]
async fn trap20_a_fresh_instance_shows_nothing_of_the_last() {
    // Marks its memory far and near, and a global; says whether it found a mark.
    let process = format!(
        "(if (result i32) (i32.or (i32.load (i32.const 130000)) (i32.or (i32.load (i32.const 8)) (global.get $mark)))
          (then (i32.const {SEEN}))
          (else (i32.store (i32.const 130000) (i32.const 1)) (i32.store (i32.const 8) (i32.const 1))
            (global.set $mark (i32.const 1)) (i32.const {EMPTY})))"
    );
    let functions = "(global $mark (mut i32) (i32.const 0))";
    let handler = Bench::new().guest(Guest { functions, process: &process, ..Guest::default() }).await;
    for _ in 0..50 {
        let report = handler.run_stage(task(), no_gates(), &CallLimits::default()).await;
        assert!(report.result.unwrap().unwrap().fields.is_empty());
    }
}

#[tokio::test]
async fn trap23_a_guest_forges_no_lines_and_no_terminal_sequences() {
    let bench = Bench::new();
    let outcomes = bench.outcomes().await;
    let log = Arc::new(Log::default());
    let gates = tollgate_sandbox::gates::Gates { log: log.clone(), ..no_gates() };
    let call = first("log one\u{1b}[2J\nERROR job=other failed");
    outcomes.run_stage(call, gates, &CallLimits::default()).await.result.unwrap().unwrap();
    let events = log.0.lock().unwrap();
    let event = events.iter().find(|event| event.message.contains("job=other")).unwrap();
    assert!(!event.message.contains(['\u{1b}', '\n']), "{:?}", event.message);
}

#[tokio::test]
async fn trap24_the_environment_is_empty() {
    assert!(std::env::vars().next().is_some());
    let process = format!(
        "(call $environment (i32.const 16))
         (if (result i32) (i32.load (i32.const 20)) (then (i32.const {SEEN})) (else (i32.const {EMPTY})))"
    );
    let handler = Bench::new().guest(Guest { imports: ENVIRONMENT, process: &process, ..Guest::default() }).await;
    let report = handler.run_stage(task(), no_gates(), &CallLimits::default()).await;
    assert!(report.result.unwrap().unwrap().fields.is_empty());
}
