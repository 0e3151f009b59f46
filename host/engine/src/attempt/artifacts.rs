//! Artifacts of one attempt's item: its own of this attempt first, then what is stored.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tollgate_core::{ArtifactRef, Digest, StageName, artifact::ARTIFACT_NAME_BYTES_MAX};
use tollgate_sandbox::gates::{ArtifactError, ArtifactGate};
use tollgate_store::{BLOB_READ_BYTES_MAX, BlobPart, BlobSource, NewArtifact, StoreError, StoredBlob};

use super::{Attempt, AttemptItem, GUARDED_PREFIX};

pub(super) struct AttemptArtifacts {
    attempt: Arc<Attempt>,
}

impl AttemptArtifacts {
    pub(super) fn new(attempt: Arc<Attempt>) -> Self {
        Self { attempt }
    }

    fn item(&self) -> Result<&AttemptItem, ArtifactError> {
        let none = || ArtifactError::Storage("discovery has no item, and so no artifacts".to_owned());
        self.attempt.item.as_ref().ok_or_else(none)
    }

    async fn find(&self, stage: &StageName, name: &str) -> Result<Digest, ArtifactError> {
        let item = self.item()?;
        if is_guarded(name) {
            return Err(ArtifactError::Missing(format!(
                "{stage}/{name}: a page that is no content is given to no stage"
            )));
        }
        if stage == &item.stage {
            let notes = self.attempt.notes();
            if let Some(kept) = notes.artifacts.iter().find(|kept| kept.name == name) {
                return Ok(kept.blob.digest);
            }
        }
        let stored = self.attempt.store.artifacts(item.task.item, Some(item.task.stage)).await.map_err(storage)?;
        let found = stored.into_iter().find(|stored| &stored.artifact.stage == stage && stored.artifact.name == name);
        let found = found.ok_or_else(|| ArtifactError::Missing(format!("{stage}/{name}")))?;
        if found.pending {
            // What an earlier attempt left and this one builds on is part of what this one made.
            let ArtifactRef { name, content_type, size, digest, .. } = found.artifact.clone();
            let mut notes = self.attempt.notes();
            notes.has_room(&name)?;
            notes.keep(NewArtifact { name, content_type, blob: StoredBlob { digest, size } });
        }
        Ok(found.artifact.digest)
    }

    /// All of an artifact, for the host's own use: what is larger than the store reads at once, part by part.
    pub(super) async fn whole(&self, artifact: &ArtifactRef) -> Result<Bytes, ArtifactError> {
        let digest = self.find(&artifact.stage, &artifact.name).await?;
        // In one piece from the beginning: a vector that grows is in memory twice at times.
        let size = usize::try_from(artifact.size).map_err(|error| ArtifactError::Storage(error.to_string()))?;
        let (mut bytes, length) = (Vec::with_capacity(size), BLOB_READ_BYTES_MAX);
        loop {
            let part = BlobPart { offset: bytes.len() as u64, length };
            let read = self.attempt.store.read_blob(digest, Some(part)).await.map_err(storage)?;
            let is_last = (read.len() as u64) < length;
            bytes.extend_from_slice(&read);
            if is_last {
                break;
            }
        }
        if Digest::of(&bytes) != digest {
            return Err(ArtifactError::Storage(format!("blob {digest}: other bytes than its digest says")));
        }
        Ok(bytes.into())
    }
}

impl ArtifactGate for AttemptArtifacts {
    fn put(
        &self,
        name: String,
        content_type: String,
        body: Bytes,
    ) -> BoxFuture<'_, Result<ArtifactRef, ArtifactError>> {
        async move {
            check_name(&name)?;
            let item = self.item()?;
            self.attempt.notes().has_room(&name)?;
            let blob = self.attempt.put_blob(BlobSource::Bytes(body)).await.map_err(storage)?;
            let artifact = NewArtifact { name: name.clone(), content_type: content_type.clone(), blob };
            self.attempt.notes().keep(artifact);
            Ok(ArtifactRef { stage: item.stage.clone(), name, content_type, size: blob.size, digest: blob.digest })
        }
        .boxed()
    }

    fn get(
        &self,
        stage: StageName,
        name: String,
        part: Option<(u64, u64)>,
    ) -> BoxFuture<'_, Result<Bytes, ArtifactError>> {
        async move {
            let digest = self.find(&stage, &name).await?;
            let part = part.map(|(offset, length)| BlobPart { offset, length });
            self.attempt.store.read_blob(digest, part).await.map(Bytes::from).map_err(storage)
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ArtifactRef>, ArtifactError>> {
        async move {
            let item = self.item()?;
            let stored = self.attempt.store.artifacts(item.task.item, Some(item.task.stage)).await.map_err(storage)?;
            let notes = self.attempt.notes();
            let mut all: Vec<ArtifactRef> = notes.artifacts.iter().map(|kept| own(item, kept)).collect();
            let shadowed = |stored: &ArtifactRef, all: &[ArtifactRef]| {
                all.iter().any(|own| own.stage == stored.stage && own.name == stored.name)
            };
            for stored in stored {
                if !shadowed(&stored.artifact, &all) {
                    all.push(stored.artifact);
                }
            }
            all.retain(|artifact| !is_guarded(&artifact.name));
            Ok(all)
        }
        .boxed()
    }
}

fn is_guarded(name: &str) -> bool {
    name.starts_with(GUARDED_PREFIX)
}

fn own(item: &AttemptItem, kept: &NewArtifact) -> ArtifactRef {
    ArtifactRef {
        stage: item.stage.clone(),
        name: kept.name.clone(),
        content_type: kept.content_type.clone(),
        size: kept.blob.size,
        digest: kept.blob.digest,
    }
}

fn storage(error: StoreError) -> ArtifactError {
    match error {
        StoreError::TooLarge { bytes, .. } => ArtifactError::TooLarge(bytes),
        other => ArtifactError::Storage(other.to_string()),
    }
}

/// An artifact's name is shown, exported and may become a file's: no separators, no control characters.
pub(super) fn check_name(name: &str) -> Result<(), ArtifactError> {
    if is_guarded(name) {
        let text = format!("{name:?} can't name an artifact: names with {GUARDED_PREFIX:?} are the host's");
        return Err(ArtifactError::Storage(text));
    }
    let fits = !name.is_empty()
        && name.len() <= ARTIFACT_NAME_BYTES_MAX
        && name != "."
        && name != ".."
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
    if fits {
        Ok(())
    } else {
        Err(ArtifactError::Storage(format!(
            "{name:?} can't name an artifact; use 1 to {ARTIFACT_NAME_BYTES_MAX} bytes without '/', '\\' or control characters"
        )))
    }
}
