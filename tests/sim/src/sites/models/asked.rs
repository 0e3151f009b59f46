//! A request as any of the model services reads it: what the model gets to see, and what it may answer.

use serde_json::Value;
use std::sync::Arc;
use tollgate_core::model::Dialect;

/// Bytes of one token: a tokenizer that everybody can do in the head.
const BYTES_PER_TOKEN: usize = 4;
/// What an image or another file counts, whatever its size.
const FILE_TOKENS: u64 = 1_000;

/// The tokens of a text: its bytes by four, rounded up.
pub fn tokens_of(text: &str) -> u64 {
    text.len().div_ceil(BYTES_PER_TOKEN) as u64
}

/// As much of a text as is no more than so many tokens.
pub(super) fn first_tokens(text: &str, tokens: u64) -> &str {
    let most = usize::try_from(tokens).map_or(usize::MAX, |tokens| tokens.saturating_mul(BYTES_PER_TOKEN));
    &text[..text.floor_char_boundary(most.min(text.len()))]
}

/// Whose words a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The schema of the answer.
    Schema,
    /// The tools that are offered.
    Tools,
    /// The system prompt.
    System,
    /// The user's.
    User,
    /// The model's own, of earlier turns.
    Model,
    /// What a tool gave.
    ToolResult,
}

/// How long a marked prefix is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Five minutes.
    Minutes,
    /// An hour.
    Hour,
}

/// A piece of what the model reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Whose.
    pub part: Part,
    /// What it says; of a file, its data as it was sent.
    pub text: String,
    /// Whether it is an image, a PDF or the like.
    pub is_file: bool,
    /// A mark for the cache at its end.
    pub mark: Option<Mark>,
}

impl Block {
    pub(super) fn new(part: Part, text: impl Into<String>) -> Self {
        Self { part, text: text.into(), is_file: false, mark: None }
    }

    /// What it counts.
    pub fn tokens(&self) -> u64 {
        if self.is_file { FILE_TOKENS } else { tokens_of(&self.text) }
    }
}

/// The schema that the user's words end with, which a model goes by where it was given none otherwise: the JSON after
/// the last `JSON Schema`.
pub(super) fn written_schema(blocks: &[Block]) -> Option<Value> {
    let of_user = blocks.iter().rev().filter(|block| block.part == Part::User && !block.is_file);
    of_user.filter_map(|block| block.text.rsplit_once("JSON Schema")).find_map(|(_, after)| {
        let json = &after[after.find('{')?..];
        serde_json::Deserializer::from_str(json).into_iter::<Value>().next()?.ok()
    })
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Its name.
    pub name: String,
    /// The schema of its arguments.
    pub parameters: Value,
}

/// A request that its service has read and taken.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The host name that was asked.
    pub host: Arc<str>,
    /// The format.
    pub dialect: Dialect,
    /// The key; empty where none was sent.
    pub key: String,
    /// The model.
    pub model: String,
    /// What the model reads, in the order in which the provider's cache sees it.
    pub blocks: Vec<Block>,
    /// What the answer must satisfy, by a setting or in the user's words.
    pub schema: Option<Value>,
    /// Tools that it may call.
    pub tools: Vec<Offered>,
    /// Whether the answer comes as events.
    pub is_streamed: bool,
    /// Gemini's without `alt=sse`: streamed as one list in place of events.
    pub is_list: bool,
    /// Whether the events end with what was used (OpenAI's `stream_options.include_usage`; the others always do).
    pub has_usage: bool,
    /// Tokens that the answer may have, by the request.
    pub output_max: Option<u64>,
    /// The temperature, where one was sent.
    pub temperature: Option<f64>,
    /// The body as it came.
    pub body: Value,
}

impl Asked {
    /// Whether any block says this.
    pub fn says(&self, text: &str) -> bool {
        self.blocks.iter().any(|block| !block.is_file && block.text.contains(text))
    }

    /// All that one side says, a line a block.
    pub fn said_by(&self, part: Part) -> String {
        let blocks = self.blocks.iter().filter(|block| block.part == part && !block.is_file);
        blocks.map(|block| block.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Whether a tool has answered already.
    pub fn has_results(&self) -> bool {
        self.blocks.iter().any(|block| block.part == Part::ToolResult)
    }

    /// All tokens that were sent.
    pub fn sent(&self) -> u64 {
        self.blocks.iter().map(Block::tokens).sum()
    }
}
