//! The surroundings of a test: a scratch folder, a small internet, a jobs.toml, a host.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tollgate::{Host, HostBuilder, Operations, Progress};
use tollgate_core::{Clock, ItemKey, item::ItemStatus, item::NewItem, task::TaskState};
use tollgate_engine::operations::JobDetail;
use tollgate_sandbox::{Compiler, HandlerSet, Sandbox, SandboxOptions};
use tollgate_sim::{Sim, Site};
use tollgate_store::{ItemDetail, Page};

use crate::clock::TestClock;

/// The site that most tests script.
pub(crate) const SITE: &str = "site.example";

/// Where `cargo xtask build-handlers` puts handlers for tests.
pub(crate) fn handlers() -> PathBuf {
    let folder = target().join("handlers");
    assert!(folder.join("outcomes.wasm").is_file(), "handlers aren't built: run `cargo xtask build-handlers`");
    folder
}

/// The folder that cargo builds into.
fn target() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    here.ancestors().nth(3).unwrap().to_owned()
}

/// A program that `cargo xtask test` has built.
pub(crate) fn program(name: &str) -> PathBuf {
    let program = target().join("debug").join(name);
    assert!(program.is_file(), "{name} isn't built: run `cargo build -p tollgate -p tollgate-sim`");
    program
}

/// A host maps 16 TiB for its guests, and a process has 128: so many worlds with theirs are there at once, however many
/// tests run side by side.
static WORLDS: Semaphore = Semaphore::const_new(5);

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) sim: Sim,
    _room: SemaphorePermit<'static>,
}

impl World {
    /// A small internet with these sites.
    pub(crate) async fn new(sites: Vec<(&str, Arc<dyn Site>)>) -> Self {
        Self::of(sites.into_iter().fold(Sim::builder(), |builder, (host, site)| builder.site(host, site))).await
    }

    /// A small internet like that.
    pub(crate) async fn of(builder: tollgate_sim::Builder) -> Self {
        let room = tokio::time::timeout(5 * STUCK_TIME, WORLDS.acquire()).await;
        let room = room.expect("no room for a world: who has one lets go of it before the next").unwrap();
        let world = Self { folder: tempfile::tempdir().unwrap(), sim: builder.start().await.unwrap(), _room: room };
        world.sim.write_ca(world.path("ca.pem")).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a jobs.toml: the usual host, proxy and site, then `jobs`.
    pub(crate) fn jobs(&self, jobs: &str) -> PathBuf {
        let proxy = format!("[proxy.main]\nurl = {:?}\nca = \"ca.pem\"\n", self.sim.proxy_url());
        self.file(&format!("{proxy}\n{jobs}"))
    }

    /// Writes a jobs.toml: the usual host, then `rest`.
    pub(crate) fn file(&self, rest: &str) -> PathBuf {
        let head = format!("[host]\nhandlers = {:?}\nlisten = \"127.0.0.1:0\"\n\n", handlers().display().to_string());
        // In one step: a host that runs, or is about to, never reads the half of it.
        let (file, beside) = (self.path("jobs.toml"), self.path("jobs.toml.next"));
        fs::write(&beside, head + rest).unwrap();
        fs::rename(beside, &file).unwrap();
        file
    }

    /// A host over a jobs.toml, whose handlers are compiled already.
    pub(crate) async fn host(&self, file: &Path) -> HostBuilder {
        let data = self.path("data");
        lay_compiled(&data.join("compiled")).await;
        Host::builder(file).data(data).listen(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts a host that ends once it is idle, with a clock of the system.
    pub(crate) async fn start(&self, file: &Path) -> Host {
        self.host(file).await.start().await.unwrap()
    }

    /// Starts a host with a clock of the test's.
    pub(crate) async fn start_at(&self, file: &Path, clock: impl Clock) -> Host {
        self.host(file).await.clock(Arc::new(clock)).start().await.unwrap()
    }
}

/// Compiles the tests' handlers once for all tests, and lays them into a cache folder.
async fn lay_compiled(cache: &Path) {
    static COMPILED: OnceCell<TempDir> = OnceCell::const_new();
    let compile = || async {
        let folder = tempfile::tempdir().unwrap();
        let options = SandboxOptions::new(folder.path().join("cache"), Compiler::InProcess);
        let sandbox = Sandbox::new(options).unwrap();
        let names = [
            "hostile",
            "ideas",
            "outcomes",
            "own-client",
            "paid",
            "pages",
            "passing",
            "searching",
            "tooled",
            "youtube",
        ]
        .map(|name| tollgate_core::ids::HandlerName::new(name).unwrap());
        let set = HandlerSet::load(&sandbox, &handlers(), names.to_vec()).await;
        assert!(set.broken().is_empty(), "{:?}", set.broken());
        folder
    };
    let compiled = COMPILED.get_or_init(compile).await;
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(cache).unwrap();
    for entry in fs::read_dir(compiled.path().join("cache")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            fs::copy(entry.path(), cache.join(entry.file_name())).unwrap();
        }
    }
}

/// Files of a folder and those below it, without their folders.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// A job of the handler `outcomes`, with more lines.
pub(crate) fn outcomes(more: &str) -> String {
    format!(
        "[job.test]\nkind = \"backfill\"\nhandler = \"outcomes\"\ngrant = [\"http\", \"artifacts\", \"state\"]\n{more}"
    )
}

/// An item of the handler `outcomes`: what each stage does.
pub(crate) fn item(key: &str, script: &Value) -> NewItem {
    let data: Map<String, Value> = script.as_object().unwrap().clone();
    NewItem { key: ItemKey::new(key).unwrap(), data, priority: 0, revision: None }
}

/// Adds items that do so, and waits until nothing of the job is queued or retried any more.
pub(crate) async fn run_items(host: &Host, items: Vec<NewItem>) {
    let operations = host.operations().clone();
    let mut progress = host.progress();
    operations.add("test", items).await.unwrap();
    wait(&mut progress, &operations, |job| open_items(job) == 0 || job.job.pause.is_some()).await;
}

/// Items that have not ended.
pub(crate) fn open_items(job: &JobDetail) -> u64 {
    let count = |status| job.job.items.get(&status).copied().unwrap_or(0);
    count(ItemStatus::Queued) + count(ItemStatus::Retrying)
}

/// Waits until the job `test` is as `is` says, looking again at each step of the host.
pub(crate) async fn wait(
    progress: &mut tokio::sync::watch::Receiver<Progress>,
    operations: &Operations,
    is: impl Fn(&JobDetail) -> bool,
) {
    wait_of("test", progress, operations, is).await;
}

/// A test in which nothing has happened for so long has failed, and would hold up all the others.
const STUCK_TIME: Duration = Duration::from_secs(120);
/// A test in which time has passed so often has failed.
const PASSES_MAX: usize = 300;

/// Waits until a job is as `is` says.
pub(crate) async fn wait_of(
    name: &str,
    progress: &mut tokio::sync::watch::Receiver<Progress>,
    operations: &Operations,
    is: impl Fn(&JobDetail) -> bool,
) {
    loop {
        progress.borrow_and_update();
        let job = operations.job(name).await.unwrap();
        if is(&job) {
            return;
        }
        let changed = tokio::time::timeout(STUCK_TIME, progress.changed()).await;
        let changed = changed.unwrap_or_else(|_| panic!("nothing moves any more: {job:#?}"));
        assert!(changed.is_ok(), "the host ended before it came to that: {job:#?}");
    }
}

/// Waits until nothing is under way.
pub(crate) async fn quiet(host: &Host) {
    settled(&mut host.progress(), |now| now.running == 0).await;
}

/// Waits until nothing is under way, and nothing is due by this clock.
pub(crate) async fn rest(host: &Host, clock: &TestClock) {
    // What is shown may still be of before the clock was turned, and then something is due.
    let is_at_rest = |now: &Progress| now.running == 0 && now.next_due.map_or(now.idle, |due| due > clock.now());
    settled(&mut host.progress(), is_at_rest).await;
}

async fn settled(progress: &mut tokio::sync::watch::Receiver<Progress>, is: impl FnMut(&Progress) -> bool) {
    let settled = tokio::time::timeout(STUCK_TIME, progress.wait_for(is)).await.map(|now| now.map(|now| *now));
    assert!(matches!(settled, Ok(Ok(_))), "it never came to rest: {:?}", progress.borrow());
}

/// Turns the clock once nothing is under way. Turned before, what is settled later would wait anew, from the turned
/// clock on, and nobody would turn it again.
pub(crate) async fn advance(host: &Host, clock: &TestClock, by: Duration) {
    rest(host, clock).await;
    clock.advance(by);
}

/// Lets time pass, so much at a time and each time once nothing is under way, until the job `test` is as `is` says.
pub(crate) async fn pass(host: &Host, clock: &TestClock, by: Duration, is: impl Fn(&JobDetail) -> bool) {
    pass_of("test", host, clock, by, is).await;
}

/// Lets time pass until a job is as `is` says.
pub(crate) async fn pass_of(name: &str, host: &Host, clock: &TestClock, by: Duration, is: impl Fn(&JobDetail) -> bool) {
    for _ in 0..PASSES_MAX {
        rest(host, clock).await;
        if is(&host.operations().job(name).await.unwrap()) {
            return;
        }
        clock.advance(by);
    }
    panic!("it doesn't come to that: {:#?}", host.operations().job(name).await.unwrap());
}

/// Runs one item whose stages do so, and gives what is known of it.
pub(crate) async fn run_one(host: &Host, script: Value) -> ItemDetail {
    run_items(host, vec![item("one", &script)]).await;
    detail(host, "one").await
}

pub(crate) async fn detail(host: &Host, key: &str) -> ItemDetail {
    detail_of(host, "test", key).await
}

/// What is known of an item of a job.
pub(crate) async fn detail_of(host: &Host, job: &str, key: &str) -> ItemDetail {
    host.operations().item(job, &ItemKey::new(key).unwrap()).await.unwrap().unwrap()
}

pub(crate) fn state<'a>(item: &'a ItemDetail, stage: &str) -> &'a TaskState {
    &item.item.tasks.iter().find(|task| task.stage.as_str() == stage).unwrap().state
}

pub(crate) async fn stop(host: Host) {
    host.stop().await;
    host.wait().await.unwrap();
}

/// Items that are tried again later.
pub(crate) fn retrying(job: &JobDetail) -> u64 {
    job.job.items.get(&ItemStatus::Retrying).copied().unwrap_or(0)
}

/// How the gate stands.
pub(crate) async fn gate(host: &Host) -> tollgate_egress::GateStatus {
    host.operations().overview().await.unwrap().gate.unwrap()
}

/// All keys of a job.
pub(crate) async fn keys(operations: &Operations, job: &str) -> Vec<String> {
    let query = tollgate_store::ItemQuery { limit: 1_000, ..Default::default() };
    let Page { entries, .. } = operations.items(job, query).await.unwrap();
    entries.into_iter().map(|item| item.key.to_string()).collect()
}

/// A script for `first` alone.
pub(crate) fn first(action: &str) -> Value {
    json!({ "first": action })
}
