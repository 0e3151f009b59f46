//! Speech to text through the host, over an artifact of the item.

use crate::{artifacts::Artifact, backend, error::ServiceError};

/// A transcription in the making, and as the host gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "nothing is transcribed before `.call()`"]
pub struct Transcription {
    pub(crate) audio: Artifact,
    pub(crate) model: Option<String>,
    pub(crate) language: Option<String>,
    pub(crate) speakers: bool,
}

/// A stretch of speech.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins, in milliseconds.
    pub start_ms: u64,
    /// Where it ends, in milliseconds.
    pub end_ms: u64,
    /// What is said.
    pub text: String,
    /// Who says it, where speakers were told apart.
    pub speaker: Option<String>,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcript {
    /// All of it.
    pub text: String,
    /// In stretches.
    pub segments: Vec<Segment>,
    /// Length of the audio.
    pub seconds: f64,
    /// The model that heard it.
    pub model: String,
    /// Billionths of a US dollar; absent: nobody has said what the model costs.
    pub cost_nano_usd: Option<u64>,
}

/// Begins the transcription of an artifact.
pub fn transcribe(audio: &Artifact) -> Transcription {
    Transcription { audio: audio.clone(), model: None, language: None, speakers: false }
}

impl Transcription {
    /// Picks a model of jobs.toml by its alias.
    pub fn model(mut self, alias: impl Into<String>) -> Self {
        self.model = Some(alias.into());
        self
    }

    /// Says the language, as BCP 47; without it, it is detected.
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.language = Some(language.into());
        self
    }

    /// Tells speakers apart.
    pub fn speakers(mut self) -> Self {
        self.speakers = true;
        self
    }

    /// Transcribes.
    ///
    /// # Errors
    /// The host or the provider gave no answer.
    pub fn call(self) -> Result<Transcript, ServiceError> {
        backend::speech_transcribe(self)
    }
}
