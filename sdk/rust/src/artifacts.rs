//! Artifacts: raw material of the current item, kept before anything parses it.

use serde::de::DeserializeOwned;

use crate::{
    backend, charset,
    error::{ArtifactError, Result},
    stage::{StageParam, Task},
};

/// What is known of an artifact without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
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

/// One artifact of the current item.
///
/// A stage takes it as a parameter, which also keeps it until the stage is done, and makes the stage that made it a
/// need: `#[reads("fetch/page.html")] raw: Artifact`. Nothing is read before one of its methods is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    stage: String,
    name: String,
}

impl Artifact {
    /// The artifact `name` of `stage`.
    pub fn of(stage: impl Into<String>, name: impl Into<String>) -> Self {
        Self { stage: stage.into(), name: name.into() }
    }

    /// The stage that made it.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Its name within that stage.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its bytes. A missing artifact is an error, never an empty one.
    ///
    /// # Errors
    /// It is missing, or too large to take at once.
    pub fn bytes(&self) -> Result<Vec<u8>, ArtifactError> {
        backend::artifact_get(&self.stage, &self.name)
    }

    /// `length` of its bytes from `offset`; fewer at its end.
    ///
    /// # Errors
    /// It is missing.
    pub fn range(&self, offset: u64, length: u64) -> Result<Vec<u8>, ArtifactError> {
        backend::artifact_range(&self.stage, &self.name, offset, length)
    }

    /// Its text: UTF-8, else the charset that its media type or the page itself names. What fits none is replaced.
    ///
    /// # Errors
    /// As [`Artifact::bytes`].
    pub fn text(&self) -> Result<String, ArtifactError> {
        let bytes = match String::from_utf8(self.bytes()?) {
            Ok(text) if !text.starts_with('\u{feff}') => return Ok(text),
            Ok(text) => text.into_bytes(),
            Err(error) => error.into_bytes(),
        };
        // Most pages are UTF-8: only the others cost a second call, for the media type.
        let saved = Artifacts.list().into_iter().find(|saved| saved.stage == self.stage && saved.name == self.name);
        Ok(charset::decode(bytes, saved.map(|saved| saved.content_type).as_deref()))
    }

    /// It as a parsed page; relative links are resolved against `base`, the page's address.
    ///
    /// # Errors
    /// As [`Artifact::bytes`].
    #[cfg(feature = "html")]
    pub fn html(&self, base: &str) -> Result<crate::html::Html, ArtifactError> {
        Ok(crate::html::Html::parse(&self.text()?, Some(base)))
    }

    /// It as JSON.
    ///
    /// # Errors
    /// As [`Artifact::bytes`], or it doesn't have the shape of `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.bytes()?)?)
    }
}

impl From<&Saved> for Artifact {
    fn from(saved: &Saved) -> Self {
        Self::of(&saved.stage, &saved.name)
    }
}

/// All artifacts of the current item: a stage takes `&Artifacts` to put some of its own, or where it doesn't know by
/// name what it reads.
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
    pub fn put(&self, name: &str, content_type: &str, body: &[u8]) -> Result<Saved, ArtifactError> {
        backend::artifact_put(name, content_type, body)
    }

    /// The artifact `name` of `stage`. Say `#[stage(reads("stage/name"))]` of it, so that it is kept until then.
    #[must_use]
    pub fn get(&self, stage: &str, name: &str) -> Artifact {
        Artifact::of(stage, name)
    }

    /// What is known of all of them.
    #[must_use]
    pub fn list(&self) -> Vec<Saved> {
        backend::artifact_list()
    }
}
