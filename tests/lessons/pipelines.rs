//! P, I, Q: stages, conditions, alternatives, loading, discovery.

use std::sync::Arc;

use serde_json::json;
use tollgate::HostError;
use tollgate_core::{
    item::ItemStatus,
    task::{SkipReason, TaskKind, TaskState},
};
use tollgate_sim::sites::scripted::{Release, Scripted, Step};

use crate::world::{SITE, World, detail, first, item, keys, outcomes, run_items, run_one, state, stop, wait};

#[tokio::test]
async fn p01_a_circle_or_an_unknown_stage_is_refused_with_its_place() {
    let world = World::new(vec![]).await;
    for (lines, message) in [
        ("[job.test.stage.first]\nneeds = [\"second\"]\n", "circle"),
        ("[job.test.stage.fisrt]\nconcurrency = 1\n", "no stage `fisrt`"),
        ("[job.test.stage.first]\nneeds = [\"zeroth\"]\n", "`zeroth`"),
        ("[job.test.stage.second]\nwhen = \"second.grade > 1\"\n", "names `second`"),
        ("[job.test.stage.second]\nwhen = \"zeroth.grade > 1\"\n", "names `zeroth`"),
        ("stages = [\"first\", \"second\"]\n[job.test.stage.second]\nwhen = \"left.grade > 1\"\n", "names `left`"),
        ("[job.test.stage.first]\nwhen = \"second.grade > 1\"\n", "circle"),
    ] {
        let host = world.start(&world.jobs(&outcomes(lines))).await;
        let overview = host.operations().overview().await.unwrap();
        let attention = &overview.attention[0].message;
        assert!(attention.contains(message) && attention.contains("jobs.toml:"), "{attention}");
        stop(host).await;
    }
}

#[tokio::test]
async fn p03_a_false_condition_skips_the_stage_and_costs_nothing() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes("[job.test.stage.second]\nwhen = \"first.grade >= 6\"\n"))).await;
    let one = run_one(&host, json!({})).await;
    let reason = SkipReason::Condition { when: "first.grade >= 6".to_owned() };
    assert_eq!(state(&one, "second"), &TaskState::Skipped { reason });
    assert!(one.attempts.keys().all(|stage| stage.as_str() != "second"));
    assert_eq!(one.item.status, ItemStatus::Done);
    stop(host).await;
}

#[tokio::test]
async fn p03_a_condition_waits_for_the_stages_that_it_names() {
    let release = Release::new();
    let site = Scripted::new().path("/", [Step::ok("fine").hang_until(&release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let jobs = outcomes("[job.test.stage.second]\nwhen = \"left.grade >= 1\"\n");
    let host = world.start(&world.jobs(&jobs)).await;
    let mut progress = host.progress();
    let script = json!({"left": format!("fetch http://{SITE}/")});
    host.operations().add("test", vec![item("one", &script)]).await.unwrap();
    world.sim.wait_for(|counts| counts.in_flight(SITE) == 1).await;
    let first_done = |job: &tollgate_engine::operations::JobDetail| job.job.stages[0].tasks[&TaskKind::Done] == 1;
    wait(&mut progress, host.operations(), first_done).await;
    let one = detail(&host, "one").await;
    assert!(matches!(state(&one, "second"), TaskState::Waiting { on } if on == &["left"]), "{one:?}");
    release.release();
    wait(&mut progress, host.operations(), |job| crate::world::open_items(job) == 0).await;
    assert_eq!(state(&detail(&host, "one").await, "second"), &TaskState::Done);
    stop(host).await;
}

#[tokio::test]
async fn s13_a_stage_whose_artifact_nobody_makes_is_refused_alike_by_check_and_run() {
    let world = World::new(vec![]).await;
    let lonely = "[job.lonely]\nkind = \"backfill\"\nhandler = \"pages\"\ngrant = [\"http\", \"artifacts\"]\n\
                  stages = [\"extract\"]\n\
                  [job.lonely.stage.extract]\nneeds = []\n";
    let file = world.jobs(&(outcomes("") + lonely));
    let host = world.start(&file).await;
    assert_eq!(run_one(&host, json!({})).await.item.status, ItemStatus::Done);
    let attention = host.operations().overview().await.unwrap().attention;
    let said =
        &attention.iter().find(|line| line.job.as_ref().is_some_and(|job| job.as_str() == "lonely")).unwrap().message;
    assert!(said.contains("needs `fetch`"), "{said}");
    stop(host).await;
    let data = world.path("data");
    let report = tollgate::check(&file, Some(&data), tollgate_sandbox::Compiler::InProcess).await.unwrap();
    let refused: Vec<_> = report.jobs.iter().filter(|(_, job)| job.is_err()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(refused, ["lonely"]);
}

#[tokio::test]
async fn p04_a_rejection_ends_the_item_without_failure() {
    let world = World::new(vec![]).await;
    let host = world
        .start(&world.jobs(&outcomes(
            "breaker = 1\n[job.test.stage.left]\nneeds = [\"first\"]\n[job.test.stage.right]\nneeds = [\"first\"]\n",
        )))
        .await;
    let one = run_one(&host, first("reject")).await;
    assert_eq!(one.item.status, ItemStatus::Skipped);
    let TaskState::Skipped { reason: SkipReason::Rejected { by, .. } } = state(&one, "last") else {
        panic!("{one:#?}");
    };
    assert_eq!(by.as_str(), "first");
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none());
    stop(host).await;
}

#[tokio::test]
async fn p05_the_alternative_runs_only_where_the_first_has_nothing() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes(""))).await;
    run_items(&host, vec![item("has", &json!({})), item("has-not", &json!({"left": "nothing"}))]).await;
    let (has, has_not) = (detail(&host, "has").await, detail(&host, "has-not").await);
    assert!(matches!(state(&has, "right"), TaskState::Skipped { reason: SkipReason::Alternative { .. } }));
    assert!(matches!(state(&has_not, "right"), TaskState::Done));
    let flags = |item: &tollgate_store::ItemDetail| item.quality_flags.values().flatten().cloned().collect::<Vec<_>>();
    assert_eq!((flags(&has), flags(&has_not)), (vec!["took-left".to_owned()], vec!["took-right".to_owned()]));
    stop(host).await;
}

#[tokio::test]
async fn i04_a_capability_that_is_not_granted_is_named_at_load() {
    let world = World::new(vec![]).await;
    let jobs = "[job.test]\nkind = \"backfill\"\nhandler = \"outcomes\"\ngrant = [\"http\"]\n";
    let host = world.start(&world.jobs(jobs)).await;
    let overview = host.operations().overview().await.unwrap();
    let message = &overview.attention[0].message;
    assert!(message.contains("\"artifacts\", \"state\", which job test does not grant"), "{message}");
    assert!(message.contains("write: grant = [\"http\", \"artifacts\", \"state\"]"), "{message}");
    stop(host).await;
}

#[tokio::test]
async fn q07_a_discovery_that_fails_is_shown_and_one_that_pages_is_complete() {
    let world = World::new(vec![]).await;
    let bad = outcomes("discover = \"once\"\nparams = { count = 5, page = 2, discovery = \"failed\" }\n");
    let host = world.start(&world.jobs(&bad)).await;
    let mut progress = host.progress();
    wait(&mut progress, host.operations(), |job| job.job.discovery.errors > 0).await;
    let job = host.operations().job("test").await.unwrap();
    assert!(
        job.attention.iter().any(|attention| attention.message.contains("discovery failed")),
        "{:?}",
        job.attention
    );
    stop(host).await;

    let good = outcomes("discover = \"once\"\nparams = { count = 5, page = 2 }\n");
    std::fs::remove_dir_all(world.path("data")).unwrap();
    let host = world.start(&world.jobs(&good)).await;
    let mut progress = host.progress();
    wait(&mut progress, host.operations(), |job| job.job.discovery.finished && crate::world::open_items(job) == 0)
        .await;
    assert_eq!(keys(host.operations(), "test").await, ["item-0", "item-1", "item-2", "item-3", "item-4"]);
    stop(host).await;
}

#[tokio::test]
async fn found_items_come_with_the_output_and_known_ones_are_left_alone() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes(""))).await;
    run_items(&host, vec![item("a", &first("found 3")), item("b", &first("found 2"))]).await;
    let mut all = keys(host.operations(), "test").await;
    all.sort();
    assert_eq!(all, ["a", "b", "found-0", "found-1", "found-2"]);
    stop(host).await;
}

#[tokio::test]
async fn an_excluded_item_is_skipped_and_pause_holds_work_back() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes(""))).await;
    let operations = host.operations().clone();
    operations.pause("test", "test", "looking").await.unwrap();
    operations.add("test", vec![item("a", &json!({})), item("b", &json!({}))]).await.unwrap();
    let out = operations.exclude("test", vec![tollgate_core::ItemKey::new("a").unwrap()], "not wanted").await.unwrap();
    assert_eq!(out.items, 1);
    assert_eq!(detail(&host, "b").await.item.status, ItemStatus::Queued);
    let mut progress = host.progress();
    assert!(operations.resume("test").await.unwrap().is_some());
    wait(&mut progress, &operations, |job| crate::world::open_items(job) == 0).await;
    assert_eq!(detail(&host, "a").await.item.status, ItemStatus::Skipped);
    assert_eq!(detail(&host, "b").await.item.status, ItemStatus::Done);
    stop(host).await;
}

#[tokio::test]
async fn a_jobs_toml_that_is_wrong_is_refused_with_everything_wrong_in_it() {
    let world = World::new(vec![]).await;
    let file = world.jobs(&outcomes("breaker = 0\ndiscover = \"twice\"\n"));
    let Err(HostError::Spec(found)) = world.host(&file).await.start().await.map(drop) else {
        panic!("it was taken");
    };
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|diagnostic| diagnostic.at.line > 0 && diagnostic.help.is_some()));
}
