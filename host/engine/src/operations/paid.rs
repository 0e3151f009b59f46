//! What was paid, by whatever people ask, the ledger's rows, and how budgets of money stand.
//!
//! All of it is read from the store and jobs.toml, so that a stopped host answers as a running one does.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use tollgate_core::{
    ItemId, JobId, JobName, Timestamp,
    budget::{MoneyBudget, Spending, WARNED_AT},
    calendar::{Day, Period, PeriodKind, Zone},
    ledger::{Account, Beside, CallId, Charged, Costs, PaidKind, Periods, Scope},
    money::NanoUsd,
    spec::Deployment,
};
use tollgate_store::{CostGroup, CostQuery, CostView, EntryView, JobView, LedgerQuery, Page, StoreError};

use super::{Attention, Operations};
use crate::EngineError;

/// Rows of a page where nobody says how many.
fn rows_page() -> usize {
    100
}

/// How the spending of a proxy is named in the store.
const PROXY: &str = "proxy ";

/// Which costs people ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostsAsked {
    /// What they are summed by.
    pub by: CostGroup,
    /// Only of this job.
    pub job: Option<String>,
    /// Only from this day on.
    pub from: Option<Day>,
    /// Only up to this day, itself included.
    pub to: Option<Day>,
    /// Of items: only after this one.
    pub after: Option<(JobId, ItemId)>,
    /// Of items: at most so many.
    pub limit: usize,
}

/// What was paid. Calls count once they are settled, under the day on which they were reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostReport {
    /// What it is summed by.
    pub by: CostGroup,
    /// The sums; of items a page of them.
    pub sums: Vec<CostView>,
    /// What all calls came to that were asked for, those of other pages included.
    pub total: Costs,
    /// What proxies with a price cost, which is in no sum above: nobody can say which job's it was, and it is kept of
    /// the day and the month that go on alone.
    pub proxies: Vec<ProxyCost>,
    /// Of items: there are more after this one.
    pub next: Option<(JobId, ItemId)>,
}

/// What a proxy with a price cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyCost {
    /// Its name in jobs.toml.
    pub name: String,
    /// In the day that goes on, in billionths of a dollar.
    pub nano_usd_today: NanoUsd,
    /// In the month that goes on.
    pub nano_usd_month: NanoUsd,
}

/// Which rows of the ledger people ask for, newest first; as it is, the query of an address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerAsked {
    /// Only of this job.
    pub job: Option<String>,
    /// Only of this stage of the job.
    pub stage: Option<String>,
    /// Only of this item of the job.
    pub key: Option<tollgate_core::ItemKey>,
    /// Only from this day on.
    pub from: Option<Day>,
    /// Only up to this day, itself included.
    pub to: Option<Day>,
    /// Only older than this one.
    pub after: Option<CallId>,
    /// At most so many; 100 where nothing is said.
    #[serde(default = "rows_page")]
    pub limit: usize,
}

/// How a budget of money stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetView {
    /// Whose, as people know it: `everything that is paid`, `job news`, `model fast`.
    pub of: String,
    /// The job, if it is one's.
    pub job: Option<JobName>,
    /// Of a day or a month.
    pub period: PeriodKind,
    /// The most, in billionths of a dollar.
    pub limit: NanoUsd,
    /// What is spent of it.
    pub spent: NanoUsd,
    /// What calls under way hold beside that.
    pub held: NanoUsd,
    /// Hundredths that are spent or held; 100 of a budget of 0.
    pub percent: u64,
    /// When it begins anew: a spent one goes on then.
    pub until: Timestamp,
}

impl BudgetView {
    fn new(
        (of, job): (&str, Option<&JobName>),
        (period, limit): (PeriodKind, NanoUsd),
        charged: Charged,
        beside: NanoUsd,
    ) -> Self {
        let (spent, held) = (charged.settled.saturating_add(beside), charged.reserved);
        let taken = spent.saturating_add(held);
        let percent = match limit.0 {
            0 => 100,
            most => u64::try_from(u128::from(taken.0) * 100 / u128::from(most)).unwrap_or(u64::MAX),
        };
        let Period { ends: until, .. } = charged.period;
        Self { of: of.to_owned(), job: job.cloned(), period, limit, spent, held, percent, until }
    }

    /// Nothing is sent on it any more, until it begins anew.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.spent >= self.limit
    }

    /// What is spent of it, as a person reads it: `1.60 USD of 2.00 USD`, and what calls under way hold.
    #[must_use]
    pub fn share(&self) -> String {
        let held = if self.held > NanoUsd::ZERO { format!(", {} held", self.held) } else { String::new() };
        format!("{} of {}{held}", self.spent, self.limit)
    }

    /// What a person is to be told of it, if anything: it is spent, or nearly.
    fn attention(&self, zone: &Zone) -> Option<Attention> {
        let Self { of, period, until, .. } = self;
        let (period, share, anew) = (period.as_str(), self.share(), zone.show(*until));
        let message = if self.is_spent() {
            format!(
                "the budget of {of} for this {period} is spent ({share}): nothing is sent on it; it goes on at {anew}"
            )
        } else if self.percent >= WARNED_AT {
            format!("the budget of {of} for this {period} is nearly spent ({share}); it begins anew at {anew}")
        } else {
            return None;
        };
        Some(Attention { job: self.job.clone(), message })
    }
}

/// The budgets of money in a jobs.toml, with what they are of.
fn budgets(deployment: &Deployment, jobs: &[JobView]) -> Vec<(Option<Scope>, String, Option<JobName>, MoneyBudget)> {
    let everything = (Some(Scope::Everything), Scope::Everything.called(""), None, deployment.budget);
    let of_jobs = deployment.jobs.iter().map(|spec| {
        // A job that has never run has no number yet, and has spent nothing.
        let scope = jobs.iter().find(|job| job.name == spec.name).map(|job| Scope::Job(job.id));
        (scope, format!("job {}", spec.name), Some(spec.name.clone()), spec.budget)
    });
    let models = deployment.models.iter().map(|model| (PaidKind::Model, &model.alias, model.service.budget));
    let searches = deployment.searches.iter().map(|search| (PaidKind::Search, &search.name, search.service.budget));
    let speeches = deployment.speeches.iter().map(|speech| (PaidKind::Speech, &speech.alias, speech.service.budget));
    let paid = models.chain(searches).chain(speeches).map(|(kind, alias, budget)| {
        let scope = Scope::Paid(kind, alias.clone());
        (Some(scope.clone()), scope.called(""), None, budget)
    });
    std::iter::once(everything).chain(of_jobs).chain(paid).collect()
}

/// How each budget stands at `now`. All accounts are of the day and the month that everything's account is in, as they
/// are where a call is reserved.
fn standing(
    deployment: &Deployment,
    jobs: &[JobView],
    account: impl Fn(&Scope) -> Account,
    beside: Beside,
    now: Timestamp,
) -> Vec<BudgetView> {
    let periods: Periods = account(&Scope::Everything).periods().turned(&deployment.host.zone, now);
    let mut all = Vec::new();
    for (scope, of, job, budget) in budgets(deployment, jobs) {
        let charged = scope.as_ref().map(&account).unwrap_or_default().at(periods);
        let beside = if scope == Some(Scope::Everything) { beside } else { Beside::default() };
        for (kind, limit) in budget.limits() {
            let (charged, beside) = match kind {
                PeriodKind::Day => (charged.day, beside.day),
                PeriodKind::Month => (charged.month, beside.month),
            };
            all.push(BudgetView::new((&of, job.as_ref()), (kind, limit), charged, beside));
        }
    }
    all
}

/// What was spent by proxies alone.
fn by_proxies(spending: &[(String, Spending)]) -> impl Iterator<Item = (&str, &Spending)> {
    spending.iter().filter_map(|(name, spending)| name.strip_prefix(PROXY).map(|name| (name, spending)))
}

impl Operations {
    /// What was paid.
    ///
    /// # Errors
    /// No job of that name, the days are the wrong way round, or the store can't be read.
    pub async fn costs(&self, asked: CostsAsked) -> Result<CostReport, EngineError> {
        let CostsAsked { by, job, from, to, after, limit } = asked;
        let job = self.paying_job(job.as_deref(), from, to).await?;
        let query = CostQuery { group: by, job, from, to, after, limit };
        let Page { entries: sums, next } = self.store.costs(query).await?;
        let total = match by {
            // Of items this may be one page of many.
            CostGroup::Item => self.store.costs(CostQuery { group: CostGroup::Job, ..query }).await?.entries,
            CostGroup::Day | CostGroup::Job | CostGroup::Stage | CostGroup::Model => sums.clone(),
        };
        let total = total.iter().fold(Costs::default(), |total, sum| total.and(&sum.costs));
        Ok(CostReport { by, sums, total, proxies: self.proxy_costs().await?, next })
    }

    /// Rows of the ledger, newest first; calls under way among them. A page may be empty and have a next one.
    ///
    /// # Errors
    /// No job of that name, no such stage or item of it, no such call to go on after, the days are the wrong way round,
    /// or the store can't be read.
    pub async fn ledger(&self, asked: LedgerAsked) -> Result<Page<EntryView, CallId>, EngineError> {
        let LedgerAsked { job: name, stage, key, from, to, after, limit } = asked;
        let job = self.paying_job(name.as_deref(), from, to).await?;
        let name = match (name, stage.is_some() || key.is_some()) {
            (None, true) => {
                return Err(EngineError::Invalid("a stage and an item are a job's: name the job too".to_owned()));
            }
            (name, _) => name.unwrap_or_default(),
        };
        let stage = match stage {
            Some(stage) => Some(self.stage_ix(&name, &stage).await?.1),
            None => None,
        };
        let item = match key {
            Some(key) => {
                let item = self.item(&name, &key).await?;
                let none = || EngineError::Invalid(format!("job {name} has no item {:?}", key.as_str()));
                Some(item.ok_or_else(none)?.item.id)
            }
            None => None,
        };
        let page = self.store.ledger_entries(LedgerQuery { job, stage, item, from, to, after, limit }).await;
        page.map_err(|error| match (error, after) {
            (StoreError::NotFound(_), Some(after)) => {
                let message = format!("the ledger has no call {}; `after` is the `next` of the page before", after.0);
                EngineError::Invalid(message)
            }
            (error, _) => error.into(),
        })
    }

    /// The answer that a call of the ledger has paid for, as the host has kept it: what a model said, what was searched
    /// for and found, what was heard. Absent: the call has none, or it isn't kept any more.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn answer(&self, call: CallId) -> Result<Option<serde_json::Value>, EngineError> {
        let kept = self.store.answer_of(call).await?;
        let value = kept.map(|kept| serde_json::from_str(&kept.json)).transpose();
        value.map_err(|error| StoreError::Corrupt(format!("the answer of call {}: {error}", call.0)).into())
    }

    async fn paying_job(
        &self,
        name: Option<&str>,
        from: Option<Day>,
        to: Option<Day>,
    ) -> Result<Option<JobId>, EngineError> {
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            return Err(EngineError::Invalid(format!("no day is from {from} on and up to {to}; swap the two")));
        }
        match name {
            Some(name) => Ok(Some(self.job_id(name).await?)),
            None => Ok(None),
        }
    }

    /// What jobs.toml says: of a running host what it goes by, of a stopped one what stands there now;
    /// or why it can't be read.
    pub(super) fn jobs_toml(&self) -> Result<Arc<Deployment>, &str> {
        match (&self.gate, &self.deployment) {
            (Some(gate), _) => Ok(gate.deployment()),
            (None, Ok((deployment, _))) => Ok(deployment.clone()),
            (None, Err(error)) => Err(error),
        }
    }

    async fn proxy_costs(&self) -> Result<Vec<ProxyCost>, EngineError> {
        let (now, spending) = (self.clock.now(), self.store.spending().await?);
        // Who cost something had a price, whatever jobs.toml says by now; who has one may have cost nothing yet.
        let deployment = self.jobs_toml().ok();
        let priced: BTreeSet<&str> = deployment
            .iter()
            .flat_map(|deployment| &deployment.proxies)
            .filter(|proxy| proxy.price.is_some())
            .map(|proxy| proxy.name.as_str())
            .collect();
        let costs = by_proxies(&spending).map(|(name, spending)| (name, Beside::default().and(spending, now)));
        let costs = costs.filter(|(name, cost)| priced.contains(name) || *cost != Beside::default());
        let shown = costs.map(|(name, cost)| ProxyCost {
            name: name.to_owned(),
            nano_usd_today: cost.day,
            nano_usd_month: cost.month,
        });
        Ok(shown.collect())
    }

    /// How budgets of money stand, and what a person is to be told of them.
    pub(super) async fn money(&self, jobs: &[JobView]) -> Result<(Vec<BudgetView>, Vec<Attention>), EngineError> {
        let accounts = self.store.accounts().await?;
        let deployment = match self.jobs_toml() {
            Ok(deployment) => deployment,
            // Who has never paid misses nothing.
            Err(_) if accounts.is_empty() => return Ok((Vec::new(), Vec::new())),
            Err(error) => {
                let message =
                    format!("budgets aren't shown, since they stand in jobs.toml, which can't be read: {error}");
                return Ok((Vec::new(), vec![Attention { job: None, message }]));
            }
        };
        let (now, spending) = (self.clock.now(), self.store.spending().await?);
        let beside = by_proxies(&spending).fold(Beside::default(), |beside, (_, spending)| beside.and(spending, now));
        let account = |scope: &Scope| {
            let found = accounts.iter().find(|one| &one.scope == scope);
            found.map(|one| one.account).unwrap_or_default()
        };
        let budgets = standing(&deployment, jobs, account, beside, now);
        let attention = budgets.iter().filter_map(|budget| budget.attention(&deployment.host.zone)).collect();
        Ok((budgets, attention))
    }
}
