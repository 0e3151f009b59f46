//! Figures beside their reference, in one run; and the long campaigns, bounded and seeded.

mod crawl;
mod docs;
mod figures;
mod kills;
mod paid;
mod peers;
mod reference;
mod series;
mod side_by_side;
mod world;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// The design's table, each figure beside its reference; all of them where none is named.
    Figures {
        /// Which.
        which: Vec<figures::Figure>,
        /// Runs of each; the median and the range are printed.
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
    /// The queue beside other queues, in one run.
    Peers {
        /// Runs of each; the medians are printed.
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
    /// Kills the program at each step of a paid call, and holds its ledger against what the provider billed.
    Paid {
        /// How often, at the least.
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// Where chance begins; printed, so that a run can be repeated.
        #[arg(long, default_value_t = 1)]
        seed: u64,
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

/// Threads of the runtime for each core, as in the program.
const WORKERS_PER_CORE: usize = 2;

fn main() -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(cores * WORKERS_PER_CORE).enable_all().build()?.block_on(run(Args::parse()))
}

async fn run(args: Args) -> Result<()> {
    match args.what {
        What::Crawl { max_depth, runs } => crawl::crawl(max_depth, runs.max(1)).await,
        What::Figures { which, runs } => figures::figures(&which, runs.max(1)).await,
        What::Peers { runs } => side_by_side::side_by_side(runs.max(1)).await,
        What::Paid { kills, seed } => paid::paid(kills, seed).await,
        What::Kills { kills, seed, max_depth } => kills::kills(kills, seed, max_depth).await,
    }
}
