//! `tollgate store`: verify, and going on without the ledger's log.

use std::path::Path;

use serde::Serialize;
use tollgate_store::{LogSetAside, VerifyReport};

use crate::{CliError, Program, api::existing_data_folder, args::Global, output};

/// Exit code 1 where something disagrees; the report is printed all the same.
pub(crate) async fn verify(program: &dyn Program, global: &Global) -> Result<(), CliError> {
    let data = existing_data_folder(program, global)?;
    let report = program.verify(&data).await?;
    output::one(global.output, &report, text)?;
    judge(&report, &data)
}

/// What the log still gives is in the ledger after it, and the store as sound as `verify` says.
pub(crate) async fn set_log_aside(program: &dyn Program, global: &Global) -> Result<(), CliError> {
    let data = existing_data_folder(program, global)?;
    let (log, report) = program.set_log_aside(&data).await?;
    let both = SetAside { log: &log, report: &report };
    output::one(global.output, &both, |both| format!("{}{}", what_became_of(both.log), text(both.report)))?;
    judge(&report, &data)
}

#[derive(Serialize)]
struct SetAside<'a> {
    log: &'a LogSetAside,
    #[serde(flatten)]
    report: &'a VerifyReport,
}

fn what_became_of(log: &LogSetAside) -> String {
    let LogSetAside { frames, behind_damage, file } = log;
    let kept = file.as_ref().map_or_else(|| "there was no ledger.wal".to_owned(), |file| format!("kept as {file}"));
    format!("{kept}: {frames} steps of paid calls are in the ledger, {behind_damage} behind damage are lost to it\n")
}

fn judge(report: &VerifyReport, data: &Path) -> Result<(), CliError> {
    if report.is_sound() {
        return Ok(());
    }
    Err(CliError::failed(format!(
        "the store of {} disagrees with itself in {} places; keep a copy of it, and report them",
        data.display(),
        report.problems_total
    )))
}

fn text(report: &VerifyReport) -> String {
    let mut text = format!("{} items, {} tasks, {} problems\n", report.items, report.tasks, report.problems_total);
    for problem in &report.problems {
        text.push_str(&format!("{problem}\n"));
    }
    text
}
