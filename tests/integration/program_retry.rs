//! `tollgate item retry --stage` of many items: shown first, and what was shown is what runs again (P07, trap 31).

use std::{fs, sync::Arc};

use serde_json::json;
use tollgate_sim::sites::scripted::{Scripted, Step};

use crate::{
    program::{json as answer, ok, run},
    world::{SITE, World, outcomes},
};

/// Five items whose page is fetched: of three the second stage is done, of one it fails, and one is left out.
async fn world() -> World {
    let world = World::new(vec![(SITE, Arc::new(Scripted::new().path("/", [Step::ok("a page")])))]).await;
    world.jobs(&outcomes("[job.test.stage.second]\nattempts = 1\n"));
    ok(&world, &["run", "--until-idle"]).await;
    let line = |key: &str, second: &str| {
        let script = json!({"first": format!("fetch http://{SITE}/"), "second": second});
        format!("{}\n", json!({"key": key, "data": script}))
    };
    let all = [("a", "done x"), ("b", "done x"), ("c", "done x"), ("broken", "permanent no"), ("left", "done x")];
    let lines = world.path("items.jsonl");
    fs::write(&lines, all.map(|(key, second)| line(key, second)).concat()).unwrap();
    ok(&world, &["item", "add", "test", "--from", lines.to_str().unwrap()]).await;
    ok(&world, &["item", "exclude", "test", "left"]).await;
    ok(&world, &["run", "--until-idle"]).await;
    world
}

async fn runs(world: &World, key: &str, stage: &str) -> usize {
    let item = answer(world, &["item", "show", "test", key]).await;
    item["attempts"][stage].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn p07_one_stage_of_many_items_runs_again_by_one_command_that_shows_them_first() {
    let world = world().await;
    let stage = ["item", "retry", "test", "--stage", "second"];
    let with = |more: &[&'static str]| -> Vec<&'static str> { stage.iter().chain(more).copied().collect() };
    // What says no items is not all of them.
    for args in [with(&[]), vec!["item", "retry", "test"]] {
        let refused = run(&world, &args).await;
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(["--failed", "--status", "--all"].iter().all(|word| said.contains(word)), "what to add: {said}");
    }
    let dry = answer(&world, &with(&["--status", "done", "--dry-run"])).await;
    assert_eq!(dry, json!({"stage": "second", "status": "done", "items": 3, "named": ["a", "b", "c"]}));
    let unsaid = run(&world, &with(&["--all"])).await;
    let said = String::from_utf8(unsaid.stderr).unwrap();
    assert_eq!(unsaid.status.code(), Some(2), "nobody was asked: {said}");
    assert!(said.contains("stage second of 4 items of test") && said.contains("--yes"), "{said}");
    assert_eq!(answer(&world, &["item", "list", "test", "--status", "queued"]).await, json!([]), "nothing was changed");

    let done = answer(&world, &with(&["--status", "done", "--yes"])).await;
    assert_eq!((&done["items"], &done["tasks"]), (&json!(3), &json!(3)), "{done}");
    assert_eq!(answer(&world, &with(&["--status", "done", "--dry-run"])).await["items"], 0, "they run again already");
    ok(&world, &["run", "--until-idle"]).await;
    for key in ["a", "b", "c"] {
        assert_eq!((runs(&world, key, "first").await, runs(&world, key, "second").await), (1, 2), "{key}");
    }
    assert_eq!(runs(&world, "broken", "second").await, 1, "it wasn't meant");
    let failed = answer(&world, &with(&["--failed", "--yes"])).await;
    assert_eq!((&failed["items"], &failed["tasks"]), (&json!(1), &json!(1)), "{failed}");
    ok(&world, &["run", "--until-idle"]).await;
    assert_eq!((runs(&world, "broken", "first").await, runs(&world, "broken", "second").await), (1, 2));
    assert_eq!(runs(&world, "left", "second").await, 0, "a person left it out");
    assert_eq!(world.sim.counts().of(SITE, "/"), 4, "no page was downloaded again");
    let unknown = run(&world, &["item", "retry", "test", "--stage", "secnod", "--all"]).await;
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("`second`"));
}
