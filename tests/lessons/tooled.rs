//! S08, S16, R03, R05, R11 and trap 17 as a handler meets them: a tool is run by its entry, and
//! its word is taken by rules.

use std::{path::Path, sync::Arc};

use serde_json::{Value, json};
use tollgate_core::{
    item::ItemStatus,
    pause::PauseReason,
    task::{LaterKind, TaskState},
};
use tollgate_sim::sites::scripted::{Scripted, Step};

use crate::{
    clock::TestClock,
    world::{World, detail, gate, item, retrying, run_items, state, stop, wait},
};

/// jobs.toml as it ships, for its entry of yt-dlp.
const SHIPPED: &str = include_str!("../../jobs.toml");
const TUBE: &str = "tube.example";

fn job(more: &str) -> String {
    format!(
        "[job.test]\nkind = \"backfill\"\nhandler = \"tooled\"\ngrant = [\"tools\", \"http {TUBE}\", \"artifacts\"]\n\
         {more}\n"
    )
}

/// A tool that is a few lines of shell.
fn shell(script: &str) -> String {
    format!(
        "[tool.shell]\ncommand = \"/bin/sh\"\nargs = [\"-c\", {script:?}, \"shell\"]\noutput = \"text\"\n\
         accepts = [\"{{text}}\"]\nnetwork = false\n"
    )
}

/// The shipped entry of yt-dlp, run by its stand-in.
fn yt_dlp() -> String {
    let entry = &SHIPPED[SHIPPED.find("[tool.yt-dlp]\n").unwrap()..];
    let entry = &entry[..entry[1..].find("\n[").map_or(entry.len(), |at| at + 2)];
    let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/yt-dlp-stand-in");
    assert!(entry.contains("command = \"yt-dlp\""));
    entry.replace("command = \"yt-dlp\"", &format!("command = {:?}", stand_in.display().to_string()))
}

fn asked(tool: &str, args: &[&str], url: Option<&str>, then: Option<&[&str]>) -> Value {
    json!({"tool": tool, "args": args, "url": url, "then": then})
}

async fn world() -> World {
    World::new(vec![(TUBE, Arc::new(Scripted::new().path("/", [Step::ok("x")])))]).await
}

#[tokio::test]
async fn s08_a_tools_output_and_files_come_back_and_nothing_at_all_is_a_failure() {
    let world = world().await;
    let script = "case $1 in make) echo made; echo left >left.txt;; read) cat left.txt;; none) exit 0;; esac";
    let host =
        world.start(&world.jobs(&(job("breaker = 10\n[job.test.stage.run]\nattempts = 1") + &shell(script)))).await;
    let made = item("made", &asked("shell", &["make"], None, Some(&["read"])));
    let none = item("none", &asked("shell", &["none"], None, None));
    run_items(&host, vec![made, none]).await;
    let one = detail(&host, "made").await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:?}");
    let outputs = serde_json::to_value(&one.item.outputs).unwrap().to_string();
    assert!(outputs.contains("made") && outputs.contains("left.txt"), "{outputs}");
    assert!(one.artifacts.iter().any(|kept| kept.artifact.name == "left.txt" && kept.artifact.size == 5), "{one:?}");
    let why = state(&detail(&host, "none").await, "run").why();
    assert!(why.contains("shell"), "{why}");
    assert_eq!(detail(&host, "none").await.item.status, ItemStatus::Failed);
    stop(host).await;
}

#[tokio::test]
async fn trap17_a_tool_without_its_grant_and_one_for_another_site_are_denied() {
    let world = world().await;
    let less = job("breaker = 10\n[job.test.stage.run]\nattempts = 1").replace("\"tools\"", "\"tools yt-dlp\"");
    let host = world.start(&world.jobs(&(less + &shell("echo x") + &yt_dlp()))).await;
    let ungranted = item("ungranted", &asked("shell", &[], None, None));
    let elsewhere = item("elsewhere", &asked("yt-dlp", &["--dump-json"], Some("https://other.example/"), None));
    let free = item("free", &asked("yt-dlp", &["--exec", "id"], Some("https://tube.example/ok"), None));
    run_items(&host, vec![ungranted, elsewhere, free]).await;
    for (key, says) in
        [("ungranted", "add \"tools shell\""), ("elsewhere", "is not granted other.example"), ("free", "--exec")]
    {
        let why = state(&detail(&host, key).await, "run").why();
        assert!(why.contains(says), "{key}: {says} isn't in {why}");
    }
    assert_eq!(world.sim.counts().of_host(TUBE), 0);
    stop(host).await;
}

#[tokio::test]
async fn r03_r05_a_bot_wall_shuts_the_site_and_a_profile_that_serves_is_known() {
    let world = world().await;
    let host = world.start_at(&world.jobs(&(job("") + &yt_dlp())), TestClock::new()).await;
    let (mut progress, operations) = (host.progress(), host.operations().clone());
    let of = |key: &str, what: &str| {
        item(key, &asked("yt-dlp", &["--dump-json"], Some(&format!("https://tube.example/{what}")), None))
    };
    operations.add("test", vec![of("warned", "warned")]).await.unwrap();
    wait(&mut progress, &operations, |job| job.job.items.get(&ItemStatus::Done) == Some(&1)).await;
    let detailed = detail(&host, "warned").await;
    let (_, attempts) = detailed.attempts.iter().find(|(stage, _)| stage.as_str() == "run").unwrap();
    let served: Vec<(&str, &str)> =
        attempts[0].tools.iter().map(|served| (served.tool.as_str(), served.profile.as_str())).collect();
    assert_eq!(served, [("yt-dlp", "android")], "the attempt records which profile served");
    let warned = serde_json::to_value(&detailed.item.outputs).unwrap().to_string();
    assert!(warned.contains("WARNING"), "good data with a warning is good data (S16): {warned}");
    operations.add("test", vec![of("bot", "bot")]).await.unwrap();
    wait(&mut progress, &operations, |job| retrying(job) == 1).await;
    let bot = detail(&host, "bot").await;
    let TaskState::RetryLater { reason, .. } = state(&bot, "run") else { panic!("{bot:?}") };
    assert_eq!(reason.kind, LaterKind::Blocked, "{reason:?}");
    let shut = gate(&host).await.sites.into_iter().find(|site| site.site.starts_with(TUBE)).unwrap();
    assert!(shut.cooling_until.is_some() && shut.reason.unwrap().contains("not a bot"));
    assert!(operations.job("test").await.unwrap().job.pause.is_none_or(|pause| pause.reason != PauseReason::Manual));
    stop(host).await;
}

#[tokio::test]
async fn r04_r11_s16_the_entry_gives_the_fixed_arguments_and_its_rules_tell_apart_what_shares_an_exit_status() {
    let world = world().await;
    let jobs = job("breaker = 10\n[job.test.stage.run]\nattempts = 1") + &yt_dlp();
    let host = world.start(&world.jobs(&jobs)).await;
    let of = |what: &str| {
        item(what, &asked("yt-dlp", &["--dump-json"], Some(&format!("https://tube.example/{what}")), None))
    };
    // The stand-in ends with status 2 where an argument of the entry is missing; all others here end with 1.
    run_items(&host, ["ok", "warned", "needs-web", "unavailable", "odd"].map(of).to_vec()).await;
    for (key, status) in [
        ("ok", ItemStatus::Done),
        ("warned", ItemStatus::Done),
        ("needs-web", ItemStatus::Done),
        ("unavailable", ItemStatus::Failed),
        ("odd", ItemStatus::Failed),
    ] {
        let detail = detail(&host, key).await;
        assert_eq!(detail.item.status, status, "{key}: {detail:?}");
    }
    let why = async |key: &str| state(&detail(&host, key).await, "run").why();
    assert!(why("unavailable").await.contains("removed by the uploader"), "{}", why("unavailable").await);
    assert!(why("odd").await.contains("streamingData"), "its last lines: {}", why("odd").await);
    let needed = detail(&host, "needs-web").await;
    let served: Vec<&str> =
        needed.attempts.values().flatten().flat_map(|attempt| &attempt.tools).map(|s| s.profile.as_str()).collect();
    assert_eq!(served, ["web"], "two clients met walls");
    run_items(&host, vec![of("age")]).await;
    let age = detail(&host, "age").await;
    let TaskState::RetryLater { reason, .. } = state(&age, "run") else { panic!("{age:?}") };
    assert_eq!(reason.kind, LaterKind::LoginRequired, "{}", reason.message);
    let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
    assert!(pause.evidence.contains("confirm your age"), "what a person has to know: {}", pause.evidence);
    stop(host).await;
}
