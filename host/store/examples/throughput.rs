//! Figures of the store on this machine: `cargo run -p tollgate-store --example throughput [FOLDER]`.
//!
//! Bulk submits with random keys, single durable submits beside bare redb commits, claims and settles of a two-stage
//! job with group commit, and the time to open it all again.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use redb::{Database, TableDefinition};
use tollgate_core::{
    Digest, ItemKey, JobId, JobName, Lane, StageIx, StageName, Timestamp,
    graph::Need,
    handler::HandlerDigests,
    item::NewItem,
    outcome::{BreakerEffect, StageOutput, Verdict},
    spec::JobKind,
};
use tollgate_store::{
    AttemptEnd, AttemptRecord, Claim, DeclaredStage, JobDeclaration, RedbStore, Settlement, Store, StoreError,
    StoreOptions,
};

/// Items submitted in bulk.
const ITEMS: usize = 500_000;
/// Of them settled.
const SETTLED: usize = 40_000;
/// Who claims and settles at once.
const WORKERS: usize = 64;
/// Durable submits one after another.
const SINGLES: usize = 2_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let folder = std::env::args().nth(1).map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    bare_commits(&folder.join("bare.redb"))?;
    let data = folder.join("data");
    let store = RedbStore::open(&data, StoreOptions::default())?;
    let job = store.declare(declaration()?, Timestamp(1)).await?.id;
    singles(&store, job).await?;
    for batch in [5_000, 50_000] {
        bulk(&store, job, batch).await?;
    }
    settles(&store, job).await?;
    // As a killed process leaves it: copied while it is open.
    let killed = folder.join("killed");
    std::fs::create_dir_all(&killed)?;
    for file in ["queue.redb", "content.redb"] {
        std::fs::copy(data.join(file), killed.join(file))?;
    }
    let begun = Instant::now();
    drop(RedbStore::open(&killed, StoreOptions::default())?);
    println!("open of {} items after a kill: {:?}", ITEMS * 2, begun.elapsed());
    let begun = Instant::now();
    store.close().await?;
    println!("close: {:?}", begun.elapsed());
    drop(store);
    let begun = Instant::now();
    let store = RedbStore::open(&data, StoreOptions::default())?;
    println!("open of {} items: {:?}", ITEMS * 2, begun.elapsed());
    store.close().await?;
    for line in std::fs::read_to_string("/proc/self/status")?.lines().filter(|line| line.starts_with("VmHWM")) {
        println!("most memory: {line}");
    }
    Ok(())
}

fn bare_commits(file: &Path) -> Result<(), Box<dyn Error>> {
    let table: TableDefinition<'_, u64, u64> = TableDefinition::new("table");
    let database = Database::create(file)?;
    let begun = Instant::now();
    for number in 0..SINGLES as u64 {
        let transaction = database.begin_write()?;
        transaction.open_table(table)?.insert(number, number)?;
        transaction.commit()?;
    }
    rate("bare redb commits", SINGLES, begun.elapsed());
    Ok(())
}

async fn singles(store: &RedbStore, job: JobId) -> Result<(), Box<dyn Error>> {
    let mut chance = 88_172_645_463_325_252;
    let begun = Instant::now();
    for _ in 0..SINGLES {
        store.submit(job, vec![item(&mut chance)?], Timestamp(2)).await?;
    }
    rate("single durable submits", SINGLES, begun.elapsed());
    Ok(())
}

async fn bulk(store: &RedbStore, job: JobId, batch: usize) -> Result<(), Box<dyn Error>> {
    let mut chance = 1 + batch as u64;
    let mut took = Duration::ZERO;
    for _ in 0..ITEMS / batch {
        let items = (0..batch).map(|_| item(&mut chance)).collect::<Result<_, _>>()?;
        let begun = Instant::now();
        store.submit(job, items, Timestamp(3)).await?;
        took += begun.elapsed();
    }
    rate(&format!("bulk submit, batches of {batch}"), ITEMS, took);
    Ok(())
}

async fn settles(store: &Arc<RedbStore>, job: JobId) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let workers = (0..WORKERS).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            // Half of them fetch, half extract.
            let lane = Lane { job, stage: StageIx(u16::from(number % 2 == 1)) };
            let mut settled = 0;
            while settled < SETTLED / WORKERS {
                for claim in store.claim(lane, 1, Timestamp(4)).await? {
                    store.settle(vec![settlement(&claim)]).await?.remove(0)?;
                    settled += 1;
                }
                tokio::task::yield_now().await;
            }
            Ok::<_, StoreError>(())
        })
    });
    for worker in join_all(workers.collect::<Vec<_>>()).await {
        worker??;
    }
    rate("claims and settles, one a call, 64 at once", SETTLED, begun.elapsed());
    Ok(())
}

fn rate(what: &str, count: usize, took: Duration) {
    println!("{what}: {count} in {took:.2?}, {:.0}/s", count as f64 / took.as_secs_f64());
}

fn declaration() -> Result<JobDeclaration, Box<dyn Error>> {
    let fetch = StageName::new("fetch")?;
    let stages = vec![
        DeclaredStage { name: fetch.clone(), needs: Vec::new(), brings: Vec::new() },
        DeclaredStage { name: StageName::new("extract")?, needs: vec![Need::parse("fetch")?], brings: vec![fetch] },
    ];
    let name = JobName::new("pages")?;
    Ok(JobDeclaration { name, kind: JobKind::Backfill, stages, keep_attempts: 5, breaker: 3, discovery: None })
}

fn item(chance: &mut u64) -> Result<NewItem, Box<dyn Error>> {
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    let key = format!("https://catalogue.example/{:016x}", chance.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let data = [("url".to_owned(), key.as_str().into())].into_iter().collect();
    Ok(NewItem { key: ItemKey::new(&key)?, data, priority: 0, revision: None })
}

fn settlement(claim: &Claim) -> Settlement {
    let digest = Digest::of(b"handler");
    let mut tally = claim.tally;
    tally.attempts += 1;
    let fields = [("text".to_owned(), "x".repeat(500).into())].into_iter().collect();
    let attempt = AttemptRecord {
        number: tally.attempts,
        started_at: Timestamp(4),
        ended_at: Timestamp(5),
        handler: HandlerDigests { artifact: digest, code: digest },
        ended: AttemptEnd::Done,
        error: None,
        reason: None,
        guest_us: 10,
        requests: 1,
        bytes_received: 500,
    };
    Settlement {
        task: claim.task,
        token: claim.token,
        verdict: Verdict::Done(StageOutput { fields, found: Vec::new(), quality_flags: Vec::new() }),
        tally,
        breaker: BreakerEffect::Success,
        attempt: Some(attempt),
        fingerprint: None,
        artifacts: Vec::new(),
        pause: None,
        now: Timestamp(5),
    }
}
