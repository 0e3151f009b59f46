//! `tollgate item retry`: one stage of many items is shown first, and what was shown is what runs again (P07, trap 31);
//! with `--reuse-answers`, what was paid for isn't paid again.

use std::{fs, sync::Arc};

use serde_json::json;
use tollgate_core::money::NanoUsd;
use tollgate_sim::sites::{
    scripted::{Scripted, Step},
    search::Brave,
};

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

#[tokio::test(flavor = "multi_thread")]
async fn m02_a_re_run_that_is_told_to_reuse_answers_pays_for_none_and_each_search_is_shown_with_its_query() {
    let brave = Arc::new(Brave::new(7, NanoUsd(5_000_000)));
    let world = World::new(vec![(Brave::HOST, brave.clone())]).await;
    fs::write(world.path("key"), "any").unwrap();
    world.jobs(
        "[search.web]\nprovider = \"brave\"\nkey = { file = \"key\" }\nprice = \"0.005 USD\"\n\
         [job.test]\nkind = \"backfill\"\nhandler = \"searching\"\ngrant = [\"search\"]\n",
    );
    ok(&world, &["run", "--until-idle"]).await;
    let queries = json!({ "queries": [{ "query": "anvils", "limit": 3 }] });
    let lines = world.path("items.jsonl");
    fs::write(&lines, json!({ "key": "one", "data": queries }).to_string()).unwrap();
    ok(&world, &["item", "add", "test", "--from", lines.to_str().unwrap()]).await;
    ok(&world, &["run", "--until-idle"]).await;
    let searched = || world.sim.counts().of_host(Brave::HOST);
    assert_eq!(searched(), 1);

    let said = ok(&world, &["item", "retry", "test", "one", "--reuse-answers"]).await;
    assert!(said.contains("opened again, with the answers that they have paid for"), "{said}");
    let shown = ok(&world, &["item", "show", "test", "one"]).await;
    assert!(shown.contains("takes answers up to attempt 1 again"), "{shown}");
    ok(&world, &["run", "--until-idle"]).await;
    assert_eq!((runs(&world, "one", "first").await, searched()), (2, 1));
    let shown = ok(&world, &["item", "show", "test", "one"]).await;
    assert!(!shown.contains("takes answers"), "{shown}");
    let all = ["item", "retry", "test", "--stage", "first", "--all", "--reuse-answers"];
    let shown = ok(&world, &[&all[..], &["--dry-run"]].concat()).await;
    assert!(shown.contains("would run again with the answers that it has paid for"), "{shown}");
    ok(&world, &[&all[..], &["--yes"]].concat()).await;
    ok(&world, &["run", "--until-idle"]).await;
    assert_eq!((runs(&world, "one", "first").await, searched()), (3, 1));
    ok(&world, &["item", "retry", "test", "one"]).await;
    ok(&world, &["run", "--until-idle"]).await;
    assert_eq!((runs(&world, "one", "first").await, searched()), (4, 2), "who doesn't say so has it searched for anew");

    let rows = answer(&world, &["cost", "--rows"]).await;
    let calls: Vec<String> = rows.as_array().unwrap().iter().map(|row| row["entry"]["id"].to_string()).collect();
    assert_eq!(calls.len(), 2, "{rows}");
    let kept = answer(&world, &["cost", "--answer", &calls[0]]).await;
    assert_eq!((&kept["query"], kept["hits"].as_array().map(Vec::len)), (&json!("anvils"), Some(3)), "{kept}");
    let older = run(&world, &["cost", "--answer", &calls[1]]).await;
    assert_eq!(older.status.code(), Some(4), "a newer one has taken its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn p06_a_re_run_shows_what_it_fetches_again_and_leaves_a_reader_done_whose_input_has_gone() {
    let world = World::new(vec![]).await;
    world.jobs("[job.test]\nkind = \"backfill\"\nhandler = \"passing\"\ngrant = [\"artifacts\"]\n");
    ok(&world, &["run", "--until-idle"]).await;
    ok(&world, &["item", "add", "test", "a", "b"]).await;
    ok(&world, &["run", "--until-idle"]).await;
    let bytes = 2 * ((1 << 20) + 1);
    let gone = json!({"items": 2, "binaries": 2, "bytes": bytes});
    let of = |stage: &'static str, more: &[&'static str]| -> Vec<&'static str> {
        ["item", "retry", "test", "--stage", stage].iter().chain(more).copied().collect()
    };
    let all = ["--all", "--dry-run"];
    let dry = answer(&world, &of("fetch", &all)).await;
    assert_eq!((&dry["items"], &dry["again"]), (&json!(2), &gone), "{dry}");
    let said = ok(&world, &of("fetch", &all)).await;
    assert!(
        said.contains("of 2 of them large binaries have gone (2 of them, 2.09 MB): these are fetched again"),
        "{said}"
    );

    // Who reads them can't, and isn't made to fail by that.
    let dry = answer(&world, &of("hear", &all)).await;
    let lacks =
        |key: &str| json!({"key": key, "maker": "fetch", "gone": {"items": 1, "binaries": 1, "bytes": bytes / 2}});
    assert_eq!((&dry["items"], &dry["lacking"]), (&json!(0), &json!([lacks("a"), lacks("b")])), "{dry}");
    let first =
        "fetch has to run again before hear can read them; first `tollgate item retry test --stage fetch KEY...`";
    for args in [of("hear", &all), of("hear", &["--all", "--yes"]), of("hear", &["a", "b"])] {
        let said = ok(&world, &args).await;
        assert!(said.contains("2 items are left alone") && said.contains(first) && said.contains("a, b"), "{said}");
    }
    ok(&world, &["run", "--until-idle"]).await;
    assert_eq!(answer(&world, &["item", "list", "test", "--status", "done"]).await.as_array().unwrap().len(), 2);
    assert_eq!(runs(&world, "a", "hear").await, 1);

    // As it says: first the one, then the other.
    let done = answer(&world, &of("fetch", &["a"])).await;
    assert_eq!((&done["items"], &done["lacking"]), (&json!(1), &json!(null)), "{done}");
    ok(&world, &["run", "--until-idle"]).await;
    let done = answer(&world, &of("hear", &["a", "b"])).await;
    assert_eq!((&done["items"], &done["lacking"]), (&json!(1), &json!([lacks("b")])), "{done}");
    ok(&world, &["run", "--until-idle"]).await;
    assert_eq!((runs(&world, "a", "fetch").await, runs(&world, "a", "hear").await), (2, 2));
    let dry = answer(&world, &of("fetch", &all)).await;
    assert_eq!(dry["again"], gone, "it has gone again: {dry}");
}
