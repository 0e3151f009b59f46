//! The overview page: jobs, stages, counts, last errors, liveness. Read-only; it reads without scripts.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{
        Html, IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures::{StreamExt, stream};
use maud::{DOCTYPE, Markup, html};
use tollgate_core::{Timestamp, item::ItemStatus, task::TaskKind, time::Short};
use tollgate_engine::{
    Liveness, Operations,
    operations::{JobError, Overview},
};
use tollgate_store::{JobView, StageView};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/live.js");
/// Time between two live updates.
const UPDATE: Duration = Duration::from_secs(1);

pub(crate) fn router(operations: Arc<Operations>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/live.js", get(|| async { ([(header::CONTENT_TYPE, "text/javascript")], SCRIPT) }))
        .route("/style.css", get(|| async { ([(header::CONTENT_TYPE, "text/css")], STYLE) }))
        .with_state(operations)
}

async fn page(State(operations): State<Arc<Operations>>) -> Response {
    match operations.overview().await {
        Ok(overview) => ([CONTENT_POLICY], Html(whole(&overview).into_string())).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the overview can't be read: {error}")).into_response()
        }
    }
}

/// What the page may load: its own style and script, nothing else. Texts from sites and guests stand on it.
const CONTENT_POLICY: (header::HeaderName, &str) =
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'");

/// One live channel, once a second while somebody looks (D01): liveness each time, so that silence means that the host
/// is gone (D02), and the rest of the page where it has changed.
async fn events(State(operations): State<Arc<Operations>>) -> Response {
    let updates = stream::unfold((operations, String::new()), |(operations, last)| async move {
        tokio::time::sleep(UPDATE).await;
        let (alive, now) = match operations.overview().await {
            Ok(overview) => (liveness(&overview.liveness).into_string(), rest(&overview).into_string()),
            Err(error) => {
                (html! { p #liveness .bad { "The overview can't be read: " (error) } }.into_string(), last.clone())
            }
        };
        let mut events = vec![event("liveness", &alive)];
        if now != last {
            events.push(event("rest", &now));
        }
        Some((stream::iter(events), (operations, now)))
    });
    Sse::new(updates.flatten()).into_response()
}

fn event(name: &str, markup: &str) -> Result<Event, Infallible> {
    Ok(Event::default().event(name).data(markup.replace(['\n', '\r'], " ")))
}

fn whole(overview: &Overview) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Tollgate" }
                link rel="stylesheet" href="/style.css";
                script src="/live.js" defer {}
            }
            body {
                header { h1 { "Tollgate" } }
                main {
                    div #host { (liveness(&overview.liveness)) }
                    div #live { (rest(overview)) }
                }
            }
        }
    }
}

/// What of the page people may have opened or selected: all but liveness.
fn rest(overview: &Overview) -> Markup {
    html! {
        @if !overview.attention.is_empty() {
            section #attention {
                h2 { "Needs attention" }
                ul {
                    @for attention in &overview.attention {
                        li { @if let Some(job) = &attention.job { strong { (job) } " " } (attention.message) }
                    }
                }
            }
        }
        (gate(overview))
        @if overview.jobs.is_empty() { p { "No job has run yet." } }
        @for job in &overview.jobs { (job_section(job)) }
        (errors(&overview.errors, overview.at))
    }
}

/// What of the network is left alone, models included, and why; and what is spent.
fn gate(overview: &Overview) -> Markup {
    let minutes = |Short(left)| minutes(left);
    let sentences = overview.left_alone(minutes);
    html! {
        @if !sentences.is_empty() {
            section #gate {
                h2 { "Left alone" }
                ul { @for sentence in &sentences { li { (sentence) } } }
            }
        }
        (budgets(overview))
        (spending(overview))
        (since_start(overview))
    }
}

/// What policy let not pass, and how often sessions were renewed.
fn since_start(overview: &Overview) -> Markup {
    let sentences: Vec<String> = overview.gate.iter().flat_map(|gate| gate.since_start()).collect();
    html! {
        @if !sentences.is_empty() {
            section #since-start {
                h2 { "Since the start" }
                ul { @for sentence in &sentences { li { (sentence) } } }
            }
        }
    }
}

/// How budgets of money stand.
fn budgets(overview: &Overview) -> Markup {
    html! {
        @if !overview.budgets.is_empty() {
            section #budgets {
                h2 { "Budgets" }
                div.wide { table {
                    thead { tr {
                        th { "of" } th { "a" } th.number { "spent" } th.number { "held" } th.number { "of" }
                        th.number { "share" } th { "begins anew" }
                    } }
                    tbody { @for budget in &overview.budgets { tr {
                        th scope="row" { (budget.of) }
                        td { (budget.period.as_str()) }
                        td.number.bad[budget.is_spent()] { (budget.spent) }
                        td.number { (budget.held) }
                        td.number { (budget.limit) }
                        td.number { (budget.percent) " %" }
                        td { "in " (minutes(budget.until.since(overview.at))) }
                    } } }
                } }
            }
        }
    }
}

/// What proxies and sites have spent today. Tools' traffic can't be seen: what they left is said to be an estimate.
fn spending(overview: &Overview) -> Markup {
    let spending = overview.gate.iter().flat_map(|gate| &gate.spending);
    let rows: Vec<_> = spending.filter(|meter| meter.is_shown()).collect();
    html! {
        @if !rows.is_empty() {
            section #spending {
                h2 { "Transferred today" }
                div.wide { table {
                    thead { tr { th { "of" } th { "today" } th { "budget" } th { "left" } } }
                    tbody { @for meter in rows { tr {
                        th scope="row" { (meter.name) }
                        td { (meter.today()) }
                        td { @for budget in &meter.budgets {
                            div.bad[budget.percent >= 100] { (budget.share) " a " (budget.period) }
                        } }
                        td { @for budget in &meter.budgets { div { (budget.left) } } }
                    } } }
                } }
            }
        }
    }
}

fn liveness(liveness: &Liveness) -> Markup {
    let age = |age_ms: &u64| Short(Duration::from_millis(age_ms / 1_000 * 1_000)).to_string();
    html! {
        @match liveness {
            Liveness::Running { age_ms, heartbeat } => p #liveness .good {
                "Running, process " (heartbeat.pid) ", last heartbeat "
                @if *age_ms < 2_000 { "just now" } @else { (age(age_ms)) " ago" }
            },
            Liveness::Stopped { age_ms, .. } => p #liveness .bad { "Stopped, last heartbeat " (age(age_ms)) " ago" },
            Liveness::Never => p #liveness .bad { "Never run" },
        }
    }
}

fn job_section(job: &JobView) -> Markup {
    let count = |status: ItemStatus| job.items.get(&status).copied().unwrap_or(0);
    html! {
        section.job id={ "job-" (job.name) } {
            h2 { (job.name) " " small { (kind(job)) } }
            @if let Some(pause) = &job.pause { p.bad { "Paused: " (pause.sentence()) } }
            p.items {
                @for status in ItemStatus::ALL { span.count { (count(status)) " " (status.as_str()) } " " }
            }
            div.wide { table {
                thead { tr {
                    th { "stage" }
                    @for kind in TaskKind::ALL { th.number { (kind.as_str()) } }
                } }
                tbody { @for stage in &job.stages { (stage_row(stage)) } }
            } }
            p.discovery { (discovery(job)) }
        }
    }
}

fn kind(job: &JobView) -> &'static str {
    match job.kind {
        tollgate_core::spec::JobKind::Monitor => "monitor",
        tollgate_core::spec::JobKind::Backfill => "backfill",
    }
}

fn stage_row(stage: &StageView) -> Markup {
    html! {
        tr {
            th scope="row" { (stage.name) }
            @for kind in TaskKind::ALL {
                @let count = stage.tasks.get(&kind).copied().unwrap_or(0);
                td.number.bad[kind == TaskKind::Failed && count > 0] { (count) }
            }
        }
    }
}

fn discovery(job: &JobView) -> String {
    let state = &job.discovery;
    let rounds = format!("Discovery: {} rounds", state.rounds);
    match (&state.last_error, state.finished) {
        (Some(error), _) => format!("{rounds}, failed {} times in a row: {error}", state.errors),
        (None, true) => format!("{rounds}, complete"),
        (None, false) if state.empty_rounds > 0 => format!("{rounds}, the last {} empty", state.empty_rounds),
        (None, false) => rounds,
    }
}

fn errors(errors: &[JobError], now: Timestamp) -> Markup {
    html! {
        @if !errors.is_empty() {
            section #errors {
                h2 { "Latest errors" }
                ul { @for JobError { job, error } in errors {
                    li {
                        details {
                            summary {
                                (job) " / " (error.stage) ", " (minutes(now.since(error.at))) " ago: "
                                span.cut { (error.error) }
                            }
                            p { code { (error.key) } }
                            pre { (error.error) }
                        }
                    }
                } }
            }
        }
    }
}

/// Ages on the page change by the minute, so that they don't make an update of their own each second.
fn minutes(age: Duration) -> String {
    match age.as_secs() / 60 {
        0 => "less than a minute".to_owned(),
        minutes => Short(Duration::from_secs(minutes * 60)).to_string(),
    }
}
