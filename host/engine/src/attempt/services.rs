//! Models, search and speech for one attempt: its artifacts are read, its aliases are held against its job's grants,
//! and refusals are remembered as those of requests are.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tollgate_core::{
    ArtifactRef,
    handler::Capability,
    service::{CallContent, CallDocument, Completion, ModelCall, SearchHit, ServiceError, SpeechCall, Transcript},
    spec,
};
use tollgate_llm::{
    Document, Prompt, Search,
    hosting::{Purse, Refused, SpeechInput},
    speech::AUDIO_BYTES_MAX,
};
use tollgate_sandbox::gates::{ArtifactError, ArtifactGate as _, ModelGate, SearchGate, SpeechGate};

use super::{Attempt, artifacts::AttemptArtifacts, cutting::HostCutter, telling::CallPurse};
use crate::{plan::JobPlan, services::Payer};

/// Bytes of an artifact that is sent, cut or not: it is in memory meanwhile. Hours of audio.
const INPUT_BYTES_MAX: u64 = 512 << 20;

pub(super) struct AttemptServices {
    attempt: Arc<Attempt>,
    purse: Arc<dyn Purse>,
    /// Who answers calls that don't say which service they want.
    defaults: spec::Services,
    /// Names that its job grants of each capability; empty: all.
    granted: Vec<(Capability, Vec<String>)>,
}

impl AttemptServices {
    pub(super) fn new(attempt: Arc<Attempt>, job: &JobPlan) -> Self {
        let task = attempt.item.as_ref().map(|item| (item.task.item, item.task.stage));
        let stage = task.and_then(|(_, stage)| job.stage(stage));
        let defaults = stage.map_or(&job.spec.services, |stage| &stage.spec.services).clone();
        let paid = [Capability::Llm, Capability::Search, Capability::Speech].into_iter();
        let granted = paid.filter_map(|capability| Some((capability, job.spec.granted(capability)?))).collect();
        let purse = attempt.services.purse(Payer::of(job, task, attempt.paying));
        Self { attempt, purse, defaults, granted }
    }

    fn is_granted(&self, capability: Capability, alias: &str) -> bool {
        let granted = self.granted.iter().find(|(known, _)| *known == capability);
        granted.is_some_and(|(_, names)| names.is_empty() || names.iter().any(|name| name == alias))
    }

    /// The alias that a call of a capability is for: as asked, or the stage's or the job's own.
    fn alias(&self, capability: Capability, asked: Option<&str>) -> Result<String, ServiceError> {
        let job = &self.attempt.caller.job;
        let (of, own) = match capability {
            Capability::Speech => ("speech", &self.defaults.speech),
            _ => ("model", &self.defaults.model),
        };
        let alias = asked.or(own.as_deref()).ok_or_else(|| {
            ServiceError::Denied(format!(
                "the call names no {of}, and several may be meant; set `{of}` of [job.{job}] or of the stage in jobs.toml"
            ))
        })?;
        if self.is_granted(capability, alias) {
            return Ok(alias.to_owned());
        }
        let line = format!("add \"{} {alias}\" to `grant` of [job.{job}] in jobs.toml", capability.as_str());
        Err(ServiceError::Denied(format!("{of} {alias} is not granted; {line}")))
    }

    /// The search of the stage or the job.
    fn search(&self) -> Result<&Arc<Search>, ServiceError> {
        let job = &self.attempt.caller.job;
        let denied = |what: &str| ServiceError::Denied(format!("{what} of [job.{job}] in jobs.toml"));
        if !self.is_granted(Capability::Search, "") {
            return Err(denied("web search is not granted; add \"search\" to `grant`"));
        }
        let search = self.defaults.search.as_ref().and_then(|name| self.attempt.services.searches.get(name));
        search.ok_or_else(|| denied("no search is named; set `search`"))
    }

    async fn document(&self, document: CallDocument) -> Result<Document, ServiceError> {
        let CallDocument { name, content, shared } = document;
        let (stage, artifact) = match content {
            CallContent::Text(text) => return Ok(Document::text(name, &text, shared)),
            CallContent::Artifact { stage, name } => (stage, name),
        };
        let artifact = self.artifact(&stage, &artifact).await?;
        let (bytes, content_type) = (self.read(&artifact).await?, artifact.content_type);
        if content_type.starts_with("text/") || content_type.starts_with("application/json") {
            let text = String::from_utf8_lossy(&bytes);
            return Ok(Document::text(name, &text, shared));
        }
        let blob = Document::blob(name, &content_type, bytes, shared);
        blob.map_err(|error| ServiceError::InvalidRequest(error.to_string()))
    }

    /// An artifact of the item, if it isn't too large to be sent.
    async fn artifact(&self, stage: &str, artifact: &str) -> Result<ArtifactRef, ServiceError> {
        let artifacts = AttemptArtifacts::new(self.attempt.clone());
        let all = artifacts.list().await.map_err(|error| unread(stage, artifact, &error))?;
        let known = all.into_iter().find(|known| known.stage.as_str() == stage && known.name == artifact);
        let known = known.ok_or_else(|| missing(stage, artifact))?;
        if known.size > INPUT_BYTES_MAX {
            let text = format!("artifact {stage}/{artifact} has {} bytes; {INPUT_BYTES_MAX} can be sent", known.size);
            return Err(ServiceError::InvalidRequest(text));
        }
        Ok(known)
    }

    /// All of it.
    async fn read(&self, artifact: &ArtifactRef) -> Result<Bytes, ServiceError> {
        let whole = AttemptArtifacts::new(self.attempt.clone()).whole(artifact).await;
        whole.map_err(|error| unread(artifact.stage.as_str(), &artifact.name, &error))
    }

    /// A call of `about` begins; gives its number, and what pays for it.
    fn begin(&self, about: String) -> (u64, Arc<dyn Purse>) {
        let call = self.attempt.notes().begin_service(about);
        (call, Arc::new(CallPurse::new(self.purse.clone(), self.attempt.clone(), call)))
    }

    /// Takes what came of a call into the attempt's account.
    fn came<T>(&self, began: u64, answered: Result<T, Refused>) -> Result<T, ServiceError> {
        let ended = answered.map_err(|Refused { error, refusal }| (error, refusal));
        self.attempt.notes().came(began, ended)
    }

    async fn ask(&self, call: ModelCall) -> Result<Completion, ServiceError> {
        let alias = self.alias(Capability::Llm, call.model.as_deref())?;
        // A model that may search pays for it as its handler would.
        let searches = call.web_search.then(|| self.search()).transpose()?;
        let mut prompt = Prompt {
            instruction: call.instruction,
            schema: call.schema,
            temperature: call.temperature,
            can_search: searches.is_some(),
            ..Prompt::default()
        };
        for document in call.documents {
            prompt.documents.push(self.document(document).await?);
        }
        let (began, purse) = self.begin(format!("model {alias}"));
        let models = &self.attempt.services.models;
        let searches = searches.map(|search| search.of_models(purse.clone()));
        let answered = models.complete(&alias, prompt, call.timeout, purse, searches).await;
        self.came(began, answered)
    }

    async fn look_up(&self, query: String, limit: u32) -> Result<Vec<SearchHit>, ServiceError> {
        let search = self.search()?;
        let (began, purse) = self.begin("search".to_owned());
        let found = search.web(&query, limit, &purse).await;
        self.came(began, found)
    }

    async fn hear(&self, call: SpeechCall) -> Result<Transcript, ServiceError> {
        let alias = self.alias(Capability::Speech, call.model.as_deref())?;
        let missing = || ServiceError::Denied(format!("jobs.toml has no [speech.{alias}]"));
        let speech = self.attempt.services.speeches.get(&alias).ok_or_else(missing)?;
        let artifact = self.artifact(&call.stage, &call.artifact).await?;
        let (began, purse) = self.begin(format!("speech {alias}"));
        let heard = async {
            let cutter = HostCutter::new(self.attempt.clone(), began);
            // One that is larger has to be cut, and isn't read before there is a place for that.
            if artifact.size > AUDIO_BYTES_MAX as u64 {
                cutter.enter().await?;
            }
            let bytes = self.read(&artifact).await.map_err(|error| Refused { error, refusal: None })?;
            let ArtifactRef { name, content_type, .. } = artifact;
            let input = SpeechInput { bytes, content_type, name, length: None };
            speech.transcribe(input, call.language.as_deref(), call.speakers, &purse, &cutter).await
        };
        self.came(began, heard.await)
    }
}

fn missing(stage: &str, artifact: &str) -> ServiceError {
    ServiceError::InvalidRequest(format!("artifact {stage}/{artifact} is missing"))
}

fn unread(stage: &str, artifact: &str, error: &ArtifactError) -> ServiceError {
    match error {
        ArtifactError::Missing(_) => missing(stage, artifact),
        error => ServiceError::Storage(error.to_string()),
    }
}

impl ModelGate for AttemptServices {
    fn complete(&self, call: ModelCall) -> BoxFuture<'_, Result<Completion, ServiceError>> {
        self.ask(call).boxed()
    }
}

impl SearchGate for AttemptServices {
    fn web(&self, query: String, limit: u32) -> BoxFuture<'_, Result<Vec<SearchHit>, ServiceError>> {
        self.look_up(query, limit).boxed()
    }
}

impl SpeechGate for AttemptServices {
    fn transcribe(&self, call: SpeechCall) -> BoxFuture<'_, Result<Transcript, ServiceError>> {
        self.hear(call).boxed()
    }
}
