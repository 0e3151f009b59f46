//! Models, search, speech and money of a jobs.toml, as they are written.

use serde::{Deserialize, Deserializer};
use serde_spanned::Spanned;

use super::{RawAmount, RawSecret, TextOr};

/// The most of a day or a month, in money.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a budget, such as { day = \"5.00 USD\" }")]
pub(in crate::spec) struct RawMoneyBudget {
    pub(in crate::spec) day: Option<Spanned<RawAmount>>,
    pub(in crate::spec) month: Option<Spanned<RawAmount>>,
}

/// `[model.ALIAS]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [model.ALIAS]")]
pub(in crate::spec) struct RawModel {
    pub(in crate::spec) provider: Spanned<String>,
    pub(in crate::spec) name: Spanned<String>,
    pub(in crate::spec) url: Option<Spanned<String>>,
    pub(in crate::spec) key: Option<Spanned<RawSecret>>,
    pub(in crate::spec) temperature: Option<Spanned<RawAmount>>,
    pub(in crate::spec) output_max: Option<Spanned<RawAmount>>,
    pub(in crate::spec) price: Option<Spanned<RawModelPrice>>,
    pub(in crate::spec) requests: Option<Spanned<RawAmount>>,
    pub(in crate::spec) tokens: Option<Spanned<RawAmount>>,
    pub(in crate::spec) timeout: Option<Spanned<RawAmount>>,
    pub(in crate::spec) budget: Option<Spanned<RawMoneyBudget>>,
    #[serde(default)]
    pub(in crate::spec) fall_back: Vec<Spanned<String>>,
}

/// `"free"`, or prices.
#[derive(Debug)]
pub(in crate::spec) enum RawModelPrice {
    Word(String),
    Table(Box<RawPrices>),
}

impl<'de> Deserialize<'de> for RawModelPrice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "\"free\", or { input = \"0.10 USD\", output = \"0.40 USD\" } for a million tokens";
        from.deserialize_any(TextOr { text: Self::Word, table: |prices| Self::Table(Box::new(prices)), expected })
    }
}

/// Prices for a million tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "{ input = \"0.10 USD\", output = \"0.40 USD\" }")]
pub(in crate::spec) struct RawPrices {
    pub(in crate::spec) input: Option<Spanned<RawAmount>>,
    pub(in crate::spec) output: Option<Spanned<RawAmount>>,
    pub(in crate::spec) cache_read: Option<Spanned<RawAmount>>,
    pub(in crate::spec) cache_write: Option<Spanned<RawAmount>>,
    pub(in crate::spec) cache_write_hour: Option<Spanned<RawAmount>>,
    pub(in crate::spec) above: Option<Spanned<RawAmount>>,
    pub(in crate::spec) long: Option<Box<Spanned<RawPrices>>>,
}

/// `[search.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [search.NAME]")]
pub(in crate::spec) struct RawSearch {
    pub(in crate::spec) provider: Spanned<String>,
    pub(in crate::spec) url: Option<Spanned<String>>,
    pub(in crate::spec) key: Option<Spanned<RawSecret>>,
    pub(in crate::spec) price: Option<Spanned<RawAmount>>,
    pub(in crate::spec) rate: Option<Spanned<RawAmount>>,
    pub(in crate::spec) timeout: Option<Spanned<RawAmount>>,
    pub(in crate::spec) budget: Option<Spanned<RawMoneyBudget>>,
}

/// `[speech.ALIAS]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [speech.ALIAS]")]
pub(in crate::spec) struct RawSpeech {
    pub(in crate::spec) provider: Spanned<String>,
    pub(in crate::spec) name: Spanned<String>,
    pub(in crate::spec) url: Option<Spanned<String>>,
    pub(in crate::spec) key: Option<Spanned<RawSecret>>,
    pub(in crate::spec) price: Option<Spanned<RawAmount>>,
    pub(in crate::spec) part: Option<Spanned<RawAmount>>,
    pub(in crate::spec) requests: Option<Spanned<RawAmount>>,
    pub(in crate::spec) timeout: Option<Spanned<RawAmount>>,
    pub(in crate::spec) budget: Option<Spanned<RawMoneyBudget>>,
}
