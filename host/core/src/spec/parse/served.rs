//! Which model, search and speech a job, its stages and its checks are served by, and whether the job may use them.

use serde_spanned::Spanned;

use super::Reader;
use crate::{
    handler::{Capability, Grant},
    spec::{
        JobSpec,
        raw::{RawFile, RawJob},
        values::parse_grant,
    },
};

/// What a file has of one kind of service.
struct Kind {
    capability: Capability,
    /// The section's name, and the key by which it is chosen.
    key: &'static str,
    plural: &'static str,
    /// What its section needs at least.
    needs: &'static str,
    names: Vec<String>,
}

/// What a file has of each.
pub(super) struct Kinds {
    model: Kind,
    search: Kind,
    speech: Kind,
}

impl Kinds {
    pub(super) fn of(raw: &RawFile) -> Self {
        let names = |names: Vec<&String>| names.into_iter().cloned().collect();
        Self {
            model: Kind {
                capability: Capability::Llm,
                key: "model",
                plural: "models",
                needs: "its provider, name and key",
                names: names(raw.model.keys().collect()),
            },
            search: Kind {
                capability: Capability::Search,
                key: "search",
                plural: "searches",
                needs: "its provider and key",
                names: names(raw.search.keys().collect()),
            },
            speech: Kind {
                capability: Capability::Speech,
                key: "speech",
                plural: "speeches",
                needs: "its provider, name and key",
                names: names(raw.speech.keys().collect()),
            },
        }
    }
}

impl Kind {
    fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// The only one that a job may use, if there is only one.
    fn only(&self, job: &JobSpec) -> Option<String> {
        let granted = job.granted(self.capability)?;
        let mut usable = self.names.iter().filter(|name| granted.is_empty() || granted.contains(name));
        usable.next().filter(|_| usable.next().is_none()).cloned()
    }
}

impl Reader<'_> {
    /// Fills in who serves a job, its stages and its checks.
    pub(super) fn served(&mut self, raw: &RawJob, job: &mut JobSpec, kinds: &Kinds) {
        for kind in [&kinds.model, &kinds.search, &kinds.speech] {
            self.granted_services(raw, kind);
        }
        job.services.model = self.chosen(raw.model.as_ref(), job, &kinds.model).or_else(|| kinds.model.only(job));
        job.services.search = self.chosen(raw.search.as_ref(), job, &kinds.search).or_else(|| kinds.search.only(job));
        job.services.speech = self.chosen(raw.speech.as_ref(), job, &kinds.speech).or_else(|| kinds.speech.only(job));
        let mut tuned = std::mem::take(&mut job.tuned);
        for stage in &mut tuned {
            stage.services = job.services.clone();
            let Some(raw) = raw.stage.get(stage.name.as_str()).map(Spanned::as_ref) else {
                continue;
            };
            for (service, value, kind) in [
                (&mut stage.services.model, &raw.model, &kinds.model),
                (&mut stage.services.search, &raw.search, &kinds.search),
                (&mut stage.services.speech, &raw.speech, &kinds.speech),
            ] {
                *service = self.chosen(value.as_ref(), job, kind).or_else(|| service.take());
            }
        }
        job.tuned = tuned;
        self.search_is_chosen(raw, job, &kinds.search);
        self.models_of_checks(raw, job, &kinds.model);
    }

    /// What a job's grants name is there.
    fn granted_services(&mut self, raw: &RawJob, kind: &Kind) {
        for grant in raw.grant.iter().flat_map(|grants| grants.as_ref().iter()) {
            let granted = parse_grant(grant.as_ref()).ok().filter(|granted| granted.capability == kind.capability);
            let Some(granted) = granted else {
                continue;
            };
            if granted.names.is_empty() && kind.names.is_empty() {
                let help = format!("add [{}.NAME] with {}", kind.key, kind.needs);
                self.say(grant.span(), format!("grant: there is no {}", kind.key), Some(help));
            }
            for name in granted.names.iter().filter(|name| !kind.names.contains(name)) {
                self.no_service(grant, "grant", name, kind);
            }
        }
    }

    fn no_service(&mut self, at: &Spanned<String>, key: &str, name: &str, kind: &Kind) {
        let add = format!("[{}.{name}] with {}", kind.key, kind.needs);
        self.unknown(at.span(), (key, kind.key, kind.plural), name, &kind.names(), &add);
    }

    /// The one that is named, which is there and granted.
    fn chosen(&mut self, value: Option<&Spanned<String>>, job: &JobSpec, kind: &Kind) -> Option<String> {
        let value = value?;
        let name = value.as_ref();
        if !kind.names.contains(name) {
            self.no_service(value, "", name, kind);
        } else if !is_granted(job, kind, name) {
            let word = kind.capability.as_str();
            let named = if kind.capability == Capability::Search { String::new() } else { format!(" {name}") };
            let help = format!("write: grant = [{}]", with_grant(job, kind, name).join(", "));
            self.say(value.span(), format!("job {} isn't granted {word}{named}", job.name), Some(help));
        }
        Some(name.clone())
    }

    /// Of several searches, one is said somewhere.
    fn search_is_chosen(&mut self, raw: &RawJob, job: &JobSpec, kind: &Kind) {
        let is_said = job.services.search.is_some() || raw.stage.values().any(|stage| stage.as_ref().search.is_some());
        let grants = raw.grant.iter().flat_map(|grants| grants.as_ref().iter());
        let grant = grants
            .into_iter()
            .find(|grant| parse_grant(grant.as_ref()).is_ok_and(|grant| grant.capability == kind.capability));
        if let Some(grant) = grant.filter(|_| !is_said && kind.names.len() > 1) {
            let help = format!("write search = \"NAME\" in [job.{}], or in its stages that search", job.name);
            let message = format!("there are several searches: {}", kind.names.join(", "));
            self.say(grant.span(), message, Some(help));
        }
    }

    /// A check asks a model that is there: its own, else the job's, else the only one. It is the host that asks, so
    /// that no grant is needed.
    fn models_of_checks(&mut self, raw: &RawJob, job: &mut JobSpec, kind: &Kind) {
        for check in &mut job.checks {
            let Some(raw) = raw.check.get(check.stage.name.as_str()) else {
                continue;
            };
            let own = raw.as_ref().model.as_ref();
            if let Some(own) = own.filter(|own| !kind.names.contains(own.as_ref())) {
                self.no_service(own, "", own.as_ref(), kind);
            }
            check.model = own.map(|own| own.as_ref().clone()).or_else(|| job.services.model.clone());
            match kind.names.as_slice() {
                [only] => check.model = check.model.take().or_else(|| Some(only.clone())),
                [_, _, ..] if check.model.is_none() => {
                    let message = format!("check {} doesn't say which model it asks", check.stage.name);
                    let help = format!("add model = \"NAME\"; the models are {}", kind.names.join(", "));
                    self.say(raw.span(), message, Some(help));
                }
                _ => {}
            }
            check.stage.services.model.clone_from(&check.model);
        }
    }
}

fn is_granted(job: &JobSpec, kind: &Kind, name: &str) -> bool {
    match kind.capability {
        // A job that may search may use any, and is told which.
        Capability::Search => job.granted(kind.capability).is_some(),
        capability => job.is_granted(capability, name),
    }
}

/// The job's grants in quotes, and what is named so among them.
fn with_grant(job: &JobSpec, kind: &Kind, name: &str) -> Vec<String> {
    let mut grants = job.grants.clone();
    let names = if kind.capability == Capability::Search { Vec::new() } else { vec![name.to_owned()] };
    match grants.iter_mut().find(|grant| grant.capability == kind.capability) {
        Some(grant) => grant.names.extend(names),
        None => grants.push(Grant { capability: kind.capability, names }),
    }
    grants.iter().map(|grant| format!("\"{grant}\"")).collect()
}

#[cfg(test)]
mod tests;
