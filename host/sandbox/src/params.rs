//! Holds the params of a job against the schema that its handler gives: each fault with its own place and what to do.

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;
use tollgate_core::{
    StageName,
    spec::{JobSpec, StageSpec, diagnostic::did_you_mean},
    task::clean_message,
};

use crate::{
    Handler,
    check::Say,
    formats::{Format, validator},
};

/// Params against the handler's schema, and what each stage and discovery wants of them: the job's, and each stage's
/// over them.
pub(crate) fn check(handler: &Handler, job: &JobSpec, say: Say<'_>) {
    let schema = &handler.info().params;
    let mut readers = Vec::new();
    // What is handed to a guest is held against the schema: the job's for discovery, the stage's laid over them else.
    if job.discover.is_some() && handler.info().discovers {
        readers.push(("discover".to_owned(), None));
    }
    let runs = |name: &StageName| job.stages.as_ref().is_none_or(|only| only.contains(name));
    for info in handler.info().stages.iter().filter(|info| runs(&info.name)) {
        readers.push((format!("stage.{}", info.name), Some(job.stage(&info.name))));
    }
    let mut said = Vec::new();
    for (reader, stage) in readers {
        let own = schema.get("$defs").and_then(|defs| defs.get(&reader));
        let params = match &stage {
            Some(stage) => job.stage_params(stage),
            None => job.params.clone(),
        };
        let params = Value::Object(params);
        for schema in [Some(schema), own].into_iter().flatten() {
            let validator = match validator(schema) {
                Ok(validator) => validator,
                Err(error) => {
                    let message = format!("the params schema of handler {} can't be used: {error}", job.handler);
                    say(job.handler_at, message, Some("its author must mend it".to_owned()));
                    return;
                }
            };
            let judge = Judge { handler: job.handler.as_str(), schema };
            for error in validator.iter_errors(&params) {
                for fault in judge.faults(&error) {
                    // What is wrong with the job's own is wrong in each of its stages: once is enough.
                    if !said.contains(&fault) {
                        fault.tell(job, stage.as_ref(), say);
                        said.push(fault);
                    }
                }
            }
        }
    }
}

/// One thing that is wrong.
#[derive(PartialEq)]
struct Fault {
    /// Keys, and numbers in lists, that lead to it.
    path: Vec<String>,
    message: String,
    help: Option<String>,
}

impl Fault {
    fn tell(&self, job: &JobSpec, stage: Option<&StageSpec>, say: Say<'_>) {
        let what = match stage.filter(|stage| !stage.params.is_empty()) {
            Some(stage) => format!("stage {}", stage.name),
            None => format!("job {}", job.name),
        };
        let key = key(&self.path);
        let key = if key.is_empty() { key } else { format!("{key}: ") };
        // Schemas are a stranger's words, too.
        let help = self.help.as_deref().map(clean_message);
        say(job.param_at(stage, &self.path), format!("params of {what}: {key}{}", clean_message(&self.message)), help);
    }
}

/// A path as it would be written in jobs.toml: `fields.price.select`, `seeds[1]`.
fn key(path: &[String]) -> String {
    path.iter().fold(String::new(), |mut key, step| {
        match step.parse::<usize>() {
            Ok(place) if !key.is_empty() => key.push_str(&format!("[{place}]")),
            _ if key.is_empty() => key.push_str(step),
            _ => key.push_str(&format!(".{step}")),
        }
        key
    })
}

/// Says in words what a validator found.
struct Judge<'a> {
    handler: &'a str,
    schema: &'a Value,
}

impl Judge<'_> {
    fn faults(&self, error: &ValidationError<'_>) -> Vec<Fault> {
        let path = steps(error.instance_path().as_str());
        let below = |key: &str| path.iter().cloned().chain([key.to_owned()]).collect::<Vec<_>>();
        let one = |path: Vec<String>, message: String, help: Option<String>| vec![Fault { path, message, help }];
        match error.kind() {
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                match nearest(context, error) {
                    Some(branch) => branch.iter().flat_map(|error| self.faults(error)).collect(),
                    None => one(path, format!("{} has no form that it may have", error.instance()), self.forms(error)),
                }
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let fault = |key: &String| Fault {
                    path: below(key),
                    message: "unknown key".to_owned(),
                    help: Some(self.meant(key, error)),
                };
                unexpected.iter().map(fault).collect()
            }
            ValidationErrorKind::PropertyNames { error: of_name } => {
                let name = of_name.instance().as_str().unwrap_or_default();
                one(below(name), "no key may be called so".to_owned(), self.described(error))
            }
            ValidationErrorKind::Format { format } => match Format::named(format) {
                Some(format) => {
                    one(path, format!("{} {}", error.instance(), format.wrong), Some(format.help.to_owned()))
                }
                None => one(path, error.to_string(), self.described(error)),
            },
            ValidationErrorKind::Pattern { .. } if self.described(error).is_some() => {
                one(path, format!("{} hasn't the form that it must have", error.instance()), self.described(error))
            }
            _ => one(path, error.to_string(), self.described(error).or_else(|| Some(self.takes()))),
        }
    }

    /// What the handler's author says of the param, or of what it stands in.
    fn described(&self, error: &ValidationError<'_>) -> Option<String> {
        let mut at = error.schema_path().as_str();
        while let Some((around, _)) = at.rsplit_once('/').filter(|(around, _)| around.contains("/properties/")) {
            at = around;
            if let Some(text) = self.schema.pointer(at).and_then(|schema| schema.get("description")?.as_str()) {
                return Some(in_one_line(text));
            }
        }
        None
    }

    /// The forms that a value may have, as their descriptions have it.
    fn forms(&self, error: &ValidationError<'_>) -> Option<String> {
        let forms = self.schema.pointer(error.schema_path().as_str()).and_then(Value::as_array)?;
        let told = forms.iter().filter_map(|form| form.get("description")?.as_str());
        let told: Vec<String> = told.map(|text| in_one_line(text.trim_end_matches('.'))).collect();
        if told.is_empty() { self.described(error) } else { Some(format!("it may be {}", told.join("; or "))) }
    }

    /// What may have been meant by a key that isn't known.
    fn meant(&self, key: &str, error: &ValidationError<'_>) -> String {
        let at = error.schema_path().as_str();
        let around = at.rsplit_once('/').and_then(|(around, _)| self.schema.pointer(around));
        let known = around.and_then(|schema| schema.get("properties")?.as_object());
        let known: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let is_whole = error.instance_path().as_str().is_empty();
        let are = if is_whole { format!("handler {} takes", self.handler) } else { "known here:".to_owned() };
        did_you_mean(key, &known, &are)
    }

    /// All params of the handler.
    fn takes(&self) -> String {
        let known = self.schema.get("properties").and_then(Value::as_object);
        let known: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        format!("handler {} takes {}", self.handler, known.join(", "))
    }
}

/// Of several forms the one that a value nearly has: its kind fits, and the least is wrong with the rest of it. Absent
/// if two are equally near.
fn nearest<'e>(
    forms: &'e [Vec<ValidationError<'static>>],
    error: &ValidationError<'_>,
) -> Option<&'e Vec<ValidationError<'static>>> {
    let is_other_kind = |wrong: &ValidationError<'_>| {
        matches!(wrong.kind(), ValidationErrorKind::Type { .. }) && wrong.instance_path() == error.instance_path()
    };
    let mut fitting: Vec<_> = forms.iter().filter(|form| !form.iter().any(is_other_kind)).collect();
    fitting.sort_by_key(|form| form.len());
    match fitting.as_slice() {
        [only] => Some(only),
        [first, second, ..] if first.len() < second.len() => Some(first),
        _ => None,
    }
}

/// Documentation is broken into lines wherever its author's editor did.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The steps of a JSON pointer.
fn steps(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}
