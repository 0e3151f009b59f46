//! `[endpoint.NAME]`, and the grants that name one.

use std::collections::BTreeMap;

use serde_spanned::Spanned;
use url::Url;

use super::{Reader, sites::Known};
use crate::{
    handler::Capability,
    ids::JobName,
    spec::{
        EndpointSpec, Route, SitePattern,
        raw::{RawEndpoint, RawJob, RawSite},
        values::parse_grant,
    },
};

impl Reader<'_> {
    pub(super) fn endpoints(
        &mut self,
        raw: &BTreeMap<String, Spanned<RawEndpoint>>,
        known: Known<'_>,
    ) -> Vec<EndpointSpec> {
        raw.iter().filter_map(|(name, endpoint)| self.endpoint(name, endpoint, known)).collect()
    }

    /// An endpoint's policy is read as a site's is: its own words, else the defaults. It is a service, no page: it has
    /// no session, no guards and no duplicates, and goes through no proxy that it doesn't name.
    fn endpoint(&mut self, name: &str, raw: &Spanned<RawEndpoint>, known: Known<'_>) -> Option<EndpointSpec> {
        let span = raw.span();
        // A name obeys the rules of all names: it stands in addresses, grants and messages.
        let named = self.or_say(span.clone(), &format!("endpoint {name:?}"), JobName::new(name));
        let endpoint = raw.as_ref();
        let url = self.endpoint_url(name, &endpoint.url);
        let none = |no: bool| Some(Spanned::new(span.clone(), no));
        let RawEndpoint {
            url: _,
            proxy,
            rate,
            burst,
            concurrency,
            timeout,
            body_max,
            cool_down,
            headers,
            jobs,
            budget,
        } = endpoint.clone();
        let site = RawSite {
            direct: None,
            proxy: proxy.clone(),
            rate,
            burst,
            concurrency,
            timeout,
            body_max,
            cool_down,
            headers,
            jobs,
            budget,
            guard_builtin: none(false),
            ..RawSite::default()
        };
        let site = Spanned::new(span.clone(), site);
        let pattern = SitePattern::Endpoint(name.to_owned());
        let mut policy = self.site(pattern, Some(&site), &RawSite::default(), known);
        policy.duplicates = None;
        if proxy.is_none() {
            policy.route = Route::Direct;
        }
        named.zip(url).map(|(name, url)| EndpointSpec { name: name.as_str().to_owned(), url, policy })
    }

    fn endpoint_url(&mut self, name: &str, raw: &Spanned<String>) -> Option<Url> {
        let url = Url::parse(raw.as_ref()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url.filter(|url| url.host().is_some()) else {
            let help = "write where the service is, such as \"http://localhost:7497\" or \"http://10.0.0.5/api\"";
            self.say(
                raw.span(),
                format!("the url of endpoint {name} is no http or https address"),
                Some(help.to_owned()),
            );
            return None;
        };
        let wrong = if !url.username().is_empty() || url.password().is_some() {
            Some(("has a user or password", "write headers = { Authorization = { env = \"NAME\" } } instead"))
        } else if url.query().is_some() || url.fragment().is_some() {
            Some(("has a query or a fragment", "leave it out: a handler says what it asks for"))
        } else {
            None
        };
        let Some((what, help)) = wrong else {
            return Some(url);
        };
        self.say(raw.span(), format!("the url of endpoint {name} {what}"), Some(help.to_owned()));
        None
    }

    /// Grants name endpoints that there are.
    pub(super) fn granted_endpoints(&mut self, job: &RawJob, endpoints: &BTreeMap<String, Spanned<RawEndpoint>>) {
        for grant in job.grant.iter().flat_map(|grants| grants.as_ref().iter()) {
            let granted = parse_grant(grant.as_ref()).ok().filter(|granted| granted.capability == Capability::Http);
            for name in granted.iter().flat_map(|granted| granted.names.iter()) {
                let Some(SitePattern::Endpoint(name)) = SitePattern::of_grant(name) else {
                    continue;
                };
                if endpoints.contains_key(&name) {
                    continue;
                }
                let known: Vec<&str> = endpoints.keys().map(String::as_str).collect();
                let add = format!("[endpoint.{name}] with its url");
                self.unknown(grant.span(), ("grant", "endpoint", "endpoints"), &name, &known, &add);
            }
        }
    }
}

#[cfg(test)]
mod tests;
