//! What a provider says of a call's tokens, as the ledger counts them: each token in one place, and what is missing
//! told from 0 (traps 4 and 5).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_core::model::{Dialect, Tokens};

/// What a provider said of a call's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// The tokens, as far as they were said; absent: nothing was.
    pub tokens: Option<Tokens>,
    /// Why the tokens aren't to be taken as they are: a count that is missing, or can't be. One sentence each.
    pub doubts: Vec<String>,
}

impl Usage {
    /// Whether the provider has said all of it, and nothing that can't be. Else what is settled is an estimate.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.tokens.is_some() && self.doubts.is_empty()
    }

    /// Reads the part of an answer in which a provider counts: `usage`, or `usageMetadata` of Gemini.
    #[must_use]
    pub fn read(dialect: Dialect, usage: &Value) -> Self {
        if !usage.is_object() {
            return Self::default();
        }
        let mut count = Count { usage, doubts: Vec::new() };
        let tokens = match dialect {
            Dialect::OpenAi => count.openai(),
            Dialect::Anthropic => count.anthropic(),
            Dialect::Gemini => count.gemini(),
        };
        // Each request has a prompt.
        if tokens.sent() == 0 && count.doubts.is_empty() {
            count.doubts.push("no token was sent, by its count".to_owned());
        }
        Self { tokens: Some(tokens), doubts: count.doubts }
    }
}

struct Count<'a> {
    usage: &'a Value,
    doubts: Vec<String>,
}

impl Count<'_> {
    /// Prompts include what was read from the cache and written to it; completions include reasoning. Absent details
    /// are none, as of all servers that have no cache.
    fn openai(&mut self) -> Tokens {
        let all = self.needed("/prompt_tokens");
        let read = self.optional("/prompt_tokens_details/cached_tokens");
        let write = self.optional("/prompt_tokens_details/cache_write_tokens");
        let output = self.needed("/completion_tokens");
        let (cache_read, rest) = self.taken(read, all, "cached_tokens");
        let (cache_write, input) = self.taken(write, rest, "cache_write_tokens");
        Tokens { input, cache_read, cache_write, cache_write_long: 0, output }
    }

    /// Input excludes the cache; writes are one count, split by how long they are kept where the server says so.
    fn anthropic(&mut self) -> Tokens {
        let input = self.needed("/input_tokens");
        let cache_read = self.optional("/cache_read_input_tokens");
        let written = self.optional("/cache_creation_input_tokens");
        let short = self.optional("/cache_creation/ephemeral_5m_input_tokens");
        let long = self.optional("/cache_creation/ephemeral_1h_input_tokens");
        let output = self.needed("/output_tokens");
        let split = short.saturating_add(long);
        if split > 0 && written > 0 && split != written {
            self.doubts.push(format!("cache_creation has {split} tokens, cache_creation_input_tokens {written}"));
        }
        // The dearer of the two readings, where they differ.
        let cache_write = short.max(written.saturating_sub(long));
        Tokens { input, cache_read, cache_write, cache_write_long: long, output }
    }

    /// Prompts include what was read from the cache, and exclude what tools gave; candidates exclude thoughts, but
    /// where the total says that they include them.
    fn gemini(&mut self) -> Tokens {
        let prompt = self.needed("/promptTokenCount");
        let read = self.optional("/cachedContentTokenCount");
        let tools = self.optional("/toolUsePromptTokenCount");
        let thoughts = self.optional("/thoughtsTokenCount");
        let total = self.optional("/totalTokenCount");
        // A candidate of no tokens is left out, as is one that was all thought.
        let candidates = self.optional("/candidatesTokenCount");
        if candidates == 0 && thoughts == 0 && self.usage.get("candidatesTokenCount").is_none() && total == 0 {
            self.doubts.push("candidatesTokenCount and totalTokenCount are missing".to_owned());
        }
        let sent = prompt.saturating_add(tools);
        let has_thoughts = thoughts > 0 && candidates >= thoughts && sent.saturating_add(candidates) == total;
        let output = if has_thoughts { candidates } else { candidates.saturating_add(thoughts) };
        let (cache_read, rest) = self.taken(read, prompt, "cachedContentTokenCount");
        Tokens { input: rest.saturating_add(tools), cache_read, cache_write: 0, cache_write_long: 0, output }
    }

    /// A count that every answer has.
    fn needed(&mut self, pointer: &str) -> u64 {
        self.count(pointer).unwrap_or_else(|| {
            self.doubts.push(format!("{} is missing", &pointer[1..]));
            0
        })
    }

    /// A count that is left out where there is none.
    fn optional(&mut self, pointer: &str) -> u64 {
        self.count(pointer).unwrap_or(0)
    }

    fn count(&mut self, pointer: &str) -> Option<u64> {
        match self.usage.pointer(pointer) {
            None | Some(Value::Null) => None,
            Some(value) => value.as_u64().or_else(|| {
                self.doubts.push(format!("{} is {value}, which is no count", &pointer[1..]));
                Some(0)
            }),
        }
    }

    /// A part and the rest of what it is a part of; a part that is more than that is all of it, and doubted.
    fn taken(&mut self, part: u64, all: u64, name: &str) -> (u64, u64) {
        if part > all {
            self.doubts.push(format!("{name} is {part}, more than the {all} tokens that it is a part of"));
        }
        let part = part.min(all);
        (part, all - part)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whole(dialect: Dialect, usage: &Value) -> Tokens {
        let usage = Usage::read(dialect, usage);
        assert!(usage.is_whole(), "{usage:?}");
        usage.tokens.unwrap()
    }

    fn doubts(dialect: Dialect, usage: &Value) -> (Tokens, Vec<String>) {
        let usage = Usage::read(dialect, usage);
        assert!(!usage.is_whole());
        (usage.tokens.unwrap(), usage.doubts)
    }

    #[test]
    fn trap05_openai_counts_the_cache_within_the_prompt_and_reasoning_within_the_completion() {
        let usage = json!({"prompt_tokens": 2_006, "completion_tokens": 300, "total_tokens": 2_306,
            "prompt_tokens_details": {"cached_tokens": 1_920, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 256, "accepted_prediction_tokens": 0}});
        let tokens = whole(Dialect::OpenAi, &usage);
        assert_eq!(tokens, Tokens { input: 86, cache_read: 1_920, output: 300, ..Tokens::default() });
        assert_eq!(tokens.sent(), 2_006);
        let written = json!({"prompt_tokens": 5_000, "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 1_024, "cache_write_tokens": 3_000}});
        let tokens = whole(Dialect::OpenAi, &written);
        assert_eq!((tokens.input, tokens.cache_read, tokens.cache_write, tokens.sent()), (976, 1_024, 3_000, 5_000));
        let local = json!({"prompt_tokens": 10, "completion_tokens": 0, "prompt_tokens_details": null});
        assert_eq!(whole(Dialect::OpenAi, &local), Tokens { input: 10, ..Tokens::default() });
    }

    #[test]
    fn trap05_anthropic_counts_the_cache_beside_the_input_and_splits_writes_by_their_life() {
        let usage = json!({"input_tokens": 50, "cache_read_input_tokens": 10_000, "cache_creation_input_tokens": 1_500,
            "cache_creation": {"ephemeral_5m_input_tokens": 1_100, "ephemeral_1h_input_tokens": 400},
            "output_tokens": 503, "service_tier": "standard"});
        let tokens = whole(Dialect::Anthropic, &usage);
        let expected = Tokens { input: 50, cache_read: 10_000, cache_write: 1_100, cache_write_long: 400, output: 503 };
        assert_eq!((tokens, tokens.sent()), (expected, 11_550));
        let unsplit = json!({"input_tokens": 3, "cache_creation_input_tokens": 7, "output_tokens": 1});
        let tokens = whole(Dialect::Anthropic, &unsplit);
        assert_eq!((tokens.cache_write, tokens.cache_write_long, tokens.sent()), (7, 0, 10));
        let null = json!({"input_tokens": 3, "cache_read_input_tokens": null, "output_tokens": 0});
        assert_eq!(whole(Dialect::Anthropic, &null), Tokens { input: 3, ..Tokens::default() });
    }

    #[test]
    fn trap05_gemini_counts_thoughts_and_tools_beside_the_rest_and_the_cache_within_the_prompt() {
        let usage = json!({"promptTokenCount": 3_000, "cachedContentTokenCount": 2_048, "candidatesTokenCount": 100,
            "thoughtsTokenCount": 900, "toolUsePromptTokenCount": 50, "totalTokenCount": 4_050});
        let tokens = whole(Dialect::Gemini, &usage);
        assert_eq!(tokens, Tokens { input: 1_002, cache_read: 2_048, output: 1_000, ..Tokens::default() });
        assert_eq!(tokens.sent(), 3_050);
        let within = json!({"promptTokenCount": 10, "candidatesTokenCount": 100, "thoughtsTokenCount": 40,
            "totalTokenCount": 110});
        assert_eq!(whole(Dialect::Gemini, &within).output, 100, "the total says that the thoughts are within");
        let thought = json!({"promptTokenCount": 10, "thoughtsTokenCount": 40, "totalTokenCount": 50});
        assert_eq!(whole(Dialect::Gemini, &thought).output, 40, "cut while it thought");
        let nothing = json!({"promptTokenCount": 10, "totalTokenCount": 10});
        assert_eq!(whole(Dialect::Gemini, &nothing).output, 0);
    }

    #[test]
    fn trap04_what_is_missing_is_not_zero() {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
            assert_eq!(Usage::read(dialect, &Value::Null), Usage::default());
            assert!(!Usage::read(dialect, &Value::Null).is_whole());
            assert!(!Usage::read(dialect, &json!({})).is_whole(), "an empty count is none");
        }
        let (_, doubts_of) = doubts(Dialect::OpenAi, &json!({"prompt_tokens": 0, "completion_tokens": 0}));
        assert_eq!(doubts_of, ["no token was sent, by its count"], "there was a prompt");
        let (tokens, doubts_of) = doubts(Dialect::OpenAi, &json!({"prompt_tokens": 7}));
        assert_eq!((tokens.input, doubts_of), (7, vec!["completion_tokens is missing".to_owned()]));
        let (_, doubts_of) = doubts(Dialect::Anthropic, &json!({"output_tokens": 7}));
        assert_eq!(doubts_of, ["input_tokens is missing"]);
        let (_, doubts_of) = doubts(Dialect::Gemini, &json!({"promptTokenCount": 7}));
        assert_eq!(doubts_of, ["candidatesTokenCount and totalTokenCount are missing"]);
    }

    #[test]
    fn trap05_a_server_that_lies_is_marked_and_nothing_is_counted_twice() {
        let more = json!({"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 30}});
        let (tokens, doubts_of) = doubts(Dialect::OpenAi, &more);
        assert_eq!((tokens.input, tokens.cache_read, tokens.sent()), (0, 10, 10));
        assert_eq!(doubts_of, ["cached_tokens is 30, more than the 10 tokens that it is a part of"]);
        let more = json!({"promptTokenCount": 5, "cachedContentTokenCount": 6, "candidatesTokenCount": 1});
        assert_eq!(doubts(Dialect::Gemini, &more).0.sent(), 5);
        let split = json!({"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 10,
            "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 3}});
        let (tokens, doubts_of) = doubts(Dialect::Anthropic, &split);
        assert_eq!((tokens.cache_write, tokens.cache_write_long, doubts_of.len()), (7, 3, 1));
        let negative = json!({"prompt_tokens": -5, "completion_tokens": 1.5});
        assert_eq!(doubts(Dialect::OpenAi, &negative).1.len(), 2);
        let huge = json!({"promptTokenCount": u64::MAX, "toolUsePromptTokenCount": u64::MAX, "totalTokenCount": 1,
            "candidatesTokenCount": u64::MAX, "thoughtsTokenCount": 9});
        assert_eq!(Usage::read(Dialect::Gemini, &huge).tokens.unwrap().output, u64::MAX);
    }
}
