//! Digests, and what is known of an artifact without reading it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ids::StageName;

/// Longest name of an artifact, in bytes.
pub const ARTIFACT_NAME_BYTES_MAX: usize = 200;
/// Bytes up to which an artifact is small: it stays, whatever it is.
pub const SMALL_BYTES_MAX: u64 = 1 << 20;

/// Whether an artifact is a large binary: sound or film, which is kept only while a stage needs it (P06). Text is kept
/// whatever its size, and so is what may be a document: pictures, PDFs, archives, and what nobody has said the type of.
#[must_use]
pub fn is_large_binary(content_type: &str, size: u64) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    size > SMALL_BYTES_MAX && ["audio/", "video/", "application/ogg"].iter().any(|of| essence.starts_with(of))
}

/// The name, cut where it is too long, or that with the first number with which it is free: `guarded-wall.login~2`.
#[must_use]
pub fn free_name(name: &str, is_free: impl Fn(&str) -> bool) -> String {
    // Room for a number.
    let mut end = name.len().min(ARTIFACT_NAME_BYTES_MAX - 8);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let name = &name[..end];
    let mut number = 2_u64;
    let mut free = name.to_owned();
    while !is_free(&free) {
        free = format!("{name}~{number}");
        number += 1;
    }
    free
}

/// A BLAKE3 digest; shown as `blake3:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The 64 hex digits alone: a file's name.
    #[must_use]
    pub fn to_hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// The first 12 hex digits: enough to tell two apart on a page.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_hex()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text isn't `blake3:` and 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest; one is `blake3:` and 64 hex digits")]
pub struct DigestError(pub String);

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix("blake3:").unwrap_or(text);
        blake3::Hash::from_hex(hex).map(|hash| Self(*hash.as_bytes())).map_err(|_| DigestError(text.to_owned()))
    }
}

/// A named blob of an item, made by one of its stages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRef {
    /// The stage that made it.
    pub stage: StageName,
    /// Its name within that stage, such as `page.html`.
    pub name: String,
    /// Its media type, as the site or the handler gave it.
    pub content_type: String,
    /// Bytes before any packing.
    pub size: u64,
    /// Digest of those bytes.
    pub digest: Digest,
}
