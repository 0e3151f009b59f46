//! S: silent failures and data integrity.

use std::{fs, sync::Arc};

use serde_json::json;
use tollgate_core::{
    item::ItemStatus,
    pause::PauseReason,
    task::{ErrorKind, TaskState},
};

use tollgate_sim::sites::scripted::{Scripted, Step};

use crate::world::{SITE, World, detail, first, item, outcomes, run_items, run_one, state, stop};

fn error_of(state: &TaskState) -> (ErrorKind, String) {
    match state {
        TaskState::Failed { error } => (error.kind, error.message.clone()),
        other => panic!("not failed: {other:?}"),
    }
}

#[tokio::test]
async fn s01_an_empty_or_breaking_output_is_never_done() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes("breaker = 100\n[job.test.stage.first]\nattempts = 1\n"))).await;
    for (action, field) in [("empty-string", "/text"), ("empty-list", "/list"), ("breach", "/grade")] {
        run_items(&host, vec![item(action, &first(action))]).await;
        let (kind, message) = error_of(state(&detail(&host, action).await, "first"));
        assert_eq!(kind, ErrorKind::Contract, "{action}");
        assert!(message.contains(field), "{action}: {message}");
    }
    stop(host).await;
}

#[tokio::test]
async fn s03_failures_of_distinct_items_pause_the_job_with_the_last_error() {
    let world = World::new(vec![]).await;
    // One lane: an item whose other stages are ready has not ended yet.
    let jobs = outcomes("stages = [\"first\", \"second\"]\n[job.test.stage.first]\nattempts = 1\nconcurrency = 1\n");
    let host = world.start(&world.jobs(&jobs)).await;
    let items = (0..6).map(|number| item(&format!("i{number}"), &first("failed"))).collect();
    run_items(&host, items).await;
    let job = host.operations().job("test").await.unwrap();
    let pause = job.job.pause.unwrap();
    assert!(
        matches!(&pause.reason, PauseReason::Breaker { stage, failures: 3 } if stage.as_str() == "first"),
        "{pause:?}"
    );
    assert!(pause.evidence.contains("asked to: failed"), "{pause:?}");
    assert!(job.attention[0].message.contains("asked to: failed"), "{:?}", job.attention);
    assert_eq!(job.job.items[&ItemStatus::Failed], 3, "the rest wasn't tried");
    stop(host).await;
}

#[tokio::test]
async fn s03_a_mistake_in_params_pauses_the_job_and_is_named() {
    // One that no schema can tell: a name in one param that another lacks.
    let pages = (0..6).fold(Scripted::new(), |site, number| site.path(&format!("/{number}"), [Step::ok("<h1>T</h1>")]));
    let world = World::new(vec![(SITE, Arc::new(pages))]).await;
    let jobs = format!(
        "[job.test]\nkind = \"backfill\"\nhandler = \"pages\"\ngrant = [\"http {SITE}\", \"artifacts\"]\n\
         [job.test.stage.extract]\nconcurrency = 1\n\
         params = {{ fields = {{ title = \"h1\" }}, required = [\"sku\"] }}\n"
    );
    let host = world.start(&world.jobs(&jobs)).await;
    let url = |number| format!("http://{SITE}/{number}");
    run_items(&host, (0..6).map(|number| item(&url(number), &json!({"url": url(number), "depth": 0}))).collect()).await;
    let job = host.operations().job("test").await.unwrap();
    let pause = job.job.pause.unwrap();
    assert!(
        matches!(&pause.reason, PauseReason::Breaker { stage, failures: 3 } if stage.as_str() == "extract"),
        "{pause:?}"
    );
    assert!(pause.evidence.contains("params: `required` names sku"), "{pause:?}");
    stop(host).await;
}

#[tokio::test]
async fn s06_a_missing_artifact_fails_the_stage() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes("[job.test.stage.first]\nattempts = 1\n"))).await;
    let (kind, message) = error_of(state(&run_one(&host, first("get")).await, "first"));
    assert_eq!(kind, ErrorKind::Failed);
    assert!(message.contains("missing"), "{message}");
    stop(host).await;
}

#[test]
fn s07_a_stage_gives_an_output_or_a_typed_error() {
    let wit = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/0.1.0/handler.wit")).unwrap();
    assert!(wit.contains("process-stage: func(task: task) -> result<output, stage-error>;"));
}

#[tokio::test]
async fn s09_a_re_run_of_one_stage_leaves_every_other_output() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes("[job.test.stage.second]\nattempts = 1\n"))).await;
    let before = run_one(&host, json!({"first": "put raw", "second": "permanent"})).await;
    let operations = host.operations();
    let done = operations.retry("test", tollgate_store::Selection::Failed).await.unwrap();
    assert_eq!(done.tasks, 1);
    run_items(&host, vec![]).await;
    let after = detail(&host, "one").await;
    assert_eq!(before.item.outputs, after.item.outputs);
    assert_eq!(before.artifacts, after.artifacts);
    assert!(!after.artifacts.is_empty());
    stop(host).await;
}

#[tokio::test]
async fn s13_a_broken_handler_harms_no_other_job() {
    let world = World::new(vec![]).await;
    let folder = world.path("handlers");
    fs::create_dir(&folder).unwrap();
    fs::copy(crate::world::handlers().join("outcomes.wasm"), folder.join("outcomes.wasm")).unwrap();
    fs::write(folder.join("broken.wasm"), "no wasm at all").unwrap();
    let jobs = format!(
        "[host]\nhandlers = {:?}\n[proxy.main]\nurl = {:?}\n{}[job.other]\nkind = \"backfill\"\nhandler = \"broken\"\n",
        folder.display().to_string(),
        world.sim.proxy_url(),
        outcomes("")
    );
    let file = world.path("jobs.toml");
    fs::write(&file, jobs).unwrap();
    let host = world.start(&file).await;
    let one = run_one(&host, json!({})).await;
    assert_eq!(one.item.status, ItemStatus::Done);
    let overview = host.operations().overview().await.unwrap();
    let broken =
        overview.attention.iter().find(|attention| attention.job.as_ref().is_some_and(|job| job.as_str() == "other"));
    assert!(broken.unwrap().message.contains("it is no WebAssembly"), "{:?}", overview.attention);
    stop(host).await;
}

#[tokio::test]
async fn s14_every_attempt_keeps_its_error() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes("[job.test.stage.first]\nbackoff = \"1ms\"\n"))).await;
    let one = run_one(&host, first("heal 4")).await;
    assert_eq!(one.item.status, ItemStatus::Done);
    let attempts = one.attempts.iter().find(|(stage, _)| stage.as_str() == "first").unwrap().1;
    assert_eq!(attempts.len(), 4);
    assert!(
        attempts[..3].iter().all(|attempt| attempt.error.as_ref().is_some_and(|error| error.message.contains("heal")))
    );
    assert!(attempts[3].error.is_none());
    stop(host).await;
}

#[tokio::test]
async fn s18_a_stage_waits_for_what_it_needs_and_says_so() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes("[job.test.stage.first]\nattempts = 1\n"))).await;
    let one = run_one(&host, first("permanent")).await;
    assert!(matches!(state(&one, "second"), TaskState::Unreachable { needs } if needs == &["first"]));
    assert!(one.attempts.keys().all(|stage| stage.as_str() != "second"));
    stop(host).await;
}

#[tokio::test]
async fn trap18_a_guest_that_traps_twice_is_poison_and_harms_nobody() {
    let world = World::new(vec![]).await;
    let jobs = outcomes("breaker = 100\n[job.test.stage.first]\nbackoff = \"1ms\"\ntimeout = \"6s\"\n");
    let host = world.start(&world.jobs(&jobs)).await;
    let items = vec![
        item("panics", &first("panic")),
        item("allocates", &first("allocate")),
        item("spins", &first("spin")),
        item("good", &json!({})),
    ];
    run_items(&host, items).await;
    let (kind, message) = error_of(state(&detail(&host, "panics").await, "first"));
    assert_eq!(kind, ErrorKind::Poison);
    assert!(message.contains("asked to"), "the panic's own words: {message}");
    let (_, message) = error_of(state(&detail(&host, "allocates").await, "first"));
    assert!(message.contains("bytes of memory"), "{message}");
    let (kind, _) = error_of(state(&detail(&host, "spins").await, "first"));
    assert_eq!(kind, ErrorKind::Poison);
    assert_eq!(detail(&host, "good").await.item.status, ItemStatus::Done);
    stop(host).await;
}
