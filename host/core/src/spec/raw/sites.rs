//! Sites, endpoints and sessions of a jobs.toml, as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_spanned::Spanned;

use super::{RawAmount, RawBudget, RawOneOrMany, RawSecret};

/// `[site."PATTERN"]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [site.\"PATTERN\"]")]
pub(in crate::spec) struct RawSite {
    pub(in crate::spec) proxy: Option<Spanned<RawOneOrMany>>,
    pub(in crate::spec) rotate: Option<Spanned<String>>,
    pub(in crate::spec) direct: Option<Spanned<bool>>,
    pub(in crate::spec) rate: Option<Spanned<RawAmount>>,
    pub(in crate::spec) burst: Option<Spanned<RawAmount>>,
    pub(in crate::spec) concurrency: Option<Spanned<RawAmount>>,
    pub(in crate::spec) timeout: Option<Spanned<RawAmount>>,
    pub(in crate::spec) body_max: Option<Spanned<RawAmount>>,
    pub(in crate::spec) cool_down: Option<Spanned<RawAmount>>,
    #[serde(default)]
    pub(in crate::spec) headers: BTreeMap<String, Spanned<RawSecret>>,
    pub(in crate::spec) jobs: Option<Spanned<Vec<Spanned<String>>>>,
    pub(in crate::spec) budget: Option<Spanned<RawBudget>>,
    pub(in crate::spec) guard: Option<Spanned<Vec<Spanned<RawGuard>>>>,
    pub(in crate::spec) guard_builtin: Option<Spanned<bool>>,
    pub(in crate::spec) session: Option<Spanned<String>>,
    pub(in crate::spec) duplicates: Option<Spanned<RawAmount>>,
}

/// `[endpoint.NAME]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [endpoint.NAME]")]
pub(in crate::spec) struct RawEndpoint {
    pub(in crate::spec) url: Spanned<String>,
    pub(in crate::spec) proxy: Option<Spanned<RawOneOrMany>>,
    pub(in crate::spec) rate: Option<Spanned<RawAmount>>,
    pub(in crate::spec) burst: Option<Spanned<RawAmount>>,
    pub(in crate::spec) concurrency: Option<Spanned<RawAmount>>,
    pub(in crate::spec) timeout: Option<Spanned<RawAmount>>,
    pub(in crate::spec) body_max: Option<Spanned<RawAmount>>,
    pub(in crate::spec) cool_down: Option<Spanned<RawAmount>>,
    #[serde(default)]
    pub(in crate::spec) headers: BTreeMap<String, Spanned<RawSecret>>,
    pub(in crate::spec) jobs: Option<Spanned<Vec<Spanned<String>>>>,
    pub(in crate::spec) budget: Option<Spanned<RawBudget>>,
}

/// `[session.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [session.NAME]")]
pub(in crate::spec) struct RawSession {
    pub(in crate::spec) file: Option<Spanned<String>>,
    pub(in crate::spec) browser: Option<Spanned<RawBrowser>>,
    pub(in crate::spec) exchange: Option<Spanned<RawExchange>>,
    pub(in crate::spec) test: Option<Spanned<String>>,
}

/// Which cookies are read from which browser.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "{ store = \"firefox\", cookie = \"remember_web_*\" }")]
pub(in crate::spec) struct RawBrowser {
    pub(in crate::spec) store: Spanned<String>,
    pub(in crate::spec) cookie: Spanned<RawOneOrMany>,
    pub(in crate::spec) profile: Option<String>,
}

/// How persistent cookies become a session.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "{ url = \"https://ideas.example/session\", keeps = \"ideas_session\" }")]
pub(in crate::spec) struct RawExchange {
    pub(in crate::spec) url: Spanned<String>,
    pub(in crate::spec) keeps: Spanned<RawOneOrMany>,
}

/// One of `guard = […]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a guard, such as { text = [\"…\"], outcome = \"blocked\" }"
)]
pub(in crate::spec) struct RawGuard {
    pub(in crate::spec) text: Option<Spanned<RawOneOrMany>>,
    pub(in crate::spec) title: Option<Spanned<RawOneOrMany>>,
    pub(in crate::spec) header: Option<Spanned<RawOneOrMany>>,
    pub(in crate::spec) path: Option<Spanned<RawOneOrMany>>,
    pub(in crate::spec) status: Option<Spanned<Vec<Spanned<RawAmount>>>>,
    pub(in crate::spec) require: Option<Spanned<String>>,
    pub(in crate::spec) below: Option<Spanned<RawAmount>>,
    pub(in crate::spec) outcome: Spanned<String>,
    pub(in crate::spec) r#for: Option<Spanned<RawAmount>>,
}
