//! What the gate adds to a request: the same page through the same proxy, by turns with bare reqwest.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use tollgate_core::{JobName, http::HttpRequest, spec};
use tollgate_egress::{Caller, Gate, GateOptions, Held, NoMemory};
use tollgate_engine::clock::SystemClock;
use tollgate_sim::{
    Sim,
    sites::scripted::{Scripted, Step},
};

use crate::series::{Sample, Series};

/// Requests of each side.
const REQUESTS: usize = 2_000;
/// Requests before anything is measured: connections are made.
const WARM: usize = 50;
const URL: &str = "http://page.example/";
/// A small page.
const PAGE_BYTES: usize = 4_000;

pub(crate) async fn gate() -> Result<Vec<Sample>> {
    let page = Step::ok("x".repeat(PAGE_BYTES));
    let site = Arc::new(Scripted::new().path("/", [page]));
    let sim = Sim::builder().site("page.example", site).start().await?;
    let scratch = tempfile::tempdir()?;
    let text = format!("[proxy.main]\nurl = \"{}\"\n[site.\"*\"]\nconcurrency = 64\n", sim.proxy_url());
    let deployment = spec::parse(&text, "jobs.toml").map_err(|faults| anyhow!("{faults:?}"))?;
    let options = GateOptions {
        spool: scratch.path().join("spool"),
        sessions: scratch.path().join("sessions"),
        clock: Arc::new(SystemClock),
        base: scratch.path().to_owned(),
        memory: Arc::new(NoMemory),
        remembered: Vec::new(),
    };
    let gate = Gate::new(&deployment, options)?;
    let caller = Caller { job: JobName::new("bench")?, allowed: Vec::new(), tools: None, held: Held::default() };
    let bare = reqwest::Client::builder().no_proxy().proxy(reqwest::Proxy::all(sim.proxy_url())?).build()?;
    let (mut ours, mut theirs) = (Series::default(), Series::default());
    for request in 0..WARM + REQUESTS {
        // By turns: what the machine does meanwhile, it does to both.
        let (own, other) = (through_gate(&gate, &caller).await?, through_reqwest(&bare).await?);
        if request >= WARM {
            ours.push(micros(own));
            theirs.push(micros(other));
        }
    }
    let sample = |part| Sample::beside(ours.part(part) - theirs.part(part), theirs.part(part));
    Ok(vec![sample(0.5), sample(0.99)])
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

async fn through_gate(gate: &Gate, caller: &Caller) -> Result<Duration> {
    let begun = Instant::now();
    let (method, url) = ("GET".to_owned(), URL.to_owned());
    let request = HttpRequest { method, url, headers: Vec::new(), body: None, timeout: None };
    let answer = gate.fetch(caller, request, &|_| {}).await.map_err(|refused| anyhow!("{refused:?}"))?;
    let body = answer.body.bytes().await.context("the body can't be read")?;
    let took = begun.elapsed();
    ensure!(body.len() == PAGE_BYTES, "{} bytes", body.len());
    Ok(took)
}

async fn through_reqwest(client: &reqwest::Client) -> Result<Duration> {
    let begun = Instant::now();
    let body = client.get(URL).send().await?.bytes().await?;
    let took = begun.elapsed();
    ensure!(body.len() == PAGE_BYTES, "{} bytes", body.len());
    Ok(took)
}
