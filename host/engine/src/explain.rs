//! Which policy an address gets, for each job of a jobs.toml.

use tollgate_core::spec::Deployment;
use tollgate_egress::{Caller, Explained};

use crate::plan::hosts;

/// Decides an address as the gate would, for each job by its grants. Nothing is sent.
///
/// # Errors
/// It is no address that any job could ask for.
pub fn explain(deployment: &Deployment, url: &str) -> Result<Explained, String> {
    let may_ask = |job| hosts(job).map(|allowed| (job, allowed));
    let with_grant = deployment.jobs.iter().filter_map(may_ask);
    let callers: Vec<Caller> = with_grant.map(|(job, allowed)| Caller::of(job.name.clone(), allowed)).collect();
    let mut explained = tollgate_egress::explain(deployment, &callers, url)?;
    for job in deployment.jobs.iter().filter(|job| hosts(job).is_none()) {
        let why = format!("it has no `http` grant; add \"http\" to `grant` of [job.{}] in jobs.toml", job.name);
        explained.jobs.push((job.name.clone(), Some(why)));
    }
    Ok(explained)
}
