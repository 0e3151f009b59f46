//! jobs.toml as it is written: serde's view of the file, before any rule is applied.
//!
//! Every key that a jobs.toml may have stands here or in a file of this module, and nowhere else; `docs/jobs.md` is
//! held against them by a test.

use std::{borrow::Cow, collections::BTreeMap, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_spanned::Spanned;
use toml::Table;

mod models;
mod sites;
mod tools;

pub(super) use models::{RawModel, RawModelPrice, RawMoneyBudget, RawPrices, RawSearch, RawSpeech};
pub(super) use sites::{RawBrowser, RawEndpoint, RawExchange, RawGuard, RawSession, RawSite};
pub(super) use tools::{RawForm, RawProfile, RawRule, RawTool};

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a jobs.toml")]
pub(super) struct RawFile {
    #[serde(default)]
    pub(super) host: RawHost,
    #[serde(default)]
    pub(super) proxy: BTreeMap<String, Spanned<RawProxy>>,
    #[serde(default)]
    pub(super) site: BTreeMap<String, Spanned<RawSite>>,
    #[serde(default)]
    pub(super) endpoint: BTreeMap<String, Spanned<RawEndpoint>>,
    #[serde(default)]
    pub(super) session: BTreeMap<String, Spanned<RawSession>>,
    #[serde(default)]
    pub(super) tool: BTreeMap<String, Spanned<RawTool>>,
    #[serde(default)]
    pub(super) model: BTreeMap<String, Spanned<RawModel>>,
    #[serde(default)]
    pub(super) search: BTreeMap<String, Spanned<RawSearch>>,
    #[serde(default)]
    pub(super) speech: BTreeMap<String, Spanned<RawSpeech>>,
    pub(super) budget: Option<Spanned<RawMoneyBudget>>,
    #[serde(default)]
    pub(super) job: BTreeMap<String, Spanned<RawJob>>,
}

/// `[host]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "the table [host]")]
pub(super) struct RawHost {
    pub(super) data: Option<String>,
    pub(super) handlers: Option<String>,
    pub(super) listen: Option<Spanned<String>>,
    pub(super) grace: Option<Spanned<RawAmount>>,
    pub(super) keep_attempts: Option<Spanned<RawAmount>>,
    pub(super) guest_memory: Option<Spanned<RawAmount>>,
    pub(super) time_zone: Option<Spanned<String>>,
}

/// An amount as it is written, whatever it is: what is possible in its place is said where its bounds are known.
#[derive(Debug, Clone)]
pub(super) enum RawAmount {
    /// A whole number.
    Whole(i64),
    /// A text.
    Text(String),
    /// Anything else, as TOML writes it.
    Other(String),
}

impl RawAmount {
    /// What it reads without quotes.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Whole(number) => number.to_string().into(),
            Self::Text(text) | Self::Other(text) => text.into(),
        }
    }
}

impl fmt::Display for RawAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Whole(_) | Self::Other(_) => f.write_str(&self.text()),
        }
    }
}

impl<'de> Deserialize<'de> for RawAmount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyAmount)
    }
}

struct AnyAmount;

impl Visitor<'_> for AnyAmount {
    type Value = RawAmount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a text in quotes")
    }

    fn visit_i64<E>(self, number: i64) -> Result<RawAmount, E> {
        Ok(RawAmount::Whole(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<RawAmount, E> {
        Ok(RawAmount::Other(number.to_string()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<RawAmount, E> {
        Ok(RawAmount::Other(number.to_string()))
    }

    fn visit_u128<E>(self, number: u128) -> Result<RawAmount, E> {
        Ok(RawAmount::Other(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<RawAmount, E> {
        Ok(RawAmount::Other(toml::Value::Float(number).to_string()))
    }

    fn visit_bool<E>(self, yes: bool) -> Result<RawAmount, E> {
        Ok(RawAmount::Other(yes.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<RawAmount, E> {
        Ok(RawAmount::Text(text.to_owned()))
    }
}

/// A text, or where it lives.
#[derive(Debug, Clone)]
pub(super) enum RawSecret {
    Literal(String),
    Elsewhere(RawElsewhere),
}

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "a text, { env = \"NAME\" } or { file = \"PATH\" }";
        from.deserialize_any(TextOr { text: Self::Literal, table: Self::Elsewhere, expected })
    }
}

/// Where a secret lives.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "{ env = \"NAME\" } or { file = \"PATH\" }")]
pub(super) struct RawElsewhere {
    pub(super) env: Option<String>,
    pub(super) file: Option<String>,
}

/// `[proxy.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [proxy.NAME]")]
pub(super) struct RawProxy {
    pub(super) url: Spanned<RawSecret>,
    pub(super) ca: Option<Spanned<RawSecret>>,
    pub(super) price: Option<Spanned<RawAmount>>,
    pub(super) budget: Option<Spanned<RawBudget>>,
}

/// The most of a day or a month.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a budget, such as { day = \"2 GB\" }")]
pub(super) struct RawBudget {
    pub(super) day: Option<Spanned<RawAmount>>,
    pub(super) month: Option<Spanned<RawAmount>>,
}

/// A text, or a list of them.
#[derive(Debug, Clone)]
pub(super) enum RawOneOrMany {
    One(String),
    Many(Vec<Spanned<String>>),
}

impl RawOneOrMany {
    /// Each text with its place; `around` is that of the whole.
    pub(super) fn texts(&self, around: Range<usize>) -> Vec<(Range<usize>, String)> {
        match self {
            Self::One(text) => vec![(around, text.clone())],
            Self::Many(texts) => texts.iter().map(|text| (text.span(), text.as_ref().clone())).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for RawOneOrMany {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = RawOneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes, or a list of them")
    }

    fn visit_str<E>(self, text: &str) -> Result<RawOneOrMany, E> {
        Ok(RawOneOrMany::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RawOneOrMany, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(RawOneOrMany::Many)
    }
}

/// `[job.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [job.NAME]")]
pub(super) struct RawJob {
    pub(super) kind: Spanned<String>,
    pub(super) handler: Spanned<String>,
    pub(super) grant: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) model: Option<Spanned<String>>,
    pub(super) search: Option<Spanned<String>>,
    pub(super) speech: Option<Spanned<String>>,
    pub(super) budget: Option<Spanned<RawMoneyBudget>>,
    #[serde(default)]
    pub(super) params: Table,
    pub(super) discover: Option<Spanned<RawDiscover>>,
    pub(super) stages: Option<Vec<Spanned<String>>>,
    pub(super) breaker: Option<Spanned<RawAmount>>,
    pub(super) reuse: Option<Spanned<RawAmount>>,
    #[serde(default)]
    pub(super) stage: BTreeMap<String, Spanned<RawStage>>,
    #[serde(default)]
    pub(super) check: BTreeMap<String, Spanned<RawCheck>>,
}

/// `discover = "once"`, or `discover = { every = "6h" }`.
#[derive(Debug)]
pub(super) enum RawDiscover {
    Word(String),
    Rounds(RawRounds),
}

impl<'de> Deserialize<'de> for RawDiscover {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "\"once\" or { every = \"6h\" }";
        from.deserialize_any(TextOr { text: Self::Word, table: Self::Rounds, expected })
    }
}

/// Reads a text or a table. Serde's untagged enums read into a buffer first, where places in the file are lost, and
/// their errors name the enum.
struct TextOr<T, R> {
    text: fn(String) -> T,
    table: fn(R) -> T,
    expected: &'static str,
}

impl<'de, T, R: Deserialize<'de>> Visitor<'de> for TextOr<T, R> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok((self.text)(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        R::deserialize(MapAccessDeserializer::new(map)).map(self.table)
    }
}

/// The rounds of a discovery.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "{ every = \"6h\" }")]
pub(super) struct RawRounds {
    pub(super) every: Option<Spanned<RawAmount>>,
    pub(super) empty_rounds: Option<Spanned<RawAmount>>,
}

/// `[job.NAME.stage.STAGE]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [job.NAME.stage.STAGE]")]
pub(super) struct RawStage {
    pub(super) concurrency: Option<Spanned<RawAmount>>,
    pub(super) when: Option<Spanned<String>>,
    pub(super) needs: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) model: Option<Spanned<String>>,
    pub(super) search: Option<Spanned<String>>,
    pub(super) speech: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) params: Table,
    pub(super) attempts: Option<Spanned<RawAmount>>,
    pub(super) backoff: Option<Spanned<RawAmount>>,
    pub(super) retry_for: Option<Spanned<RawAmount>>,
    pub(super) timeout: Option<Spanned<RawAmount>>,
    pub(super) raw: Option<bool>,
    pub(super) keep: Option<bool>,
    pub(super) contract: Option<Spanned<Table>>,
}

/// `[job.NAME.check.CHECK]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [job.NAME.check.CHECK]")]
pub(super) struct RawCheck {
    pub(super) of: Spanned<String>,
    pub(super) ask: Spanned<String>,
    pub(super) model: Option<Spanned<String>>,
    pub(super) outcome: Option<Spanned<String>>,
    pub(super) r#for: Option<Spanned<RawAmount>>,
    pub(super) concurrency: Option<Spanned<RawAmount>>,
    pub(super) attempts: Option<Spanned<RawAmount>>,
    pub(super) backoff: Option<Spanned<RawAmount>>,
    pub(super) retry_for: Option<Spanned<RawAmount>>,
    pub(super) timeout: Option<Spanned<RawAmount>>,
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_key_stands_in_the_documentation() {
        let documentation = include_str!("../../../../docs/jobs.md");
        let files = [
            include_str!("raw.rs"),
            include_str!("raw/models.rs"),
            include_str!("raw/sites.rs"),
            include_str!("raw/tools.rs"),
        ];
        let is_field = |line: &'static str| {
            let line = line.trim();
            line.strip_prefix("pub(super) ").or_else(|| line.strip_prefix("pub(in crate::spec) "))
        };
        let keys = files
            .into_iter()
            .flat_map(str::lines)
            .filter_map(is_field)
            .filter_map(|field| field.split_once(':'))
            .map(|(name, _)| name.trim_start_matches("r#").replace('_', "-"));
        let keys: Vec<String> = keys.filter(|name| !name.contains(' ')).collect();
        assert!(keys.len() > 30, "{keys:?}");
        for key in keys {
            // A key by itself, in an example, or as a part of a table's name.
            let named =
                [format!("`{key}`"), format!("{key} ="), format!("[{key}."), format!("[{key}]"), format!(".{key}.")];
            assert!(named.iter().any(|name| documentation.contains(name)), "docs/jobs.md doesn't name {key}");
        }
    }
}
