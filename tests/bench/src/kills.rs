//! `soak`: SIGKILL at random moments of a crawl, again and again: each leaves a sound store, and then it must end
//! complete, with no page twice.

use std::{collections::BTreeSet, process::Stdio, thread, time::Duration};

use anyhow::{Result, ensure};

use crate::{reference, world::World};

/// Moments of a kill, in milliseconds from the start: within start-up, within the crawl, which takes some seconds.
const KILL_MS: std::ops::Range<u64> = 60..500;

pub(crate) async fn kills(kills: u32, seed: u64, max_depth: u32) -> Result<()> {
    println!("seed {seed}, {kills} kills");
    let world = World::new(max_depth)?;
    world.run("warm", &["check"])?;
    let expected = reference::crawl(&world, max_depth).await?.pages;
    let (mut chance, mut hits, mut rounds, mut again) = (seed, 0, 0, 0);
    while hits < kills {
        rounds += 1;
        let data = format!("round-{rounds}");
        world.reset().await?;
        world.run(&data, &["check"])?;
        hits += round(&world, &data, kills - hits, &mut chance)?;
        world.run(&data, &["run", "--until-idle"])?;
        let found: BTreeSet<String> = world.exported(&data)?.into_keys().collect();
        ensure!(found == expected, "round {rounds}: {} pages in the export, {} expected", found.len(), expected.len());
        again += world.requests().await?.values().map(|count| count - 1).sum::<u64>();
    }
    let pages = expected.len();
    println!(
        "{hits} kills hit a running crawl, in {rounds} rounds. Each left a sound store, and each round ended complete: {pages} pages, none twice in the export."
    );
    println!("{again} pages were requested again, because a kill came between answer and settlement.");
    Ok(())
}

/// Kills one crawl at random moments until it is over by itself; gives how many kills hit it.
fn round(world: &World, data: &str, most: u32, chance: &mut u64) -> Result<u32> {
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
