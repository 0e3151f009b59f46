//! `soak`: SIGKILL at random moments of a crawl, again and again; then it must end complete, with no page twice.

use std::{collections::BTreeSet, process::Stdio, thread, time::Duration};

use anyhow::{Result, ensure};

use crate::{reference, world::World};

/// Moments of a kill, in milliseconds from the start: within start-up, within the crawl.
const KILL_MS: std::ops::Range<u64> = 30..2_500;

pub(crate) async fn kills(kills: u32, seed: u64, max_depth: u32) -> Result<()> {
    println!("seed {seed}, {kills} kills");
    let world = World::new(max_depth)?;
    world.run("data", &["check"])?;
    let expected = reference::crawl(&world, max_depth).await?.pages;
    world.reset().await?;
    let mut chance = seed;
    let mut while_running = 0;
    for number in 1..=kills {
        let moment = Duration::from_millis(KILL_MS.start + draw(&mut chance) % (KILL_MS.end - KILL_MS.start));
        let mut program = world.tollgate("data", &["run", "--until-idle"])?;
        let mut program = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        thread::sleep(moment);
        // A crawl that was over sooner has nothing to kill: it is counted apart.
        let was_running = program.try_wait()?.is_none();
        program.kill()?;
        program.wait()?;
        while_running += u32::from(was_running);
        println!("kill {number} after {moment:?}{}", if was_running { "" } else { ": the crawl was over" });
    }
    ensure!(while_running > 0, "no kill hit a running crawl; raise --max-depth");
    world.run("data", &["run", "--until-idle"])?;
    let rows = world.exported("data")?;
    let found: BTreeSet<String> = rows.keys().cloned().collect();
    ensure!(found == expected, "{} pages in the export, {} expected", found.len(), expected.len());
    let again: u64 = world.requests().await?.values().map(|count| count - 1).sum();
    println!(
        "{while_running} of {kills} kills hit the crawl. It ended complete: {} pages, none twice in the export.",
        found.len()
    );
    println!("{again} pages were requested again, because a kill came between answer and settlement.");
    Ok(())
}

/// The next number of a linear congruential generator (Knuth's MMIX constants); its upper bits.
fn draw(chance: &mut u64) -> u64 {
    *chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *chance >> 33
}
