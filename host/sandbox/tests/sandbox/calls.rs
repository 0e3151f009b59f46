//! Calls of a well-meaning handler: what goes in and comes out, each outcome, discovery, the wall clock.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use serde_json::json;
use tollgate_core::{
    JobName,
    http::{HttpError, HttpRequest},
    outcome::StageError,
};
use tollgate_sandbox::{
    Instances, KeptMemory,
    call::{CallFailure, CallLimits, DiscoverCall},
    gates::{Fetched, Gates, HttpGate},
};

use crate::guests::{Bench, EMPTY, Guest, first, no_gates, task};

#[tokio::test]
async fn an_output_comes_back_with_its_items_and_flags() {
    let outcomes = Bench::new().outcomes().await;
    let run = async |action: &str| {
        let report = outcomes.run_stage(first(action), no_gates(), &CallLimits::default()).await;
        assert!(report.memory_peak_bytes > 0);
        report.result.unwrap().unwrap()
    };
    assert_eq!(run("done hello").await.fields["text"], "hello");
    let found = run("found 3").await.found;
    assert_eq!(found.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["found-0", "found-1", "found-2"]);
    assert_eq!(found[2].data["number"], 2);
    assert_eq!(run("flag possible-duplicate").await.quality_flags, ["possible-duplicate"]);
}

#[tokio::test]
async fn each_stage_error_arrives_as_itself() {
    let outcomes = Bench::new().outcomes().await;
    let run = async |action: &str| {
        let report = outcomes.run_stage(first(action), no_gates(), &CallLimits::default()).await;
        report.result.unwrap().unwrap_err()
    };
    let asked = |word: &str| format!("asked to: {word}");
    let after = Some(Duration::from_millis(500));
    assert_eq!(run("retry-later 500").await, StageError::RetryLater { reason: asked("retry-later"), after });
    assert_eq!(run("nothing").await, StageError::NothingHere(asked("nothing")));
    assert_eq!(run("reject").await, StageError::Reject(asked("reject")));
    assert_eq!(run("blocked").await, StageError::Blocked(asked("blocked")));
    assert_eq!(run("login").await, StageError::LoginRequired(asked("login")));
    assert_eq!(run("permanent").await, StageError::Permanent(asked("permanent")));
    assert_eq!(run("failed").await, StageError::Failed(asked("failed")));
}

#[tokio::test]
async fn discovery_pages_by_cursor() {
    let outcomes = Bench::new().outcomes().await;
    let params = json!({"count": 3, "page": 2}).as_object().unwrap().clone();
    let (mut cursor, mut keys) = (None, Vec::new());
    loop {
        let call = DiscoverCall { job: JobName::new("trial").unwrap(), params: params.clone(), cursor };
        let found = outcomes.discover(call, no_gates(), &CallLimits::default()).await.result.unwrap().unwrap();
        keys.extend(found.items.into_iter().map(|item| item.key.to_string()));
        cursor = found.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(keys, ["item-0", "item-1", "item-2"]);
}

#[tokio::test]
async fn an_answer_that_is_no_object_or_has_a_bad_item_is_invalid_and_names_the_field() {
    let bench = Bench::new();
    // `{` alone; and one item, whose key is empty.
    for (process, field) in [
        (format!("(i32.store (i32.const {}) (i32.const 1)) (i32.const {EMPTY})", EMPTY + 12), "fields: not JSON"),
        (format!("(i32.store (i32.const {}) (i32.const 1)) (i32.const {EMPTY})", EMPTY + 20), "the key of item 0"),
    ] {
        let handler = bench.guest(Guest { process: &process, ..Guest::default() }).await;
        let failure = handler.run_stage(task(), no_gates(), &CallLimits::default()).await.result.unwrap_err();
        assert!(matches!(&failure, CallFailure::Invalid(text) if text.starts_with(field)), "{failure:?}");
    }
}

/// A gate that never answers.
struct Silent;

impl HttpGate for Silent {
    fn fetch(&self, _request: HttpRequest) -> BoxFuture<'_, Result<Arc<dyn Fetched>, HttpError>> {
        std::future::pending().boxed()
    }

    fn zip_members(&self, _url: String) -> BoxFuture<'_, Result<Vec<String>, HttpError>> {
        std::future::pending().boxed()
    }

    fn zip_member(&self, _url: String, _member: String) -> BoxFuture<'_, Result<Arc<dyn Fetched>, HttpError>> {
        std::future::pending().boxed()
    }
}

#[tokio::test]
async fn a_call_that_waits_ends_by_the_wall_clock_and_waiting_costs_no_guest_time() {
    let outcomes = Bench::new().outcomes().await;
    let gates = Gates { http: Some(Arc::new(Silent)), ..no_gates() };
    let wall_time = Duration::from_millis(300);
    let limits = CallLimits { wall_time, ..CallLimits::default() };
    let report = outcomes.run_stage(first("fetch https://a.example/"), gates, &limits).await;
    assert!(matches!(&report.result, Err(CallFailure::Timeout(text)) if text.contains("waits included")));
    assert!(u128::from(report.guest_us) < wall_time.as_micros());
}

#[tokio::test]
async fn a_hundred_tasks_share_eight_places() {
    let outcomes = Bench::new().outcomes().await;
    let limits = CallLimits::default();
    let calls = (0..100).map(|_| outcomes.run_stage(first("done"), no_gates(), &limits));
    for report in futures::future::join_all(calls).await {
        assert_eq!(report.result.unwrap().unwrap().found, Vec::new());
    }
}

#[tokio::test]
async fn reuse_keeps_an_instance_for_so_many_tasks_and_none_that_failed() {
    let outcomes = Bench::new().outcomes().await;
    let call = async |instances: &Instances, action: &str| {
        let report = outcomes.run_stage_in(instances, first(action), no_gates(), &CallLimits::default()).await;
        report.result.ok().map(|answer| answer.map(|output| output.fields["text"].clone()))
    };
    let counts_of = async |instances: Instances, actions: &[&str]| {
        let mut counts = Vec::new();
        for action in actions {
            if let Some(Ok(count)) = call(&instances, action).await
                && *action == "count"
            {
                counts.push(count.as_str().unwrap().to_owned());
            }
        }
        counts
    };
    let counts = async |reuse| {
        let instances = Instances::new(reuse, 1, KeptMemory::default());
        counts_of(instances, &["count", "count", "nothing", "count", "panic", "count"]).await
    };
    assert_eq!(counts(1).await, ["1", "1", "1", "1"], "trap20: each task has a fresh one");
    assert_eq!(
        counts(3).await,
        ["1", "2", "1", "1"],
        "the third task was the last of its instance, and a panic ends one"
    );
    assert_eq!(counts(100).await, ["1", "2", "3", "1"]);
    for bad in ["failed", "blocked", "permanent"] {
        let instances = Instances::new(100, 1, KeptMemory::default());
        assert_eq!(counts_of(instances, &["count", bad, "count"]).await, ["1", "1"], "{bad}");
    }
    let no_memory = Instances::new(100, 1, KeptMemory::new(1 << 10));
    assert_eq!(counts_of(no_memory, &["count", "count"]).await, ["1", "1"], "what is kept is bounded");
    let none = Instances::new(100, 0, KeptMemory::default());
    assert_eq!(counts_of(none, &["count", "count"]).await, ["1", "1"], "no more than run side by side");
}
