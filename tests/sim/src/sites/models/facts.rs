//! What a provider's model is: its limits, its habits and its prices.

use serde::{Deserialize, Serialize};
use tollgate_core::{
    model::{Dialect, ModelPrices, TemperatureRule, TokenPrices},
    money::NanoUsd,
};

/// One model of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ModelFacts {
    /// As it stands in requests.
    pub name: String,
    /// Who serves it.
    pub dialect: Dialect,
    /// What it costs.
    pub prices: ModelPrices,
    /// `fixed`: OpenAI's and Anthropic's refuse any temperature, and OpenAI's `max_tokens` as well.
    #[serde(default)]
    pub temperature: TemperatureRule,
    /// Tokens that an answer may have, what was thought included.
    #[serde(default = "output_max")]
    pub output_max: u64,
    /// Tokens that a request may have.
    #[serde(default = "context_max")]
    pub context_max: u64,
    /// Tokens that a prefix must have to be cached.
    #[serde(default = "cache_min")]
    pub cache_min: u64,
    /// OpenAI's: whether what is written to the cache is told and billed apart.
    #[serde(default)]
    pub has_cache_writes: bool,
    /// Whether a schema stands before all else in what the model reads, so that another schema finds nothing in the
    /// cache. So it is at OpenAI and Anthropic.
    #[serde(default)]
    pub is_schema_first: bool,
    /// Whether it takes a schema and tools in one request. Gemini's do from 3 on.
    #[serde(default = "has_schema_with_tools")]
    pub has_schema_with_tools: bool,
    /// Tokens that it thinks before each answer. Gemini's that think sign their calls of tools, and refuse to go on
    /// where the signature isn't sent back.
    #[serde(default)]
    pub thinking_tokens: u64,
}

fn output_max() -> u64 {
    64_000
}

fn context_max() -> u64 {
    1_000_000
}

fn cache_min() -> u64 {
    1_024
}

fn has_schema_with_tools() -> bool {
    true
}

impl ModelFacts {
    /// A model with the habits that are usual at its provider, by prices of a million tokens:
    /// input, cached input, output.
    pub fn usual(dialect: Dialect, name: &str, [input, cache_read, output]: [NanoUsd; 3]) -> Self {
        // A write costs 1.25 times the input for minutes, twice for an hour; Gemini bills none, OpenAI those of newer
        // models.
        let cache_write = NanoUsd(input.0 + input.0 / 4);
        let cache_write_long = NanoUsd(input.0.saturating_mul(2));
        let usual = TokenPrices { input, cache_read, cache_write, cache_write_long, output };
        Self {
            name: name.to_owned(),
            dialect,
            prices: ModelPrices { usual, long: None },
            temperature: TemperatureRule::Free,
            output_max: output_max(),
            context_max: context_max(),
            cache_min: if dialect == Dialect::Gemini { 2_048 } else { cache_min() },
            has_cache_writes: false,
            is_schema_first: dialect != Dialect::Gemini,
            has_schema_with_tools: dialect != Dialect::Gemini || name.starts_with("gemini-3"),
            thinking_tokens: 0,
        }
    }
}

/// Models by which the program answers where no list is given: three providers, one that thinks at each, and an open
/// one as Groq and OpenRouter serve it. The prices are round numbers, nobody's.
pub fn usual_models() -> Vec<ModelFacts> {
    let cents = |cents: u64| NanoUsd(cents * 10_000_000);
    let model = |dialect, name, [input, cached, output]: [u64; 3]| {
        ModelFacts::usual(dialect, name, [cents(input), cents(cached), cents(output)])
    };
    let fixed = TemperatureRule::Fixed;
    vec![
        model(Dialect::OpenAi, "gpt-4.1-mini", [40, 10, 160]),
        ModelFacts { temperature: fixed, thinking_tokens: 64, ..model(Dialect::OpenAi, "gpt-5-mini", [25, 3, 200]) },
        model(Dialect::OpenAi, "llama-3.3-70b-versatile", [59, 59, 79]),
        model(Dialect::Anthropic, "claude-haiku-4-5", [100, 10, 500]),
        ModelFacts { temperature: fixed, ..model(Dialect::Anthropic, "claude-opus-4-7", [500, 50, 2_500]) },
        model(Dialect::Gemini, "gemini-2.5-flash-lite", [10, 1, 40]),
        ModelFacts { thinking_tokens: 64, ..model(Dialect::Gemini, "gemini-3-flash-preview", [50, 5, 300]) },
    ]
}
