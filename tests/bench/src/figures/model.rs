//! What a model's call takes more than a bare request of the same body: through the whole host, from a real handler,
//! with its rows in the ledger and its answer kept.
//!
//! The model is a process of its own. Processor time counts where there is too little of it, so it is measured with a
//! model that answers at once: 50 calls are at work, on both sides, and the machine is busy from end to end. How long a
//! call takes longer is measured with one that takes its time, as models do, and as long for the same body on both
//! sides: of a busy machine it would be how many calls fit into a second. There, few calls share a commit, a wake-up or
//! a warm cache; what processor time they take is told beside the others.

mod bare;
mod through_host;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use tollgate_core::{
    Timestamp,
    circuit::{Circuit, Cooling, CoolingKind},
};
use tollgate_store::{RedbStore, Store as _};

use super::{process::processor_seconds, store};
use crate::{
    series::{Bar, Line, Sample, Series},
    world::SmallInternet,
};

pub(crate) const LINES: &[Line] = &[
    Line {
        what: "µs of processor time that a model's call takes more than a bare request, 50 at work at once, guest and \
            ledger too",
        reference: Some("µs of processor time of a bare reqwest request of the same body, read to its end"),
        bar: Bar::AtMost(200.0),
    },
    Line {
        what: "the same with a model that takes 50 to 150 ms, asked some 500 times a second",
        reference: Some("the same"),
        bar: Bar::None,
    },
    Line {
        what: "µs that such a call takes longer, p50, beyond two group commits",
        reference: Some("µs of two group commits, p50, as many at once and as often"),
        bar: Bar::AtMost(200.0),
    },
];

/// Who asks at once.
const ASKERS: usize = 50;
/// How often both are measured, one after the other.
const ROUNDS: usize = 2;
/// Calls of each before anything is measured: connections are made.
const WARM: usize = 10;
/// How old the key's file is, at the least, when it is first used: one that was written just now is read again by each
/// call, and a key is old.
const KEY_AGE: Duration = Duration::from_secs(4);
/// Pages that are written to see what one takes.
const PAGES: usize = 256;
const PAGE_BYTES: usize = 4 << 10;
/// Where the small internet has the model, and its name there.
const HOST: &str = "api.openai.com";
const MODEL: &str = "gpt-4.1-mini";
/// It takes any key, but none.
const KEY: &str = "sk-bench";
/// The document of a call, so often.
const SENTENCE: &str = "Acme makes anvils, and sells more of them each year. ";
const SENTENCES: u32 = 40;

/// How it is asked.
#[derive(Clone, Copy)]
struct Load {
    /// How long the model takes for an answer, in the mean.
    model_time: Duration,
    /// Between the first call of one asker and that of the next.
    apart: Duration,
    /// Calls of each asker, one after the other. Each asker is one task, whose start, input and settlement are to weigh
    /// little: they are no call's.
    calls: usize,
}

impl Load {
    /// Waits until the next asker begins; where they aren't apart, not at all.
    async fn next_asker(self) {
        if !self.apart.is_zero() {
            tokio::time::sleep(self.apart).await;
        }
    }
}

/// All that the machine can do.
const BUSY: Load = Load { model_time: Duration::ZERO, apart: Duration::ZERO, calls: 200 };
/// A call has the machine nearly to itself.
const PATIENT: Load = Load { model_time: Duration::from_millis(100), apart: Duration::from_millis(2), calls: 100 };

pub(crate) async fn model() -> Result<Vec<Sample>> {
    let scratch = tempfile::Builder::new().prefix("tollgate-bench-").tempdir()?;
    let key = scratch.path().join("key");
    fs::write(&key, KEY)?;
    tokio::time::sleep(KEY_AGE).await;
    let patient = beside(PATIENT, &key).await?;
    let busy = beside(BUSY, &key).await?;
    let (commit, page) = (group_commits(PATIENT).await?, synced_pages()?);
    // The last is what a call's step writes at the least; the bar goes by commits, as a call of few would share them.
    for (what, times) in [
        ("a call takes longer by", &patient.longer),
        ("group commit", &commit),
        ("a page written in place, and synced", &page),
    ] {
        let [half, most] = [0.5, 0.99].map(|part| times.part(part));
        eprintln!("  {what}: {half:.0} µs p50, {most:.0} µs p99");
    }
    for (what, load) in [("that takes its time", &patient), ("that answers at once", &busy)] {
        let [bare, ours] = [&load.bare, &load.ours].map(|rounds| {
            let rounds: Vec<String> = rounds.iter().map(|round| format!("{round:.0}")).collect();
            rounds.join(", ")
        });
        eprintln!("  processor time with a model {what}: {bare} µs bare, {ours} µs through the host");
    }
    let two_commits = 2.0 * commit.part(0.5);
    Ok(vec![
        busy.processor_time(),
        patient.processor_time(),
        Sample::beside(patient.longer.part(0.5) - two_commits, two_commits),
    ])
}

/// Bare requests beside calls through the host.
#[derive(Default)]
struct Beside {
    /// Processor time of one, in µs, in each round.
    bare: Vec<f64>,
    ours: Vec<f64>,
    /// How much longer each call took than the bare request of the same body, in µs.
    longer: Series,
}

impl Beside {
    fn processor_time(&self) -> Sample {
        let mean = |rounds: &[f64]| rounds.iter().sum::<f64>() / rounds.len() as f64;
        Sample::beside(mean(&self.ours) - mean(&self.bare), mean(&self.bare))
    }
}

/// Both, in turns: a machine that others use too is now quicker, now slower. `key`: the file of the service's key.
async fn beside(load: Load, key: &Path) -> Result<Beside> {
    let scratch = tempfile::Builder::new().prefix("tollgate-bench-").tempdir()?;
    let time = load.model_time.as_millis().to_string();
    let internet = SmallInternet::start(scratch.path(), &["--site", HOST, "--service-ms", &time])?;
    let service: SocketAddr = internet.fact(&format!("/direct/{HOST}"))?.parse()?;
    let mut beside = Beside::default();
    for _ in 0..ROUNDS {
        let (bare, ours) = (bare::ask(service, load).await?, through_host::ask(service, load, key).await?);
        ensure!(bare.tokens == ours.tokens, "the bodies differ: {} tokens and {}", bare.tokens, ours.tokens);
        beside.bare.push(bare.processor);
        beside.ours.push(ours.processor);
        beside.longer.extend(bare.took.iter().zip(&ours.took).map(|(bare, ours)| ours - bare));
    }
    Ok(beside)
}

/// What the calls of a round came to.
struct Asked {
    /// Processor time of one, in µs.
    processor: f64,
    /// How long each took, in µs: asker by asker, in the order in which they were made.
    took: Vec<f64>,
    /// Tokens that each sent.
    tokens: u64,
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
fn each(seconds: f64, load: Load) -> f64 {
    seconds * 1e6 / (ASKERS * load.calls) as f64
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
async fn group_commits(load: Load) -> Result<Series> {
    let folder = tempfile::tempdir()?;
    let (store, _) = store::open(&folder.path().join("data")).await?;
    let mut writers = Vec::with_capacity(ASKERS);
    for number in 0..ASKERS {
        writers.push(tokio::spawn(commits(store.clone(), number, load)));
    }
    let mut times = Series::default();
    for of_writer in try_join_all(writers).await? {
        times.extend(of_writer?);
    }
    store.close().await?;
    Ok(times)
}

/// Those of one writer.
async fn commits(store: Arc<RedbStore>, number: usize, load: Load) -> Result<Vec<f64>> {
    tokio::time::sleep(load.apart / 2 * u32::try_from(number)?).await;
    let mut times = Vec::with_capacity(2 * load.calls);
    for commit in 0..2 * load.calls {
        tokio::time::sleep(load.model_time / 2).await;
        let until = Timestamp(1_000_000 + commit as u64);
        let cooling = Cooling { until, kind: CoolingKind::RateLimited, reason: "bench".to_owned() };
        let (site, circuit) = (format!("site-{number}"), Circuit::remembered(Some(cooling), 0));
        let begun = Instant::now();
        store.keep_circuit(site, circuit, Timestamp(1)).await?;
        times.push(micros(begun.elapsed()));
    }
    Ok(times)
}
