//! What the models of a job cost, and which of them a budget keeps from being asked, before anything runs.

use tollgate_core::{
    handler::Capability,
    model::ModelPrices,
    spec::{Deployment, JobSpec, ModelSpec},
};
use tollgate_llm::Prices;

use crate::EngineError;

/// A model that a job may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PricedModel<'d> {
    /// As it stands in jobs.toml.
    pub spec: &'d ModelSpec,
    /// What it costs; absent: nobody has said, which is not free.
    pub prices: Option<ModelPrices>,
    /// Whose budget keeps it from being asked, since it has no price: the budget of everything, its own, or the job's.
    pub bounded_by: Option<BoundedBy>,
}

/// A budget by its section in jobs.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundedBy {
    /// `[budget]`.
    Everything,
    /// The model's own.
    Model,
    /// The job's.
    Job,
}

/// The models that a job is granted, those that are asked in their place included, each once, by alias; and those of its
/// checks, which need no grant.
///
/// # Errors
/// The table of prices is broken.
pub fn priced_models<'d>(deployment: &'d Deployment, job: &JobSpec) -> Result<Vec<PricedModel<'d>>, EngineError> {
    let prices = Prices::pinned().map_err(|error| EngineError::Invalid(error.to_string()))?;
    let granted = deployment.models.iter().filter(|model| job.is_granted(Capability::Llm, &model.alias));
    let checking = job.checks.iter().filter_map(|check| check.model.as_deref());
    let asked = granted.map(|model| model.alias.as_str()).chain(checking);
    let mut all: Vec<&ModelSpec> = asked.flat_map(|alias| deployment.model_chain(alias)).collect();
    all.sort_by(|one, other| one.alias.cmp(&other.alias));
    all.dedup_by(|one, other| one.alias == other.alias);
    let has = |budget: tollgate_core::budget::MoneyBudget| budget.limits().next().is_some();
    let priced = all.into_iter().map(|spec| {
        let prices = prices.of(spec);
        let budgets = [
            (BoundedBy::Everything, deployment.budget),
            (BoundedBy::Model, spec.service.budget),
            (BoundedBy::Job, job.budget),
        ];
        let bound = budgets.into_iter().find(|(_, budget)| has(*budget)).map(|(by, _)| by);
        PricedModel { spec, prices, bounded_by: bound.filter(|_| prices.is_none()) }
    });
    Ok(priced.collect())
}
