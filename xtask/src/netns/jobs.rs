//! The jobs of the runs beside the demo: one whose items run tools, and one whose guests bring a client of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Plan, world};
use crate::{
    demo::{Sim, Tollgate},
    run::{root, target},
    setup,
};

/// The site whose pages they ask for.
pub(super) const TALKS: &str = "talks.example";

/// One of them: a section of jobs.toml, what goes with it, and its items.
struct Job<'a> {
    name: &'a str,
    handler: &'a str,
    grants: &'a str,
    more: String,
    items: Vec<Value>,
}

impl Job<'_> {
    /// Runs all items to their end, and answers how many requests came through the proxy for them.
    ///
    /// # Errors
    /// An item isn't done, or something went past the proxy.
    fn run(&self, sim: &Sim, folder: &Path, start: &dyn Fn(PathBuf) -> Command) -> Result<u64> {
        let Self { name, handler, grants, more, items } = self;
        let head = format!(
            "[host]\nhandlers = {:?}\n[proxy.main]\nurl = {{ env = \"TOLLGATE_PROXY\" }}\n\
             ca = {{ env = \"TOLLGATE_PROXY_CA\" }}\n\
             [job.{name}]\nkind = \"backfill\"\nhandler = \"{handler}\"\ngrant = [{grants}]\n{more}",
            target().join("handlers").display().to_string()
        );
        let (file, list) = (folder.join("jobs.toml"), folder.join("items.jsonl"));
        fs::write(&file, head)?;
        fs::write(&list, items.iter().map(|item| format!("{item}\n")).collect::<String>())?;
        let tollgate = Tollgate { sim, folder: folder.to_owned(), start };
        let host = ["run", "--until-idle", "--listen", "127.0.0.1:0"];
        // The job is known from its first run.
        tollgate.show(&host)?;
        tollgate.show(&["item", "add", name, "--from", &list.display().to_string()])?;
        tollgate.show(&host)?;
        tollgate.show(&["export", name])?;
        let overview = tollgate.json(&["status"])?;
        let done = &overview["jobs"][0]["items"]["done"];
        ensure!(*done == items.len(), "{done} of {} items are done; what they said is above", items.len());
        let (proxied, direct) = sim.counted()?;
        ensure!(direct == 0, "{direct} requests went past the proxy");
        Ok(proxied)
    }
}

/// A job whose items run a tool each: the stand-in, a small client by Python's own library, the real yt-dlp if there.
pub(super) fn tools(plan: &Plan, sim: &Sim, folder: &Path, start: &dyn Fn(PathBuf) -> Command) -> Result<()> {
    let shipped = fs::read_to_string(root().join("jobs.toml"))?;
    let begins = shipped.find("[tool.yt-dlp]").context("jobs.toml ships no yt-dlp")?;
    let entry = &shipped[begins..];
    let entry = &entry[..entry.find("\n[tool.ffmpeg]").context("jobs.toml ships no ffmpeg behind it")?];
    let of = |name: &str, command: &Path| {
        let named = entry.replace("[tool.yt-dlp]", &format!("[tool.{name}]"));
        named.replace("command = \"yt-dlp\"", &format!("command = {:?}", command.display().to_string())) + "\n"
    };
    let own = root().join("tests/tools");
    let client = format!(
        "[tool.client]\ncommand = {:?}\noutput = \"text\"\nproxy-env = [\"http_proxy\", \"https_proxy\"]\n\
         ca-env = [\"SSL_CERT_FILE\"]\nenv = {{ PATH = {{ env = \"PATH\" }} }}\nurl-args = [\"{{url}}\"]\n",
        own.join("small-client").display().to_string()
    );
    let mut more = client + &of("stand-in", &own.join("yt-dlp-stand-in"));
    let mut items =
        vec![item("small client", "client", &[], "talk.html"), item("stand-in", "stand-in", &["--dump-json"], "good")];
    if plan.has_real_tools {
        more += &of("yt-dlp", &setup::yt_dlp());
        items.push(item("yt-dlp", "yt-dlp", &["--dump-json"], "talk.html"));
    }
    // The stand-in asks nobody; every other one its page at least.
    let least = items.len() as u64 - 1;
    let grants = format!("\"tools\", \"http {TALKS}\", \"artifacts\"");
    let proxied = Job { name: "tools", handler: "tooled", grants: &grants, more, items }.run(sim, folder, start)?;
    ensure!(proxied >= least, "{proxied} requests came through the proxy, {least} should at least");
    Ok(())
}

fn item(key: &str, tool: &str, args: &[&str], path: &str) -> Value {
    let url = format!("https://{TALKS}/{path}");
    json!({"key": key, "data": {"tool": tool, "args": args, "url": url, "then": null}})
}

/// A job whose guests ask with a client of their own, over wasi:http: for pages, and for what they may not have.
pub(super) fn own_clients(sim: &Sim, folder: &Path, start: &dyn Fn(PathBuf) -> Command) -> Result<()> {
    let page = format!("{TALKS}/talk.html");
    let (served, refused) = (
        [format!("get http://{page}"), format!("get https://{page}"), format!("side-by-side 4 https://{page}")],
        // This machine, and the proxy's end by its address.
        ["127.0.0.1:9", &world::PROXY.to_string()].map(|host| format!("refused http://{host}/")),
    );
    let items = served.iter().chain(&refused).map(|ask| json!({"key": ask, "data": {"ask": ask}})).collect();
    let job = Job { name: "clients", handler: "own-client", grants: "\"http\"", more: String::new(), items };
    let proxied = job.run(sim, folder, start)?;
    // One each, and the four side by side.
    ensure!(proxied == 6, "{proxied} requests came through the proxy, 6 should");
    Ok(())
}
