//! Models for one attempt: its documents are read, its alias is held against its job's grants, and refusals are remembered as
//! those of requests are.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use tollgate_core::{
    StageName,
    handler::Capability,
    service::{CallContent, CallDocument, Completion, ModelCall, ServiceError},
};
use tollgate_llm::{Document, Prompt, hosting::Purse};
use tollgate_sandbox::gates::{ArtifactError, ArtifactGate as _, ModelGate};

use super::{Attempt, artifacts::AttemptArtifacts};

pub(super) struct AttemptModels {
    attempt: Arc<Attempt>,
    purse: Arc<dyn Purse>,
}

impl AttemptModels {
    pub(super) fn new(attempt: Arc<Attempt>, purse: Arc<dyn Purse>) -> Self {
        Self { attempt, purse }
    }

    /// The alias that a call is for.
    fn alias(&self, asked: Option<&str>) -> Result<String, ServiceError> {
        let (job, paying) = (&self.attempt.caller.job, &self.attempt.paying);
        let alias = asked.or(paying.services.model.as_deref()).ok_or_else(|| {
            ServiceError::Denied(format!(
                "the call names no model, and several may be meant; set `model` of [job.{job}] or of the stage in jobs.toml"
            ))
        })?;
        if paying.is_granted(Capability::Llm, alias) {
            return Ok(alias.to_owned());
        }
        let line = format!("add \"llm {alias}\" to `grant` of [job.{job}] in jobs.toml");
        Err(ServiceError::Denied(format!("model {alias} is not granted; {line}")))
    }

    async fn document(&self, document: CallDocument) -> Result<Document, ServiceError> {
        let CallDocument { name, content, shared } = document;
        let (stage, artifact) = match content {
            CallContent::Text(text) => return Ok(Document::text(name, &text, shared)),
            CallContent::Artifact { stage, name } => (stage, name),
        };
        let missing = || ServiceError::InvalidRequest(format!("artifact {stage}/{artifact}, a document, is missing"));
        let artifacts = AttemptArtifacts::new(self.attempt.clone());
        let storage = |error: ArtifactError| match error {
            ArtifactError::Missing(_) => missing(),
            error => ServiceError::Storage(error.to_string()),
        };
        let known = artifacts.list().await.map_err(storage)?;
        let known = known.iter().find(|known| known.stage.as_str() == stage && known.name == artifact);
        let content_type = known.ok_or_else(missing)?.content_type.clone();
        let stage_name = StageName::new(&stage).map_err(|_| missing())?;
        let bytes = artifacts.get(stage_name, artifact.clone(), None).await.map_err(storage)?;
        if content_type.starts_with("text/") || content_type.starts_with("application/json") {
            let text = String::from_utf8_lossy(&bytes);
            return Ok(Document::text(name, &text, shared));
        }
        let blob = Document::blob(name, &content_type, bytes, shared);
        blob.map_err(|error| ServiceError::InvalidRequest(error.to_string()))
    }

    async fn ask(&self, call: ModelCall) -> Result<Completion, ServiceError> {
        let alias = self.alias(call.model.as_deref())?;
        let mut prompt = Prompt {
            instruction: call.instruction,
            schema: call.schema,
            temperature: call.temperature,
            can_search: false,
            ..Prompt::default()
        };
        if call.web_search {
            let text = "web search by a model is not there in this version; leave it out";
            return Err(ServiceError::Denied(text.to_owned()));
        }
        for document in call.documents {
            prompt.documents.push(self.document(document).await?);
        }
        let began = self.attempt.ledger().begin_service();
        let models = &self.attempt.paying.services_of_host.models;
        let answered = models.complete(&alias, prompt, call.timeout, self.purse.clone(), None).await;
        let mut ledger = self.attempt.ledger();
        ledger.under_way.remove(&began);
        match answered {
            Ok(completion) => {
                ledger.succeeded(began);
                Ok(completion)
            }
            Err(refused) => {
                if let Some(refusal) = refused.refusal {
                    ledger.refused(refusal);
                }
                Err(refused.error)
            }
        }
    }
}

impl ModelGate for AttemptModels {
    fn complete(&self, call: ModelCall) -> BoxFuture<'_, Result<Completion, ServiceError>> {
        self.ask(call).boxed()
    }
}
