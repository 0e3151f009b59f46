//! Tools of a jobs.toml, as they are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_spanned::Spanned;

use super::{RawAmount, RawSecret, TextOr};

/// `[tool.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [tool.NAME]")]
pub(in crate::spec) struct RawTool {
    pub(in crate::spec) command: Spanned<String>,
    #[serde(default)]
    pub(in crate::spec) args: Vec<String>,
    #[serde(default)]
    pub(in crate::spec) accepts: Vec<Spanned<RawForm>>,
    #[serde(default)]
    pub(in crate::spec) env: BTreeMap<String, Spanned<RawSecret>>,
    pub(in crate::spec) network: Option<Spanned<bool>>,
    pub(in crate::spec) proxy_env: Option<Spanned<Vec<String>>>,
    pub(in crate::spec) proxy_args: Option<Spanned<Vec<String>>>,
    pub(in crate::spec) ca_env: Option<Spanned<Vec<String>>>,
    pub(in crate::spec) url_args: Option<Spanned<Vec<String>>>,
    pub(in crate::spec) cookies_args: Option<Spanned<Vec<String>>>,
    pub(in crate::spec) output: Spanned<String>,
    #[serde(default)]
    pub(in crate::spec) unfinished: Vec<Spanned<String>>,
    pub(in crate::spec) strict_exit: Option<bool>,
    #[serde(default)]
    pub(in crate::spec) profiles: Vec<Spanned<RawProfile>>,
    pub(in crate::spec) try_next_on: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(in crate::spec) rules: Vec<Spanned<RawRule>>,
    pub(in crate::spec) timeout: Option<Spanned<RawAmount>>,
    pub(in crate::spec) output_max: Option<Spanned<RawAmount>>,
    pub(in crate::spec) install: Option<String>,
}

/// Arguments that a handler may pass, or those and what must come of them.
#[derive(Debug)]
pub(in crate::spec) enum RawForm {
    Args(String),
    Making(RawMaking),
}

impl<'de> Deserialize<'de> for RawForm {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "a text, or { args = \"--audio\", output = \"files\" }";
        from.deserialize_any(TextOr { text: Self::Args, table: Self::Making, expected })
    }
}

/// Arguments of which something else must come.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "{ args = \"--audio\", output = \"files\" }")]
pub(in crate::spec) struct RawMaking {
    pub(in crate::spec) args: String,
    pub(in crate::spec) output: Spanned<String>,
}

/// Arguments to try a run with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "{ name = \"web\", args = [\"--web\"] }")]
pub(in crate::spec) struct RawProfile {
    pub(in crate::spec) name: String,
    #[serde(default)]
    pub(in crate::spec) args: Vec<String>,
}

/// How a run's word is taken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "{ stderr = [\"a text\"], outcome = \"blocked\" }")]
pub(in crate::spec) struct RawRule {
    pub(in crate::spec) output: Option<Spanned<Vec<String>>>,
    pub(in crate::spec) stderr: Option<Spanned<Vec<String>>>,
    pub(in crate::spec) exit: Option<Spanned<RawAmount>>,
    pub(in crate::spec) outcome: Spanned<String>,
    pub(in crate::spec) r#for: Option<Spanned<RawAmount>>,
}
