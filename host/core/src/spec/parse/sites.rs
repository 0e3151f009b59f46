//! `[proxy.NAME]` and `[site."PATTERN"]`: how what is outside is reached.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_spanned::Spanned;

use super::{Reader, amounts::Zero};
use crate::{
    gcra::Rate,
    http::is_host_header,
    ids::JobName,
    spec::{
        CONCURRENCY_DEFAULT, CONCURRENCY_MAX, ProxySpec, Rotation, Route, Secret, SitePattern, SiteSpec,
        diagnostic::did_you_mean,
        raw::{RawAmount, RawJob, RawOneOrMany, RawProxy, RawSecret, RawSession, RawSite},
    },
};

/// Largest body that may be asked for, in bytes: more than any disk of one host should be given to one page.
const BODY_MAX: u64 = 1_000_000_000_000;

/// Items that may share a page where nothing is said: a crawl comes upon some page by several addresses, and whoever
/// serves one page for all goes past any number soon.
const DUPLICATES_DEFAULT: u32 = 10;
/// Most items that may be let share a page: each that joins is told to all the others.
const DUPLICATES_MAX: u32 = 100;

/// What a site may name.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) proxies: &'a [ProxySpec],
    pub(super) jobs: &'a BTreeMap<String, Spanned<RawJob>>,
    pub(super) sessions: &'a BTreeMap<String, Spanned<RawSession>>,
}

impl Reader<'_> {
    pub(super) fn proxy(&mut self, name: &str, raw: &Spanned<RawProxy>) -> ProxySpec {
        let at = self.place(raw.span());
        let RawProxy { url, ca, price, budget } = raw.as_ref();
        let url_secret = self.secret("url", url);
        if let Secret::Literal(text) = &url_secret {
            let known = ["http://", "https://", "socks5h://"];
            if !known.iter().any(|scheme| text.starts_with(scheme)) {
                let help = if text.starts_with("socks5://") {
                    "write socks5h://, which lets the proxy resolve names".to_owned()
                } else {
                    format!("begin it with {}", known.join(", "))
                };
                self.say(url.span(), format!("the url of proxy {name} is of no kind that is known"), Some(help));
            }
        }
        let ca = ca.as_ref().map(|ca| self.secret("ca", ca));
        let price_given = price.is_some();
        let price = price.as_ref().and_then(|price| self.price(price));
        let budget = self.proxys_budget(name, budget.as_ref(), price_given);
        ProxySpec { name: name.to_owned(), url: url_secret, ca, price, budget, at }
    }

    pub(super) fn sites(&mut self, raw: &BTreeMap<String, Spanned<RawSite>>, known: Known<'_>) -> Vec<SiteSpec> {
        let base = raw.get("*").map_or_else(RawSite::default, |site| site.as_ref().clone());
        let mut sites = Vec::new();
        for (text, site) in raw {
            let Some(pattern) = SitePattern::parse(text) else {
                let help = "write \"*\", \"*.example.com\", \"example.com\" or \"localhost:7497\"".to_owned();
                self.say(site.span(), format!("{text:?} is no host pattern"), Some(help));
                continue;
            };
            sites.push(self.site(pattern, Some(site), &base, known));
        }
        if !raw.contains_key("*") {
            sites.push(self.site(SitePattern::Any, None, &base, known));
        }
        sites.sort_by_key(|site| std::cmp::Reverse(site.pattern.specificity()));
        sites
    }

    /// A site's policy: its own words, else those of `*`, else the defaults.
    pub(super) fn site(
        &mut self,
        pattern: SitePattern,
        own: Option<&Spanned<RawSite>>,
        base: &RawSite,
        known: Known<'_>,
    ) -> SiteSpec {
        let empty = RawSite::default();
        let raw = own.map_or(&empty, |own| own.as_ref());
        let route = self.route(&pattern, raw, base, known.proxies);
        let mine_or = |key: fn(&RawSite) -> &Option<Spanned<RawAmount>>| key(raw).clone().or_else(|| key(base).clone());
        let (burst, rate) = (mine_or(|site| &site.burst), mine_or(|site| &site.rate));
        let burst = self.count("burst", burst.as_ref(), 1..=10_000, 1);
        let interval = rate.and_then(|rate| self.rate("rate", &rate));
        let concurrency = mine_or(|site| &site.concurrency);
        let (timeout, cool_down) = (mine_or(|site| &site.timeout), mine_or(|site| &site.cool_down));
        let body_max = mine_or(|site| &site.body_max);
        let jobs = raw.jobs.as_ref().or(base.jobs.as_ref());
        SiteSpec {
            route,
            rate: interval.map(|interval| Rate { interval, burst }),
            concurrency: self.count("concurrency", concurrency.as_ref(), 1..=CONCURRENCY_MAX, CONCURRENCY_DEFAULT),
            timeout: self.duration("timeout", timeout.as_ref(), Zero::Refused, Duration::from_secs(30)),
            body_max: self.bytes("body-max", body_max.as_ref(), (1..=BODY_MAX, "1 B to 1000 GB"), 20 << 20),
            cool_down: self.duration("cool-down", cool_down.as_ref(), Zero::Allowed, Duration::from_mins(1)),
            headers: self.headers(raw, base),
            budget: self.sites_budget(raw.budget.as_ref().or(base.budget.as_ref())),
            guard: Arc::new(self.guards(raw, base)),
            duplicates: self.duplicates(mine_or(|site| &site.duplicates).as_ref(), raw.session.is_some()),
            jobs: jobs.map(|jobs| jobs.as_ref().iter().filter_map(|name| self.known_job(name, known)).collect()),
            session: self.session_of_site(&pattern, raw, known.sessions),
            at: own.map(|own| self.place(own.span())),
            pattern,
        }
    }

    /// How many items may share a page; `false` and 0 say that nobody looks. Nor does anybody of himself where no
    /// session can expire: the pages of many a catalogue differ in their figures alone.
    fn duplicates(&mut self, value: Option<&Spanned<RawAmount>>, has_session: bool) -> Option<u32> {
        match value.map(|value| (value.span(), value.as_ref())) {
            None if !has_session => None,
            Some((_, RawAmount::Whole(0))) => None,
            Some((_, RawAmount::Other(word))) if word == "false" => None,
            Some((span, amount @ (RawAmount::Other(_) | RawAmount::Text(_)))) => {
                let help = format!("write a whole number, 1 to {DUPLICATES_MAX}, or false");
                self.say(span, format!("duplicates is {amount}"), Some(help));
                None
            }
            _ => Some(self.count("duplicates", value, 1..=DUPLICATES_MAX, DUPLICATES_DEFAULT)),
        }
    }

    /// A site's own headers over those of `*`. What goes to every site can't be a secret.
    fn headers(&mut self, raw: &RawSite, base: &RawSite) -> Vec<(String, Secret)> {
        let mut headers = BTreeMap::new();
        for (is_base, (name, value)) in
            base.headers.iter().map(|one| (true, one)).chain(raw.headers.iter().map(|one| (false, one)))
        {
            let lower = name.to_ascii_lowercase();
            let is_word =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            if !is_word {
                self.say(
                    value.span(),
                    format!("{name:?} is no header's name"),
                    Some("write letters, digits and `-`".to_owned()),
                );
                continue;
            }
            if lower != "authorization" && is_host_header(&lower) {
                let help = "leave it out; a cookie is a session's".to_owned();
                self.say(value.span(), format!("the header {name} is the host's own"), Some(help));
                continue;
            }
            let is_secret = lower == "authorization" || matches!(value.as_ref(), RawSecret::Elsewhere(_));
            if is_base && is_secret {
                let help = "move it to the one site that it is for".to_owned();
                self.say(
                    value.span(),
                    format!("the header {name} of [site.\"*\"] would be sent to every site"),
                    Some(help),
                );
                continue;
            }
            if let RawSecret::Literal(text) = value.as_ref()
                && text.chars().any(char::is_control)
            {
                self.say(
                    value.span(),
                    format!("the header {name} has a control character"),
                    Some("write one line of text".to_owned()),
                );
                continue;
            }
            headers.insert(lower, self.secret(name, value));
        }
        headers.into_iter().collect()
    }

    fn known_job(&mut self, name: &Spanned<String>, known: Known<'_>) -> Option<JobName> {
        if !known.jobs.contains_key(name.as_ref()) {
            let names: Vec<&str> = known.jobs.keys().map(String::as_str).collect();
            let help = did_you_mean(name.as_ref(), &names, "the jobs are");
            self.say(name.span(), format!("no job is named {:?}", name.as_ref()), Some(help));
            return None;
        }
        self.or_say(name.span(), "jobs", JobName::new(name.as_ref()))
    }

    fn route(&mut self, pattern: &SitePattern, raw: &RawSite, base: &RawSite, proxies: &[ProxySpec]) -> Route {
        if let Some(direct) = raw.direct.as_ref().filter(|direct| *direct.as_ref()) {
            if !matches!(pattern, SitePattern::Host { .. }) {
                let help = "name each host that may be reached from this machine's own address".to_owned();
                self.say(direct.span(), format!("{pattern} can't be direct: it is no exact name"), Some(help));
            }
            if raw.proxy.is_some() {
                let message = format!("{pattern} is direct and has a proxy");
                self.say(direct.span(), message, Some("keep one of them".to_owned()));
            }
            return Route::Direct;
        }
        let rotation = self.rotation(raw.rotate.as_ref().or(base.rotate.as_ref()));
        match raw.proxy.as_ref().or(base.proxy.as_ref()) {
            Some(names) => self.proxies(names, rotation, proxies),
            None => match proxies {
                [only] => Route::Proxy(vec![only.name.clone()], rotation),
                _ => Route::Unset,
            },
        }
    }

    fn proxies(&mut self, names: &Spanned<RawOneOrMany>, rotation: Rotation, proxies: &[ProxySpec]) -> Route {
        let known: Vec<&str> = proxies.iter().map(|proxy| proxy.name.as_str()).collect();
        let all = names.as_ref().texts(names.span());
        if all.is_empty() {
            let help = format!(
                "name one: {}",
                if known.is_empty() { "add [proxy.main] with its url".to_owned() } else { known.join(", ") }
            );
            self.say(names.span(), "the list of proxies is empty", Some(help));
            return Route::Unset;
        }
        for (span, name) in &all {
            if known.contains(&name.as_str()) {
                continue;
            }
            let help = if known.is_empty() {
                format!("add [proxy.{name}] with its url")
            } else {
                format!("the proxies are {}", known.join(", "))
            };
            self.say(span.clone(), format!("no proxy is named {name:?}"), Some(help));
            return Route::Unset;
        }
        Route::Proxy(all.into_iter().map(|(_, name)| name).collect(), rotation)
    }

    fn rotation(&mut self, word: Option<&Spanned<String>>) -> Rotation {
        let Some(word) = word else {
            return Rotation::default();
        };
        let found = Rotation::ALL.into_iter().find(|rotation| rotation.as_str() == word.as_ref());
        found.unwrap_or_else(|| {
            let help = did_you_mean(word.as_ref(), &Rotation::ALL.map(Rotation::as_str), "there are");
            self.say(word.span(), format!("rotate is {:?}", word.as_ref()), Some(help));
            Rotation::default()
        })
    }
}
