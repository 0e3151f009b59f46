//! Requests of one attempt: through the gate, with refusals remembered and raw bodies kept first (M05).

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::OnceCell;
use tollgate_core::{
    ArtifactRef,
    http::{HttpError, HttpRequest},
};
use tollgate_egress::{Response, SpooledBody};
use tollgate_sandbox::gates::{Fetched, HttpGate};
use tollgate_store::{BlobSource, NewArtifact, StoredBlob};

use super::Attempt;

/// Media type where a site gives none: unknown bytes, RFC 9110 section 8.3.
const TYPE_UNKNOWN: &str = "application/octet-stream";

pub(super) struct AttemptHttp {
    attempt: Arc<Attempt>,
}

impl AttemptHttp {
    pub(super) fn new(attempt: Arc<Attempt>) -> Self {
        Self { attempt }
    }
}

impl HttpGate for AttemptHttp {
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<Arc<dyn Fetched>, HttpError>> {
        async move {
            let began = self.attempt.ledger().begin(&request.url);
            let answer = self.attempt.gate.fetch(&self.attempt.caller, request).await;
            let mut ledger = self.attempt.ledger();
            ledger.in_flight = ledger.in_flight.saturating_sub(1);
            match answer {
                Ok(response) => {
                    ledger.requests += response.requests_sent;
                    ledger.bytes_received += response.bytes_received;
                    match response.transport_failure.clone() {
                        Some(failure) => ledger.refused(failure),
                        None => ledger.succeeded(began),
                    }
                    drop(ledger);
                    let attempt = self.attempt.clone();
                    Ok(Arc::new(AttemptResponse { attempt, response, blob: OnceCell::new() }) as Arc<dyn Fetched>)
                }
                Err(refused) => {
                    ledger.requests += refused.sent;
                    ledger.bytes_received += refused.bytes_received;
                    if let Some(refusal) = refused.refusal {
                        ledger.refused(refusal);
                    }
                    Err(refused.error)
                }
            }
        }
        .boxed()
    }
}

struct AttemptResponse {
    attempt: Arc<Attempt>,
    response: Response,
    /// The body as a blob, once it is kept under any name.
    blob: OnceCell<StoredBlob>,
}

impl AttemptResponse {
    async fn keep(&self) -> Result<StoredBlob, HttpError> {
        let keep = || async {
            let source = match self.response.body.source() {
                SpooledBody::Memory(bytes) => BlobSource::Bytes(bytes),
                SpooledBody::File(path) => BlobSource::File(path),
            };
            self.attempt.store.put_blob(source).await.map_err(|error| HttpError::Storage(error.to_string()))
        };
        self.blob.get_or_try_init(keep).await.copied()
    }

    fn content_type(&self) -> String {
        let header = self.response.headers.iter().find(|(name, _)| name == "content-type");
        header.map_or_else(|| TYPE_UNKNOWN.to_owned(), |(_, value)| value.clone())
    }

    /// Keeps the body before the guest can parse it, unless it is kept already or the stage says `raw = false`.
    async fn keep_raw(&self) -> Result<(), HttpError> {
        let wanted = self.attempt.item.as_ref().is_some_and(|item| item.raw);
        if !wanted || self.blob.initialized() || self.response.body.size() == 0 {
            return Ok(());
        }
        let blob = self.keep().await?;
        let mut ledger = self.attempt.ledger();
        ledger.raw_bodies += 1;
        let name = format!("raw-{}", ledger.raw_bodies);
        ledger.keep(NewArtifact { name, content_type: self.content_type(), blob });
        Ok(())
    }
}

impl Fetched for AttemptResponse {
    fn status(&self) -> u16 {
        self.response.status
    }

    fn url(&self) -> &str {
        &self.response.url
    }

    fn headers(&self) -> &[(String, String)] {
        &self.response.headers
    }

    fn size(&self) -> u64 {
        self.response.body.size()
    }

    fn bytes(&self) -> BoxFuture<'_, Result<Bytes, HttpError>> {
        async move {
            self.keep_raw().await?;
            self.response.body.bytes().await
        }
        .boxed()
    }

    fn save(&self, name: String) -> BoxFuture<'_, Result<ArtifactRef, HttpError>> {
        async move {
            let Some(item) = &self.attempt.item else {
                return Err(HttpError::Storage("discovery has no item to keep an artifact for".to_owned()));
            };
            let blob = self.keep().await?;
            let content_type = self.content_type();
            super::artifacts::check_name(&name).map_err(|error| HttpError::Storage(error.to_string()))?;
            let artifact = NewArtifact { name: name.clone(), content_type: content_type.clone(), blob };
            self.attempt.ledger().keep(artifact);
            Ok(ArtifactRef { stage: item.stage.clone(), name, content_type, size: blob.size, digest: blob.digest })
        }
        .boxed()
    }
}
