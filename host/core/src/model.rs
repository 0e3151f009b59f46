//! Language models as money sees them: who speaks which format, what a call's tokens are, and what they cost.

use serde::{Deserialize, Serialize};

use crate::money::{self, NanoUsd};

/// Tokens for which prices are given.
const PRICED_TOKENS: u64 = 1_000_000;

/// The format that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Chat completions, as OpenAI, Groq, OpenRouter and local servers speak them.
    OpenAi,
    /// Messages of Anthropic.
    Anthropic,
    /// `generateContent` of Gemini.
    Gemini,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OpenAi, Self::Anthropic, Self::Gemini];

    /// The provider's name in jobs.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }
}

/// Whether a model takes a temperature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TemperatureRule {
    /// It takes one.
    #[default]
    Free,
    /// It refuses any but its own, or answers worse with it: none is sent.
    Fixed,
}

/// Tokens of one call, each counted in one place: the sum of all but `output` is what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Tokens {
    /// Read anew.
    pub input: u64,
    /// Read from the provider's cache.
    pub cache_read: u64,
    /// Written to its cache for minutes.
    pub cache_write: u64,
    /// Written to its cache for an hour.
    pub cache_write_long: u64,
    /// Made, what it thought included.
    pub output: u64,
}

impl Tokens {
    /// All that was sent, cached or not.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write)
            .saturating_add(self.cache_write_long)
    }

    /// Those of both, of calls that make one answer.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            cache_write_long: self.cache_write_long.saturating_add(other.cache_write_long),
            output: self.output.saturating_add(other.output),
        }
    }
}

/// What a million tokens cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenPrices {
    /// Read anew.
    pub input: NanoUsd,
    /// Read from the cache.
    pub cache_read: NanoUsd,
    /// Written to the cache for minutes.
    pub cache_write: NanoUsd,
    /// Written to the cache for an hour.
    pub cache_write_long: NanoUsd,
    /// Made.
    pub output: NanoUsd,
}

impl TokenPrices {
    /// What a call's tokens cost, each kind rounded up to a billionth of a dollar.
    #[must_use]
    pub fn of(&self, tokens: &Tokens) -> NanoUsd {
        let parts = [
            (self.input, tokens.input),
            (self.cache_read, tokens.cache_read),
            (self.cache_write, tokens.cache_write),
            (self.cache_write_long, tokens.cache_write_long),
            (self.output, tokens.output),
        ];
        parts.into_iter().map(|(price, count)| price.for_part(count, PRICED_TOKENS)).sum()
    }
}

/// What a million tokens cost, as a person or the table of prices says it: a cache's prices may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SaidPrices {
    /// Read anew.
    #[serde(deserialize_with = "money::said")]
    pub input: NanoUsd,
    /// Made.
    #[serde(deserialize_with = "money::said")]
    pub output: NanoUsd,
    /// Read from the cache.
    #[serde(default, deserialize_with = "money::perhaps_said")]
    pub cache_read: Option<NanoUsd>,
    /// Written to the cache for minutes.
    #[serde(default, deserialize_with = "money::perhaps_said")]
    pub cache_write: Option<NanoUsd>,
    /// Written to the cache for an hour.
    #[serde(default, deserialize_with = "money::perhaps_said")]
    pub cache_write_hour: Option<NanoUsd>,
}

impl SaidPrices {
    /// With what isn't said, by one rule, which never takes a call for cheaper than it may be: who counts tokens that
    /// were written to a cache bills a quarter more than for reading them anew, and for an hour twice as much
    /// (Anthropic, OpenAI's models that count them, and who hands on either); older models of OpenAI count none, so
    /// that nothing is billed by it. Gemini never counts any: to write is to read anew. What is read from a cache costs
    /// a tenth at Anthropic; at others that is each model's own, so who doesn't say it pays as if there were no cache.
    #[must_use]
    pub fn whole(self, dialect: Dialect) -> TokenPrices {
        let Self { input, output, cache_read, cache_write, cache_write_hour } = self;
        let read = if dialect == Dialect::Anthropic { input.for_part(1, 10) } else { input };
        let (minutes, hour) = match dialect {
            Dialect::OpenAi | Dialect::Anthropic => (input.for_part(5, 4), input.for_part(2, 1)),
            Dialect::Gemini => (input, input),
        };
        let cache_write = cache_write.unwrap_or(minutes);
        // Whoever keeps something for an hour has it for minutes too.
        let cache_write_long = cache_write_hour.unwrap_or(hour.max(cache_write));
        TokenPrices { input, cache_read: cache_read.unwrap_or(read), cache_write, cache_write_long, output }
    }
}

/// A model's prices, by how much was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelPrices {
    /// Of a call that sends no more than the long tier's bound.
    pub usual: TokenPrices,
    /// Of a whole call that sends more than so many tokens.
    pub long: Option<(u64, TokenPrices)>,
}

impl ModelPrices {
    /// Those of a model that costs nothing.
    pub const FREE: Self = {
        let no = NanoUsd::ZERO;
        Self {
            usual: TokenPrices { input: no, cache_read: no, cache_write: no, cache_write_long: no, output: no },
            long: None,
        }
    };

    /// What a call cost. All of its tokens are of one tier, that of what was sent.
    #[must_use]
    pub fn of(&self, tokens: &Tokens) -> NanoUsd {
        let long = self.long.filter(|(above, _)| tokens.sent() > *above);
        long.map_or(self.usual, |(_, prices)| prices).of(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(input: u64, output: u64) -> TokenPrices {
        let [input, output] = [input, output].map(|dollars| NanoUsd(dollars * 1_000_000_000));
        TokenPrices {
            input,
            cache_read: NanoUsd(input.0 / 10),
            cache_write: NanoUsd(input.0 / 4 * 5),
            cache_write_long: NanoUsd(input.0 * 2),
            output,
        }
    }

    #[test]
    fn trap05_each_kind_of_token_is_paid_once_by_its_own_price() {
        let prices = ModelPrices { usual: prices(3, 15), long: None };
        let tokens = Tokens { input: 100, cache_read: 1_000, cache_write: 10, cache_write_long: 1, output: 7 };
        assert_eq!(tokens.sent(), 1_111);
        assert_eq!(prices.of(&tokens), NanoUsd(300_000 + 300_000 + 37_500 + 6_000 + 105_000));
        assert_eq!(prices.of(&Tokens::default()), NanoUsd::ZERO);
    }

    #[test]
    fn trap04_a_cache_whose_prices_nobody_says_is_never_taken_for_cheaper_than_it_may_be() {
        let [dollar, tenth, quarter_more, two] = [10, 1, 12, 20].map(|tenths| NanoUsd(tenths * 100_000_000));
        let quarter_more = NanoUsd(quarter_more.0 + 50_000_000);
        let said =
            SaidPrices { input: dollar, output: two, cache_read: None, cache_write: None, cache_write_hour: None };
        let of = |said: SaidPrices, dialect| {
            let TokenPrices { cache_read, cache_write, cache_write_long, .. } = said.whole(dialect);
            (cache_read, cache_write, cache_write_long)
        };
        assert_eq!(of(said, Dialect::Anthropic), (tenth, quarter_more, two));
        assert_eq!(of(said, Dialect::OpenAi), (dollar, quarter_more, two));
        assert_eq!(of(said, Dialect::Gemini), (dollar, dollar, dollar));
        let dear = SaidPrices { cache_read: Some(tenth), cache_write: Some(NanoUsd(3 * dollar.0)), ..said };
        assert_eq!(of(dear, Dialect::OpenAi), (tenth, NanoUsd(3 * dollar.0), NanoUsd(3 * dollar.0)));
    }

    #[test]
    fn a_dialect_has_one_word() {
        for dialect in Dialect::ALL {
            assert_eq!(serde_json::to_value(dialect).unwrap(), dialect.as_str());
        }
    }

    #[test]
    fn a_long_call_is_of_the_long_tier_with_all_its_tokens() {
        let prices = ModelPrices { usual: prices(1, 2), long: Some((200, prices(2, 4))) };
        let of = |input, cache_read| prices.of(&Tokens { input, cache_read, output: 10, ..Tokens::default() });
        assert_eq!(of(200, 0), NanoUsd(200_000 + 20_000));
        assert_eq!(of(101, 100), NanoUsd(202_000 + 20_000 + 40_000), "what was read from the cache was sent as well");
    }

    #[test]
    fn part_of_a_billionth_is_a_whole_one() {
        let prices = TokenPrices { input: NanoUsd(1), ..prices(0, 0) };
        assert_eq!(prices.of(&Tokens { input: 1, ..Tokens::default() }), NanoUsd(1));
    }
}
