//! One attempt: what its gates share, and what is left of it when the guest has answered.

mod apart;
mod artifacts;
mod cutting;
mod http;
mod log;
mod notes;
mod services;
mod state;
mod telling;
mod tools;

use std::{
    cell::OnceCell,
    collections::BTreeSet,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tollgate_core::{ItemId, StageName, handler::Capability, outcome::Refusal, tool::ToolError};
use tollgate_egress::{Caller, Gate, Held, ToolOutput, ToolRefused};
use tollgate_sandbox::gates::{
    ArtifactGate, Gates, HttpGate, Late, ModelGate, SearchGate, SpeechGate, StateGate, ToolGate,
};
use tollgate_store::{BlobSource, KeptPage, NewArtifact, Store, StoreError, StoredBlob, TaskRef, ToolServed};

use crate::{
    dispatcher::ends_all,
    executor::Tools,
    plan::{JobPlan, StagePlan},
    services::{PayingAttempt, Services},
};
use apart::apart;
use notes::AttemptNotes;
pub(crate) use {
    log::AttemptLog,
    notes::{UnderWay, site_of},
};

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
    notes: Mutex<AttemptNotes>,
    late: Late,
    services: Arc<Services>,
    /// As whom it pays, if it does.
    paying: PayingAttempt,
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
    /// Calls to the gate were under way when the attempt's time was up; this was the furthest.
    pub(crate) in_gate: Option<UnderWay>,
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
            notes: Mutex::default(),
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

    fn notes(&self) -> MutexGuard<'_, AttemptNotes> {
        // Nothing panics while it holds the lock; were it so, the figures are still whole.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is left. Later calls of a guest that was dropped change nothing any more.
    pub(crate) fn end(&self) -> AttemptEnded {
        let mut notes = std::mem::take(&mut *self.notes());
        let in_gate = self.late.is_late().then(|| notes.furthest()).flatten();
        let artifacts = &notes.artifacts;
        notes.pages.retain(|page| artifacts.iter().any(|kept| kept.blob.digest == page.blob));
        AttemptEnded {
            refusal: notes.refusal.map(|(_, refusal)| refusal),
            in_gate,
            last_url: notes.last_url,
            answered: Some(Answered { caller: self.caller.clone(), sites: notes.answered }),
            requests: notes.requests,
            bytes_received: notes.bytes_received,
            tools: notes.tools,
            artifacts: notes.artifacts,
            pages: notes.pages,
            store_gone: notes.store_gone,
        }
    }

    /// Runs a tool in a task of its own, as a request is. Which profile served is noted, and a disk that is full, which
    /// is the host's end.
    async fn run_tool(
        &self,
        tool: &str,
        run: impl Future<Output = Result<ToolOutput, ToolRefused>> + Send + 'static,
    ) -> Result<ToolOutput, ToolRefused> {
        let given_up = || {
            let error = ToolError::Failed("the run was given up".to_owned());
            Err(ToolRefused { error, refusal: None, disk_full: false, denial: None })
        };
        let ended = apart(run).await.unwrap_or_else(given_up);
        match &ended {
            Ok(output) => self.notes().served(tool, &output.profile),
            Err(ToolRefused { error, disk_full: true, .. }) => {
                self.notes().store_gone.get_or_insert_with(|| StoreError::Full(error.to_string()));
            }
            Err(_) => {}
        }
        ended
    }

    /// Keeps a blob. A store that keeps nothing any more is the host's end, whatever the handler makes of it.
    async fn put_blob(&self, body: BlobSource) -> Result<StoredBlob, StoreError> {
        let kept = self.store.put_blob(body).await;
        if let Err(error) = kept.as_ref().map_err(Clone::clone)
            && ends_all(&error)
        {
            self.notes().store_gone.get_or_insert(error);
        }
        kept
    }
}
