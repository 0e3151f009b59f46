//! Any text as jobs.toml: it is read or refused, always alike, and what is said of it has a place in it.

use tollgate_core::spec::{Deployment, Diagnostic, Place, parse};

use crate::Target;

/// The text as jobs.toml.
pub struct JobsToml;

impl Target for JobsToml {
    fn new() -> Self {
        Self
    }

    fn run(&self, input: &[u8]) {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        let parsed = parse(text, "jobs.toml");
        match &parsed {
            Ok(deployment) => is_whole(deployment, text),
            Err(found) => is_told(found, text),
        }
        assert_eq!(parse(text, "jobs.toml"), parsed, "the same text says the same");
    }
}

/// What the host takes for granted of a deployment.
fn is_whole(deployment: &Deployment, text: &str) {
    assert!(deployment.site("any.example", 443).is_some(), "every host has a policy");
    for job in &deployment.jobs {
        [job.at, job.handler_at, job.grant_at].iter().for_each(|place| is_within(*place, text));
        for stage in &job.tuned {
            [stage.at, stage.needs_at, stage.when_at].iter().for_each(|place| is_within(*place, text));
            assert_eq!(&job.stage(&stage.name), stage);
            let params = job.stage_params(stage);
            assert!(stage.params.iter().all(|(name, value)| params.get(name) == Some(value)));
            if let Some(when) = &stage.when {
                // Nothing is known of any name: that is no misfit by itself, and must not be a panic.
                drop((when.names(), when.check(&|_| None)));
            }
        }
    }
}

fn is_told(found: &[Diagnostic], text: &str) {
    assert!(!found.is_empty(), "who is refused is told why");
    assert!(found.is_sorted_by_key(|diagnostic| (diagnostic.at.line, diagnostic.at.column)));
    for diagnostic in found {
        assert!(!diagnostic.message.is_empty(), "{diagnostic:?}");
        is_within(diagnostic.at, text);
    }
}

fn is_within(place: Place, text: &str) {
    if place == Place::default() {
        return;
    }
    let line = (place.line as usize).checked_sub(1).and_then(|before| text.split('\n').nth(before));
    let columns = line.map(|line| line.chars().count() + 1);
    let is_within = place.column >= 1 && columns.is_some_and(|columns| place.column as usize <= columns);
    assert!(is_within, "{place:?} is no place of the text");
}
