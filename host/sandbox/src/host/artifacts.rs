//! `artifacts`: blobs of the current item.

use std::sync::Arc;

use tollgate_core::{ArtifactRef, StageName};

use crate::{
    bindings::v0_1::tollgate::handler::{artifacts, types},
    gates::{ArtifactError, ArtifactGate},
    guest::{Guest, HostFailed},
};

/// An artifact in a list, beside its name and type: stage, size, digest.
const ARTIFACT_BYTES: usize = 128;

type Answer<T> = wasmtime::Result<Result<T, artifacts::ArtifactError>>;

impl Guest {
    fn artifact_gate(&self) -> Result<Arc<dyn ArtifactGate>, artifacts::ArtifactError> {
        let gate = self.gates.artifacts.clone();
        let text = || format!("artifacts are {}", self.not_granted("artifacts"));
        gate.ok_or_else(|| artifacts::ArtifactError::Storage(text()))
    }

    async fn read(&mut self, stage: String, name: String, part: Option<(u64, u64)>) -> Answer<Vec<u8>> {
        let gate = match self.artifact_gate() {
            Ok(gate) => gate,
            Err(error) => return Ok(Err(error)),
        };
        // What can't be a stage's name has made no artifact.
        let Ok(stage) = StageName::new(&stage) else {
            return Ok(Err(artifacts::ArtifactError::Missing(format!("{stage}/{name}"))));
        };
        match gate.get(stage, name, part).await {
            Ok(bytes) => {
                self.transfer(bytes.len())?;
                Ok(Ok(bytes.into()))
            }
            Err(error) => Ok(Err(artifact_error(error))),
        }
    }
}

impl artifacts::Host for Guest {
    async fn put(&mut self, name: String, content_type: String, body: Vec<u8>) -> Answer<types::Artifact> {
        self.transfer(body.len())?;
        match self.artifact_gate() {
            Ok(gate) => Ok(gate.put(name, content_type, body.into()).await.map(artifact).map_err(artifact_error)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn get(&mut self, stage: String, name: String) -> Answer<Vec<u8>> {
        self.read(stage, name, None).await
    }

    async fn get_range(&mut self, stage: String, name: String, offset: u64, length: u64) -> Answer<Vec<u8>> {
        self.read(stage, name, Some((offset, length))).await
    }

    async fn list_all(&mut self) -> wasmtime::Result<Vec<types::Artifact>> {
        // The interface has no error here, and an empty list would be a silent one: the call ends with the reason.
        let Some(gate) = self.gates.artifacts.clone() else {
            return Err(HostFailed(format!("artifacts are {}", self.not_granted("artifacts"))).into());
        };
        let all = gate.list().await.map_err(|error| HostFailed(error.to_string()))?;
        self.transfer(all.iter().map(|one| one.name.len() + one.content_type.len() + ARTIFACT_BYTES).sum())?;
        Ok(all.into_iter().map(artifact).collect())
    }
}

pub(super) fn artifact(of: ArtifactRef) -> types::Artifact {
    types::Artifact {
        stage: of.stage.to_string(),
        name: of.name,
        content_type: of.content_type,
        size: of.size,
        digest: of.digest.to_string(),
    }
}

fn artifact_error(error: ArtifactError) -> artifacts::ArtifactError {
    match error {
        ArtifactError::Missing(name) => artifacts::ArtifactError::Missing(name),
        ArtifactError::TooLarge(bytes) => artifacts::ArtifactError::TooLarge(bytes),
        ArtifactError::Storage(text) => artifacts::ArtifactError::Storage(text),
    }
}
