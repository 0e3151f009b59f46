//! What `tollgate check` says of money: what each job's models cost, the budgets that bound them, and which models
//! those keep from being asked.

use std::path::Path;

use serde_json::{Value, json};
use tollgate_core::{
    budget::MoneyBudget,
    ledger::NoRoom,
    model::{ModelPrices, TokenPrices},
    spec::{Deployment, JobSpec},
};
use tollgate_engine::{BoundedBy, LENGTHS_NEEDED, PricedModel, Refused, priced_models};

use crate::CliError;

/// The models that a job may ask.
pub(super) fn models<'d>(deployment: &'d Deployment, job: &JobSpec) -> Result<Vec<PricedModel<'d>>, CliError> {
    priced_models(deployment, job).map_err(|error| CliError::failed(error.to_string()))
}

/// The lines of a job.
pub(super) fn text(job: &JobSpec, models: &[PricedModel<'_>]) -> String {
    let mut text = String::new();
    for PricedModel { spec, prices, .. } in models {
        let budget = budget(&spec.service.budget).map_or_else(String::new, |budget| format!("; at most {budget}"));
        let (alias, name, costs) = (&spec.alias, &spec.name, prices.map_or_else(|| "unpriced".to_owned(), price));
        text.push_str(&format!("  model {alias}: {name}, {costs}{budget}\n"));
    }
    if let Some(budget) = budget(&job.budget) {
        text.push_str(&format!("  budget: at most {budget}\n"));
    }
    text
}

/// The line of `[budget]`, if there is one.
pub(super) fn everything(deployment: &Deployment) -> String {
    budget(&deployment.budget).map_or_else(String::new, |budget| format!("all that is paid: at most {budget}\n"))
}

/// Warns of models that are never asked: a budget bounds them, and nobody has said what they cost, or the least that a
/// call is held to is more than all of it.
pub(super) fn warn(file: &Path, job: &JobSpec, models: &[PricedModel<'_>]) {
    for PricedModel { spec, refused, .. } in models {
        let Some(Refused { by, why, tokens }) = refused else {
            continue;
        };
        let (section, by) = match by {
            BoundedBy::Everything => ("[budget]".to_owned(), "[budget]".to_owned()),
            BoundedBy::Model => (format!("`budget` of [model.{}]", spec.alias), "its own budget".to_owned()),
            BoundedBy::Job => (format!("`budget` of [job.{}]", job.name), format!("the budget of [job.{}]", job.name)),
        };
        let (file, line, alias, job) = (file.display(), spec.at.line, &spec.alias, &job.name);
        if let NoRoom::TooDear { kind, most, asked } = why {
            eprintln!(
                "warning: {file}:{line}: a call of model {alias} is held to cost {asked} at the least, and {by} is \
                 {most} a {}: job {job} gets no answer of it\n  raise {section}, or write a smaller output-max into \
                 [model.{alias}]: {} tokens are held for an answer until {LENGTHS_NEEDED} of a stage are known",
                kind.as_str(),
                tokens.output
            );
        } else {
            eprintln!(
                "warning: {file}:{line}: model {alias} has no price, and {by} bounds it: job {job} gets no answer of \
                 it\n  write what a million tokens cost into [model.{alias}], such as price = {{ input = \"0.10 USD\", \
                 output = \"0.40 USD\" }}, or price = \"free\""
            );
        }
    }
}

fn price(prices: ModelPrices) -> String {
    let ModelPrices { usual, long } = prices;
    let long = long.map_or_else(String::new, |(above, prices)| format!("; above {above} sent: {}", a_million(prices)));
    format!("a million tokens cost {}{long}", a_million(usual))
}

fn a_million(prices: TokenPrices) -> String {
    let TokenPrices { input, cache_read, output, .. } = prices;
    format!("{input} read, {cache_read} from the cache, {output} made")
}

fn budget(budget: &MoneyBudget) -> Option<String> {
    let limits: Vec<String> = budget.limits().map(|(kind, limit)| format!("{limit} a {}", kind.as_str())).collect();
    (!limits.is_empty()).then(|| limits.join(", "))
}

/// The same as JSON: prices of a million tokens and budgets in billionths of a dollar; no prices: unpriced.
pub(super) fn documents(models: &[PricedModel<'_>]) -> Vec<Value> {
    let document = |model: &PricedModel<'_>| {
        let PricedModel { spec, prices, refused } = model;
        json!({"alias": spec.alias, "name": spec.name, "nano_usd_a_million": prices, "is_refused": refused.is_some(),
            "budget": budget_document(&spec.service.budget)})
    };
    models.iter().map(document).collect()
}

pub(super) fn budget_document(budget: &MoneyBudget) -> Value {
    json!({"nano_usd_day": budget.day, "nano_usd_month": budget.month})
}

#[cfg(test)]
mod tests {
    use tollgate_core::money::NanoUsd;

    use super::*;

    #[test]
    fn trap04_a_budget_of_nothing_is_shown_and_none_is_not() {
        let of = |day, month| MoneyBudget { day, month };
        assert_eq!(budget(&of(None, None)), None);
        assert_eq!(budget(&of(Some(NanoUsd::ZERO), None)).unwrap(), "0.00 USD a day");
        let both = of(Some(NanoUsd(5_000_000_000)), Some(NanoUsd(1)));
        assert_eq!(budget(&both).unwrap(), "5.00 USD a day, 0.000000001 USD a month");
    }
}
