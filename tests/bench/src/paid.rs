//! `soak paid`: SIGKILL at each step of a paid call, and the ledger beside the provider's bill.

use anyhow::Result;
use tollgate_kills::{Means, Plan, campaign};

use crate::world::{program, test_handlers};

/// Of so many kills at least one hits each step.
const KILLS_PER_HIT: u32 = 25;

pub(crate) async fn paid(kills: u32, seed: u64) -> Result<()> {
    println!("seed {seed}, {kills} kills at the least");
    let least = (kills / KILLS_PER_HIT).max(1);
    let means = Means { program: program("tollgate")?, handlers: test_handlers()? };
    let report = campaign(means, Plan { kills, seed, least, least_by_chance: least }).await?;
    print!("{report}");
    Ok(())
}
