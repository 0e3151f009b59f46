//! Holds a handler against a job of jobs.toml: grants, stages, checks, needs, conditions, params. Everything at once,
//! each with its place and what to do.

use tollgate_core::{
    StageIx, StageName,
    graph::{GraphError, GraphStage, Need, StageGraph},
    handler::{Capability, HandlerInfo, StageInfo},
    spec::{CheckSpec, Diagnostic, JobSpec, Place, StageSpec, diagnostic::did_you_mean},
};

use crate::{Handler, params};

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
    if stages_known && checks(job, &known, &mut say) {
        let stages = job_stages(handler.info(), job);
        covered(&stages, &mut say);
        alternatives(&stages, job, &mut say);
        if let Some(graph) = graph(&stages, job, &mut say) {
            conditions(handler, &stages, &graph, &mut say);
        }
    }
    params::check(handler, job, &mut say);
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

/// Where something is said: its place, what is wrong, what to do.
pub(crate) type Say<'a> = &'a mut dyn FnMut(Place, String, Option<String>);

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

/// Checks of pages of a stage that doesn't run, and those that are named like a stage.
fn checks(job: &JobSpec, known: &[&str], say: Say<'_>) -> bool {
    let runs = |name: &&str| job.stages.as_ref().is_none_or(|only| only.iter().any(|stage| stage.as_str() == *name));
    let running: Vec<&str> = known.iter().copied().filter(runs).collect();
    let mut all_fit = true;
    for CheckSpec { stage, of, of_at, .. } in &job.checks {
        if !running.contains(&of.as_str()) {
            all_fit = false;
            let message = format!("check `{}` is of a page of `{of}`, which is no stage that runs", stage.name);
            say(*of_at, message, Some(did_you_mean(of.as_str(), &running, "there run")));
        }
        if known.contains(&stage.name.as_str()) {
            all_fit = false;
            let message = format!("check `{}` has the name of a stage of handler {}", stage.name, job.handler);
            say(stage.at, message, Some("give it a name of its own".to_owned()));
        }
    }
    all_fit
}

/// A stage that takes one of several can't wait for the check of one of them, which may never come: a person has to say
/// that it doesn't.
fn alternatives(stages: &[JobStage<'_>], job: &JobSpec, say: Say<'_>) {
    for CheckSpec { stage: check, of, of_at, .. } in &job.checks {
        let is_one = |need: &&Need| need.any_of.len() > 1 && need.any_of.contains(of);
        let taken = stages.iter().filter(|stage| stage.spec.needs.is_none());
        for (stage, need) in taken.filter_map(|stage| Some((stage, stage.needs.iter().find(is_one)?))) {
            let name = &stage.spec.name;
            let message = format!(
                "stage `{name}` takes any of `{need}`, and so can't wait for check `{}` of one of them",
                check.name
            );
            let needs: Vec<String> = stage.needs.iter().map(|need| format!("\"{need}\"")).collect();
            let help = format!(
                "write needs = [{}] in [job.{}.stage.{name}] to have it not wait; what it makes of a refused page goes",
                needs.join(", "),
                job.name
            );
            say(*of_at, message, Some(help));
        }
    }
}

/// Who does the work of a stage.
#[derive(Debug, Clone, Copy)]
pub enum StageWork<'a> {
    /// The handler, and what it says of the stage.
    Guest(&'a StageInfo),
    /// The host asks a model about a page that another stage has kept.
    Check(&'a CheckSpec),
}

/// A stage of a job that runs.
pub struct JobStage<'a> {
    /// What jobs.toml says of it, or the defaults.
    pub spec: StageSpec,
    /// Who does it.
    pub work: StageWork<'a>,
    /// What comes before it, and whose outputs it is given.
    pub needs: Vec<Need>,
}

/// The stages of a job that run, in the handler's order. What one needs is jobs.toml's word, else the handler's, else
/// the stage before (P01); beside that, whoever makes an artifact that it reads (S06) or is named by its condition: an
/// output that may come later is no ground to decide on (P03).
///
/// Last come the checks. Whatever needs the page's stage waits for its checks too, or it would work on a page that is
/// no content; where jobs.toml says what a stage needs, that is all that it waits for.
#[must_use]
pub fn job_stages<'a>(info: &'a HandlerInfo, job: &'a JobSpec) -> Vec<JobStage<'a>> {
    let runs = |name: &StageName| job.stages.as_ref().is_none_or(|only| only.contains(name));
    let all = &info.stages;
    let mut stages: Vec<JobStage<'a>> = Vec::new();
    for info in all.iter().filter(|stage| runs(&stage.name)) {
        let spec = job.stage(&info.name);
        let before = || stages.last().map(|last| Need { any_of: vec![last.spec.name.clone()] });
        let needs = spec.needs.clone().or_else(|| info.needs.clone());
        let mut needs = needs.unwrap_or_else(|| before().into_iter().collect());
        let makers = info.reads.iter().map(|(maker, _)| maker.clone());
        // Names that can't be needs are refused where conditions are checked.
        let of_condition = spec.when.as_ref().map_or_else(Vec::new, |when| when.names());
        let of_condition = of_condition.iter().filter_map(|name| all.iter().find(|stage| stage.name.as_str() == name));
        let of_condition = of_condition.map(|stage| stage.name.clone()).filter(|name| runs(name));
        for name in makers.chain(of_condition) {
            if name != info.name && !needs.iter().any(|need| need.any_of.contains(&name)) {
                needs.push(Need { any_of: vec![name] });
            }
        }
        stages.push(JobStage { spec, work: StageWork::Guest(info), needs });
    }
    for check in &job.checks {
        let of = Need { any_of: vec![check.of.clone()] };
        let waits = |stage: &&mut JobStage<'_>| stage.spec.needs.is_none() && stage.needs.contains(&of);
        for stage in stages.iter_mut().filter(waits) {
            stage.needs.push(Need { any_of: vec![check.stage.name.clone()] });
        }
        stages.push(JobStage { spec: check.stage.clone(), work: StageWork::Check(check), needs: vec![of] });
    }
    stages
}

/// What a stage of the handler takes must come from its needs, whatever jobs.toml says of them: the same stages, or
/// some of the alternatives.
fn covered(stages: &[JobStage<'_>], say: Say<'_>) {
    for JobStage { spec, work, .. } in stages {
        let StageWork::Guest(StageInfo { needs: Some(own), .. }) = work else {
            continue;
        };
        let Some(written) = &spec.needs else {
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
                format!("stage `{}` takes what {} makes, and `needs` leaves it out", spec.name, missing.join(", "));
            let all = own.iter().chain(written.iter().filter(|need| !own.contains(need)));
            let all: Vec<String> = all.map(|need| format!("\"{need}\"")).collect();
            say(spec.needs_at, message, Some(format!("write: needs = [{}], or leave `needs` out", all.join(", "))));
        }
    }
}

/// The graph of the stages that run, as far as unknown names and circles go.
fn graph(stages: &[JobStage<'_>], job: &JobSpec, say: Say<'_>) -> Option<StageGraph> {
    let of_graph = stages.iter().zip(0..).map(|(stage, place)| GraphStage {
        ix: StageIx(place),
        name: stage.spec.name.clone(),
        needs: stage.needs.clone(),
    });
    match StageGraph::new(of_graph.collect()) {
        Ok(graph) => Some(graph),
        Err(error) => {
            let tuned = match &error {
                GraphError::UnknownNeed { stage, .. } => Some(stage),
                GraphError::Cycle(path) => path.iter().find(|name| job.stage(name).at != job.at),
                GraphError::Twice(_) | GraphError::TooMany(_) => None,
            };
            let at = tuned.map_or(job.at, |name| job.stage(name).at);
            say(at, error.to_string(), Some("correct `needs` or `when`, or add the stage to `stages`".to_owned()));
            None
        }
    }
}

/// Conditions against the stages before theirs, those that they name among them, and the contracts of those.
fn conditions(handler: &Handler, stages: &[JobStage<'_>], graph: &StageGraph, say: Say<'_>) {
    for JobStage { spec, .. } in stages {
        let Some(when) = &spec.when else {
            continue;
        };
        let before = graph.before(spec.name.as_str());
        let known: Vec<&str> = before.iter().map(|name| name.as_str()).chain(["data"]).collect();
        let names = when.names();
        let mut unknown = names.iter().filter(|name| !known.contains(&name.as_str())).peekable();
        if unknown.peek().is_none() {
            let schema_of = |name: &str| handler.info().stage(name).map(|stage| &stage.produces);
            if let Err(misfit) = when.check(&schema_of) {
                say(spec.when_at, format!("`{}` can never hold: {misfit}", when.source()), misfit.help);
            }
        }
        for name in unknown {
            let (why, help) = if name == spec.name.as_str() {
                let help = format!("a condition is looked at before its stage runs; it may name {}", known.join(", "));
                ("this stage itself", help)
            } else if handler.info().stage(name).is_some() {
                ("a stage that doesn't run", format!("add \"{name}\" to `stages`, or name {}", known.join(", ")))
            } else {
                ("neither `data` nor a stage that runs", did_you_mean(name, &known, "it may name"))
            };
            say(spec.when_at, format!("`{}` names `{name}`, {why}", when.source()), Some(help));
        }
    }
}
