//! What a model is asked, whoever it is: documents, an instruction, a schema, and what was said so far.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_core::model::Dialect;

/// Largest picture or PDF, in bytes. The smallest bound on a whole request is Gemini's 20 MB, in base64.
pub const BLOB_BYTES_MAX: usize = 14 << 20;
/// The one tool that a model is given: web search, which the host answers.
pub const SEARCH_TOOL: &str = "web_search";

/// What a model is asked. There is no token limit in it (M01).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prompt {
    /// What it is about.
    pub documents: Vec<Document>,
    /// What to do with the documents.
    pub instruction: String,
    /// A JSON Schema: the answer is JSON that satisfies it.
    pub schema: Option<Value>,
    /// What is asked for where there is no schema; with one it is 0 (M03).
    pub temperature: Option<f64>,
    /// The model may ask for web searches.
    pub can_search: bool,
    /// It has searched for long enough: it has to answer now. Its tool stays there, since its turns speak of it, and
    /// its provider's cache knows what stands before them with it.
    pub has_to_answer: bool,
    /// What was said since: the model's turns, and the host's answers to its calls.
    pub turns: Vec<Turn>,
}

impl Prompt {
    /// Names of the documents of which a part is missing, since they were too long.
    #[must_use]
    pub fn cut_documents(&self) -> Vec<String> {
        let is_cut = |document: &&Document| matches!(document.content, Content::Text { is_cut: true, .. });
        self.documents.iter().filter(is_cut).map(|document| document.name.clone()).collect()
    }

    /// The documents as they are sent: shared ones first, so that calls which share them begin alike and the provider's
    /// cache serves them.
    pub(crate) fn ordered(&self) -> impl Iterator<Item = &Document> {
        let shared = self.documents.iter().filter(|document| document.is_shared);
        shared.chain(self.documents.iter().filter(|document| !document.is_shared))
    }
}

/// A document: a text, cleaned and cut to [`tollgate_core::document::DOCUMENT_CHARS_MAX`] characters, or a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    name: String,
    content: Content,
    is_shared: bool,
}

/// What a document holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Text without data URIs; `is_cut`: there was more.
    Text { text: String, is_cut: bool },
    /// A picture or a PDF.
    Blob { media: Media, bytes: Bytes },
}

/// Why a blob can't be a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// No model takes it.
    #[error("document {0:?} is of type {1:?}; models take text, PNG, JPEG, GIF, WebP and PDF")]
    MediaType(String, String),
    /// It is empty.
    #[error("document {0:?} is empty")]
    Empty(String),
    /// It is larger than [`BLOB_BYTES_MAX`].
    #[error("document {0:?} has {1} bytes; a picture or PDF may have {BLOB_BYTES_MAX}")]
    TooLarge(String, usize),
}

impl Document {
    /// A text. `is_shared`: more than one call will read it.
    #[must_use]
    pub fn text(name: impl Into<String>, text: &str, is_shared: bool) -> Self {
        let tollgate_core::Document { text, is_cut } = tollgate_core::Document::of(text, false);
        Self { name: name.into(), content: Content::Text { text, is_cut }, is_shared }
    }

    /// A picture or PDF, by its media type. `is_shared`: more than one call will read it.
    ///
    /// # Errors
    /// No model takes it: its type, its size.
    pub fn blob(name: impl Into<String>, media_type: &str, bytes: Bytes, is_shared: bool) -> Result<Self, BlobError> {
        let name = name.into();
        let Some(media) = Media::of(media_type) else {
            return Err(BlobError::MediaType(name, media_type.to_owned()));
        };
        if bytes.is_empty() {
            return Err(BlobError::Empty(name));
        }
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge(name, bytes.len()));
        }
        Ok(Self { name, content: Content::Blob { media, bytes }, is_shared })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether more than one call will read it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    pub(crate) fn content(&self) -> &Content {
        &self.content
    }
}

/// The types of blobs that models take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `image/png`.
    Png,
    /// `image/jpeg`.
    Jpeg,
    /// `image/gif`; Gemini takes none.
    Gif,
    /// `image/webp`.
    Webp,
    /// `application/pdf`.
    Pdf,
}

impl Media {
    /// Reads a media type; its parameters don't matter.
    #[must_use]
    pub fn of(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match essence.as_str() {
            "image/png" => Self::Png,
            "image/jpeg" | "image/jpg" => Self::Jpeg,
            "image/gif" => Self::Gif,
            "image/webp" => Self::Webp,
            "application/pdf" => Self::Pdf,
            _ => return None,
        })
    }

    /// The media type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Pdf => "application/pdf",
        }
    }
}

/// A turn of the model, and the host's answers to its calls: none where it paused, and is sent again to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// What the model said.
    pub said: Said,
    /// An answer to each of its calls.
    pub results: Vec<ToolResult>,
}

/// What a model said, as its provider sent it: signatures of thoughts and ids are sent back as they came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// In whose format.
    pub dialect: Dialect,
    /// The message of an assistant (OpenAI), the blocks of its content (Anthropic), the content of a model (Gemini).
    pub raw: Value,
}

/// A call that a model makes of the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// By which its result is told from others; empty where the provider gives none.
    pub id: String,
    /// Of what: [`SEARCH_TOOL`], or a name that the model made up.
    pub name: String,
    /// Its arguments; null where they were no JSON.
    pub arguments: Value,
}

impl ToolCall {
    /// What is searched for, if it is a search that says so.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        let query = self.arguments.get("query")?.as_str()?.trim();
        (self.name == SEARCH_TOOL && !query.is_empty()).then_some(query)
    }
}

/// The host's answer to a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The call.
    pub call: ToolCall,
    /// What the model is told.
    pub text: String,
    /// It could not be done.
    pub is_error: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tollgate_core::document::DOCUMENT_CHARS_MAX;

    use super::*;

    #[test]
    fn q09_documents_are_cleaned_and_those_that_were_cut_are_named() {
        let long = "word ".repeat(DOCUMENT_CHARS_MAX);
        let documents = vec![
            Document::text("whole", "a ![](data:image/png;base64,iVBORw0KGgo=) b", false),
            Document::text("long", &long, true),
        ];
        let prompt = Prompt { documents, ..Prompt::default() };
        assert_eq!(prompt.cut_documents(), ["long"]);
        let texts: Vec<_> = prompt.ordered().map(|document| (document.name(), document.content())).collect();
        assert_eq!(texts[1].1, &Content::Text { text: "a ![]() b".to_owned(), is_cut: false });
        assert!(matches!(&texts[0], ("long", Content::Text { text, .. }) if text.len() == DOCUMENT_CHARS_MAX));
    }

    #[test]
    fn a_blob_that_no_model_takes_is_refused_with_its_name() {
        let blob = |media, bytes: &'static [u8]| Document::blob("chart", media, Bytes::from_static(bytes), false);
        assert!(blob("image/PNG; q=1", b"x").is_ok());
        assert!(
            blob("image/svg+xml", b"x").unwrap_err().to_string().contains("\"chart\" is of type \"image/svg+xml\"")
        );
        assert_eq!(blob("application/pdf", b""), Err(BlobError::Empty("chart".to_owned())));
        let large = Document::blob("film", "image/gif", vec![0; BLOB_BYTES_MAX + 1].into(), false);
        assert_eq!(large, Err(BlobError::TooLarge("film".to_owned(), BLOB_BYTES_MAX + 1)));
    }

    #[test]
    fn m02_only_a_search_that_says_what_for_has_a_query() {
        let call = |name: &str, arguments| ToolCall { id: String::new(), name: name.to_owned(), arguments };
        assert_eq!(call("web_search", json!({"query": " tolls "})).query(), Some("tolls"));
        for bad in [json!({"query": " "}), json!({"q": "x"}), Value::Null] {
            assert_eq!(call("web_search", bad).query(), None);
        }
        assert_eq!(call("browse", json!({"query": "x"})).query(), None);
    }
}
