//! A provider's prompt cache: what of a request it has read before, and what it keeps of it.
//!
//! Nothing expires by itself: the sim has no clock. A prefix is found only by requests that came after the answer to
//! the one that wrote it had begun, so of several sent at once none finds another's.

use super::asked::{Asked, Mark};
use super::facts::ModelFacts;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tollgate_core::model::{Dialect, Tokens};

/// Prefixes that are kept; past it the cache begins anew.
const PREFIXES_MAX: usize = 1 << 20;
/// Tokens by which a prefix that nobody marked grows.
const STEP_TOKENS: u64 = 128;
/// Bytes of such a step.
const STEP_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct PromptCache {
    prefixes: Mutex<HashSet<u64>>,
}

/// What of a request is counted how, and which prefixes its answer puts into the cache.
pub(super) struct Looked {
    /// Without what is made.
    pub(super) tokens: Tokens,
    prefixes: Vec<u64>,
}

impl PromptCache {
    // Nothing that could panic half-way happens under the lock.
    fn lock(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.prefixes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn look(&self, asked: &Asked, facts: &ModelFacts) -> Looked {
        match asked.dialect {
            Dialect::Anthropic => self.look_at_marks(asked, facts),
            Dialect::OpenAi | Dialect::Gemini => self.look_at_steps(asked, facts),
        }
    }

    pub(super) fn keep(&self, looked: &Looked) {
        let mut prefixes = self.lock();
        if prefixes.len() + looked.prefixes.len() > PREFIXES_MAX {
            prefixes.clear();
        }
        prefixes.extend(&looked.prefixes);
    }

    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// Anthropic's: what ends at a mark is read where it was written before, and written otherwise.
    fn look_at_marks(&self, asked: &Asked, facts: &ModelFacts) -> Looked {
        let (known, mut hasher) = (self.lock(), hasher(asked));
        let (mut sent, mut marks) = (0, Vec::new());
        for block in &asked.blocks {
            (block.is_file, &block.text).hash(&mut hasher);
            sent += block.tokens();
            // What is too short is passed over without a word.
            if let Some(mark) = block.mark
                && sent >= facts.cache_min
            {
                marks.push((sent, mark, hasher.finish()));
            }
        }
        let cache_read = marks.iter().rev().find(|(.., prefix)| known.contains(prefix)).map_or(0, |(end, ..)| *end);
        let mut tokens = Tokens { cache_read, ..Tokens::default() };
        let mut begin = cache_read;
        for (end, mark, _) in marks.iter().filter(|(end, ..)| *end > cache_read) {
            match mark {
                Mark::Minutes => tokens.cache_write += end - begin,
                Mark::Hour => tokens.cache_write_long += end - begin,
            }
            begin = *end;
        }
        tokens.input = sent - begin;
        Looked { tokens, prefixes: marks.into_iter().map(|(.., prefix)| prefix).collect() }
    }

    /// OpenAI's and Gemini's: nobody marks anything, and what is long enough grows in steps.
    fn look_at_steps(&self, asked: &Asked, facts: &ModelFacts) -> Looked {
        let (known, mut hasher) = (self.lock(), hasher(asked));
        let mut bytes = Vec::new();
        for block in &asked.blocks {
            bytes.extend_from_slice(block.text.as_bytes());
            // Files are tokens of their own; here they only have to differ.
            bytes.push(0);
        }
        let sent = asked.sent();
        let (mut at, mut longest, mut cache_read, mut prefixes) = (0, 0, 0, Vec::new());
        for step in bytes.chunks_exact(STEP_BYTES) {
            step.hash(&mut hasher);
            at += STEP_TOKENS;
            if at > sent {
                break;
            }
            if at >= facts.cache_min {
                let prefix = hasher.finish();
                // A step that is known has only known ones before it.
                cache_read = if known.contains(&prefix) { at } else { cache_read };
                prefixes.push(prefix);
                longest = at;
            }
        }
        let cache_write = if facts.has_cache_writes { longest - cache_read } else { 0 };
        let input = sent - cache_read - cache_write;
        Looked { tokens: Tokens { input, cache_read, cache_write, ..Tokens::default() }, prefixes }
    }
}

/// No key sees another's cache, no model another's.
fn hasher(asked: &Asked) -> DefaultHasher {
    let mut hasher = DefaultHasher::new();
    (&asked.host, &asked.key, &asked.model).hash(&mut hasher);
    hasher
}
