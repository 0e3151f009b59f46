//! What a model's call takes more than a bare request of the same body: through the whole host, from a real handler,
//! with its rows in the ledger and its answer kept.
//!
//! The model is a process of its own. Processor time counts where there is too little of it, so it is measured with a
//! model that answers at once: 50 calls are at work, on both sides, and the machine is busy from end to end. How long a
//! call takes longer is measured with one that takes its time, as models do, and with askers that begin one after the
//! other: of a busy machine it would be how many calls fit into a second. There, few calls share a commit, a wake-up or
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
        what: "the same with a model that takes 100 ms, asked some 500 times a second",
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
/// Calls of each asker, one after the other. Each asker is one task, so that its claim and its settlement weigh little.
const CALLS: usize = 100;
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
    /// How long the model takes for an answer.
    model_time: Duration,
    /// Between the first call of one asker and that of the next.
    apart: Duration,
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
const BUSY: Load = Load { model_time: Duration::ZERO, apart: Duration::ZERO };
/// A call has the machine nearly to itself.
const PATIENT: Load = Load { model_time: Duration::from_millis(100), apart: Duration::from_millis(2) };

pub(crate) async fn model() -> Result<Vec<Sample>> {
    let scratch = tempfile::Builder::new().prefix("tollgate-bench-").tempdir()?;
    let key = scratch.path().join("key");
    fs::write(&key, KEY)?;
    tokio::time::sleep(KEY_AGE).await;
    let (bare, ours) = beside(PATIENT, &key).await?;
    let (bare_busy, busy) = beside(BUSY, &key).await?;
    let (commit, page) = (group_commits(PATIENT).await?, synced_pages()?);
    // The last is what a call's step writes at the least; the bar goes by commits, as a call of few would share them.
    for (what, times) in [
        ("bare, of a model that takes 100 ms", &bare.times),
        ("the same through the host", &ours.times),
        ("group commit", &commit),
        ("a page written in place, and synced", &page),
    ] {
        let [half, most] = [0.5, 0.99].map(|part| times.part(part));
        eprintln!("  {what}: {half:.0} µs p50, {most:.0} µs p99");
    }
    for (what, asked) in [("bare, busy", &bare_busy), ("through the host, busy", &busy)] {
        let rounds: Vec<String> = asked.processor.iter().map(|round| format!("{round:.0}")).collect();
        eprintln!("  {what}: {} µs of processor time a call, round by round", rounds.join(", "));
    }
    let longer = ours.times.part(0.5) - bare.times.part(0.5);
    let two_commits = 2.0 * commit.part(0.5);
    eprintln!("  a call takes {longer:.0} µs longer, p50; two pages written in place: {:.0} µs", 2.0 * page.part(0.5));
    Ok(vec![
        Sample::beside(busy.mean() - bare_busy.mean(), bare_busy.mean()),
        Sample::beside(ours.mean() - bare.mean(), bare.mean()),
        Sample::beside(longer - two_commits, two_commits),
    ])
}

/// Bare requests and calls through the host, in turns: a machine that others use too is now quicker, now slower. `key`:
/// the file of the service's key.
async fn beside(load: Load, key: &Path) -> Result<(Asked, Asked)> {
    let scratch = tempfile::Builder::new().prefix("tollgate-bench-").tempdir()?;
    let time = load.model_time.as_millis().to_string();
    let internet = SmallInternet::start(scratch.path(), &["--site", HOST, "--service-ms", &time])?;
    let service: SocketAddr = internet.fact(&format!("/direct/{HOST}"))?.parse()?;
    let (mut bare, mut ours) = (Asked::default(), Asked::default());
    for _ in 0..ROUNDS {
        bare.add(bare::ask(service, load).await?);
        ours.add(through_host::ask(service, load, key).await?);
    }
    bare.add(bare::ask(service, load).await?);
    ensure!(bare.tokens == ours.tokens, "the bodies differ: {} tokens and {}", bare.tokens, ours.tokens);
    Ok((bare, ours))
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
        of_writer?.into_iter().for_each(|time| times.push(time));
    }
    store.close().await?;
    Ok(times)
}

/// Those of one writer.
async fn commits(store: Arc<RedbStore>, number: usize, load: Load) -> Result<Vec<f64>> {
    tokio::time::sleep(load.apart / 2 * u32::try_from(number)?).await;
    let mut times = Vec::with_capacity(2 * CALLS);
    for commit in 0..2 * CALLS {
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
