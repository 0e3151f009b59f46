//! The program as people run it: its commands, its exit codes, and what a kill leaves.

use std::{
    fs,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use serde_json::Value;
use tollgate_sim::sites::{
    catalogue::{self, Catalogue},
    scripted::{Release, Scripted, Step},
};

use crate::world::{SITE, World, first, outcomes, program};

pub(crate) fn tollgate(world: &World, args: &[&str]) -> Command {
    let mut command = Command::new(program("tollgate"));
    command.arg("--file").arg(world.path("jobs.toml")).arg("--data").arg(world.path("data")).args(args);
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end without holding up the sim, which lives in this process.
pub(crate) async fn run(world: &World, args: &[&str]) -> Output {
    let mut command = tollgate(world, args);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

pub(crate) async fn ok(world: &World, args: &[&str]) -> String {
    let output = run(world, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) async fn json(world: &World, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
    serde_json::from_str(&ok(world, &args).await).unwrap()
}

fn shop_jobs() -> String {
    format!(
        "[site.\"*\"]\nconcurrency = 8\n[job.shop]\nkind = \"backfill\"\nhandler = \"pages\"\n\
         grant = [\"http {host}\", \"artifacts\"]\n\
         discover = \"once\"\nparams = {{ seeds = [\"https://{host}/\"], follow = true, \
         fields = {{ title = \"h1\" }} }}\n\
         [job.shop.stage.fetch]\nbackoff = \"1ms\"\n",
        host = catalogue::HOST
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crawl_takes_every_page_once_and_says_what_is_broken() {
    let shop = Catalogue::new(std::time::Duration::ZERO);
    let world = World::new(vec![(catalogue::HOST, Arc::new(shop))]).await;
    world.jobs(&shop_jobs());
    ok(&world, &["run", "--until-idle"]).await;
    let manifest = catalogue::manifest();
    let rows = json(&world, &["export", "shop", "--stage", "extract"]).await;
    let mut titles: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
    titles.sort_unstable();
    let url = |path: &String| format!("https://{}{path}", catalogue::HOST);
    let redirects = manifest.redirects.iter().map(|(from, _)| from);
    let mut expected: Vec<String> = manifest.pages.iter().chain(redirects).map(url).collect();
    expected.sort_unstable();
    assert_eq!(titles, expected);
    let failed = json(&world, &["item", "list", "shop", "--status", "failed"]).await;
    assert_eq!(failed.as_array().unwrap().len(), manifest.broken.len());
    let counts = world.sim.counts();
    assert_eq!((counts.direct, counts.of(catalogue::HOST, "/item/12")), (0, 1));
    let csv = ok(&world, &["export", "shop", "--stage", "extract", "--csv"]).await;
    assert_eq!(csv.lines().count(), expected.len() + 1);
    assert!(csv.starts_with("key,status,output.title,output.url\n"), "{}", csv.lines().next().unwrap());
}

/// A world whose site answers once it is let go.
async fn hanging() -> (World, Release) {
    let release = Release::new();
    let site = Scripted::new().path("/", [Step::ok("fine").hang_until(&release)]);
    (World::new(vec![(SITE, Arc::new(site))]).await, release)
}

/// A job of one item, which asks the site.
fn asks_it() -> String {
    outcomes(&format!("discover = \"once\"\nparams = {{ count = 1, first = \"fetch http://{SITE}/\" }}\n"))
}

/// Starts the program and waits until it has asked the hanging site.
async fn start_hanging(world: &World) -> Child {
    let child = tollgate(world, &["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    world.sim.wait_for(|counts| counts.in_flight(SITE) == 1).await;
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_work_in_flight_at_a_kill_runs_again_and_d02_a_killed_host_shows_as_stopped() {
    let (world, release) = hanging().await;
    world.jobs(&asks_it());
    let mut child = start_hanging(&world).await;
    assert_eq!(json(&world, &["status"]).await["liveness"]["liveness"], "running");
    let refused = run(&world, &["run"]).await;
    assert_eq!(
        refused.status.code(),
        Some(3),
        "a second host on the folder: {}",
        String::from_utf8_lossy(&refused.stderr)
    );
    assert_eq!(run(&world, &["store", "verify"]).await.status.code(), Some(3), "a running host's store isn't opened");
    child.kill().unwrap();
    child.wait().unwrap();
    let report = json(&world, &["store", "verify"]).await;
    assert_eq!((&report["items"], &report["problems_total"]), (&1.into(), &0.into()), "{report}");
    // The command reaches no host, and opens the store that the killed one left.
    let item = json(&world, &["item", "show", "test", "item-0"]).await;
    assert_eq!(item["item"]["status"], "queued", "the claim ended with the process");
    release.release();
    ok(&world, &["run", "--until-idle"]).await;
    assert_eq!(json(&world, &["status"]).await["liveness"]["liveness"], "stopped");
    assert_eq!(json(&world, &["item", "show", "test", "item-0"]).await["item"]["status"], "done");
    assert_eq!(world.sim.counts().of(SITE, "/"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_a_running_host_and_a_stopped_one_alike() {
    let (world, release) = hanging().await;
    world.jobs(&asks_it());
    let mut child = start_hanging(&world).await;
    ok(&world, &["job", "pause", "test", "--note", "a look"]).await;
    let listed = json(&world, &["job", "list"]).await;
    assert_eq!(listed[0]["pause"]["evidence"], "a look");
    let lines = world.path("items.jsonl");
    fs::write(&lines, format!("{}\n", serde_json::json!({"key": "by-hand", "data": first("done")}))).unwrap();
    ok(&world, &["item", "add", "test", "--from", lines.to_str().unwrap()]).await;
    ok(&world, &["job", "resume", "test"]).await;
    release.release();
    // SIGTERM: running tasks finish, and the host ends in good order.
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap().success());
    assert_eq!(json(&world, &["status"]).await["liveness"]["liveness"], "stopped");
    ok(&world, &["item", "exclude", "test", "by-hand"]).await;
    let missing = run(&world, &["item", "show", "test", "nobody"]).await;
    assert_eq!(missing.status.code(), Some(4));
    let unknown = run(&world, &["job", "show", "nobody"]).await;
    assert_eq!(unknown.status.code(), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_everything_and_wrong_files_are_named_with_their_place() {
    let world = World::new(vec![]).await;
    world.jobs(&shop_jobs());
    let text = ok(&world, &["check"]).await;
    assert!(text.contains("job shop: handler pages") && text.contains("stage extract: needs fetch"), "{text}");
    world.jobs("[job.shop]\nknid = \"backfill\"\n");
    let output = run(&world, &["check"]).await;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("jobs.toml:") && said.contains("did you mean `kind`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_explains_which_policy_an_address_gets_and_who_may_ask_for_it() {
    let world = World::new(vec![]).await;
    let sites = "[site.\"*.shop.example\"]\nconcurrency = 2\njobs = [\"shop\"]\n\
                 headers = { Authorization = { env = \"NOT_SET\" } }\nbudget = { day = \"2 GB\" }\n\
                 [tool.fetcher]\ncommand = \"true\"\noutput = \"text\"\nproxy-env = [\"http_proxy\"]\n\
                 [job.other]\nkind = \"backfill\"\nhandler = \"outcomes\"\n\
                 grant = [\"http docs.example\", \"artifacts\", \"state\"]\n";
    let shop = shop_jobs()
        .replace("concurrency = 8", "rate = \"30/min\"")
        .replace("grant = [", "grant = [\"http\", \"tools\", ");
    world.jobs(&(shop + sites));
    let text = ok(&world, &["check", "--url", "https://api.shop.example/v1"]).await;
    for says in [
        "api.shop.example:443",
        "[site.\"*.shop.example\"]",
        "more specific than *",
        "through proxy main",
        "one in 2s, burst 1, 2 at a time",
        "each request bears authorization",
        "proxy main: nobody said what its bytes cost",
        "all under *.shop.example together, at most 2.00 GB a day",
        "job shop may ask for it, by fetcher as well",
        "job other may not: denied: api.shop.example is for shop",
    ] {
        assert!(text.contains(says), "{says} isn't in {text}");
    }
    let local = run(&world, &["check", "--url", "http://127.0.0.1:9/"]).await;
    let said = String::from_utf8(local.stderr).unwrap();
    assert_eq!(local.status.code(), Some(2));
    assert!(said.contains("only an entry [site.\"127.0.0.1:9\"] opens it"), "{said}");
}

/// A job of one page, whose output has fields of the names that an export uses itself.
async fn namesakes() -> World {
    let site = Scripted::new().path("/", [Step::ok("<h1>A key</h1><p>fine</p>")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    world.jobs(&format!(
        "[job.test]\nkind = \"backfill\"\nhandler = \"pages\"\ngrant = [\"http {SITE}\", \"artifacts\"]\n\
         discover = \"once\"\n\
         params = {{ seeds = [\"http://{SITE}/\"], fields = {{ key = \"h1\", status = \"p\" }} }}\n"
    ));
    ok(&world, &["run", "--until-idle"]).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_keeps_an_outputs_fields_apart_from_the_items() {
    let world = namesakes().await;
    let url = format!("http://{SITE}/");
    let rows = json(&world, &["export", "test", "--stage", "extract"]).await;
    assert_eq!((&rows[0]["key"], &rows[0]["status"]), (&Value::from(url.as_str()), &Value::from("done")));
    assert_eq!(rows[0]["output"], serde_json::json!({"key": "A key", "status": "fine", "url": url}));
    let csv = ok(&world, &["export", "test", "--stage", "extract", "--csv"]).await;
    assert_eq!(csv, format!("key,status,output.key,output.status,output.url\n{url},done,A key,fine,{url}\n"));
    let mistyped = run(&world, &["export", "test", "--stage", "extrakt"]).await;
    assert_eq!(mistyped.status.code(), Some(4));
    let said = String::from_utf8(mistyped.stderr).unwrap();
    assert!(said.contains("fetch, extract"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_listens_on_loopback_alone_whoever_says_where() {
    let world = World::new(vec![]).await;
    world.jobs(&outcomes(""));
    let refused = run(&world, &["run", "--until-idle", "--listen", "0.0.0.0:0"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("0.0.0.0:0 is no loopback address"));
    ok(&world, &["run", "--until-idle", "--listen", "127.0.0.2:0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_shown_to_whoever_has_a_killed_hosts_port() {
    let world = World::new(vec![]).await;
    world.jobs(&outcomes(""));
    ok(&world, &["run", "--until-idle"]).await;
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let left = serde_json::json!({"listen": stranger.local_addr().unwrap(), "pid": 1});
    fs::write(world.path("data/host.json"), left.to_string()).unwrap();
    assert_eq!(json(&world, &["status"]).await["liveness"]["liveness"], "stopped");
    stranger.set_nonblocking(true).unwrap();
    assert_eq!(stranger.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody called");
    assert!(!world.path("data/host.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_outlives_the_start_and_the_stop_of_a_host_and_is_in_nobodys_way() {
    let (world, release) = hanging().await;
    world.jobs(&outcomes(""));
    ok(&world, &["run", "--until-idle"]).await;
    world.jobs(&asks_it());
    let mut watcher = tollgate(&world, &["status", "--watch", "-o", "jsonl"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(watcher.stdout.take().unwrap()));
    let lines = Arc::new(std::sync::Mutex::new(lines));
    let until = async |liveness: &'static str| {
        let lines = lines.clone();
        let is = move |line: String| serde_json::from_str::<Value>(&line).unwrap()["liveness"]["liveness"] == liveness;
        let seen = move || lines.lock().unwrap().any(|line| is(line.unwrap()));
        let seen = tokio::task::spawn_blocking(seen).await.unwrap();
        assert!(seen, "the watcher ended before the host was {liveness}");
    };
    until("stopped").await;
    let mut child = start_hanging(&world).await;
    until("running").await;
    release.release();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap().success());
    until("stopped").await;
    watcher.kill().unwrap();
    watcher.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_items_are_added_whatever_their_size() {
    let world = World::new(vec![]).await;
    world.jobs(&outcomes(""));
    ok(&world, &["run", "--until-idle"]).await;
    let lines = world.path("items.jsonl");
    let text = "x".repeat(900_000);
    let item = |number| format!("{}\n", serde_json::json!({"key": format!("i{number}"), "data": {"text": text}}));
    fs::write(&lines, (0..12).map(item).collect::<String>()).unwrap();
    let added = json(&world, &["item", "add", "test", "--from", lines.to_str().unwrap()]).await;
    assert_eq!((&added["new"], &added["known"]), (&Value::from(12), &Value::from(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_only_job_is_refused_says_so_by_its_exit_code() {
    let world = World::new(vec![]).await;
    world.jobs("[job.test]\nkind = \"backfill\"\nhandler = \"nowhere\"\n");
    let output = run(&world, &["run", "--until-idle"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("at a standstill: test"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_jobs_toml_names_no_more_stands_in_nobodys_way() {
    let world = World::new(vec![]).await;
    world.jobs(&outcomes(""));
    ok(&world, &["run", "--until-idle"]).await;
    world.jobs("[job.test]\nkind = \"backfill\"\nhandler = \"nowhere\"\n");
    assert_eq!(run(&world, &["run", "--until-idle"]).await.status.code(), Some(5));
    world.jobs("");
    ok(&world, &["run", "--until-idle"]).await;
}

/// A crate that makes a component of its own at once: cargo has nothing to fetch for it.
fn lay_crate(world: &World, source: &str) -> String {
    let folder = world.path("odd");
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = "[package]\nname = \"odd\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\n\
        crate-type = [\"cdylib\"]\n\n[workspace]\n";
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    folder.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn build_takes_no_handler_that_a_host_would_refuse() {
    let world = World::new(vec![]).await;
    let handlers = world.path("drop");
    fs::write(world.path("jobs.toml"), format!("[host]\nhandlers = {:?}\n", handlers.display().to_string())).unwrap();
    let odd = lay_crate(&world, "");
    let output = run(&world, &["build", &odd]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("builds, but no host would take it: it exports no"), "{said}");
    assert_eq!(fs::read_dir(&handlers).unwrap().count(), 0, "nothing is left of it");

    lay_crate(&world, "fn broken( {}");
    let output = run(&world, &["build", &odd]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("doesn't build\n") && !said.contains("rustup"), "{said}");
}
