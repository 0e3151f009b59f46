//! `cargo xtask demo`: the shipping jobs.toml at work, on a small internet of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    handlers,
    run::{cargo, root, step, target},
    setup,
};

/// Pages of the demo's shop that must be done at the end, broken ones aside.
const DONE_MIN: u64 = 290;
/// Ideas of the demo's club, all of which must be done at the end.
const IDEAS_DONE: u64 = 120;
/// Ideas after which the club's session expires: it has to be made anew on the way.
const SESSION_VIEWS: &str = "25";
/// Videos of the demo's channel: so many that some promise much and have no captions.
const VIDEOS: &str = "120";
/// What jobs.toml has of the providers of models and speech, which the demo reaches through the proxy like everything
/// else.
const DIRECT: &str = "direct = true\n";
/// Names of the variables that jobs.toml reads keys from. The small internet takes any.
const KEYS: [&str; 2] = ["GEMINI_API_KEY", "GROQ_API_KEY"];
/// Time for the small internet to begin.
const START_TIME: Duration = Duration::from_secs(20);

pub(crate) fn demo() -> Result<()> {
    let start = Instant::now();
    eprintln!("the first build takes some 10 minutes on two cores; later ones seconds");
    setup::wasm_target()?;
    handlers::build()?;
    // All of them, as the tests do: by themselves the two that are needed would ask for other features of what they
    // stand on.
    let programs = ["build", "--workspace", "--bins"];
    step("build programs", cargo().args(programs), "Read the compiler's message above.")?;
    eprintln!("built after {} s", start.elapsed().as_secs());

    let scratch = tempfile::Builder::new().prefix("tollgate-demo-").tempdir()?;
    let sim = Sim::start(scratch.path(), &[])?;
    crawl(&Tollgate { sim: &sim, folder: lay_out(scratch.path())?, start: &Command::new })?;
    println!("\nThe demo is over after {} s: all as it should be.", start.elapsed().as_secs());
    Ok(())
}

/// Crawls the shop and the club, shows what came of it, and holds it against what they have.
pub(crate) fn crawl(tollgate: &Tollgate<'_>) -> Result<()> {
    eprintln!("the small internet is there: {DONE_MIN} pages and {IDEAS_DONE} ideas wait behind its proxy");
    let status = tollgate.command(&["run", "--until-idle", "--listen", "127.0.0.1:0"]).status()?;
    println!("\nSome of what was extracted:");
    tollgate.show(&["export", "catalogue", "--stage", "extract", "--status", "done", "--limit", "12"])?;
    tollgate.show(&["export", "ideas", "--stage", "enrich", "--status", "done", "--limit", "2"])?;
    tollgate.show(&["export", "youtube", "--stage", "figures", "--status", "done", "--limit", "2"])?;
    println!("\nWhat failed or was skipped, and why:");
    tollgate.show(&["item", "list", "catalogue", "--status", "failed"])?;
    tollgate.show(&["item", "list", "catalogue", "--status", "skipped"])?;

    ensure!(status.success(), "the run ended with {status}");
    judge(tollgate)
}

/// Lays jobs.toml out as it ships but for the way to the providers, beside the handlers, the stand-in for yt-dlp and
/// the member's cookies that a small internet left there.
pub(crate) fn lay_out(scratch: &Path) -> Result<PathBuf> {
    let folder = deployment(scratch);
    let shipped = fs::read_to_string(root().join("jobs.toml"))?;
    ensure!(shipped.matches(DIRECT).count() == 2, "jobs.toml names other sites direct than the two providers");
    fs::write(folder.join("jobs.toml"), shipped.replace(DIRECT, ""))?;
    fs::create_dir_all(programs(&folder))?;
    std::os::unix::fs::symlink(root().join("tests/tools/yt-dlp-stand-in"), programs(&folder).join("yt-dlp"))?;
    std::os::unix::fs::symlink(root().join("handlers"), folder.join("handlers"))?;
    Ok(folder)
}

/// Programs that stand in for real ones.
fn programs(folder: &Path) -> PathBuf {
    folder.join("programs")
}

/// What is deployed.
fn deployment(scratch: &Path) -> PathBuf {
    scratch.join("deployment")
}

/// Holds the outcome against what the shop and the club have.
fn judge(tollgate: &Tollgate<'_>) -> Result<()> {
    let overview = tollgate.json(&["status"])?;
    let jobs = overview["jobs"].as_array().context("the status names no jobs")?;
    let named =
        |name: &str| jobs.iter().find(|job| job["name"] == name).with_context(|| format!("the job {name} is missing"));
    let done = |name: &str| anyhow::Ok(named(name)?["items"]["done"].as_u64().unwrap_or(0));
    let ideas = done("ideas")?;
    ensure!(ideas == IDEAS_DONE, "{ideas} ideas are done, {IDEAS_DONE} should be");
    let videos = done("youtube")?;
    ensure!(videos > 0, "no video is done");
    let stages = named("youtube")?["stages"].as_array().context("the job youtube has no stages")?;
    let done_of = |name: &str| {
        let stage = stages.iter().find(|stage| stage["name"] == name).with_context(|| format!("no stage {name}"))?;
        anyhow::Ok(stage["tasks"]["done"].as_u64().unwrap_or(0))
    };
    let (read, heard) = (done_of("captions")?, done_of("whisper")?);
    ensure!(read > 0 && heard > 0, "{read} videos were read by captions and {heard} were heard; both should be some");
    let done = done("catalogue")?;
    ensure!(done >= DONE_MIN, "{done} pages are done, {DONE_MIN} should be");
    for path in ["busy", "healing"] {
        let key = format!("https://catalogue.example/item/{path}");
        let item = tollgate.json(&["item", "show", "catalogue", &key])?;
        ensure!(item["item"]["status"] == "done", "{key} is {}", item["item"]["status"]);
    }
    println!("\n{done} pages are done, those that answered 429 and 503 at first among them.");
    println!("{ideas} ideas are done, though the session that shows them expired after each {SESSION_VIEWS}.");
    println!(
        "{videos} videos are done: found by their titles, scored, and where that promised much, {read} were read by their \
         captions, and {heard} that have none were heard by speech."
    );
    println!("{}", tollgate.sim.counts()?);
    account(tollgate)
}

/// Shows what each job has cost, and holds the sum against what the small internet would have billed.
fn account(tollgate: &Tollgate<'_>) -> Result<()> {
    println!("\nWhat it cost:");
    tollgate.show(&["cost", "--by", "job"])?;
    tollgate.show(&["cost", "--by", "stage"])?;
    let costs = tollgate.json(&["cost", "--by", "job"])?;
    let bill: Value = serde_json::from_str(&http_get(&tollgate.sim.admin, "/_sim/bill")?)?;
    let (ours, theirs) = (&costs["total"]["cost"], &bill["sum"]);
    ensure!(ours.as_u64().is_some_and(|cost| cost > 0), "nothing was paid: {costs}");
    ensure!(ours == theirs, "the ledger has {ours} billionths of a dollar, and the small internet billed {theirs}");
    println!("The ledger and what the small internet billed agree to the billionth of a dollar.");
    Ok(())
}

/// The program, over a folder with a jobs.toml and the small internet's proxy.
pub(crate) struct Tollgate<'a> {
    pub(crate) sim: &'a Sim,
    pub(crate) folder: PathBuf,
    /// How a program is started.
    pub(crate) start: &'a dyn Fn(PathBuf) -> Command,
}

impl Tollgate<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = (self.start)(target().join("debug/tollgate"));
        command.current_dir(&self.folder).args(args);
        command.env("TOLLGATE_PROXY", &self.sim.proxy).env("TOLLGATE_PROXY_CA", &self.sim.ca);
        command.envs(KEYS.map(|key| (key, "no key, but one for the small internet")));
        let found = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(programs(&self.folder)).chain(std::env::split_paths(&found));
        // Only a name with a colon can't stand there, which no folder of ours has.
        command.env("PATH", std::env::join_paths(all).unwrap_or(found));
        command
    }

    pub(crate) fn show(&self, args: &[&str]) -> Result<()> {
        let status = self.command(args).status()?;
        ensure!(status.success(), "tollgate {} ended with {status}", args.join(" "));
        Ok(())
    }

    pub(crate) fn json(&self, args: &[&str]) -> Result<Value> {
        let output = self.command(args).args(["-o", "json"]).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "tollgate {} ended with {}", args.join(" "), output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// The small internet, ended by its process id when this goes.
pub(crate) struct Sim {
    process: Child,
    /// The proxy's address.
    pub(crate) proxy: String,
    ca: String,
    admin: String,
    /// Where each site listens itself, by its name.
    pub(crate) direct: Value,
}

impl Sim {
    /// Starts it with more arguments, in a folder that is its own.
    pub(crate) fn start(scratch: &Path, more: &[&str]) -> Result<Self> {
        let cookies = deployment(scratch).join("cookies");
        fs::create_dir_all(&cookies)?;
        let (ready, ca) = (scratch.join("ready.json"), scratch.join("ca.pem"));
        let mut process = Command::new(target().join("debug/sim"))
            .arg("--ready")
            .arg(&ready)
            .arg("--ca-out")
            .arg(&ca)
            .arg("--cookies-out")
            .arg(cookies.join("ideas.txt"))
            .args(["--session-views", SESSION_VIEWS])
            .args(["--videos", VIDEOS])
            .args(more)
            .stdin(Stdio::null())
            .spawn()
            .context("the small internet can't be started")?;
        let deadline = Instant::now() + START_TIME;
        while !ready.exists() {
            if let Some(status) = process.try_wait()? {
                bail!("the small internet ended with {status}");
            }
            if Instant::now() > deadline {
                // Nothing listens: whether it ends by this or by itself, there is nothing more to do for it.
                drop(process.kill());
                bail!("the small internet did not begin within {START_TIME:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        let facts: Value = serde_json::from_str(&fs::read_to_string(&ready)?)?;
        let text = |key: &str| facts[key].as_str().map(ToOwned::to_owned).with_context(|| format!("{key} is missing"));
        Ok(Self {
            process,
            proxy: text("proxy")?,
            ca: ca.display().to_string(),
            admin: text("admin")?,
            direct: facts["direct"].clone(),
        })
    }

    /// What the proxy and the sites counted, as one sentence; requests past the proxy are a failure.
    pub(crate) fn counts(&self) -> Result<String> {
        let (proxied, direct) = self.counted()?;
        ensure!(direct == 0, "{direct} requests went past the proxy");
        Ok(format!("The small internet counted {proxied} requests through the proxy, {direct} past it."))
    }

    /// Requests through the proxy, and past it.
    pub(crate) fn counted(&self) -> Result<(u64, u64)> {
        let counts = http_get(&self.admin, "/_sim/counts")?;
        let counts: Value = serde_json::from_str(&counts)?;
        match (counts["via_proxy"].as_u64(), counts["direct"].as_u64()) {
            (Some(proxied), Some(direct)) => Ok((proxied, direct)),
            _ => bail!("the small internet's counts are incomplete: {counts}"),
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait().map(drop)) {
            eprintln!("the small internet, process {}, could not be ended: {error}", self.process.id());
        }
    }
}

/// A GET over loopback, body alone.
fn http_get(base: &str, path: &str) -> Result<String> {
    use std::io::{Read, Write};
    let authority = base.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = std::net::TcpStream::connect(authority).with_context(|| format!("{authority} doesn't answer"))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer from the small internet")?;
    Ok(body.to_owned())
}
