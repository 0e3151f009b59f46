//! Artifacts: raw material of the current item, kept before anything parses it.

use serde::de::DeserializeOwned;

use crate::{
    backend,
    error::{ArtifactError, Result},
    stage::{StageParam, Task},
};

/// What is known of an artifact without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The stage that made it.
    pub stage: String,
    /// Its name within that stage.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// `blake3:` and 64 hex digits.
    pub digest: String,
}

/// The artifacts of the current item: a stage takes `&Artifacts` as a parameter.
///
/// What a stage reads of another it declares, so that it is kept until then:
/// `#[stage(reads("fetch/page.html"))]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Artifacts;

impl StageParam for Artifacts {
    fn take(_task: &Task) -> Result<Self> {
        Ok(Self)
    }
}

impl Artifacts {
    /// Keeps bytes under a name of this stage. They outlive a failed attempt.
    ///
    /// # Errors
    /// The host could not keep them.
    pub fn put(&self, name: &str, content_type: &str, body: &[u8]) -> Result<Artifact, ArtifactError> {
        backend::artifact_put(name, content_type, body)
    }

    /// The bytes of an artifact. A missing one is an error, never an empty one.
    ///
    /// # Errors
    /// It is missing, or too large to take at once.
    pub fn bytes(&self, stage: &str, name: &str) -> Result<Vec<u8>, ArtifactError> {
        backend::artifact_get(stage, name)
    }

    /// `length` bytes of an artifact from `offset`.
    ///
    /// # Errors
    /// It is missing.
    pub fn range(&self, stage: &str, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, ArtifactError> {
        backend::artifact_range(stage, name, offset, length)
    }

    /// An artifact as text; what isn't UTF-8 is replaced.
    ///
    /// # Errors
    /// As [`Artifacts::bytes`].
    pub fn text(&self, stage: &str, name: &str) -> Result<String, ArtifactError> {
        let bytes = self.bytes(stage, name)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// An artifact as a parsed page; relative links are resolved against `base`.
    ///
    /// # Errors
    /// As [`Artifacts::bytes`].
    #[cfg(feature = "html")]
    pub fn html(&self, stage: &str, name: &str, base: Option<&str>) -> Result<crate::html::Html, ArtifactError> {
        Ok(crate::html::Html::parse(&self.text(stage, name)?, base))
    }

    /// An artifact as JSON.
    ///
    /// # Errors
    /// As [`Artifacts::bytes`], or it doesn't have the shape of `T`.
    pub fn json<T: DeserializeOwned>(&self, stage: &str, name: &str) -> Result<T> {
        Ok(serde_json::from_slice(&self.bytes(stage, name)?)?)
    }

    /// All artifacts of the item.
    #[must_use]
    pub fn list(&self) -> Vec<Artifact> {
        backend::artifact_list()
    }
}
