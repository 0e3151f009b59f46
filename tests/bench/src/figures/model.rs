//! What a model's call takes more than a bare request of the same body: through the whole host, from a real handler,
//! with its rows in the ledger and its answer kept.
//!
//! The model is a process of its own and takes its time for each answer, as models do: of a machine that is busy from
//! end to end the figures would be how many calls fit into a second, and not what one takes.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::time::timeout;
use tollgate_core::{
    ItemKey, Timestamp,
    circuit::{Circuit, Cooling, CoolingKind},
    item::ItemStatus,
    model::Dialect,
};
use tollgate_llm::{Document, Prompt, WireModel, wire};
use tollgate_store::Store as _;

use super::{
    embedded::{Embedded, JOB, item},
    process::processor_seconds,
    store,
};
use crate::{
    series::{Bar, Line, Sample, Series},
    world::{SmallInternet, test_handlers},
};

pub(crate) const LINES: &[Line] = &[
    Line {
        what: "µs of processor time that a model's call takes more than a bare request, 50 at once, guest and ledger \
            too",
        reference: Some("µs of processor time of a bare reqwest request of the same body, read to its end"),
        bar: Bar::AtMost(200.0),
    },
    Line {
        what: "µs that such a call takes longer, p50, beyond two group commits",
        reference: Some("µs of two group commits, p50, as many at once and as often"),
        bar: Bar::AtMost(200.0),
    },
];

/// Who asks at once.
const ASKERS: usize = 50;
/// Calls of each, one after the other. Each asker is one task, so that its claim and its settlement weigh little.
const CALLS: usize = 60;
/// How often both are measured, one after the other.
const ROUNDS: usize = 2;
/// Calls of each before anything is measured: connections are made.
const WARM: usize = 2;
/// Pages that are written to see what one takes.
const PAGES: usize = 256;
const PAGE_BYTES: usize = 4 << 10;
/// How long the model takes for an answer.
const MODEL_TIME: Duration = Duration::from_millis(100);
/// Between the first call of one asker and that of the next: they don't all ask in the same moment.
const APART: Duration = Duration::from_millis(2);
/// Where the small internet has the model, and its name there.
const HOST: &str = "api.openai.com";
const MODEL: &str = "gpt-4.1-mini";
/// It takes any key, but none.
const KEY: &str = "sk-bench";
/// Longest that all calls together may take.
const STUCK_TIME: Duration = Duration::from_secs(120);
/// The document of a call, so often.
const SENTENCE: &str = "Acme makes anvils, and sells more of them each year. ";
const SENTENCES: u32 = 40;

pub(crate) async fn model() -> Result<Vec<Sample>> {
    let scratch = tempfile::Builder::new().prefix("tollgate-bench-").tempdir()?;
    let time = MODEL_TIME.as_millis().to_string();
    let internet = SmallInternet::start(scratch.path(), &["--site", HOST, "--service-ms", &time])?;
    let service: SocketAddr = internet.fact(&format!("/direct/{HOST}"))?.parse()?;
    // In turns: a machine that others use too is now quicker, now slower.
    let (mut bare, mut ours) = (Asked::default(), Asked::default());
    for _ in 0..ROUNDS {
        bare.add(self::bare(service).await?);
        ours.add(through_host(service).await?);
    }
    bare.add(self::bare(service).await?);
    ensure!(bare.tokens == ours.tokens, "the bodies differ: {} tokens and {}", bare.tokens, ours.tokens);
    let (commit, page) = (group_commits().await?, synced_pages()?);
    // The last is what a call's step writes at the least; the bar goes by commits, as a call of few would share them.
    for (what, times) in [
        ("bare", &bare.times),
        ("through the host", &ours.times),
        ("group commit", &commit),
        ("a page written in place, and synced", &page),
    ] {
        let [half, most] = [0.5, 0.99].map(|part| times.part(part));
        eprintln!("  {what}: {half:.0} µs p50, {most:.0} µs p99");
    }
    let longer = ours.times.part(0.5) - bare.times.part(0.5);
    let two_commits = 2.0 * commit.part(0.5);
    Ok(vec![Sample::beside(ours.mean() - bare.mean(), bare.mean()), Sample::beside(longer - two_commits, two_commits)])
}

/// What calls came to.
#[derive(Default)]
struct Asked {
    /// Processor time of one, in µs, in each round.
    processor: Vec<f64>,
    /// How long each took, in µs.
    times: Series,
    /// Tokens that each sent.
    tokens: u64,
}

impl Asked {
    /// Takes another round in.
    fn add(&mut self, round: Self) {
        self.processor.extend(round.processor);
        self.times.extend(round.times);
        self.tokens = round.tokens;
    }

    /// Processor time of a call, over all rounds.
    fn mean(&self) -> f64 {
        self.processor.iter().sum::<f64>() / self.processor.len() as f64
    }
}

/// The question of a call: as long as every other's, and none like it.
fn question(asker: usize, call: usize) -> String {
    format!("Call {asker:04}-{call:04}: is it a company?")
}

/// Processor time of this process so far, in seconds.
fn processor() -> Result<f64> {
    processor_seconds(std::process::id())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Processor time of each of all calls, in µs.
fn each(seconds: f64) -> f64 {
    seconds * 1e6 / (ASKERS * CALLS) as f64
}

async fn bare(service: SocketAddr) -> Result<Asked> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{service}/v1/chat/completions");
    let ask_all = async |calls: std::ops::Range<usize>| {
        let asker = async |asker: usize| {
            tokio::time::sleep(APART * u32::try_from(asker)?).await;
            let mut answers = Vec::with_capacity(CALLS);
            for call in calls.clone() {
                let body = body(&question(asker, call))?;
                let begun = Instant::now();
                let request = client
                    .post(&url)
                    .header("authorization", format!("Bearer {KEY}"))
                    .header("content-type", "application/json");
                let answer = request.body(body).send().await?.error_for_status()?.bytes().await?;
                answers.push((begun.elapsed(), answer));
            }
            anyhow::Ok(answers)
        };
        try_join_all((0..ASKERS).map(asker)).await
    };
    ask_all(CALLS..CALLS + WARM).await?;
    let before = processor()?;
    let all = ask_all(0..CALLS).await?;
    let processor = each(processor()? - before);
    let mut times = Series::default();
    all.iter().flatten().for_each(|(took, _)| times.push(micros(*took)));
    let tokens = all.first().and_then(|answers| answers.first()).and_then(|(_, answer)| tokens_of(answer));
    Ok(Asked { processor: vec![processor], times, tokens: tokens.context("the model counts no tokens")? })
}

/// What the host sends for such a call, to the byte.
fn body(question: &str) -> Result<String> {
    let prompt = Prompt {
        documents: vec![Document::text("page", &SENTENCE.repeat(SENTENCES as usize), false)],
        instruction: question.to_owned(),
        schema: Some(schema()),
        ..Prompt::default()
    };
    Ok(wire::request(&WireModel::new(Dialect::OpenAi, MODEL), &prompt)?.body.as_str().to_owned())
}

/// Of what the handler `paid` extracts.
fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Verdict",
        "description": "What is extracted.",
        "type": "object",
        "properties": {
            "genuine": {"description": "Whether it is one.", "type": "boolean"},
            "summary": {"description": "Why.", "type": "string"},
        },
        "required": ["genuine", "summary"],
    })
}

/// Tokens that were sent, as an answer counts them.
fn tokens_of(answer: &Bytes) -> Option<u64> {
    let text = std::str::from_utf8(answer).ok()?;
    text.lines().rev().find_map(|line| {
        let event: Value = serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
        event.pointer("/usage/prompt_tokens")?.as_u64()
    })
}

async fn through_host(service: SocketAddr) -> Result<Asked> {
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key");
    fs::write(&key, KEY)?;
    let jobs = format!(
        "[host]\nhandlers = {:?}\nlisten = \"127.0.0.1:0\"\n[endpoint.model]\nurl = \"http://{service}\"\nconcurrency = {ASKERS}\n\
         [model.bench]\nprovider = \"openai\"\nname = \"{MODEL}\"\n\
         url = \"endpoint://model/v1\"\nprice = {{ input = \"0.10 USD\", output = \"0.40 USD\" }}\n\
         budget = {{ day = \"1000.00 USD\" }}\nkey = {{ file = {key:?} }}\n[job.{JOB}]\nkind = \"backfill\"\n\
         handler = \"paid\"\n\
         grant = [\"llm\", \"artifacts\"]\nstages = [\"first\"]\n[job.{JOB}.stage.first]\nconcurrency = {ASKERS}\n",
        test_handlers()?.display().to_string(),
        key = key.display().to_string(),
    );
    let embedded = Embedded::start(&jobs).await?;
    let run = async |name: &str, calls: usize, settled: u64| {
        let call = |asker, call| {
            let documents = json!([{"name": "page", "text": SENTENCE, "times": SENTENCES}]);
            json!({"ask": question(asker, call), "extract": true, "documents": documents})
        };
        let one = |asker: usize| {
            let script: Vec<Value> = (0..calls).map(|number| call(asker, number)).collect();
            item(&format!("{name}-{asker}"), &json!({"first": script}))
        };
        let items = (0..ASKERS).map(one).collect::<Result<Vec<_>>>()?;
        let before = processor()?;
        for item in items {
            embedded.host.operations().add(JOB, vec![item]).await?;
            tokio::time::sleep(APART).await;
        }
        let done = timeout(STUCK_TIME, embedded.settled(settled)).await;
        done.context("the calls don't come to an end: is something refused?")??;
        anyhow::Ok(processor()? - before)
    };
    let askers = ASKERS as u64;
    run("warm", WARM, askers).await?;
    let spent = run("item", CALLS, 2 * askers).await?;
    let (mut times, mut tokens) = (Series::default(), 0);
    for asker in 0..ASKERS {
        let key = ItemKey::new(&format!("item-{asker}"))?;
        let item = embedded.host.operations().item(JOB, &key).await?.context("an item is gone")?.item;
        ensure!(item.status == ItemStatus::Done, "{item:?}");
        let output = item.outputs.values().next().context("no output")?;
        let answers = output.get("answered").and_then(Value::as_array).context("no answers")?;
        ensure!(answers.len() == CALLS, "{} answers", answers.len());
        for answer in answers {
            times.push(answer["took_us"].as_f64().context("no time")?);
            tokens = answer["input"].as_u64().context("no tokens")?;
        }
    }
    embedded.stop().await?;
    Ok(Asked { processor: vec![each(spent)], times, tokens })
}

/// What it takes to have a page on the disk that is there already, by itself, in µs.
fn synced_pages() -> Result<Series> {
    let file = tempfile::tempfile()?;
    file.write_all_at(&vec![0; PAGES * PAGE_BYTES], 0)?;
    file.sync_all()?;
    let mut times = Series::default();
    for page in 0..PAGES {
        let begun = Instant::now();
        file.write_all_at(&[1; PAGE_BYTES], (page * PAGE_BYTES) as u64)?;
        file.sync_data()?;
        times.push(micros(begun.elapsed()));
    }
    Ok(times)
}

/// What it takes to have a row on the disk: as many writers as there are askers, each as often as a call writes, in µs.
async fn group_commits() -> Result<Series> {
    let folder = tempfile::tempdir()?;
    let (store, _) = store::open(&folder.path().join("data")).await?;
    let writer = async |number: usize| {
        tokio::time::sleep(APART / 2 * u32::try_from(number)?).await;
        let mut times = Vec::with_capacity(2 * CALLS);
        for commit in 0..2 * CALLS {
            tokio::time::sleep(MODEL_TIME / 2).await;
            let until = Timestamp(1_000_000 + commit as u64);
            let cooling = Cooling { until, kind: CoolingKind::RateLimited, reason: "bench".to_owned() };
            let (site, circuit) = (format!("site-{number}"), Circuit::remembered(Some(cooling), 0));
            let begun = Instant::now();
            store.keep_circuit(site, circuit, Timestamp(1)).await?;
            times.push(micros(begun.elapsed()));
        }
        anyhow::Ok(times)
    };
    let all = try_join_all((0..ASKERS).map(writer)).await?;
    store.close().await?;
    let mut times = Series::default();
    all.into_iter().flatten().for_each(|time| times.push(time));
    Ok(times)
}
