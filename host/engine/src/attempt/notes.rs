//! What the gates of an attempt note of it while it goes on: calls under way, refusals, what it keeps.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_core::{Digest, artifact::free_name, outcome::Refusal};
use tollgate_egress::Hop;
use tollgate_llm::hosting::CallPhase;
use tollgate_sandbox::gates::ArtifactError;
use tollgate_store::{ARTIFACTS_PER_ATTEMPT_MAX, KeptPage, NewArtifact, StoreError, TOOLS_PER_ATTEMPT_MAX, ToolServed};

/// What is noted of an attempt so far.
#[derive(Debug, Default)]
pub(super) struct AttemptNotes {
    /// Numbers the host calls, in the order in which they began and ended.
    pub(super) clock: u64,
    /// The last refusal that no later call got past, and when it ended.
    pub(super) refusal: Option<(u64, Refusal)>,
    /// Calls that have begun and not ended, by their number.
    pub(super) under_way: BTreeMap<u64, UnderWay>,
    /// The address asked for last, redirects included.
    pub(super) last_url: Option<String>,
    /// Sites that answered, and of whose answers none was refused.
    pub(super) answered: BTreeSet<String>,
    /// Requests that left the gate.
    pub(super) requests: u32,
    /// Bytes received.
    pub(super) bytes_received: u64,
    /// Blobs kept, durable already.
    pub(super) artifacts: Vec<NewArtifact>,
    /// What is known of those of them that are pages.
    pub(super) pages: Vec<KeptPage>,
    /// Tools that ran to a good end, with the profile that served.
    pub(super) tools: Vec<ToolServed>,
    /// Raw bodies kept without a name of the stage's.
    pub(super) raw_bodies: u32,
    /// What it had to keep could not be kept, and nothing else will be.
    pub(super) store_gone: Option<StoreError>,
}

/// A call that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnderWay {
    /// How far it is.
    pub(crate) phase: CallPhase,
    /// The site, service or tool that it asks.
    pub(crate) about: String,
}

impl AttemptNotes {
    /// A tool's run begins; gives its number. One without an address says nothing of any site.
    pub(super) fn begin_tool(&mut self, tool: &str, url: Option<&str>) -> u64 {
        match url {
            Some(url) => self.begin(url),
            None => self.begin_service(format!("tool {tool}")),
        }
    }

    /// A call of `about` (`model cheap`), which says nothing of any site, begins; gives its number.
    pub(super) fn begin_service(&mut self, about: String) -> u64 {
        self.clock += 1;
        self.under_way.insert(self.clock, UnderWay { phase: CallPhase::Runs, about });
        self.clock
    }

    /// A call begins; gives its number.
    pub(super) fn begin(&mut self, url: &str) -> u64 {
        self.clock += 1;
        self.under_way.insert(self.clock, UnderWay { phase: CallPhase::Waits, about: site_of(url) });
        self.last_url = Some(url.to_owned());
        self.clock
    }

    /// A call is so far.
    pub(super) fn reached(&mut self, call: u64, hop: Hop<'_>) {
        // A call of a guest that was dropped is under way no more.
        let Some(under_way) = self.under_way.get_mut(&call) else {
            return;
        };
        match hop {
            Hop::Waits(url) => {
                *under_way = UnderWay { phase: CallPhase::Waits, about: site_of(url) };
                self.last_url = Some(url.to_owned());
            }
            Hop::Runs => {
                under_way.phase = CallPhase::Runs;
                self.requests += 1;
            }
            Hop::Answered(site) => {
                self.answered.insert(site.to_owned());
            }
        }
    }

    /// Of the calls that are under way, the furthest.
    pub(super) fn furthest(&self) -> Option<UnderWay> {
        let runs = self.under_way.values().find(|call| call.phase == CallPhase::Runs);
        runs.or_else(|| self.under_way.values().next()).cloned()
    }

    /// A call was refused in a way that decides.
    pub(super) fn refused(&mut self, refusal: Refusal) {
        self.clock += 1;
        self.refusal = Some((self.clock, refusal));
    }

    /// A tool ran to a good end.
    pub(super) fn served(&mut self, tool: &str, profile: &str) {
        let served = ToolServed { tool: tool.to_owned(), profile: profile.to_owned() };
        if self.tools.len() < TOOLS_PER_ATTEMPT_MAX && !self.tools.contains(&served) {
            self.tools.push(served);
        }
    }

    /// A call that began at `began` succeeded: it gets past a refusal that was known by then. One that ran beside it
    /// still stands, so a stage that swallowed it is judged by it.
    pub(super) fn succeeded(&mut self, began: u64) {
        if self.refusal.as_ref().is_some_and(|(ended, _)| *ended < began) {
            self.refusal = None;
        }
    }

    /// A call that began at `began` has ended: with an answer, or with what its handler is told and the refusal that
    /// decides.
    pub(super) fn came<T, E>(&mut self, began: u64, ended: Result<T, (E, Option<Refusal>)>) -> Result<T, E> {
        self.under_way.remove(&began);
        match ended {
            Ok(answer) => {
                self.succeeded(began);
                Ok(answer)
            }
            Err((error, refusal)) => {
                if let Some(refusal) = refusal {
                    self.refused(refusal);
                }
                Err(error)
            }
        }
    }

    /// A call that says nothing of any site is so far.
    pub(super) fn in_phase(&mut self, call: u64, phase: CallPhase) {
        if let Some(under_way) = self.under_way.get_mut(&call) {
            under_way.phase = phase;
        }
    }

    /// The same, and what it asks now: another model in the place of one, a search that a model wants.
    pub(super) fn asks(&mut self, call: u64, about: &str, phase: CallPhase) {
        if let Some(under_way) = self.under_way.get_mut(&call) {
            *under_way = UnderWay { phase, about: about.to_owned() };
        }
    }

    /// Whether an artifact of that name may still be kept: one that is kept already is replaced.
    pub(super) fn has_room(&self, name: &str) -> Result<(), ArtifactError> {
        if self.artifacts.len() < ARTIFACTS_PER_ATTEMPT_MAX || self.artifacts.iter().any(|kept| kept.name == name) {
            return Ok(());
        }
        Err(ArtifactError::Storage(format!("an attempt keeps at most {ARTIFACTS_PER_ATTEMPT_MAX} artifacts")))
    }

    /// Notes a page whose body is an artifact. Each is kept with an artifact first, and those are bounded.
    pub(super) fn keep_page(&mut self, page: KeptPage) {
        if self.pages.len() < ARTIFACTS_PER_ATTEMPT_MAX && !self.pages.contains(&page) {
            self.pages.push(page);
        }
    }

    /// The name under which a body is kept apart: with a number where another body has it.
    pub(super) fn name_apart(&self, name: &str, blob: Digest) -> String {
        free_name(name, |name| self.artifacts.iter().all(|kept| kept.name != name || kept.blob.digest == blob))
    }

    pub(super) fn keep(&mut self, artifact: NewArtifact) {
        self.artifacts.retain(|kept| kept.name != artifact.name);
        self.artifacts.push(artifact);
    }
}

/// The host name and port of an address.
pub(crate) fn site_of(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_scheme.split(['/', '?', '#']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(name: &str) -> NewArtifact {
        let blob = tollgate_store::StoredBlob { digest: tollgate_core::Digest::of(b"x"), size: 1 };
        NewArtifact { name: name.to_owned(), content_type: "text/plain".to_owned(), blob }
    }

    #[test]
    fn an_attempt_keeps_so_many_artifacts_and_may_replace_each() {
        let mut notes = AttemptNotes::default();
        for number in 0..ARTIFACTS_PER_ATTEMPT_MAX {
            let name = number.to_string();
            notes.has_room(&name).unwrap();
            notes.keep(artifact(&name));
        }
        assert!(notes.has_room("one-more").is_err());
        assert!(notes.has_room("7").is_ok());
    }

    #[test]
    fn the_last_hop_is_what_an_attempt_asked_for_last() {
        let mut notes = AttemptNotes::default();
        let call = notes.begin("http://a.example/");
        notes.reached(call, Hop::Waits("http://b.example/"));
        notes.reached(call, Hop::Runs);
        assert_eq!(notes.last_url.as_deref(), Some("http://b.example/"));
        let about = "b.example".to_owned();
        assert_eq!(notes.under_way[&call], UnderWay { phase: CallPhase::Runs, about });
    }
}
