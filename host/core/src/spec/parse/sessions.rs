//! `[session.NAME]` of a jobs.toml, and the sites that have one.

use std::{collections::BTreeMap, path::PathBuf};

use serde_spanned::Spanned;
use url::Url;

use super::Reader;
use crate::{
    ids::JobName,
    spec::{
        SitePattern, SiteSpec,
        diagnostic::did_you_mean,
        raw::{RawBrowser, RawExchange, RawOneOrMany, RawSession, RawSite},
        session::{BrowserSpec, BrowserStore, CookiePattern, ExchangeSpec, SessionSpec},
    },
};

impl Reader<'_> {
    /// The sessions, held against the sites that have them.
    pub(super) fn sessions(
        &mut self,
        raw: &BTreeMap<String, Spanned<RawSession>>,
        sites: &[SiteSpec],
    ) -> Vec<SessionSpec> {
        raw.iter().filter_map(|(name, session)| self.session(name, session, sites)).collect()
    }

    fn session(&mut self, name: &str, raw: &Spanned<RawSession>, sites: &[SiteSpec]) -> Option<SessionSpec> {
        let RawSession { file, browser, exchange, test } = raw.as_ref();
        // It names a file of the data folder, and stands in commands.
        self.or_say(raw.span(), &format!("session {name:?}"), JobName::new(name))?;
        if file.is_none() && browser.is_none() {
            let help = "write file = \"cookies/NAME.txt\", which a person drops there, or \
                        browser = { store = \"firefox\", cookie = \"NAME\" }";
            self.say(
                raw.span(),
                format!("session {name} doesn't say where its cookies come from"),
                Some(help.to_owned()),
            );
        }
        if let Some(file) = file.as_ref().filter(|file| file.as_ref().trim().is_empty()) {
            self.say(file.span(), "file is empty", Some("write a path, such as \"cookies/NAME.txt\"".to_owned()));
        }
        let browser = browser.as_ref().and_then(|browser| self.browser(browser));
        let exchange = exchange.as_ref().and_then(|exchange| self.exchange(name, exchange, sites));
        if let Some(test) = test {
            self.of_the_session("test", test, name, sites);
        }
        Some(SessionSpec {
            name: name.to_owned(),
            file: file.as_ref().map(|file| PathBuf::from(file.as_ref())),
            browser,
            exchange,
            test: test.as_ref().map(|test| test.as_ref().clone()),
            at: self.place(raw.span()),
        })
    }

    fn browser(&mut self, raw: &Spanned<RawBrowser>) -> Option<BrowserSpec> {
        let RawBrowser { store, cookie, profile } = raw.as_ref();
        let found = BrowserStore::ALL.into_iter().find(|known| known.as_str() == store.as_ref());
        if found.is_none() {
            let help = did_you_mean(store.as_ref(), &BrowserStore::ALL.map(BrowserStore::as_str), "there are");
            self.say(store.span(), format!("store is {:?}", store.as_ref()), Some(help));
        }
        let cookies = self.cookies("cookie", cookie);
        Some(BrowserSpec { store: found?, cookies, profile: profile.as_ref().map(PathBuf::from) })
    }

    fn exchange(&mut self, name: &str, raw: &Spanned<RawExchange>, sites: &[SiteSpec]) -> Option<ExchangeSpec> {
        let RawExchange { url, keeps } = raw.as_ref();
        let keeps = self.cookies("keeps", keeps);
        self.of_the_session("exchange", url, name, sites)?;
        Some(ExchangeSpec { url: url.as_ref().clone(), keeps })
    }

    fn cookies(&mut self, key: &str, raw: &Spanned<RawOneOrMany>) -> Vec<CookiePattern> {
        let texts = raw.as_ref().texts(raw.span());
        if texts.is_empty() {
            self.say(raw.span(), format!("{key} names no cookie"), Some("name one".to_owned()));
        }
        let mut cookies = Vec::new();
        for (span, text) in texts {
            match CookiePattern::new(&text) {
                Some(cookie) => cookies.push(cookie),
                None => {
                    let help = "write its name, with * for anything, such as \"remember_web_*\"".to_owned();
                    self.say(span, format!("{key}: {text:?} can't name a cookie"), Some(help));
                }
            }
        }
        cookies
    }

    /// An address of a site that has the session: no other would be sent its cookies.
    fn of_the_session(&mut self, key: &str, url: &Spanned<String>, name: &str, sites: &[SiteSpec]) -> Option<()> {
        let parsed = Url::parse(url.as_ref()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some((host, port)) = parsed.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)))
        else {
            let help = "write a whole one, such as \"https://ideas.example/session\"".to_owned();
            self.say(url.span(), format!("{key}: {:?} is no address", url.as_ref()), Some(help));
            return None;
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let site = sites.iter().find(|site| site.pattern.matches(host, port));
        if site.and_then(|site| site.session.as_deref()) == Some(name) {
            return Some(());
        }
        let help = format!("write session = \"{name}\" into [site.\"{host}\"]");
        self.say(url.span(), format!("{key}: {host} isn't a site of session {name}"), Some(help));
        None
    }

    /// The session of a site, which is there, and isn't everybody's.
    pub(super) fn session_of_site(
        &mut self,
        pattern: &SitePattern,
        raw: &RawSite,
        known: &BTreeMap<String, Spanned<RawSession>>,
    ) -> Option<String> {
        let name = raw.session.as_ref()?;
        if *pattern == SitePattern::Any {
            let help = "write it into the entries of the sites that it is for".to_owned();
            self.say(name.span(), "a session of [site.\"*\"] would be every site's", Some(help));
            return None;
        }
        if !known.contains_key(name.as_ref()) {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            let help = if names.is_empty() {
                format!("add [session.{}] with its file or its browser", name.as_ref())
            } else {
                did_you_mean(name.as_ref(), &names, "the sessions are")
            };
            self.say(name.span(), format!("no session is named {:?}", name.as_ref()), Some(help));
            return None;
        }
        Some(name.as_ref().clone())
    }
}

#[cfg(test)]
mod tests;
