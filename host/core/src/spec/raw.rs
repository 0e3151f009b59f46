//! jobs.toml as it is written: serde's view of the file, before any rule is applied.
//!
//! Every key that a jobs.toml may have stands here, and nowhere else; `docs/jobs.md` is held against it by a test.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_spanned::Spanned;
use toml::Table;

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
    pub(super) job: BTreeMap<String, Spanned<RawJob>>,
}

/// `[host]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "the table [host]")]
pub(super) struct RawHost {
    pub(super) data: Option<String>,
    pub(super) handlers: Option<String>,
    pub(super) listen: Option<Spanned<String>>,
    pub(super) grace: Option<Spanned<String>>,
    pub(super) keep_attempts: Option<Spanned<u32>>,
    pub(super) guest_memory: Option<Spanned<String>>,
}

/// A text, or where it lives.
#[derive(Debug)]
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
#[derive(Debug, Deserialize)]
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
}

/// `[site."PATTERN"]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [site.\"PATTERN\"]")]
pub(super) struct RawSite {
    pub(super) proxy: Option<Spanned<String>>,
    pub(super) direct: Option<Spanned<bool>>,
    pub(super) rate: Option<Spanned<String>>,
    pub(super) burst: Option<Spanned<u32>>,
    pub(super) concurrency: Option<Spanned<usize>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) body_max: Option<Spanned<String>>,
    pub(super) cool_down: Option<Spanned<String>>,
}

/// `[job.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [job.NAME]")]
pub(super) struct RawJob {
    pub(super) kind: Spanned<String>,
    pub(super) handler: Spanned<String>,
    pub(super) grant: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) params: Table,
    pub(super) discover: Option<Spanned<RawDiscover>>,
    pub(super) stages: Option<Vec<Spanned<String>>>,
    pub(super) breaker: Option<Spanned<u32>>,
    pub(super) reuse: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) stage: BTreeMap<String, Spanned<RawStage>>,
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
    pub(super) every: Option<Spanned<String>>,
    pub(super) empty_rounds: Option<u32>,
}

/// `[job.NAME.stage.STAGE]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [job.NAME.stage.STAGE]")]
pub(super) struct RawStage {
    pub(super) concurrency: Option<Spanned<usize>>,
    pub(super) when: Option<Spanned<String>>,
    pub(super) needs: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) params: Table,
    pub(super) attempts: Option<Spanned<u32>>,
    pub(super) backoff: Option<Spanned<String>>,
    pub(super) retry_for: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) raw: Option<bool>,
    pub(super) contract: Option<Spanned<Table>>,
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_key_stands_in_the_documentation() {
        let documentation = include_str!("../../../../docs/jobs.md");
        let fields = include_str!("raw.rs").lines().filter_map(|line| line.trim().strip_prefix("pub(super) "));
        let keys = fields.filter_map(|field| field.split_once(':')).map(|(name, _)| name.replace('_', "-"));
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
