//! `tollgate check`: what jobs.toml comes to.

mod money;

use serde_json::json;
use tollgate_core::spec::{Deployment, Route, SiteSpec};

use crate::{
    CliError, Program,
    args::{Format, Global},
    output,
    program::Checked,
};

pub(crate) async fn check(program: &dyn Program, global: &Global) -> Result<(), CliError> {
    let Checked { deployment, jobs } = program.check(&global.file, global.data.as_deref()).await?;
    let mut text = String::new();
    let mut documents = Vec::new();
    let mut faults = Vec::new();
    for (name, checked) in jobs {
        let Some(spec) = deployment.job(name.as_str()) else {
            continue;
        };
        let grants: Vec<String> = spec
            .grants
            .iter()
            .map(|grant| {
                std::iter::once(grant.capability.as_str())
                    .chain(grant.names.iter().map(String::as_str))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        match checked {
            Ok(job) => {
                let info = job.handler.info();
                let digest = job.handler.digests().artifact;
                text.push_str(&format!(
                    "job {name}: handler {} {} ({}), may use {}\n",
                    spec.handler,
                    info.version,
                    digest.short(),
                    grants.join(", ")
                ));
                let stages: Vec<_> = job
                    .stages()
                    .map(|(stage, needs)| {
                        let needs: Vec<String> = needs.iter().map(ToString::to_string).collect();
                        json!({"stage": stage.name, "needs": needs, "concurrency": stage.concurrency,
                        "attempts": stage.retry.attempts_max, "when": stage.when.as_ref().map(|when| when.source())})
                    })
                    .collect();
                for (stage, needs) in job.stages() {
                    let needs: Vec<String> = needs.iter().map(ToString::to_string).collect();
                    let needs = if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") };
                    let when = stage.when.as_ref().map_or_else(String::new, |when| format!(", when {}", when.source()));
                    text.push_str(&format!(
                        "  stage {}: needs {needs}, {} at a time, {} attempts{when}\n",
                        stage.name, stage.concurrency, stage.retry.attempts_max
                    ));
                }
                let models = money::models(&deployment, spec)?;
                text.push_str(&money::text(spec, &models));
                money::warn(&global.file, spec, &models);
                documents.push(json!({"job": name, "handler": spec.handler, "version": info.version,
                    "artifact": digest.to_string(), "grants": grants, "stages": stages,
                    "models": money::documents(&models), "budget": money::budget_document(&spec.budget)}));
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    text.push_str(&money::everything(&deployment));
    text.push_str(&sites(&deployment));
    for (site, endpoint) in deployment.ways_around_endpoints() {
        let (file, line) = (global.file.display(), site.at.map_or(0, |at| at.line));
        let (site, endpoint) = (site.pattern.section(), endpoint.policy.pattern.section());
        eprintln!(
            "warning: {file}:{line}: {site} opens the host of {endpoint} past its pacing\n  remove one of the two \
             entries"
        );
    }
    match global.output {
        Format::Table => output::print(&text)?,
        Format::Json | Format::Jsonl => output::list(global.output, &documents, |_| String::new())?,
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(CliError::configuration(faults.join("\n")))
}

fn sites(deployment: &Deployment) -> String {
    let endpoints = deployment.endpoints.iter().map(|endpoint| &endpoint.policy);
    let rows = deployment.sites.iter().chain(endpoints).map(|site| {
        [
            site.pattern.to_string(),
            route(site),
            rate(site),
            site.concurrency.to_string(),
            format!("{:?}", site.timeout),
            site.body_max.to_string(),
        ]
    });
    output::table(["site", "reached", "rate", "at a time", "timeout", "body-max"], rows)
}

pub(crate) fn rate(site: &SiteSpec) -> String {
    site.rate.map_or_else(|| "any".to_owned(), |rate| format!("one in {:?}, burst {}", rate.interval, rate.burst))
}

pub(crate) fn route(site: &SiteSpec) -> String {
    match &site.route {
        Route::Proxy(names, rotation) => match names.as_slice() {
            [only] => format!("through proxy {only}"),
            several => format!("through proxies {} ({})", several.join(", "), rotation.as_str()),
        },
        Route::Direct => "directly".to_owned(),
        Route::Unset => "not at all: no proxy".to_owned(),
    }
}
