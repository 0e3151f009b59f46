//! Hostile guests beside a good job: each task fails with its reason within its limits, and the good job goes on.

use std::{fs, process::Command, sync::Arc};

use serde_json::json;
use tollgate::Host;
use tollgate_core::{
    StageName,
    item::ItemStatus,
    task::{ErrorKind, LaterKind, TaskState},
};
use tollgate_sim::sites::scripted::{Release, Scripted, Step};

use crate::world::{SITE, World, detail_of, handlers, item, open_items, program, state, stop, wait_of};

/// Items of the good job.
const GOOD: usize = 40;
/// How the handler describes itself, in its file.
const DESCRIBES: &[u8] = b"hostile describes=well      ";

/// A good job, and a hostile one whose stage ends by this time at the latest.
fn jobs(timeout: &str) -> String {
    format!(
        "[site.\"*\"]\nconcurrency = 8\n\
         [job.good]\nkind = \"backfill\"\nhandler = \"outcomes\"\nstages = [\"first\"]\n\
         grant = [\"http\", \"artifacts\", \"state\"]\n\
         [job.harm]\nkind = \"backfill\"\nhandler = \"hostile\"\ngrant = [\"http\"]\nbreaker = 100\n\
         [job.harm.stage.harm]\nattempts = 1\nconcurrency = 4\ntimeout = \"{timeout}\"\n"
    )
}

async fn world() -> World {
    let release = Release::new();
    World::new(vec![
        (SITE, Arc::new(Scripted::new().path("/page", [Step::ok("a page")]))),
        ("hangs.example", Arc::new(Scripted::new().path("/", [Step::ok("late").hang_until(&release)]))),
    ])
    .await
}

/// Runs items of the hostile job, and those of the good one beside them: all of these are done.
async fn beside_a_good_job(host: &Host, harm: &[&str]) {
    let (operations, mut progress) = (host.operations().clone(), host.progress());
    let fetch = json!({"first": format!("bytes http://{SITE}/page")});
    let good = (0..GOOD).map(|number| item(&format!("{}-{number}", harm[0]), &fetch)).collect();
    operations.add("harm", harm.iter().map(|key| item(key, &json!({}))).collect()).await.unwrap();
    operations.add("good", good).await.unwrap();
    wait_of("good", &mut progress, &operations, |job| open_items(job) == 0).await;
    for number in 0..GOOD {
        let one = detail_of(host, "good", &format!("{}-{number}", harm[0])).await;
        assert_eq!(one.item.status, ItemStatus::Done, "{one:?}");
    }
    let is_left =
        |job: &tollgate_engine::operations::JobDetail| job.job.items.get(&ItemStatus::Queued).copied().unwrap_or(0);
    wait_of("harm", &mut progress, &operations, |job| is_left(job) == 0).await;
}

/// The kind of error with which an item's only stage ended, and its words.
async fn error(host: &Host, key: &str) -> (ErrorKind, String) {
    match state(&detail_of(host, "harm", key).await, "harm") {
        TaskState::Failed { error } => (error.kind, error.message.clone()),
        other => panic!("{key} has not failed: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap18_each_harm_ends_with_its_reason_and_a_good_job_goes_on() {
    let world = world().await;
    let host = world.start(&world.jobs(&jobs("5min"))).await;
    for (key, kind, words) in [
        ("allocate", ErrorKind::Limit, "bytes of memory"),
        ("recurse", ErrorKind::Trap, "recurses too deep"),
        ("handles", ErrorKind::Limit, "handles"),
        ("log", ErrorKind::Limit, "logged more than"),
        ("huge", ErrorKind::Contract, "fields: 1048576"),
        ("nojson", ErrorKind::Contract, "JSON"),
        ("noobject", ErrorKind::Contract, "object"),
        ("breach", ErrorKind::Contract, "/text"),
        ("panic", ErrorKind::Trap, "asked to"),
    ] {
        beside_a_good_job(&host, &[key]).await;
        let (found, message) = error(&host, key).await;
        assert!(found == kind && message.contains(words), "{key}: {found:?} {message}");
    }
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap18_who_spins_or_sleeps_on_the_host_ends_by_its_time() {
    let world = world().await;
    let host = world.start(&world.jobs(&jobs("3s"))).await;
    beside_a_good_job(&host, &["spin-1", "spin-2", "sleep-1", "sleep-2"]).await;
    for key in ["spin-1", "spin-2", "sleep-1", "sleep-2"] {
        let (found, message) = error(&host, key).await;
        assert!(found == ErrorKind::Timeout && message.contains("longer than 3s"), "{key}: {found:?} {message}");
    }
    // An address that hangs is the address's fault, not the guest's.
    beside_a_good_job(&host, &["hang"]).await;
    let hangs = detail_of(&host, "harm", "hang").await;
    let said = match state(&hangs, "harm") {
        TaskState::RetryLater { reason, .. } => reason.message.clone(),
        TaskState::Failed { error } => error.message.clone(),
        other => panic!("{other:?}"),
    };
    assert!(said.contains("hangs.example"), "{said}");
    assert!(
        !matches!(state(&hangs, "harm"), TaskState::RetryLater { reason, .. } if reason.kind == LaterKind::RateLimited)
    );
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap18_a_thousand_fetches_at_once_keep_to_the_sites_concurrency() {
    let world = world().await;
    let host = world.start(&world.jobs(&jobs("5min"))).await;
    beside_a_good_job(&host, &["fetches"]).await;
    let fetched = detail_of(&host, "harm", "fetches").await;
    assert_eq!(fetched.item.outputs[&StageName::new("harm").unwrap()]["text"], "1000");
    let counts = world.sim.counts();
    assert_eq!(counts.of(SITE, "/page"), 1_000 + GOOD as u64);
    assert!(counts.hosts[SITE].in_flight_max <= 8, "{} at once", counts.hosts[SITE].in_flight_max);
    stop(host).await;
}

#[tokio::test]
async fn trap23_a_forged_line_reaches_no_log_and_no_terminal() {
    let world = world().await;
    world.jobs(&jobs("1min"));
    let tollgate = |args: &[&str]| {
        let mut command = Command::new(program("tollgate"));
        command.arg("--file").arg(world.path("jobs.toml")).arg("--data").arg(world.path("data")).args(args);
        command.env("TOLLGATE_LOG", "trace");
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
        String::from_utf8(said).unwrap()
    };
    tollgate(&["run", "--until-idle"]);
    tollgate(&["item", "add", "harm", "forge"]);
    let log = tollgate(&["run", "--until-idle"]);
    assert!(log.contains("job=other failed") && log.contains("red"), "the words themselves are kept: {log}");
    assert!(log.lines().all(|line| !line.starts_with("ERROR job=other")), "{log}");
    for text in [&log, &tollgate(&["item", "show", "harm", "forge"]), &tollgate(&["export", "harm", "-o", "table"])] {
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{7}', '\r']), "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_a_handler_that_cannot_describe_itself_is_refused_and_the_good_job_runs() {
    let world = world().await;
    let folder = world.path("drop");
    fs::create_dir(&folder).unwrap();
    fs::copy(handlers().join("outcomes.wasm"), folder.join("outcomes.wasm")).unwrap();
    let hostile = fs::read(handlers().join("hostile.wasm")).unwrap();
    let at = hostile.windows(DESCRIBES.len()).position(|bytes| bytes == DESCRIBES).unwrap();
    for (word, said) in [
        ("trap", "asked to"),
        ("text", "schema of stage harm"),
        ("schema", "not a JSON Schema"),
        ("doubles", "unfold into"),
    ] {
        let mut bytes = hostile.clone();
        let word_at = at + DESCRIBES.len() - "well      ".len();
        bytes[word_at..word_at + 10].copy_from_slice(format!("{word:10}").as_bytes());
        fs::write(folder.join("hostile.wasm"), bytes).unwrap();
        let file = world.jobs(&jobs("1min"));
        let text = fs::read_to_string(&file).unwrap();
        let (ours, theirs) = (handlers().display().to_string(), folder.display().to_string());
        fs::write(&file, text.replace(&ours, &theirs)).unwrap();
        let host = Host::builder(&file).data(world.path(word)).start().await.unwrap();
        let harm = host.operations().overview().await.unwrap().attention;
        assert!(harm.iter().any(|about| about.message.contains(said)), "{word}: {harm:?}");
        let (operations, mut progress) = (host.operations().clone(), host.progress());
        operations.add("good", vec![item("one", &json!({}))]).await.unwrap();
        wait_of("good", &mut progress, &operations, |job| open_items(job) == 0 && !job.job.items.is_empty()).await;
        stop(host).await;
    }
}
