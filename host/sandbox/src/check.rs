//! Holds a handler against a job of jobs.toml: grants, stages, needs, conditions, params. Everything at once, each
//! with its place and what to do.

use serde_json::{Map, Value};
use tollgate_core::{
    StageIx, StageName,
    graph::{GraphStage, Need, StageGraph},
    handler::{Capability, StageInfo},
    spec::{Diagnostic, JobSpec, Place, diagnostic::did_you_mean},
};

use crate::Handler;

/// Holds a handler against a job. `file` is the name of jobs.toml in messages.
///
/// # Errors
/// Everything that doesn't fit.
pub fn check_job(handler: &Handler, job: &JobSpec, file: &str) -> Result<(), Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut say = |at: Place, message: String, help: Option<String>| {
        found.push(Diagnostic { file: file.to_owned(), at, message, help });
    };
    grants(handler, job, &mut say);
    let known: Vec<&str> = handler.info().stages.iter().map(|stage| stage.name.as_str()).collect();
    let stages_known = stages(job, &known, &mut say);
    if stages_known {
        covered(handler, job, &mut say);
        if let Some(graph) = graph(handler, job, &mut say) {
            conditions(handler, job, &graph, &mut say);
        }
    }
    params(handler, job, &mut say);
    if job.discover.is_some() && !handler.info().discovers {
        let message = format!("handler {} has no discovery", job.handler);
        say(
            job.at,
            message,
            Some(format!("remove `discover` from [job.{}], and add items with `tollgate item add`", job.name)),
        );
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

type Say<'a> = &'a mut dyn FnMut(Place, String, Option<String>);

/// What a handler imports and the job doesn't grant (I04).
fn grants(handler: &Handler, job: &JobSpec, say: Say<'_>) {
    let granted = |capability: Capability| job.grants.iter().any(|grant| grant.capability == capability);
    let missing: Vec<Capability> = handler
        .imports()
        .iter()
        .copied()
        .filter(|capability| *capability != Capability::Log && !granted(*capability))
        .collect();
    if missing.is_empty() {
        return;
    }
    let words = |capabilities: &[Capability]| {
        capabilities.iter().map(|capability| format!("\"{}\"", capability.as_str())).collect::<Vec<_>>().join(", ")
    };
    let message = format!("handler {} imports {}, which job {} does not grant", job.handler, words(&missing), job.name);
    let mut all: Vec<String> = job
        .grants
        .iter()
        .map(|grant| {
            let names = grant.names.iter().map(|name| format!(" {name}")).collect::<String>();
            format!("\"{}{names}\"", grant.capability.as_str())
        })
        .collect();
    all.extend(missing.iter().map(|capability| format!("\"{}\"", capability.as_str())));
    say(job.grant_at, message, Some(format!("write: grant = [{}]", all.join(", "))));
}

/// Stages that jobs.toml names and the handler lacks.
fn stages(job: &JobSpec, known: &[&str], say: Say<'_>) -> bool {
    let chosen = job.stages.iter().flatten().map(|name| (name, job.at));
    let tuned = job.tuned.iter().map(|stage| (&stage.name, stage.at));
    let mut all_known = true;
    for (name, at) in chosen.chain(tuned) {
        if !known.contains(&name.as_str()) {
            all_known = false;
            let message = format!("handler {} has no stage `{name}`", job.handler);
            say(at, message, Some(did_you_mean(name.as_str(), known, "its stages are")));
        }
    }
    all_known
}

/// The stages that run.
fn running<'a>(handler: &'a Handler, job: &'a JobSpec) -> impl Iterator<Item = (usize, &'a StageInfo)> {
    let runs = |stage: &StageInfo| job.stages.as_ref().is_none_or(|only| only.contains(&stage.name));
    handler.info().stages.iter().enumerate().filter(move |(_, stage)| runs(stage))
}

/// What a stage of the handler takes must come from its needs, whatever jobs.toml says of them: the same stages, or
/// some of the alternatives.
fn covered(handler: &Handler, job: &JobSpec, say: Say<'_>) {
    for (_, stage) in running(handler, job) {
        let tuned = job.stage(&stage.name);
        let (Some(own), Some(written)) = (&stage.needs, &tuned.needs) else {
            continue;
        };
        let is_covered = |need: &&Need| {
            let suits = |other: &Need| other.any_of.iter().all(|name| need.any_of.contains(name));
            written.iter().any(suits)
        };
        let missing: Vec<String> =
            own.iter().filter(|need| !is_covered(need)).map(|need| format!("`{need}`")).collect();
        if !missing.is_empty() {
            let message =
                format!("stage `{}` takes what {} makes, and `needs` leaves it out", stage.name, missing.join(", "));
            let all = own.iter().chain(written.iter().filter(|need| !own.contains(need)));
            let all: Vec<String> = all.map(|need| format!("\"{need}\"")).collect();
            say(tuned.needs_at, message, Some(format!("write: needs = [{}], or leave `needs` out", all.join(", "))));
        }
    }
}

/// The stages that run with their needs, as far as unknown names and circles go.
fn graph(handler: &Handler, job: &JobSpec, say: Say<'_>) -> Option<StageGraph> {
    let mut before: Option<StageName> = None;
    let mut stages = Vec::new();
    for (place, stage) in running(handler, job) {
        let tuned = job.stage(&stage.name);
        let needs = tuned.needs.or_else(|| stage.needs.clone());
        let needs = needs.unwrap_or_else(|| before.iter().map(|name| Need { any_of: vec![name.clone()] }).collect());
        before = Some(stage.name.clone());
        let ix = StageIx(u16::try_from(place).unwrap_or(u16::MAX));
        stages.push(GraphStage { ix, name: stage.name.clone(), needs });
    }
    match StageGraph::new(stages) {
        Ok(graph) => Some(graph),
        Err(error) => {
            say(job.at, error.to_string(), Some("correct `needs`, or add the stage to `stages`".to_owned()));
            None
        }
    }
}

/// Conditions against the stages before theirs, and the contracts of those.
fn conditions(handler: &Handler, job: &JobSpec, graph: &StageGraph, say: Say<'_>) {
    for stage in &job.tuned {
        let Some(when) = &stage.when else {
            continue;
        };
        let before = graph.before(stage.name.as_str());
        let known: Vec<&str> = before.iter().map(|name| name.as_str()).chain(["data"]).collect();
        let names = when.names();
        let mut unknown = names.iter().filter(|name| !known.contains(&name.as_str())).peekable();
        if unknown.peek().is_none() {
            let schema_of = |name: &str| handler.info().stage(name).map(|stage| &stage.produces);
            if let Err(misfit) = when.check(&schema_of) {
                say(stage.when_at, format!("`{}` can never hold: {misfit}", when.source()), misfit.help);
            }
        }
        for name in unknown {
            let (why, help) = if name == stage.name.as_str() {
                let help = format!("a condition is looked at before its stage runs; it may name {}", known.join(", "));
                ("this stage itself", help)
            } else if graph.by_name(name).is_some() {
                let help = format!("add \"{name}\" to the needs of `{}`, or name {}", stage.name, known.join(", "));
                ("a stage that doesn't come before this one", help)
            } else {
                ("neither `data` nor a stage before this one", did_you_mean(name, &known, "it may name"))
            };
            say(stage.when_at, format!("`{}` names `{name}`, {why}", when.source()), Some(help));
        }
    }
}

/// Params against the handler's schema: the job's, and each stage's over them.
fn params(handler: &Handler, job: &JobSpec, say: Say<'_>) {
    let validator = match jsonschema::validator_for(&handler.info().params) {
        Ok(validator) => validator,
        Err(error) => {
            say(job.handler_at, format!("the params schema of handler {} can't be used: {error}", job.handler), None);
            return;
        }
    };
    let mut said = Vec::new();
    let mut check = |at: Place, what: String, params: Map<String, Value>| {
        for error in validator.iter_errors(&Value::Object(params)) {
            let path = error.instance_path().to_string();
            let field = if path.is_empty() { String::new() } else { format!(" at {path}") };
            let wrong = format!("{field}: {error}");
            // What is wrong with the job's own is wrong in each of its stages: once is enough.
            if said.contains(&wrong) {
                continue;
            }
            let help = handler.info().params.get("properties").and_then(Value::as_object).map(|known| {
                format!("handler {} takes {}", job.handler, known.keys().cloned().collect::<Vec<_>>().join(", "))
            });
            say(at, format!("params of {what}{wrong}"), help);
            said.push(wrong);
        }
    };
    // What is handed to a guest is held against the schema: the job's for discovery, the stage's laid over them else.
    if job.discover.is_some() && handler.info().discovers {
        check(job.at, format!("job {}", job.name), job.params.clone());
    }
    for (_, info) in running(handler, job) {
        let stage = job.stage(&info.name);
        let params = job.stage_params(&stage);
        if stage.params.is_empty() {
            check(job.at, format!("job {}", job.name), params);
        } else {
            check(stage.at, format!("stage {}", stage.name), params);
        }
    }
}
