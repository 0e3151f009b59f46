//! What a tool is given of the host: its environment, its proxy, its address; and that none of the secrets comes back.

use std::{collections::BTreeSet, ffi::OsString, path::PathBuf};

use percent_encoding::percent_decode_str;
use tollgate_core::spec::{
    Secret, ToolSpec,
    tools::{ToolNetwork, ToolProfile},
};

use super::scratch::Scratch;
use crate::secret;

/// Passwords shorter than this are hidden only with their user's name: else words would go missing from texts.
const PASSWORD_BYTES_MIN: usize = 4;
/// Values of variables shorter than this are no secrets: a language, a number.
const VALUE_BYTES_MIN: usize = 8;
/// What stands in a secret's place.
const HIDDEN: &str = "[hidden]";

/// The way to the network that a tool takes.
pub(super) struct Way<'a> {
    pub(super) network: &'a ToolNetwork,
    pub(super) url: &'a str,
    /// Absent: the site is reached directly.
    pub(super) proxy: Option<String>,
    pub(super) ca: Option<PathBuf>,
    /// Absent: the site has no session, or the tool goes without.
    pub(super) cookies: Option<Cookies>,
}

/// The cookies of a site's session, as tools read them.
pub(crate) struct Cookies {
    /// A Netscape file.
    pub(crate) file: String,
    /// Their values, which must not come back.
    pub(crate) values: Vec<String>,
}

/// What all runs of a request are given.
pub(super) struct Handover<'a> {
    pub(super) env: Vec<(String, String)>,
    pub(super) way: Option<Way<'a>>,
    pub(super) hidden: Hidden,
}

impl<'a> Handover<'a> {
    /// Reads what the entry names.
    ///
    /// # Errors
    /// A secret that can't be read; the text says which.
    pub(super) fn new(tool: &ToolSpec, way: Option<Way<'a>>, base: &std::path::Path) -> Result<Self, String> {
        let (mut env, mut hidden) = (Vec::new(), Hidden::default());
        for (name, from) in &tool.env {
            let value = match from {
                Secret::Literal(text) => Some(text.clone()),
                Secret::Env(_) | Secret::File(_) => {
                    secret::read(from, base).map_err(|error| format!("{name}: {error}"))?
                }
            };
            let Some(value) = value else { continue };
            if !matches!(from, Secret::Literal(_)) && value.len() >= VALUE_BYTES_MIN {
                hidden.hide(value.clone());
            }
            env.push((name.clone(), value));
        }
        if let Some(proxy) = way.as_ref().and_then(|way| way.proxy.as_deref()) {
            hidden.hide_proxy(proxy);
        }
        let cookies = way.as_ref().and_then(|way| way.cookies.as_ref());
        for value in cookies.into_iter().flat_map(|cookies| &cookies.values) {
            if value.len() >= VALUE_BYTES_MIN {
                hidden.hide(value.clone());
            }
        }
        Ok(Self { env, way, hidden })
    }

    /// What is to stand in the cookie file of a run.
    pub(super) fn cookies(&self) -> Option<&str> {
        self.way.as_ref()?.cookies.as_ref().map(|cookies| cookies.file.as_str())
    }

    /// The whole environment of a run. What the entry names has the last word, but for the proxy.
    pub(super) fn env(&self, scratch: &Scratch) -> Vec<(OsString, OsString)> {
        let mut env: Vec<(OsString, OsString)> =
            vec![("HOME".into(), scratch.home().into()), ("TMPDIR".into(), scratch.temporary().into())];
        env.extend(self.env.iter().map(|(name, value)| (name.into(), value.into())));
        if let Some(Way { network, proxy: Some(proxy), ca, .. }) = &self.way {
            // Programs differ in which of the two they read, and one that reads neither goes out by itself.
            let both = |name: &String| [name.to_ascii_lowercase(), name.to_ascii_uppercase()];
            let names: BTreeSet<String> =
                network.proxy_env.iter().flat_map(both).chain(network.proxy_env.clone()).collect();
            env.extend(names.into_iter().map(|name| (name.into(), proxy.into())));
            let ca = ca.iter().flat_map(|ca| network.ca_env.iter().map(move |name| (name.into(), ca.into())));
            env.extend(ca);
        }
        env
    }

    /// All arguments of a run: the entry's, the profile's, the proxy's, the session's, the handler's, the address.
    pub(super) fn args(
        &self,
        tool: &ToolSpec,
        profile: &ToolProfile,
        of_handler: &[String],
        scratch: &Scratch,
    ) -> Vec<OsString> {
        let mut args: Vec<OsString> = tool.args.iter().chain(&profile.args).map(OsString::from).collect();
        if let Some(Way { network, proxy: Some(proxy), .. }) = &self.way {
            args.extend(network.proxy_args.iter().map(|arg| arg.replace("{proxy}", proxy).into()));
        }
        if let Some(Way { network, cookies: Some(_), .. }) = &self.way {
            let file = scratch.cookies().display().to_string();
            let cookies = network.cookies_args.iter().flatten();
            args.extend(cookies.map(|arg| arg.replace("{cookies}", &file).into()));
        }
        args.extend(of_handler.iter().map(OsString::from));
        if let Some(way) = &self.way {
            args.extend(way.network.url_args.iter().map(|arg| arg.replace("{url}", way.url).into()));
        }
        args
    }
}

/// Secrets that a tool was given, to be taken out of all that it says.
#[derive(Default, Clone)]
pub(super) struct Hidden(Vec<String>);

impl Hidden {
    pub(super) fn hide(&mut self, secret: String) {
        if !secret.is_empty() && !self.0.contains(&secret) {
            self.0.push(secret);
            // The longest first, so that no part of one is left over.
            self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// A proxy's credentials in the forms that programs print: as written, and decoded.
    fn hide_proxy(&mut self, url: &str) {
        let Ok(parsed) = url::Url::parse(url) else {
            return self.hide(url.to_owned());
        };
        let Some(password) = parsed.password() else {
            // A key may stand where the user does.
            if !parsed.username().is_empty() {
                self.hide(url.to_owned());
                self.hide(parsed.username().to_owned());
            }
            return;
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, plain) = (decoded(parsed.username()), decoded(password));
        self.hide(url.to_owned());
        self.hide(format!("{}:{password}", parsed.username()));
        self.hide(format!("{user}:{plain}"));
        for password in [password.to_owned(), plain] {
            if password.len() >= PASSWORD_BYTES_MIN {
                self.hide(password);
            }
        }
    }

    pub(super) fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), HIDDEN) } else { text }
        })
    }

    /// Of bytes that may be no text in parts: a secret is, so it stands in a part that is.
    pub(super) fn bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        if self.0.is_empty() {
            return bytes;
        }
        let mut clean = Vec::with_capacity(bytes.len());
        for part in bytes.utf8_chunks() {
            clean.extend_from_slice(self.text(part.valid()).as_bytes());
            clean.extend_from_slice(part.invalid());
        }
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r03_a_proxy_s_password_is_hidden_in_every_form() {
        let mut hidden = Hidden::default();
        hidden.hide_proxy("http://me:p%40ss%2Fword@127.0.0.1:1/");
        for said in [
            "no way to http://me:p%40ss%2Fword@127.0.0.1:1/ today",
            "user me:p@ss/word refused",
            "p%40ss%2Fword",
            "password p@ss/word",
        ] {
            let shown = hidden.text(said);
            assert!(shown.contains(HIDDEN) && !shown.contains("ss/word") && !shown.contains("ss%2F"), "{shown}");
        }
        let bytes = hidden.bytes(b"\xff p@ss/word \xfe".to_vec());
        assert_eq!(bytes, b"\xff [hidden] \xfe");
    }

    #[test]
    fn a_proxy_without_a_password_hides_nothing() {
        let mut hidden = Hidden::default();
        hidden.hide_proxy("http://127.0.0.1:1");
        assert_eq!(hidden.text("http://127.0.0.1:1"), "http://127.0.0.1:1");
    }
}
