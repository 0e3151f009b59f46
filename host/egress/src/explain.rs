//! Which policy an address gets, and why: the gate's own decision, asked for by a person.

use std::sync::Arc;

use tollgate_core::{
    JobName,
    spec::{Deployment, GuardSpec, SitePattern, SiteSpec},
};

use crate::{
    Caller,
    address::{self, Named},
};

/// What an address falls under.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// Host name and port, as the site's state is kept by; `endpoint NAME` of an endpoint.
    pub authority: String,
    /// Its policy.
    pub site: SiteSpec,
    /// The other patterns that it falls under, the most specific first.
    pub wider: Vec<SiteSpec>,
    /// Each job, and what is in its way.
    pub jobs: Vec<(JobName, Option<String>)>,
}

/// Decides an address as the gate would, for each of `callers`. Nothing is sent, and no name resolved.
///
/// # Errors
/// It is no address that any job could ask for.
pub fn explain(deployment: &Deployment, callers: &[Caller], url: &str) -> Result<Explained, String> {
    let parsed = address::parse(url).map_err(|refused| refused.error.to_string())?;
    let anyone = Caller::of(JobName::new("anyone").map_err(|error| error.to_string())?, Vec::new());
    let decided = address::decide(deployment, &anyone, parsed.clone(), Named::Host);
    let decided = decided.map_err(|refused| refused.error.to_string())?;
    let is_endpoint = matches!(decided.site.pattern, SitePattern::Endpoint(_));
    let (host, port) = decided.authority.rsplit_once(':').unwrap_or((&decided.authority, "0"));
    let port = port.parse().unwrap_or(0);
    let matching = deployment.sites.iter().filter(|site| !is_endpoint && site.pattern.matches(host, port));
    let wider = matching.filter(|site| site.pattern != decided.site.pattern).cloned().collect();
    let jobs = callers.iter().map(|caller| {
        let refused = address::decide(deployment, caller, parsed.clone(), Named::Caller).err();
        (caller.job.clone(), refused.map(|refused| refused.error.to_string()))
    });
    Ok(Explained { jobs: jobs.collect(), wider, site: decided.site.clone(), authority: decided.authority })
}

/// The guards of an address; absent, if it is none that a job could ask for.
#[must_use]
pub fn guards_of(deployment: &Deployment, url: &str) -> Option<Arc<GuardSpec>> {
    let anyone = Caller::of(JobName::new("anyone").ok()?, Vec::new());
    let decided = address::decide(deployment, &anyone, address::parse(url).ok()?, Named::Host).ok()?;
    Some(decided.site.guard.clone())
}
