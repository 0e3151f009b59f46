//! What a person types.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use tollgate_core::{calendar::Day, item::ItemStatus};
use tollgate_store::CostGroup;

/// The hidden command by which the program compiles a component in a child process of its own.
pub const COMPILE_COMMAND: &str = "compile-component";

/// Runs data jobs whose logic is WebAssembly: durable queue, enforced proxy, nothing lost silently.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Global {
    /// What runs here, what it may reach, and how fast.
    #[arg(long, global = true, default_value = "jobs.toml", env = "TOLLGATE_FILE")]
    pub(crate) file: PathBuf,
    /// The data folder, in place of the one that the file names.
    #[arg(long, global = true, env = "TOLLGATE_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// How answers are printed.
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Jsonl,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the jobs until it is stopped (Ctrl-C stops in good order).
    Run(RunArgs),
    /// Says what jobs.toml comes to: jobs, stages, what each may reach, and everything wrong with it.
    Check {
        /// Says instead which policy this address gets, why, and which jobs may ask for it.
        #[arg(long)]
        url: Option<String>,
    },
    /// Compiles handler crates into the handlers folder.
    Build {
        /// Folders of handler crates.
        #[arg(default_value = ".")]
        crates: Vec<PathBuf>,
    },
    /// Makes something new.
    New {
        #[command(subcommand)]
        what: NewCommand,
    },
    /// Shows everything at a glance.
    Status {
        /// Goes on showing it, once a second.
        #[arg(long)]
        watch: bool,
    },
    /// Shows, pauses and resumes jobs.
    Job {
        #[command(subcommand)]
        what: JobCommand,
    },
    /// Shows, adds, retries and excludes items.
    Item {
        #[command(subcommand)]
        what: ItemCommand,
    },
    /// Judges the stored pages of a job by today's guards: what they catch is kept apart and queued again with what
    /// stands on it, and so is what they let pass by now.
    Recheck {
        job: String,
        /// Says how many pages and which rules, and changes nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Has a running host read jobs.toml again. It does so by itself when the file changes; what waits for
    /// the next start is named.
    Reload,
    /// Shows, tests and renews the sessions of sites that want a login.
    Session {
        #[command(subcommand)]
        what: SessionCommand,
    },
    /// Shows what models, searches and speech have cost: by day, job, stage, model or item, or call by call.
    Cost(CostArgs),
    /// Writes a job's items with their outputs.
    Export(ExportArgs),
    /// Looks after the store of a stopped host.
    Store {
        #[command(subcommand)]
        what: StoreCommand,
    },
    /// Compiles a component; the program calls itself so.
    #[command(name = COMPILE_COMMAND, hide = true)]
    CompileComponent { cpu_seconds: u64, memory_bytes: u64, component: PathBuf, compiled: PathBuf },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// Ends once nothing runs, is ready, or waits for another try.
    #[arg(long)]
    pub(crate) until_idle: bool,
    /// Ends once so many tasks have run.
    #[arg(long, value_name = "TASKS")]
    pub(crate) limit: Option<u64>,
    /// Listens here, in place of what the file says; port 0 takes a free one.
    #[arg(long)]
    pub(crate) listen: Option<std::net::SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NewCommand {
    /// Makes a handler crate that builds and runs as it is.
    Handler {
        /// Its name, and its folder's.
        name: String,
        /// The folder of the SDK's sources; without it, that of the checkout around this folder, or a copy.
        #[arg(long)]
        sdk: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Lists jobs with their counts.
    List,
    /// Shows one job with its stages and latest errors.
    Show { job: String },
    /// Pauses a job: what runs finishes, nothing new starts.
    Pause {
        job: String,
        /// Why, for others to read.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Ends a job's pause.
    Resume { job: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ItemCommand {
    /// Lists items, each with why it stands where it does.
    List(ItemListArgs),
    /// Shows everything known of an item: tasks, attempts, outputs, artifacts.
    Show { job: String, key: String },
    /// Adds items: keys, or a file of JSON lines with `key`, `data`, `priority`, `revision`.
    Add(ItemAddArgs),
    /// Opens failed tasks again, and resumes the job. An item that has ended without a failure begins anew; one in
    /// progress is left to it.
    Retry(ItemRetryArgs),
    /// Leaves items out: what has not ended is skipped.
    Exclude {
        job: String,
        #[arg(required = true)]
        keys: Vec<String>,
        /// Why, for others to read.
        #[arg(long, default_value = "excluded by hand")]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Lists sessions: where each came from, since when there is one, and what to do where there is none.
    List,
    /// Asks a session's site whether it takes it; exit code 6 if not.
    Test { name: String },
    /// Makes a session anew: the file is read again, or the browser's cookie exchanged.
    Renew { name: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Counts everything anew from its rows, and says what disagrees.
    Verify,
    /// Goes on without the ledger's log, `ledger.wal`, which is gone or damaged: paid calls that stand in it before its
    /// damage are kept, all others are lost to the ledger. The file stays beside the new one, as `ledger.wal.aside`.
    SetLogAside,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ItemListArgs {
    pub(crate) job: String,
    /// Only items of this status: queued, retrying, done, failed, skipped.
    #[arg(long, value_parser = status)]
    pub(crate) status: Option<ItemStatus>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ItemRetryArgs {
    pub(crate) job: String,
    /// Which items; or --failed for every failed one. With --stage also --status or --all.
    #[arg(conflicts_with_all = ["failed", "status", "all"])]
    pub(crate) keys: Vec<String>,
    /// Every failed item of the job.
    #[arg(long, conflicts_with_all = ["status", "all"])]
    pub(crate) failed: bool,
    /// Only this stage of them, done or not: from what is stored, nothing before it runs.
    #[arg(long)]
    pub(crate) stage: Option<String>,
    /// With --stage: every item of this status, as `item list` has them: queued, retrying, done, failed, skipped.
    #[arg(long, value_parser = status, requires = "stage", conflicts_with = "all")]
    pub(crate) status: Option<ItemStatus>,
    /// With --stage: every item of the job.
    #[arg(long, requires = "stage")]
    pub(crate) all: bool,
    /// With --stage: says how many items --failed, --status or --all come to, and changes nothing.
    #[arg(long, requires = "stage", conflicts_with_all = ["keys", "yes"])]
    pub(crate) dry_run: bool,
    /// With --stage: opens what --failed, --status or --all come to without asking.
    #[arg(long, requires = "stage", conflicts_with = "keys")]
    pub(crate) yes: bool,
    /// Answers of models, searches and speech that these tasks have paid for are taken again, and only requests that
    /// differ are paid; without it, all are made anew.
    #[arg(long)]
    pub(crate) reuse_answers: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ItemAddArgs {
    pub(crate) job: String,
    /// Keys of items; each gets the data `{"url": KEY}` if it is a URL.
    pub(crate) keys: Vec<String>,
    /// A file of JSON lines; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "keys", required_unless_present = "keys")]
    pub(crate) from: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CostArgs {
    /// What it is summed by.
    #[arg(long, value_enum, default_value_t = SumBy::Day)]
    pub(crate) by: SumBy,
    /// Only of this job.
    #[arg(long)]
    pub(crate) job: Option<String>,
    /// Only from this day on, such as 2026-11-28.
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Option<Day>,
    /// Only up to this day, itself included.
    #[arg(long, value_name = "DAY")]
    pub(crate) to: Option<Day>,
    /// The ledger's rows in place of sums: each call, the newest first, those under way included.
    #[arg(long, conflicts_with = "by")]
    pub(crate) rows: bool,
    /// What one call has paid for, by its number in the rows: a model's answer, a search with its query, a transcript.
    #[arg(long, value_name = "CALL", conflicts_with_all = ["by", "rows", "job", "from", "to"])]
    pub(crate) answer: Option<u64>,
    /// Only rows of this stage of the job.
    #[arg(long, requires = "rows", requires = "job")]
    pub(crate) stage: Option<String>,
    /// Only rows of this item of the job.
    #[arg(long, value_name = "KEY", requires = "rows", requires = "job")]
    pub(crate) item: Option<String>,
    /// At most so many items or rows; the sum is of all.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) limit: usize,
}

/// What costs are summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SumBy {
    /// The date.
    Day,
    /// The job.
    Job,
    /// The stage of a job.
    Stage,
    /// Who is paid.
    Model,
    /// The item.
    Item,
}

impl From<SumBy> for CostGroup {
    fn from(by: SumBy) -> Self {
        match by {
            SumBy::Day => Self::Day,
            SumBy::Job => Self::Job,
            SumBy::Stage => Self::Stage,
            SumBy::Model => Self::Model,
            SumBy::Item => Self::Item,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExportArgs {
    pub(crate) job: String,
    /// Only this stage's outputs, their fields as columns.
    #[arg(long)]
    pub(crate) stage: Option<String>,
    /// As CSV, with a header line; without it JSON lines, or what -o says.
    #[arg(long)]
    pub(crate) csv: bool,
    /// Only items of this status.
    #[arg(long, value_parser = status)]
    pub(crate) status: Option<ItemStatus>,
    /// At most so many.
    #[arg(long)]
    pub(crate) limit: Option<usize>,
}

fn status(word: &str) -> Result<ItemStatus, String> {
    let known = || ItemStatus::ALL.map(ItemStatus::as_str).join(", ");
    ItemStatus::from_word(word).ok_or_else(|| format!("one of {}", known()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_commands_hold_together() {
        super::Args::command().debug_assert();
    }
}
