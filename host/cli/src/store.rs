//! `tollgate store`: verify, and going on without the ledger's log.

use std::path::Path;

use tollgate_store::VerifyReport;

use crate::{CliError, Program, api::existing_data_folder, args::Global, output};

/// Exit code 1 where something disagrees; the report is printed all the same.
pub(crate) async fn verify(program: &dyn Program, global: &Global) -> Result<(), CliError> {
    let data = existing_data_folder(program, global)?;
    let report = program.verify(&data).await?;
    tell(&report, &data, global)
}

/// What the log still gives is in the ledger after it, and the store as sound as `verify` says.
pub(crate) async fn set_log_aside(program: &dyn Program, global: &Global) -> Result<(), CliError> {
    let data = existing_data_folder(program, global)?;
    let report = program.set_log_aside(&data).await?;
    tell(&report, &data, global)
}

fn tell(report: &VerifyReport, data: &Path, global: &Global) -> Result<(), CliError> {
    output::one(global.output, report, text)?;
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
