//! `tollgate job`: list, show, pause, resume.

use tollgate_core::{item::ItemStatus, pause::Pause};
use tollgate_engine::operations::{JobDetail, Overview};
use tollgate_store::JobView;
use tollgate_web::api::PauseBody;

use crate::{CliError, Program, api::Api, args::Global, output};

pub(crate) async fn list(program: &dyn Program, global: &Global) -> Result<(), CliError> {
    let overview: Overview = Api::find(program, global).await?.get("/overview").await?;
    output::list(global.output, &overview.jobs, |jobs| {
        let rows = jobs.iter().map(|job| {
            let count = |status| job.items.get(&status).copied().unwrap_or(0).to_string();
            let state =
                job.pause.as_ref().map_or_else(|| "open".to_owned(), |pause| format!("paused: {}", pause.sentence()));
            [
                job.name.to_string(),
                count(ItemStatus::Queued),
                count(ItemStatus::Retrying),
                count(ItemStatus::Done),
                count(ItemStatus::Failed),
                count(ItemStatus::Skipped),
                state,
            ]
        });
        output::table(["job", "queued", "retrying", "done", "failed", "skipped", "state"], rows)
    })
}

pub(crate) async fn show(program: &dyn Program, global: &Global, job: &str) -> Result<(), CliError> {
    let detail: JobDetail = Api::find(program, global).await?.get(&format!("/jobs/{job}")).await?;
    output::one(global.output, &detail, |detail| {
        let mut text = stages(&detail.job);
        for attention in &detail.attention {
            text.push_str(&format!("! {}\n", attention.message));
        }
        let rows =
            detail.errors.iter().map(|error| [error.key.to_string(), error.stage.to_string(), error.error.to_string()]);
        if !detail.errors.is_empty() {
            text.push_str(&output::table(["item", "stage", "error"], rows));
        }
        text
    })
}

fn stages(job: &JobView) -> String {
    let rows = job.stages.iter().map(|stage| {
        let counts = stage.tasks.iter().filter(|(_, count)| **count > 0);
        let counts: Vec<String> = counts.map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
        [stage.name.to_string(), stage.needs.join(", "), counts.join(", "), stage.breaker.to_string()]
    });
    output::table(["stage", "needs", "tasks", "failed in a row"], rows)
}

pub(crate) async fn pause(program: &dyn Program, global: &Global, job: &str, note: String) -> Result<(), CliError> {
    let body = PauseBody { by: "cli".to_owned(), note };
    let pause: Pause = Api::find(program, global).await?.post(&format!("/jobs/{job}/pause"), &body).await?;
    output::one(global.output, &pause, |pause| format!("{job} is paused: {}\n", pause.sentence()))
}

pub(crate) async fn resume(program: &dyn Program, global: &Global, job: &str) -> Result<(), CliError> {
    let pause: Option<Pause> = Api::find(program, global).await?.post(&format!("/jobs/{job}/resume"), &()).await?;
    output::one(global.output, &pause, |pause| match pause {
        Some(pause) => format!("{job} goes on; it had been paused: {}\n", pause.sentence()),
        None => format!("{job} was not paused\n"),
    })
}
