//! Requests of one attempt: through the gate, with refusals remembered and raw bodies kept first (M05).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::{sync::OnceCell, task::JoinSet};
use tollgate_core::{
    ArtifactRef,
    http::{HttpError, HttpRequest},
};
use tollgate_egress::{Hop, Response, SpooledBody};
use tollgate_sandbox::gates::{ArtifactError, Fetched, HttpGate};
use tollgate_store::{BlobSource, NewArtifact, StoreError, StoredBlob};

use super::{Attempt, artifacts::check_name};

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
            let attempt = self.attempt.clone();
            // By itself: a guest that has to wait for its turn to compute holds up neither the site nor its own answer.
            let mut exchange = JoinSet::new();
            exchange.spawn(async move {
                let told = |hop: Hop<'_>| attempt.ledger().reached(began, hop);
                attempt.gate.fetch(&attempt.caller, request, &told).await
            });
            let answer = match exchange.join_next().await {
                Some(Ok(answer)) => answer,
                Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // Nobody but this call could have ended it, and it is still here.
                Some(Err(_)) | None => return Err(HttpError::Other("the request was given up".to_owned())),
            };
            let mut ledger = self.attempt.ledger();
            ledger.under_way.remove(&began);
            match answer {
                Ok(response) => {
                    ledger.bytes_received += response.bytes_received;
                    match response.transport_failure.clone() {
                        Some(failure) => ledger.refused(failure),
                        None => ledger.succeeded(began),
                    }
                    drop(ledger);
                    let attempt = self.attempt.clone();
                    let (blob, is_named) = (OnceCell::new(), AtomicBool::new(false));
                    Ok(Arc::new(AttemptResponse { attempt, response, blob, is_named }) as Arc<dyn Fetched>)
                }
                Err(refused) => {
                    ledger.bytes_received += refused.bytes_received;
                    if refused.disk_full {
                        ledger.store_gone.get_or_insert(StoreError::Full(refused.error.to_string()));
                    }
                    if let Some(refusal) = refused.refusal {
                        ledger.refused(*refusal);
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
    /// The body as a blob, once it was written.
    blob: OnceCell<StoredBlob>,
    /// It is an artifact of the stage, under whatever name.
    is_named: AtomicBool,
}

impl AttemptResponse {
    /// Keeps the body as an artifact of that name.
    async fn keep(&self, name: &str) -> Result<(StoredBlob, String), HttpError> {
        let refused = |error: ArtifactError| HttpError::Storage(error.to_string());
        check_name(name).map_err(refused)?;
        self.attempt.ledger().has_room(name).map_err(refused)?;
        let write = || async {
            let source = match self.response.body.source() {
                SpooledBody::Memory(bytes) => BlobSource::Bytes(bytes),
                SpooledBody::File(path) => BlobSource::File(path),
            };
            self.attempt.put_blob(source).await.map_err(|error| HttpError::Storage(error.to_string()))
        };
        let (blob, content_type) = (*self.blob.get_or_try_init(write).await?, self.content_type());
        self.attempt.ledger().keep(NewArtifact { name: name.to_owned(), content_type: content_type.clone(), blob });
        self.is_named.store(true, Relaxed);
        Ok((blob, content_type))
    }

    fn content_type(&self) -> String {
        let header = self.response.headers.iter().find(|(name, _)| name == "content-type");
        header.map_or_else(|| TYPE_UNKNOWN.to_owned(), |(_, value)| value.clone())
    }

    /// Keeps the body before the guest can parse it, unless it is kept already or the stage says `raw = false`.
    async fn keep_raw(&self) -> Result<(), HttpError> {
        let wanted = self.attempt.item.as_ref().is_some_and(|item| item.raw);
        if !wanted || self.is_named.load(Relaxed) || self.response.body.size() == 0 {
            return Ok(());
        }
        let name = {
            let mut ledger = self.attempt.ledger();
            ledger.raw_bodies += 1;
            format!("raw-{}", ledger.raw_bodies)
        };
        self.keep(&name).await.map(drop)
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
            let (blob, content_type) = self.keep(&name).await?;
            Ok(ArtifactRef { stage: item.stage.clone(), name, content_type, size: blob.size, digest: blob.digest })
        }
        .boxed()
    }
}
