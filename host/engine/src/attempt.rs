//! One attempt: what its gates share, and what is left of it when the guest has answered.

mod apart;
mod artifacts;
mod cutting;
mod http;
mod log;
mod services;
mod state;
mod tools;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tollgate_core::{Digest, ItemId, StageName, artifact::free_name, handler::Capability, outcome::Refusal};
use tollgate_egress::{Caller, Gate, Held, Hop};
use tollgate_sandbox::gates::{
    ArtifactError, ArtifactGate, Gates, HttpGate, Late, ModelGate, SearchGate, SpeechGate, StateGate, ToolGate,
};
use tollgate_store::{
    ARTIFACTS_PER_ATTEMPT_MAX, BlobSource, KeptPage, NewArtifact, Store, StoreError, StoredBlob, TOOLS_PER_ATTEMPT_MAX,
    TaskRef, ToolServed,
};

use crate::{
    dispatcher::ends_all,
    executor::Tools,
    plan::{JobPlan, StagePlan},
    services::{PayingAttempt, Services},
};

pub(crate) use log::AttemptLog;

/// How the names of guarded pages begin, which no stage may give or is given.
pub(crate) const GUARDED_PREFIX: &str = "guarded-";

/// What an attempt is about, for its log.
#[derive(Debug, Clone)]
pub(crate) struct AttemptName {
    pub(crate) job: String,
    pub(crate) item: String,
    pub(crate) stage: String,
    pub(crate) attempt: u32,
    pub(crate) handler: String,
}

/// The item and stage of an attempt; absent in discovery.
#[derive(Clone)]
pub(crate) struct AttemptItem {
    pub(crate) task: TaskRef,
    pub(crate) stage: StageName,
    /// Whether a body that the stage reads is kept first (M05).
    pub(crate) raw: bool,
}

/// What the gates of one attempt share.
pub(crate) struct Attempt {
    store: Arc<dyn Store>,
    gate: Arc<Gate>,
    caller: Caller,
    job: tollgate_core::JobId,
    item: Option<AttemptItem>,
    ledger: Mutex<AttemptLedger>,
    late: Late,
    services: Arc<Services>,
    /// As whom it pays, if it does.
    paying: PayingAttempt,
}

/// What an attempt has asked for so far.
#[derive(Debug, Default)]
pub(crate) struct AttemptLedger {
    /// Numbers the host calls, in the order in which they began and ended.
    clock: u64,
    /// The last refusal that no later call got past, and when it ended.
    refusal: Option<(u64, Refusal)>,
    /// Calls that have begun and not ended, by their number, and whether their turn has come.
    under_way: BTreeMap<u64, CallPhase>,
    /// The address asked for last, redirects included.
    pub(crate) last_url: Option<String>,
    /// Sites that answered, and of whose answers none was refused.
    answered: BTreeSet<String>,
    /// Requests that left the gate.
    pub(crate) requests: u32,
    /// Bytes received.
    pub(crate) bytes_received: u64,
    /// Blobs kept, durable already.
    pub(crate) artifacts: Vec<NewArtifact>,
    /// What is known of those of them that are pages.
    pages: Vec<KeptPage>,
    /// Tools that ran to a good end, with the profile that served.
    tools: Vec<ToolServed>,
    /// Raw bodies kept without a name of the stage's.
    raw_bodies: u32,
    /// What it had to keep could not be kept, and nothing else will be.
    store_gone: Option<StoreError>,
}

/// How far a call to the gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallPhase {
    /// It waits for its turn at the site.
    Waits,
    /// Its exchange runs.
    Runs,
}

/// Sites that answered an attempt, none of whose answers was refused.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Who it was.
    pub(crate) caller: Caller,
    /// By host name and port.
    pub(crate) sites: BTreeSet<String>,
}

/// What is left of an attempt; nothing of one that ended before any gate was opened.
#[derive(Debug, Default)]
pub(crate) struct AttemptEnded {
    /// The refusal that decides, if one does.
    pub(crate) refusal: Option<Refusal>,
    /// Calls to the gate were under way when the attempt's time was up; this is how far the furthest was.
    pub(crate) in_gate: Option<CallPhase>,
    pub(crate) last_url: Option<String>,
    /// The sites that answered it, for the gate; absent of one that had no gate.
    pub(crate) answered: Option<Answered>,
    pub(crate) requests: u32,
    pub(crate) bytes_received: u64,
    pub(crate) tools: Vec<ToolServed>,
    pub(crate) artifacts: Vec<NewArtifact>,
    /// What is known of those of them that are pages.
    pub(crate) pages: Vec<KeptPage>,
    /// The store is gone: no fault of the attempt's.
    pub(crate) store_gone: Option<StoreError>,
}

impl Attempt {
    pub(crate) fn new(
        tools: &Tools,
        job: &JobPlan,
        item: Option<(&StagePlan, ItemId)>,
        paying: PayingAttempt,
    ) -> Arc<Self> {
        let Tools { store, gate, services, .. } = tools;
        let item = item.map(|(stage, item)| AttemptItem {
            task: TaskRef { item, stage: stage.lane.stage },
            stage: stage.spec.name.clone(),
            raw: stage.spec.raw,
        });
        let allowed = job.hosts.clone().unwrap_or_default();
        let (tools, held) = (job.spec.tools(), Held::default());
        let caller = Caller { job: job.spec.name.clone(), allowed, tools, held };
        Arc::new(Self {
            store: store.clone(),
            gate: gate.clone(),
            services: services.clone(),
            caller,
            job: job.declared.id,
            item,
            ledger: Mutex::default(),
            late: Late::default(),
            paying,
        })
    }

    /// The gates that the job grants.
    pub(crate) fn gates(self: &Arc<Self>, job: &JobPlan, log: AttemptLog) -> Gates {
        let granted = |capability| job.grants(capability);
        let services_of = OnceCell::new();
        // One for all of them, which numbers the attempt's calls; none where its job may pay for nothing.
        let services =
            || services_of.get_or_init(|| Arc::new(services::AttemptServices::new(self.clone(), job))).clone();
        Gates {
            http: granted(Capability::Http)
                .then(|| Arc::new(http::AttemptHttp::new(self.clone())) as Arc<dyn HttpGate>),
            artifacts: (granted(Capability::Artifacts) && self.item.is_some())
                .then(|| Arc::new(artifacts::AttemptArtifacts::new(self.clone())) as Arc<dyn ArtifactGate>),
            state: granted(Capability::State)
                .then(|| Arc::new(state::JobState::new(self.store.clone(), self.job)) as Arc<dyn StateGate>),
            tools: granted(Capability::Tools)
                .then(|| Arc::new(tools::AttemptTools::new(self.clone())) as Arc<dyn ToolGate>),
            models: granted(Capability::Llm).then(|| services() as Arc<dyn ModelGate>),
            search: granted(Capability::Search).then(|| services() as Arc<dyn SearchGate>),
            speech: granted(Capability::Speech).then(|| services() as Arc<dyn SpeechGate>),
            log: Arc::new(log),
            late: self.late.clone(),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, AttemptLedger> {
        // Nothing panics while it holds the lock; were it so, the figures are still whole.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is left. Later calls of a guest that was dropped change nothing any more.
    pub(crate) fn end(&self) -> AttemptEnded {
        let mut ledger = std::mem::take(&mut *self.ledger());
        let in_gate = self.late.is_late().then(|| ledger.furthest()).flatten();
        let artifacts = &ledger.artifacts;
        ledger.pages.retain(|page| artifacts.iter().any(|kept| kept.blob.digest == page.blob));
        AttemptEnded {
            refusal: ledger.refusal.map(|(_, refusal)| refusal),
            in_gate,
            last_url: ledger.last_url,
            answered: Some(Answered { caller: self.caller.clone(), sites: ledger.answered }),
            requests: ledger.requests,
            bytes_received: ledger.bytes_received,
            tools: ledger.tools,
            artifacts: ledger.artifacts,
            pages: ledger.pages,
            store_gone: ledger.store_gone,
        }
    }

    /// Keeps a blob. A store that keeps nothing any more is the host's end, whatever the handler makes of it.
    async fn put_blob(&self, body: BlobSource) -> Result<StoredBlob, StoreError> {
        let kept = self.store.put_blob(body).await;
        if let Err(error) = kept.as_ref().map_err(Clone::clone)
            && ends_all(&error)
        {
            self.ledger().store_gone.get_or_insert(error);
        }
        kept
    }
}

impl AttemptLedger {
    /// A tool's run begins; gives its number. One without an address says nothing of any site.
    fn begin_tool(&mut self, url: Option<&str>) -> u64 {
        match url {
            Some(url) => self.begin(url),
            None => self.begin_service(),
        }
    }

    /// A call that says nothing of any site begins; gives its number.
    fn begin_service(&mut self) -> u64 {
        self.clock += 1;
        self.under_way.insert(self.clock, CallPhase::Runs);
        self.clock
    }

    /// A call begins; gives its number.
    fn begin(&mut self, url: &str) -> u64 {
        self.clock += 1;
        self.under_way.insert(self.clock, CallPhase::Waits);
        self.last_url = Some(url.to_owned());
        self.clock
    }

    /// A call is so far.
    fn reached(&mut self, call: u64, hop: Hop<'_>) {
        // A call of a guest that was dropped is under way no more.
        let Some(phase) = self.under_way.get_mut(&call) else {
            return;
        };
        match hop {
            Hop::Waits(url) => {
                *phase = CallPhase::Waits;
                self.last_url = Some(url.to_owned());
            }
            Hop::Runs => {
                *phase = CallPhase::Runs;
                self.requests += 1;
            }
            Hop::Answered(site) => {
                self.answered.insert(site.to_owned());
            }
        }
    }

    /// How far the furthest call that is under way is.
    fn furthest(&self) -> Option<CallPhase> {
        let runs = self.under_way.values().any(|phase| *phase == CallPhase::Runs);
        if runs { Some(CallPhase::Runs) } else { self.under_way.values().next().copied() }
    }

    /// A call was refused in a way that decides.
    fn refused(&mut self, refusal: Refusal) {
        self.clock += 1;
        self.refusal = Some((self.clock, refusal));
    }

    /// A tool ran to a good end.
    fn served(&mut self, tool: &str, profile: &str) {
        let served = ToolServed { tool: tool.to_owned(), profile: profile.to_owned() };
        if self.tools.len() < TOOLS_PER_ATTEMPT_MAX && !self.tools.contains(&served) {
            self.tools.push(served);
        }
    }

    /// A call that began at `began` succeeded: it gets past a refusal that was known by then. One that ran beside it
    /// still stands, so a stage that swallowed it is judged by it.
    fn succeeded(&mut self, began: u64) {
        if self.refusal.as_ref().is_some_and(|(ended, _)| *ended < began) {
            self.refusal = None;
        }
    }

    /// Whether an artifact of that name may still be kept: one that is kept already is replaced.
    fn has_room(&self, name: &str) -> Result<(), ArtifactError> {
        if self.artifacts.len() < ARTIFACTS_PER_ATTEMPT_MAX || self.artifacts.iter().any(|kept| kept.name == name) {
            return Ok(());
        }
        Err(ArtifactError::Storage(format!("an attempt keeps at most {ARTIFACTS_PER_ATTEMPT_MAX} artifacts")))
    }

    /// Notes a page whose body is an artifact. Each is kept with an artifact first, and those are bounded.
    fn keep_page(&mut self, page: KeptPage) {
        if self.pages.len() < ARTIFACTS_PER_ATTEMPT_MAX && !self.pages.contains(&page) {
            self.pages.push(page);
        }
    }

    /// The name under which a body is kept apart: with a number where another body has it.
    fn name_apart(&self, name: &str, blob: Digest) -> String {
        free_name(name, |name| self.artifacts.iter().all(|kept| kept.name != name || kept.blob.digest == blob))
    }

    fn keep(&mut self, artifact: NewArtifact) {
        self.artifacts.retain(|kept| kept.name != artifact.name);
        self.artifacts.push(artifact);
    }
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
        let mut ledger = AttemptLedger::default();
        for number in 0..ARTIFACTS_PER_ATTEMPT_MAX {
            let name = number.to_string();
            ledger.has_room(&name).unwrap();
            ledger.keep(artifact(&name));
        }
        assert!(ledger.has_room("one-more").is_err());
        assert!(ledger.has_room("7").is_ok());
    }

    #[test]
    fn the_last_hop_is_what_an_attempt_asked_for_last() {
        let mut ledger = AttemptLedger::default();
        let call = ledger.begin("http://a.example/");
        ledger.reached(call, Hop::Waits("http://b.example/"));
        ledger.reached(call, Hop::Runs);
        assert_eq!(ledger.last_url.as_deref(), Some("http://b.example/"));
        assert_eq!(ledger.under_way[&call], CallPhase::Runs);
    }
}
