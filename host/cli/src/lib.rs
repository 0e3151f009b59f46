//! The program's commands and what they print.
//!
//! Every command but `run`, `check`, `build`, `new` and `store` speaks the API: over loopback to a running host, in
//! this process to the store of a stopped one. stdout is data; everything said beside it goes to stderr.

mod api;
mod args;
mod build;
mod check;
mod cost;
mod error;
mod explain;
mod export;
mod handler_profile;
mod items;
mod jobs;
mod lacking;
mod logging;
mod new_handler;
mod output;
mod program;
mod recheck;
mod reload;
mod retry;
mod run;
mod sessions;
mod status;
mod store;

use std::process::ExitCode;

use clap::Parser;

pub use args::COMPILE_COMMAND;
pub use error::CliError;
pub use program::{Checked, Program, RunRequest, Running};

use args::{Args, Command, ItemCommand, JobCommand, NewCommand, SessionCommand, StoreCommand};

/// Threads of the runtime for each core. With two the crawl of the std docs takes 3 % less time than with one.
const WORKERS_PER_CORE: usize = 2;

/// Runs the program. The exit code is documented in `docs/cli.md`.
pub fn main(program: &dyn Program) -> ExitCode {
    let args = Args::parse();
    // Guests compute on the workers: while all cores do, others take what the network and the store bring.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = cores.saturating_mul(WORKERS_PER_CORE);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CliError::failed(format!("no runtime: {error}")).tell(),
    };
    match runtime.block_on(command(program, args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.tell(),
    }
}

async fn command(program: &dyn Program, args: Args) -> Result<(), CliError> {
    let global = args.global;
    match args.command {
        Command::CompileComponent { cpu_seconds, memory_bytes, component, compiled } => {
            return program.compile((cpu_seconds, memory_bytes), &component, &compiled);
        }
        Command::Run(run) => return run::run(program, &global, run).await,
        _ => logging::quiet(),
    }
    match args.command {
        Command::Check { url: None } => check::check(program, &global).await,
        Command::Check { url: Some(url) } => explain::explain(program, &global, &url).await,
        Command::Build { crates } => build::build(program, &global, &crates).await,
        Command::New { what: NewCommand::Handler { name, sdk } } => new_handler::new_handler(&name, sdk.as_deref()),
        Command::Status { watch } => status::status(program, &global, watch).await,
        Command::Job { what } => match what {
            JobCommand::List => jobs::list(program, &global).await,
            JobCommand::Show { job } => jobs::show(program, &global, &job).await,
            JobCommand::Pause { job, note } => jobs::pause(program, &global, &job, note).await,
            JobCommand::Resume { job } => jobs::resume(program, &global, &job).await,
        },
        Command::Item { what } => match what {
            ItemCommand::List(list) => items::list(program, &global, list).await,
            ItemCommand::Show { job, key } => items::show(program, &global, &job, &key).await,
            ItemCommand::Add(add) => items::add(program, &global, add).await,
            ItemCommand::Retry(args) => retry::retry(program, &global, args).await,
            ItemCommand::Exclude { job, keys, reason } => items::exclude(program, &global, &job, keys, reason).await,
        },
        Command::Recheck { job, dry_run } => recheck::recheck(program, &global, &job, dry_run).await,
        Command::Reload => reload::reload(program, &global).await,
        Command::Session { what } => match what {
            SessionCommand::List => sessions::list(program, &global).await,
            SessionCommand::Test { name } => sessions::test(program, &global, &name).await,
            SessionCommand::Renew { name } => sessions::renew(program, &global, &name).await,
        },
        Command::Cost(cost) => cost::cost(program, &global, cost).await,
        Command::Export(export) => export::export(program, &global, export).await,
        Command::Store { what: StoreCommand::Verify } => store::verify(program, &global).await,
        Command::Store { what: StoreCommand::SetLogAside } => store::set_log_aside(program, &global).await,
        Command::Run(_) | Command::CompileComponent { .. } => Ok(()),
    }
}
