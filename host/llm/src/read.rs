//! A provider's answer, read as it comes: streamed or in one piece, by what its first byte says, and never taken for
//! whole before its end mark.

mod anthropic;
mod gemini;
mod openai;
pub mod sse;

use serde_json::Value;
use tollgate_core::model::Dialect;

use crate::{
    answer::Answer,
    refusal::{self, ProviderError},
    usage::Usage,
};

/// Most bytes of an answer that are held, and of one that comes in one piece: a model's longest is below a fifth of it.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Most calls in one answer.
const CALLS_MAX: usize = 64;
/// Characters of a text that isn't understood, in an error.
const SHOWN_CHARS_MAX: usize = 200;

/// Why what came is no answer, though its status was 200. What it took is [`Reader::usage`]'s to say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It ended before its end mark.
    #[error("the answer was cut in transit")]
    CutInTransit,
    /// Not of its provider's format.
    #[error("the answer isn't of its provider's format: {0}")]
    Malformed(String),
    /// Larger than [`ANSWER_BYTES_MAX`], or an event of it than [`sse::EVENT_BYTES_MAX`].
    #[error("the answer is larger than can be read")]
    TooLarge,
    /// The provider refused in the body, or in the middle of the stream.
    #[error("in the answer: {0}")]
    Provider(ProviderError),
}

impl From<sse::TooLarge> for WireError {
    fn from(sse::TooLarge: sse::TooLarge) -> Self {
        Self::TooLarge
    }
}

/// Reads one answer of status 200.
#[derive(Debug)]
pub struct Reader {
    body: Body,
    format: Format,
    has_begun: bool,
}

#[derive(Debug)]
enum Body {
    /// Nothing but white space came yet.
    Unknown,
    Stream(sse::Parser),
    Whole(Vec<u8>),
}

#[derive(Debug)]
enum Format {
    OpenAi(openai::State),
    Anthropic(anthropic::State),
    Gemini(gemini::State),
}

impl Reader {
    /// For an answer in that format.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        let format = match dialect {
            Dialect::OpenAi => Format::OpenAi(openai::State::default()),
            Dialect::Anthropic => Format::Anthropic(anthropic::State::default()),
            Dialect::Gemini => Format::Gemini(gemini::State::default()),
        };
        Self { body: Body::Unknown, format, has_begun: false }
    }

    /// Takes the next bytes of the body, unpacked.
    ///
    /// # Errors
    /// No answer can come of it any more; what comes after may be drained unread.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), WireError> {
        if matches!(self.body, Body::Unknown) {
            bytes = bytes.trim_ascii_start();
            self.body = match bytes.first() {
                None => return Ok(()),
                // JSON begins so, and no line of a stream does.
                Some(b'{' | b'[') => Body::Whole(Vec::new()),
                Some(b'<') => return Err(WireError::Malformed("it is a page".to_owned())),
                Some(_) => Body::Stream(sse::Parser::default()),
            };
        }
        match &mut self.body {
            Body::Whole(held) if held.len() + bytes.len() > ANSWER_BYTES_MAX => Err(WireError::TooLarge),
            Body::Whole(held) => {
                held.extend_from_slice(bytes);
                Ok(())
            }
            Body::Stream(parser) => {
                let (format, has_begun) = (&mut self.format, &mut self.has_begun);
                parser.feed(bytes, |data| {
                    format.event(data)?;
                    *has_begun |= !data.is_empty();
                    Ok(())
                })
            }
            Body::Unknown => Ok(()),
        }
    }

    /// The answer, once its body has ended as its framing says. To be called once.
    ///
    /// # Errors
    /// It is none, or was cut in transit.
    pub fn end(&mut self) -> Result<Answer, WireError> {
        match &mut self.body {
            Body::Unknown => return Err(WireError::CutInTransit),
            Body::Whole(held) => {
                let whole = serde_json::from_slice(held).map_err(|error| broken(&error))?;
                *held = Vec::new();
                self.format.whole(&whole)?;
            }
            Body::Stream(parser) => {
                if let Some(data) = parser.end() {
                    // No empty line ended it, so what can't be read was cut.
                    self.format.event(&data).map_err(|error| match error {
                        WireError::Malformed(_) => WireError::CutInTransit,
                        error => error,
                    })?;
                }
            }
        }
        match &mut self.format {
            Format::OpenAi(state) => state.answer(),
            Format::Anthropic(state) => state.answer(),
            Format::Gemini(state) => state.answer(),
        }
    }

    /// What the provider has said so far of the tokens: all of it only once [`Reader::end`] gave an answer.
    #[must_use]
    pub fn usage(&self) -> Usage {
        match &self.format {
            Format::OpenAi(state) => state.usage(),
            Format::Anthropic(state) => state.usage(),
            Format::Gemini(state) => state.usage(),
        }
    }

    /// Whether any of an answer came: what is refused then may be billed, though nobody has said yet what was used.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Bytes that the model has made so far, thoughts included where they are shown: what a call that was cut short is
    /// reckoned by.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        match &self.format {
            Format::OpenAi(state) => state.held.made,
            Format::Anthropic(state) => state.held.made,
            Format::Gemini(state) => state.held.made,
        }
    }
}

impl Format {
    fn event(&mut self, data: &[u8]) -> Result<(), WireError> {
        if data.is_empty() {
            return Ok(());
        }
        if let Self::OpenAi(state) = self {
            if data.trim_ascii() == openai::DONE {
                state.is_done = true;
                return Ok(());
            }
            if let Some(words) = openai::Words::read(data) {
                return state.words(&words);
            }
        }
        let event: Value = serde_json::from_slice(data).map_err(|error| broken(&error))?;
        let dialect = self.dialect();
        if let Some(error) = refusal::in_body(dialect, &event) {
            return Err(WireError::Provider(error));
        }
        match self {
            Self::OpenAi(state) => state.chunk(&event),
            Self::Anthropic(state) => state.event(event),
            Self::Gemini(state) => state.chunk(event),
        }
    }

    fn whole(&mut self, whole: &Value) -> Result<(), WireError> {
        if let Some(error) = refusal::in_body(self.dialect(), whole) {
            return Err(WireError::Provider(error));
        }
        match self {
            Self::OpenAi(state) => state.whole(whole),
            Self::Anthropic(state) => state.whole(whole),
            Self::Gemini(state) => state.chunk(whole.clone()),
        }
    }

    fn dialect(&self) -> Dialect {
        match self {
            Self::OpenAi(_) => Dialect::OpenAi,
            Self::Anthropic(_) => Dialect::Anthropic,
            Self::Gemini(_) => Dialect::Gemini,
        }
    }
}

/// What is kept of an answer, in bytes, with its bound.
#[derive(Debug, Default)]
struct Held {
    kept: usize,
    /// Of these, what the model made: words, thoughts, arguments.
    made: usize,
}

impl Held {
    /// Something that the model made.
    fn add(&mut self, text: &str) -> Result<(), WireError> {
        self.made += text.len();
        self.keep(text)
    }

    /// Something that its provider added, such as a signature.
    fn keep(&mut self, text: &str) -> Result<(), WireError> {
        self.kept += text.len();
        if self.kept > ANSWER_BYTES_MAX { Err(WireError::TooLarge) } else { Ok(()) }
    }
}

/// JSON that ends too early was cut; any other is malformed.
pub(crate) fn broken(error: &serde_json::Error) -> WireError {
    if error.is_eof() { WireError::CutInTransit } else { WireError::Malformed(error.to_string()) }
}

/// A thing that the format doesn't have.
fn malformed(what: &str, value: &str) -> WireError {
    WireError::Malformed(format!("{what} {:?}", value.chars().take(SHOWN_CHARS_MAX).collect::<String>()))
}

/// A field that is a text; else the empty one.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
