//! `tollgate store`: verify.

use tollgate_store::VerifyReport;

use crate::{CliError, Program, api::existing_data_folder, args::Global, output};

/// Exit code 1 where something disagrees; the report is printed all the same.
pub(crate) async fn verify(program: &dyn Program, global: &Global) -> Result<(), CliError> {
    let data = existing_data_folder(program, global)?;
    let report = program.verify(&data).await?;
    output::one(global.output, &report, text)?;
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
