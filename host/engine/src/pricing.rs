//! What the models of a job cost, and which of them a budget keeps from being asked, before anything runs.

use tollgate_core::{
    handler::Capability,
    ledger::{Account, Beside, NoRoom},
    model::{ModelPrices, Tokens},
    spec::{Deployment, JobSpec, ModelSpec},
};
use tollgate_llm::{Prices, first_call};

use crate::EngineError;

/// A model that a job may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PricedModel<'d> {
    /// As it stands in jobs.toml.
    pub spec: &'d ModelSpec,
    /// What it costs; absent: nobody has said, which is not free.
    pub prices: Option<ModelPrices>,
    /// The budget that keeps it from being asked at all, if one does.
    pub refused: Option<Refused>,
}

/// A budget that no call of a model ever has room in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Whose it is: that of everything, the model's own, or the job's.
    pub by: BoundedBy,
    /// The model has no price, or its least call is held to cost more than the whole budget. A budget of 0 is none of
    /// them: who writes it wants nothing to be asked.
    pub why: NoRoom,
    /// What that least call is held to take, as long as nobody knows how long the model's answers are.
    pub tokens: Tokens,
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

/// The models that a job is granted, those that are asked in their place included, each once, by alias; and those of
/// its checks, which need no grant.
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
    let priced = all.into_iter().map(|spec| {
        let (tokens, cost) = first_call(spec, &prices);
        let budgets = [
            (BoundedBy::Everything, deployment.budget),
            (BoundedBy::Model, spec.service.budget),
            (BoundedBy::Job, job.budget),
        ];
        // By the ledger's own rule, of accounts in which nothing was spent yet.
        let refused = budgets.into_iter().find_map(|(by, budget)| {
            let why = Account::default().room(&budget.into(), Beside::default(), cost).err()?;
            matches!(why, NoRoom::Unpriced | NoRoom::TooDear { .. }).then_some(Refused { by, why, tokens })
        });
        PricedModel { spec, prices: prices.of(spec), refused }
    });
    Ok(priced.collect())
}
