//! `soak`: SIGKILL at random moments of a crawl, again and again: each leaves a sound store, what was done then stays
//! done and is never asked for again, and the crawl must end complete.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    reference,
    world::{HOST, World},
};

/// Moments of a kill, in milliseconds from the start: within start-up, within the crawl, which takes some seconds.
const KILL_MS: std::ops::Range<u64> = 60..500;

pub(crate) async fn kills(kills: u32, seed: u64, max_depth: u32) -> Result<()> {
    println!("seed {seed}, {kills} kills");
    let world = World::new(max_depth)?;
    world.run("warm", &["check"])?;
    let expected = reference::crawl(&world, max_depth).await?.pages;
    let (mut chance, mut hits, mut rounds, mut again, mut kept) = (seed, 0, 0, 0, 0);
    while hits < kills {
        rounds += 1;
        let data = format!("round-{rounds}");
        world.reset().await?;
        world.run(&data, &["check"])?;
        let mut settled = Settled::default();
        hits += round(&world, &data, kills - hits, &mut chance, &mut settled).await?;
        world.run(&data, &["run", "--until-idle"])?;
        kept += settled.0.len();
        settled.look(&world, &data).await?;
        let found: BTreeSet<String> = world.exported(&data)?.into_keys().collect();
        ensure!(found == expected, "round {rounds}: {} pages in the export, {} expected", found.len(), expected.len());
        again += world.requests().await?.values().map(|count| count - 1).sum::<u64>();
    }
    let pages = expected.len();
    println!(
        "{hits} kills hit a running crawl, in {rounds} rounds. Each left a sound store, and each round ended \
         complete: {pages} pages."
    );
    println!("{kept} pages were done when a kill came: all of them stayed done, and none was asked for again.");
    println!("{again} pages were requested again, because a kill came between answer and settlement.");
    Ok(())
}

/// Pages that were done after some kill, by key, with the requests for them until then.
#[derive(Default)]
struct Settled(BTreeMap<String, u64>);

impl Settled {
    /// Holds those known against the store and the small internet as they are now, and takes down those that are new.
    async fn look(&mut self, world: &World, data: &str) -> Result<()> {
        let (rows, requests) = (world.exported(data)?, world.requests().await?);
        let done: BTreeSet<&String> =
            rows.iter().filter(|(_, row)| row["status"] == "done").map(|(key, _)| key).collect();
        for (key, before) in &self.0 {
            ensure!(done.contains(key), "{key} was done, and is no more");
            let now = asked(key, &requests)?;
            ensure!(now == *before, "{key} was done after {before} requests, and was asked for again: {now}");
        }
        for key in done {
            let now = asked(key, &requests)?;
            self.0.entry(key.clone()).or_insert(now);
        }
        Ok(())
    }
}

/// Requests for the page of that key.
fn asked(key: &str, requests: &BTreeMap<String, u64>) -> Result<u64> {
    let (_, path) = key.split_once(HOST).with_context(|| format!("{key} is no page of {HOST}"))?;
    requests.get(path).copied().with_context(|| format!("{key} is done, and was never asked for"))
}

/// Kills one crawl at random moments until it is over by itself; gives how many kills hit it.
async fn round(world: &World, data: &str, most: u32, chance: &mut u64, settled: &mut Settled) -> Result<u32> {
    for hits in 0..most {
        let moment = Duration::from_millis(KILL_MS.start + draw(chance) % (KILL_MS.end - KILL_MS.start));
        let mut program = world.tollgate(data, &["run", "--until-idle"])?;
        let mut program = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        thread::sleep(moment);
        let was_running = program.try_wait()?.is_none();
        program.kill()?;
        program.wait()?;
        // What a kill leaves must be whole at once, not only after the next run has mended it.
        world.run(data, &["store", "verify"])?;
        settled.look(world, data).await?;
        if !was_running {
            return Ok(hits);
        }
    }
    Ok(most)
}

/// The next number of a linear congruential generator (Knuth's MMIX constants); its upper bits.
fn draw(chance: &mut u64) -> u64 {
    *chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *chance >> 33
}
