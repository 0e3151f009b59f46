//! `tollgate status`: everything at a glance.

use std::{io::IsTerminal, time::Duration};

use tollgate_core::{item::ItemStatus, task::TaskKind, time::Short};
use tollgate_engine::{Liveness, operations::Overview};

use crate::{CliError, Program, api::Api, args::Global, output};

pub(crate) async fn status(program: &dyn Program, global: &Global, watch: bool) -> Result<(), CliError> {
    loop {
        match overview(program, global).await {
            Ok(overview) => {
                if watch && std::io::stdout().is_terminal() {
                    output::print("\u{1b}[2J\u{1b}[H")?;
                }
                output::one(global.output, &overview, text)?;
            }
            // The host starts or stops: it will be there, or its store will.
            Err(error) if watch && error.is_passing() => eprintln!("{error}"),
            Err(error) => return Err(error),
        }
        if !watch {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Found anew each time: the host may start or stop while we watch.
async fn overview(program: &dyn Program, global: &Global) -> Result<Overview, CliError> {
    Api::find(program, global).await?.get("/overview").await
}

/// An overview as text.
pub(crate) fn text(overview: &Overview) -> String {
    let age = |age_ms: u64| Short(Duration::from_millis(age_ms));
    let mut text = match &overview.liveness {
        Liveness::Running { age_ms, heartbeat } => {
            format!("running, process {}, heartbeat {} ago\n", heartbeat.pid, age(*age_ms))
        }
        Liveness::Stopped { age_ms, .. } => format!("stopped, last heartbeat {} ago\n", age(*age_ms)),
        Liveness::Never => "never run\n".to_owned(),
    };
    for attention in &overview.attention {
        let job = attention.job.as_ref().map_or_else(String::new, |job| format!("{job}: "));
        text.push_str(&format!("! {job}{}\n", attention.message));
    }
    for sentence in overview.left_alone(|left| left.to_string()) {
        text.push_str(&format!("! {sentence}\n"));
    }
    for meter in overview.gate.iter().flat_map(|gate| &gate.spending).filter(|meter| meter.is_shown()) {
        let budgets =
            meter.budgets.iter().map(|budget| format!(", {} a {} ({} left)", budget.share, budget.period, budget.left));
        text.push_str(&format!("{}: {} today{}\n", meter.name, meter.today(), budgets.collect::<String>()));
    }
    for budget in &overview.budgets {
        text.push_str(&format!(
            "{}: {} this {}, {} %; begins anew in {}\n",
            budget.of,
            budget.share(),
            budget.period.as_str(),
            budget.percent,
            Short(budget.until.since(overview.at))
        ));
    }
    for sentence in overview.gate.iter().flat_map(|gate| gate.since_start()) {
        text.push_str(&format!("since the start: {sentence}\n"));
    }
    let kinds = TaskKind::ALL;
    let header = ["job", "stage"].into_iter().chain(kinds.iter().map(|kind| kind.as_str())).map(ToOwned::to_owned);
    let rows = overview.jobs.iter().flat_map(|job| {
        job.stages.iter().map(move |stage| {
            let count = |kind: &TaskKind| stage.tasks.get(kind).copied().unwrap_or(0).to_string();
            [job.name.to_string(), stage.name.to_string()].into_iter().chain(kinds.iter().map(count)).collect()
        })
    });
    text.push_str(&output::wide_table(header.collect(), rows));
    for job in &overview.jobs {
        let counts = ItemStatus::ALL
            .iter()
            .map(|status| format!("{} {}", job.items.get(status).copied().unwrap_or(0), status.as_str()));
        text.push_str(&format!("{}: items {}\n", job.name, counts.collect::<Vec<_>>().join(", ")));
    }
    for error in overview.errors.iter().take(5) {
        text.push_str(&format!(
            "  {} {}: {}\n",
            error.error.key,
            error.error.stage,
            output::short(&error.error.error.to_string())
        ));
    }
    text
}
