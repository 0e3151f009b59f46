//! Holds a handler against a job of jobs.toml: grants, stages, needs, conditions, params. Everything at once, each
//! with its place and what to do.

use serde_json::{Map, Value};
use tollgate_core::{
    StageIx, StageName,
    graph::{GraphError, GraphStage, Need, StageGraph},
    handler::{Capability, HandlerInfo, StageInfo},
    spec::{Diagnostic, JobSpec, Place, StageSpec},
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
        let stages = job_stages(handler.info(), job);
        graph(&stages, job, &mut say);
        conditions(&stages, &mut say);
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

/// Names that are less alike than this aren't offered: a slip of the finger, not another word.
const LIKENESS_MIN: f64 = 0.75;

/// Stages that jobs.toml names and the handler lacks.
fn stages(job: &JobSpec, known: &[&str], say: Say<'_>) -> bool {
    let chosen = job.stages.iter().flatten().map(|name| (name, job.at));
    let tuned = job.tuned.iter().map(|stage| (&stage.name, stage.at));
    let mut all_known = true;
    for (name, at) in chosen.chain(tuned) {
        if !known.contains(&name.as_str()) {
            all_known = false;
            let message = format!("handler {} has no stage `{name}`", job.handler);
            let likeness = |other: &&str| strsim::jaro_winkler(name.as_str(), other);
            let nearest = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let meant = match nearest.filter(|nearest| likeness(nearest) > LIKENESS_MIN) {
                Some(nearest) => format!("did you mean `{nearest}`? "),
                None => String::new(),
            };
            say(at, message, Some(format!("{meant}its stages are {}", known.join(", "))));
        }
    }
    all_known
}

/// A stage of a job that runs.
pub struct JobStage<'a> {
    /// What jobs.toml says of it, or the defaults.
    pub spec: StageSpec,
    /// What the handler says of it.
    pub info: &'a StageInfo,
    /// What comes before it, and whose outputs it is given.
    pub needs: Vec<Need>,
}

/// The stages of a job that run, in the handler's order. What one needs is jobs.toml's word, else the handler's, else
/// the stage before (P01); beside that, whoever makes an artifact that it reads (S06) or is named by its condition: an
/// output that may come later is no ground to decide on (P03).
#[must_use]
pub fn job_stages<'a>(info: &'a HandlerInfo, job: &JobSpec) -> Vec<JobStage<'a>> {
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
        stages.push(JobStage { spec, info, needs });
    }
    stages
}

/// Unknown names and circles among the needs of the stages that run.
fn graph(stages: &[JobStage<'_>], job: &JobSpec, say: Say<'_>) {
    let of_graph = stages.iter().zip(0..).map(|(stage, place)| GraphStage {
        ix: StageIx(place),
        name: stage.spec.name.clone(),
        needs: stage.needs.clone(),
    });
    if let Err(error) = StageGraph::new(of_graph.collect()) {
        let tuned = match &error {
            GraphError::UnknownNeed { stage, .. } => Some(stage),
            GraphError::Cycle(path) => path.iter().find(|name| job.stage(name).at != job.at),
            GraphError::Twice(_) | GraphError::TooMany(_) => None,
        };
        let at = tuned.map_or(job.at, |name| job.stage(name).at);
        say(at, error.to_string(), Some("correct `needs` or `when`, or add the stage to `stages`".to_owned()));
    }
}

/// Names that a condition can't decide on: unknown ones, its own stage, stages that don't run.
fn conditions(stages: &[JobStage<'_>], say: Say<'_>) {
    for JobStage { spec, .. } in stages {
        let Some(when) = &spec.when else {
            continue;
        };
        let may_name: Vec<&str> =
            stages.iter().map(|other| other.spec.name.as_str()).filter(|name| *name != spec.name.as_str()).collect();
        if let Err(error) = when.check_names(may_name.iter().copied()) {
            let help = format!("names are data and the other stages that run: {}", may_name.join(", "));
            say(spec.at, error.to_string(), Some(help));
        }
    }
}

/// Params against the handler's schema, and what each stage and discovery wants of them: the job's, and each stage's
/// over them.
fn params(handler: &Handler, job: &JobSpec, say: Say<'_>) {
    let schema = &handler.info().params;
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        Err(error) => {
            say(job.handler_at, format!("the params schema of handler {} can't be used: {error}", job.handler), None);
            return;
        }
    };
    let mut said = Vec::new();
    let mut check = |at: Place, what: String, reader: String, params: Map<String, Value>| {
        let own = schema.get("$defs").and_then(|defs| defs.get(&reader)).map(jsonschema::validator_for).transpose();
        let own = match own {
            Ok(own) => own,
            Err(error) => {
                let message = format!("the params schema `{reader}` of handler {} can't be used: {error}", job.handler);
                say(job.handler_at, message, None);
                return;
            }
        };
        let params = Value::Object(params);
        let of_own = own.iter().flat_map(|own| own.iter_errors(&params));
        for error in validator.iter_errors(&params).chain(of_own) {
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
        check(job.at, format!("job {}", job.name), "discover".to_owned(), job.params.clone());
    }
    let runs = |name: &StageName| job.stages.as_ref().is_none_or(|only| only.contains(name));
    for info in handler.info().stages.iter().filter(|info| runs(&info.name)) {
        let stage = job.stage(&info.name);
        let (params, reader) = (job.stage_params(&stage), format!("stage.{}", info.name));
        if stage.params.is_empty() {
            check(job.at, format!("job {}", job.name), reader, params);
        } else {
            check(stage.at, format!("stage {}", stage.name), reader, params);
        }
    }
}
