//! Requests of one attempt: through the gate, with refusals remembered and raw bodies kept first (M05).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::OnceCell;
use tollgate_core::{
    ArtifactRef, Digest,
    http::{HttpError, HttpRequest},
};
use tollgate_egress::{GuardedPage, Hop, Listed, Refused, Response, Spooled, SpooledBody, Told};
use tollgate_sandbox::gates::{ArtifactError, Fetched, HttpGate};
use tollgate_store::{BlobSource, KeptPage, NewArtifact, PageCopy, StoreError, StoredBlob};

use super::{Attempt, GUARDED_PREFIX, apart::apart, artifacts::check_name};

/// Media type where a site gives none: unknown bytes, RFC 9110 section 8.3.
pub(super) const TYPE_UNKNOWN: &str = "application/octet-stream";

pub(super) struct AttemptHttp {
    attempt: Arc<Attempt>,
}

impl AttemptHttp {
    pub(super) fn new(attempt: Arc<Attempt>) -> Self {
        Self { attempt }
    }
}

/// What the gate is asked for.
enum Asked {
    Page(HttpRequest),
    ZipMember { url: String, member: String },
    ZipMembers(String),
}

/// What it answers.
enum Answer {
    Response(Response),
    Names(Listed),
}

impl Asked {
    fn url(&self) -> &str {
        match self {
            Self::Page(request) => &request.url,
            Self::ZipMember { url, .. } | Self::ZipMembers(url) => url,
        }
    }

    async fn of(self, attempt: &Attempt, told: Told<'_>) -> Result<Answer, Refused> {
        let (gate, caller) = (&attempt.gate, &attempt.caller);
        match self {
            Self::Page(request) => gate.fetch(caller, request, told).await.map(Answer::Response),
            Self::ZipMember { url, member } => {
                gate.fetch_zip_member(caller, &url, &member, told).await.map(Answer::Response)
            }
            Self::ZipMembers(url) => gate.list_zip_members(caller, &url, told).await.map(Answer::Names),
        }
    }
}

impl AttemptHttp {
    /// Asks the gate in a task of its own: a guest that has to wait for its turn to compute holds up neither the site
    /// nor its own answer.
    async fn ask(&self, asked: Asked) -> Result<Answer, HttpError> {
        let began = self.attempt.notes().begin(asked.url());
        let _under_way = UnderWay { attempt: &self.attempt, call: began };
        let attempt = self.attempt.clone();
        let answer = apart(async move {
            let told = |hop: Hop<'_>| attempt.notes().reached(began, hop);
            asked.of(&attempt, &told).await
        });
        let answer = answer.await.ok_or_else(|| HttpError::Other("the request was given up".to_owned()))?;
        let refused = match self.took(began, answer) {
            Ok(answer) => return Ok(answer),
            Err(refused) => refused,
        };
        if let Some(page) = refused.guarded {
            self.keep_guarded(*page).await;
        }
        Err(refused.error)
    }

    /// Takes an answer into the attempt's account.
    fn took(&self, began: u64, answer: Result<Answer, Refused>) -> Result<Answer, Refused> {
        let mut notes = self.attempt.notes();
        notes.under_way.remove(&began);
        match answer {
            Ok(answer) => {
                let (bytes, failure) = match &answer {
                    Answer::Response(response) => (response.bytes_received, response.transport_failure.clone()),
                    Answer::Names(listed) => (listed.bytes_received, None),
                };
                notes.bytes_received += bytes;
                match failure {
                    Some(failure) => notes.refused(failure),
                    None => notes.succeeded(began),
                }
                Ok(answer)
            }
            Err(refused) => {
                notes.bytes_received += refused.bytes_received;
                if refused.disk_full {
                    notes.store_gone.get_or_insert(StoreError::Full(refused.error.to_string()));
                }
                if let Some(refusal) = &refused.refusal {
                    notes.refused((**refusal).clone());
                }
                Err(refused)
            }
        }
    }

    /// Keeps a page that is no content apart, with the rule that caught it in its name: for a person, and for another
    /// look once the rules have changed. No stage is given it.
    async fn keep_guarded(&self, page: GuardedPage) {
        let name = format!("{GUARDED_PREFIX}{}", page.guarded.rule);
        if self.attempt.item.is_none() || self.attempt.notes().has_room(&name).is_err() {
            return;
        }
        match self.attempt.put_blob(source(&page.body)).await {
            Ok(blob) => {
                let content_type = page.content_type.unwrap_or_else(|| TYPE_UNKNOWN.to_owned());
                let mut notes = self.attempt.notes();
                let name = notes.name_apart(&name, blob.digest);
                if notes.has_room(&name).is_err() {
                    return;
                }
                notes.keep(NewArtifact { name, content_type, blob });
                notes.keep_page(KeptPage { blob: blob.digest, url: page.url, status: page.status, copy: None });
            }
            Err(error) => tracing::warn!(%error, rule = page.guarded.rule, "a guarded page can't be kept"),
        }
    }

    /// `asked`: by what a request for a page is known; absent for a member of an archive, which is no page.
    fn response(&self, answer: Answer, asked: Option<Digest>) -> Result<Arc<dyn Fetched>, HttpError> {
        match answer {
            Answer::Response(response) => {
                let attempt = self.attempt.clone();
                let (blob, noted, is_named) = (OnceCell::new(), OnceCell::new(), AtomicBool::new(false));
                Ok(Arc::new(AttemptResponse { attempt, response, asked, blob, noted, is_named }) as Arc<dyn Fetched>)
            }
            Answer::Names(_) => Err(HttpError::Other("a list came in place of a page".to_owned())),
        }
    }
}

/// A call that is being asked. Where the guest lets go of it, it is under way no more; where the attempt's time is up,
/// it is what the attempt waited for.
struct UnderWay<'a> {
    attempt: &'a Attempt,
    call: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.attempt.late.is_late() {
            self.attempt.notes().under_way.remove(&self.call);
        }
    }
}

impl HttpGate for AttemptHttp {
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<Arc<dyn Fetched>, HttpError>> {
        async move {
            let asked = asked(&request);
            self.response(self.ask(Asked::Page(request)).await?, Some(asked))
        }
        .boxed()
    }

    fn zip_members(&self, url: String) -> BoxFuture<'_, Result<Vec<String>, HttpError>> {
        async move {
            match self.ask(Asked::ZipMembers(url)).await? {
                Answer::Names(listed) => Ok(listed.names),
                Answer::Response(_) => Err(HttpError::Other("a page came in place of a list".to_owned())),
            }
        }
        .boxed()
    }

    fn zip_member(&self, url: String, member: String) -> BoxFuture<'_, Result<Arc<dyn Fetched>, HttpError>> {
        async move { self.response(self.ask(Asked::ZipMember { url, member }).await?, None) }.boxed()
    }
}

/// What a request asks for, as a digest: the same request gives the same page, and that is no copy of it (S11).
fn asked(request: &HttpRequest) -> Digest {
    let url = request.url.split('#').next().unwrap_or_default();
    let mut text = format!("{}\n{url}\n", request.method).into_bytes();
    text.extend_from_slice(request.body.as_deref().unwrap_or_default());
    Digest::of(&text)
}

/// A body as the store takes it.
fn source(body: &Spooled) -> BlobSource {
    match body.source() {
        SpooledBody::Memory(bytes) => BlobSource::Bytes(bytes),
        SpooledBody::File(path) => BlobSource::File(path),
    }
}

struct AttemptResponse {
    attempt: Arc<Attempt>,
    response: Response,
    /// Absent for what is no page.
    asked: Option<Digest>,
    /// The body as a blob, once it was written.
    blob: OnceCell<StoredBlob>,
    /// The page was noted for the attempt.
    noted: OnceCell<()>,
    /// It is an artifact of the stage, under whatever name.
    is_named: AtomicBool,
}

impl AttemptResponse {
    /// Keeps the body as an artifact of that name.
    async fn keep(&self, name: &str) -> Result<(StoredBlob, String), HttpError> {
        let refused = |error: ArtifactError| HttpError::Storage(error.to_string());
        check_name(name).map_err(refused)?;
        self.attempt.notes().has_room(name).map_err(refused)?;
        let write = || async {
            self.attempt
                .put_blob(source(&self.response.body))
                .await
                .map_err(|error| HttpError::Storage(error.to_string()))
        };
        let (blob, content_type) = (*self.blob.get_or_try_init(write).await?, self.content_type());
        if let Some(asked) = self.asked {
            // Once; where that fails, with the next name.
            let note = || async { self.page(blob, asked).await.map(|page| self.attempt.notes().keep_page(page)) };
            self.noted.get_or_try_init(note).await?;
        }
        self.attempt.notes().keep(NewArtifact { name: name.to_owned(), content_type: content_type.clone(), blob });
        self.is_named.store(true, Relaxed);
        Ok((blob, content_type))
    }

    /// What is known of the page: for guards that are asked again, and by what its copies are known (S11).
    async fn page(&self, blob: StoredBlob, asked: Digest) -> Result<KeptPage, HttpError> {
        let Response { status, url, .. } = &self.response;
        let items_max = self.attempt.gate.duplicates_max(url).filter(|_| (200..300).contains(status));
        let copy = match items_max {
            Some(items_max) => {
                let signature = self.response.signature().await?;
                signature.map(|signature| PageCopy { signature, asked, items_max })
            }
            None => None,
        };
        Ok(KeptPage { blob: blob.digest, url: url.clone(), status: *status, copy })
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
            let mut notes = self.attempt.notes();
            notes.raw_bodies += 1;
            format!("raw-{}", notes.raw_bodies)
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
