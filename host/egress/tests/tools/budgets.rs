//! A03 for tools: what nobody sees on its way is an estimate, however the run ends, and a spent budget runs nothing.

use std::{io::Read as _, path::Path, process::Command, sync::Arc, time::Duration};

use tollgate_core::{
    http::HttpRequest,
    outcome::RefusalKind,
    tool::{ToolContent, ToolInput, ToolRequest},
};
use tollgate_egress::MeterStatus;
use tollgate_sim::{
    Release, Sim,
    sites::scripted::{Scripted, Step},
};

use crate::world::{World, caller, request_for, shell};

const HOST: &str = "tube.example";
const URL: &str = "http://tube.example/";
/// What each run leaves half-done.
const LEFT: u64 = 5_000;

/// A tool that leaves something unfinished, then ends as its argument says. `folder`: for what it is watched by.
fn ending(folder: &Path) -> String {
    let script = "echo ran >> \"$MARK\"; head -c 5000 /dev/zero > a.part; case $1 in good) echo said;; bad) exit 1;; \
                  flood) yes;; late) sleep 100000;; held) echo > \"$PIPE\"; sleep 100000;; esac";
    let of = |name: &str| folder.join(name).display().to_string();
    let env = format!("env = {{ MARK = {:?}, PIPE = {:?}, PATH = {{ env = \"PATH\" }} }}", of("mark"), of("pipe"));
    let more = format!("proxy-env = [\"http_proxy\"]\noutput-max = \"100 kB\"\nunfinished = [\"*.part\"]\n{env}");
    let turns = "profiles = [{ name = \"one\", args = [] }, { name = \"two\", args = [] }]\ntry-next-on = [\"failed\"]";
    shell("end", script, &more) + &shell("turns", script, &format!("{turns}\n{more}"))
}

async fn world(folder: &Path, budget: &str, page: Step) -> (Sim, World) {
    let site = Scripted::new().path("/", [page, Step::ok("x")]);
    let sim = Sim::builder().site(HOST, Arc::new(site)).start().await.unwrap();
    let proxy = format!("[proxy.main]\nurl = \"{}\"\nprice = \"8.00 USD/GB\"\n{budget}\n", sim.proxy_url());
    let world = World::new(&(proxy + &ending(folder)));
    (sim, world)
}

fn meter(world: &World, name: &str) -> MeterStatus {
    world.gate.status().spending.into_iter().find(|meter| meter.name == name).unwrap()
}

/// How often the tool has begun.
fn runs(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("mark")).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn a03_a_run_counts_as_an_estimate_however_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (_sim, world) = world(folder.path(), "", Step::ok("x")).await;
    let mut before = 0;
    // Whatever the proxy's own word costs when it is asked, it is no estimate.
    let mut more = |what: &str, least: u64| {
        let (proxy, site) = (meter(&world, "proxy main"), meter(&world, "site *"));
        assert_eq!(proxy.estimated_today, site.estimated_today, "{what}");
        let counted = proxy.estimated_today - before;
        assert!((least..least + 100_000).contains(&counted), "{what}: {counted}");
        before = proxy.estimated_today;
    };
    world.run(request_for("end", &["good"], URL)).await.unwrap();
    more("good", LEFT + 5);
    world.run(request_for("end", &["bad"], URL)).await.unwrap_err();
    more("bad", LEFT);
    world.run(request_for("end", &["flood"], URL)).await.unwrap_err();
    more("flood", LEFT + 100_000);
    let late = ToolRequest { timeout: Some(Duration::from_secs(4)), ..request_for("end", &["late"], URL) };
    world.run(late).await.unwrap_err();
    more("late", LEFT);
    // What was laid there isn't what it brought.
    let input = ToolInput { name: "given".to_owned(), content: ToolContent::Bytes(vec![b'x'; 200_000].into()) };
    world.run(ToolRequest { files: vec![input], ..request_for("end", &["bad"], URL) }).await.unwrap_err();
    more("given", LEFT);
    // And one that is let go of.
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let gate = world.gate.clone();
    let run =
        tokio::spawn(
            async move { gate.run_tool(&caller(), request_for("end", &["held"], URL), &|_| ()).await.map(drop) },
        );
    let read = move || std::fs::File::open(pipe).unwrap().read(&mut [0]).unwrap();
    assert_eq!(tokio::task::spawn_blocking(read).await.unwrap(), 1);
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    more("held", LEFT);
    assert_eq!(meter(&world, "proxy main").nano_usd_today.unwrap().0, 8 * before, "each byte at the proxy's price");
}

#[tokio::test]
async fn a03_a_budget_that_a_failed_run_has_spent_runs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (_sim, world) = world(folder.path(), "budget = { day = \"4 kB\" }", Step::ok("x")).await;
    world.run(request_for("end", &["bad"], URL)).await.unwrap_err();
    let refused = world.run(request_for("end", &["good"], URL)).await.unwrap_err();
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::Budget);
    assert_eq!(runs(folder.path()), 1);
}

#[tokio::test]
async fn a03_a_profile_that_has_spent_the_budget_is_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let (_sim, world) = world(folder.path(), "budget = { day = \"4 kB\" }", Step::ok("x")).await;
    let refused = world.run(request_for("turns", &["bad"], URL)).await.unwrap_err();
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::Budget);
    assert_eq!(runs(folder.path()), 1, "the second profile isn't tried");
}

#[tokio::test]
async fn a03_what_is_left_of_a_budget_and_held_by_a_request_is_no_tools() {
    let (folder, release) = (tempfile::tempdir().unwrap(), Release::new());
    let page = Step::ok("x").hang_until(&release);
    let (sim, world) = world(folder.path(), "budget = { day = \"60 kB\" }", page).await;
    let asking = async {
        let request =
            HttpRequest { method: "GET".into(), url: URL.into(), headers: Vec::new(), body: None, timeout: None };
        world.gate.fetch(&caller(), request, &|_| {}).await.unwrap()
    };
    let running = async {
        sim.wait_for(|counts| counts.in_flight(HOST) == 1).await;
        let refused = world.run(request_for("end", &["good"], URL)).await.unwrap_err();
        let refusal = refused.refusal.unwrap();
        assert_eq!((refusal.kind, runs(folder.path())), (RefusalKind::RateLimited, 0), "{}", refusal.message);
        assert!(refusal.message.contains("held by requests under way"), "{}", refusal.message);
        release.release();
    };
    tokio::join!(asking, running);
    world.run(request_for("end", &["good"], URL)).await.unwrap();
}
