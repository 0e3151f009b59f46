//! Figures beside their reference, in one run; and the long campaigns, bounded and seeded.

mod crawl;
mod docs;
mod kills;
mod reference;
mod world;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "tollgate-bench")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Crawls Rust's own documentation of `std` through the proxy, beside a bare loop that does the same.
    Crawl {
        /// At most so many links away from the first page.
        #[arg(long, default_value_t = 20)]
        max_depth: u32,
        /// Runs of each; the median and the range are printed.
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
    /// Kills the program at random moments of that crawl, and looks at what it comes to.
    Kills {
        /// How often.
        #[arg(long, default_value_t = 20)]
        kills: u32,
        /// Where chance begins; printed, so that a run can be repeated.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// At most so many links away from the first page.
        #[arg(long, default_value_t = 20)]
        max_depth: u32,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Args::parse().what {
        What::Crawl { max_depth, runs } => crawl::crawl(max_depth, runs.max(1)).await,
        What::Kills { kills, seed, max_depth } => kills::kills(kills, seed, max_depth).await,
    }
}
