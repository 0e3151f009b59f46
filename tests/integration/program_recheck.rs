//! `tollgate recheck` as people run it: of a stopped host and of a running one.

use std::{fs, process::Stdio, sync::Arc};

use serde_json::{Value, json};
use tollgate_sim::sites::scripted::{Release, Scripted, Step};

use crate::{
    program::{json as answer, ok, run, tollgate},
    world::{SITE, World, first, outcomes},
};

const WALL: &str = "<html><body><article><h1>Please wait 24 hours</h1><p>You have read a good many theses since \
                    yesterday, more than any person would, and the club asks you to come back \
                    tomorrow.</p></article></body></html>";
const PAGE: &str =
    "<html><body><article><h1>A thesis</h1><p>Words about a company, and more.</p></article></body></html>";

async fn add(world: &World, key: &str, script: &Value) {
    let lines = world.path("items.jsonl");
    fs::write(&lines, format!("{}\n", json!({"key": key, "data": script}))).unwrap();
    ok(world, &["item", "add", "test", "--from", lines.to_str().unwrap()]).await;
}

/// A wall that was stored as content when nobody knew its words; now jobs.toml has them.
async fn walled(release: &Release) -> World {
    let site = Scripted::new()
        .path("/wall", [Step::ok(WALL), Step::ok(PAGE)])
        .path("/page", [Step::ok(PAGE)])
        .path("/hangs", [Step::ok("fine").hang_until(release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    world.jobs(&outcomes(""));
    ok(&world, &["run", "--until-idle"]).await;
    for path in ["wall", "page"] {
        let script = json!({"first": format!("bytes http://{SITE}/{path}"), "second": "done made-of-it"});
        add(&world, path, &script).await;
    }
    ok(&world, &["run", "--until-idle"]).await;
    let none = answer(&world, &["recheck", "test"]).await;
    assert_eq!((&none["items"], &none["pages"], &none["queued"]), (&json!(2), &json!(2), &json!(0)), "{none}");
    world.jobs(&outcomes(&format!(
        "[site.\"{SITE}\"]\nguard = [{{ text = \"Please wait 24 hours\", outcome = \"rate-limited\", \
         for = \"24h\" }}]\n"
    )));
    world
}

async fn status_of(world: &World, key: &str) -> Value {
    answer(world, &["item", "show", "test", key]).await["item"]["status"].clone()
}

/// What a dry run finds, and the real one after it.
async fn recheck_finds_the_wall(world: &World) {
    let dry = answer(world, &["recheck", "test", "--dry-run"]).await;
    let rules: Vec<(&String, &Value)> = dry["caught"].as_object().unwrap().iter().collect();
    assert!(rules.len() == 1 && rules[0].0.starts_with("jobs.toml:") && rules[0].1 == 1, "{dry}");
    assert_eq!((&dry["queued"], &dry["named"]), (&json!(0), &json!(["wall"])), "{dry}");
    assert_eq!(status_of(world, "wall").await, "done", "a dry run changes nothing");
    let text = ok(world, &["recheck", "test", "--dry-run"]).await;
    assert!(
        text.contains("2 pages of ") && text.contains("no content any more") && text.contains("a dry run"),
        "{text}"
    );
    let found = answer(world, &["recheck", "test"]).await;
    assert_eq!((&found["caught"], &found["queued"]), (&dry["caught"], &json!(1)), "{found}");
    let unknown = run(world, &["recheck", "nobody"]).await;
    assert_eq!(unknown.status.code(), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn r02_a_stopped_hosts_pages_are_rechecked_by_the_jobs_toml_of_today() {
    let world = walled(&Release::new()).await;
    recheck_finds_the_wall(&world).await;
    assert_eq!(status_of(&world, "wall").await, "queued");
    assert_eq!(status_of(&world, "page").await, "done");
    assert_eq!(answer(&world, &["recheck", "test"]).await["queued"], 0, "once is enough");
    ok(&world, &["run", "--until-idle"]).await;
    assert_eq!(status_of(&world, "wall").await, "done");
    assert_eq!((world.sim.counts().of(SITE, "/wall"), world.sim.counts().of(SITE, "/page")), (2, 1));
    let nobody = run(&world, &["reload"]).await;
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert!(!nobody.status.success() && said.contains("no host runs"), "{said}");
    fs::write(world.path("jobs.toml"), "[job.test]\nknid = 1\n").unwrap();
    let broken = run(&world, &["recheck", "test"]).await;
    let said = String::from_utf8(broken.stderr).unwrap();
    assert!(!broken.status.success() && said.contains("guards stand in jobs.toml"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r02_a_running_host_rechecks_its_pages_and_runs_what_it_queues_at_once() {
    let release = Release::new();
    let world = walled(&release).await;
    add(&world, "hangs", &first(&format!("fetch http://{SITE}/hangs"))).await;
    let mut child = tollgate(&world, &["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    world.sim.wait_for(|counts| counts.of(SITE, "/hangs") == 1).await;
    recheck_finds_the_wall(&world).await;
    assert!(ok(&world, &["reload"]).await.contains("says what the host goes by"));
    world.sim.wait_for(|counts| counts.of(SITE, "/wall") == 2).await;
    release.release();
    // SIGTERM: what runs finishes.
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap().success());
    ok(&world, &["run", "--until-idle"]).await;
    assert_eq!(status_of(&world, "wall").await, "done");
    assert_eq!(world.sim.counts().of(SITE, "/page"), 1);
}
