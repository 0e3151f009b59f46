//! How the gate stands: proxies, sites, counts. Figures for pages, and what "why does nothing come?" is answered by.

use serde::{Deserialize, Serialize};
use tollgate_core::{
    Timestamp,
    budget::{Budget, Limit, Price, Reached, Size, Spent, WARNED_AT, percent},
    calendar::PeriodKind,
    money::NanoUsd,
    time::Short,
};

use crate::DenialCount;

/// How the gate stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GateStatus {
    /// Each proxy.
    pub proxies: Vec<ProxyStatus>,
    /// Sites asked for since the start, by name.
    pub sites: Vec<SiteStatus>,
    /// What guards caught since the start, by rule.
    #[serde(default)]
    pub guards: Vec<GuardHits>,
    /// What was spent, of each proxy and site that has a price or a budget or was asked this month.
    #[serde(default)]
    pub spending: Vec<MeterStatus>,
    /// What policy let not pass since the start, by why.
    #[serde(default)]
    pub denials: Vec<DenialCount>,
    /// How often sessions were made anew since the start, of those that were asked for.
    #[serde(default)]
    pub renewals: Vec<Renewals>,
}

/// How often a session's chain has run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewals {
    /// The session's name in jobs.toml.
    pub session: String,
    /// Runs that gave a session, the first one included.
    pub renewed: u64,
    /// Runs that gave none: a person has to come, or the way to the exchange was shut for a while.
    pub failed: u64,
}

/// How often a guard caught a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardHits {
    /// The rule: `wall.challenge` of those that Tollgate brings along, `jobs.toml:12` of a site's own.
    pub rule: String,
    /// Pages.
    pub hits: u64,
}

/// What a proxy or a site spends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterStatus {
    /// `proxy NAME`, `site PATTERN` or `endpoint NAME`.
    pub name: String,
    /// Bytes today, both ways, as they were transferred.
    pub bytes_today: u64,
    /// How many of them are an estimate: what tools left behind, whose traffic nobody sees.
    pub estimated_today: u64,
    /// What they cost, in billionths of a dollar; absent for a proxy whose price nobody said.
    pub nano_usd_today: Option<NanoUsd>,
    /// Bytes this month.
    pub bytes_month: u64,
    /// What they cost.
    pub nano_usd_month: Option<NanoUsd>,
    /// Its budgets.
    pub budgets: Vec<BudgetStatus>,
}

/// How a budget stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetStatus {
    /// `day` or `month`.
    pub period: String,
    /// What was spent of it, as a person reads it: `1.60 GB of 2.00 GB`.
    pub share: String,
    /// What is left, in the same unit.
    pub left: String,
    /// Hundredths that are spent.
    pub percent: u64,
    /// When it begins anew.
    pub until: Timestamp,
}

impl MeterStatus {
    pub(crate) fn new(name: &str, (day, month): (Spent, Spent), budget: Budget, price: Option<Price>) -> Self {
        // A site's bytes cost what the proxies that they came through ask.
        let is_priced = price.is_some() || (!name.starts_with("proxy ") && month.money > NanoUsd::ZERO);
        let budgets = budget.limits().map(|(kind, limit)| {
            let spent = if kind == PeriodKind::Day { day } else { month };
            let left = match limit {
                Limit::Bytes(most) => Size(most.saturating_sub(spent.bytes)).to_string(),
                Limit::Money(most) => most.saturating_sub(spent.money).to_string(),
            };
            let share = Reached { kind, limit, spent }.share();
            let until = spent.period.ends;
            BudgetStatus { period: kind.as_str().to_owned(), share, left, percent: percent(limit, spent), until }
        });
        Self {
            name: name.to_owned(),
            bytes_today: day.bytes,
            estimated_today: day.estimated,
            nano_usd_today: is_priced.then_some(day.money),
            bytes_month: month.bytes,
            nano_usd_month: is_priced.then_some(month.money),
            budgets: budgets.collect(),
        }
    }

    /// What was spent today, in one line: `1.60 GB, 13.44 USD; 300 MB of it by tools, estimated`.
    #[must_use]
    pub fn today(&self) -> String {
        let money = self.nano_usd_today.map(|money| format!(", {money}")).unwrap_or_default();
        let estimated = match self.estimated_today {
            0 => String::new(),
            bytes => format!("; {} of it by tools, estimated", Size(bytes)),
        };
        format!("{}{money}{estimated}", Size(self.bytes_today))
    }

    /// Whether there is anything to show of today.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.bytes_today > 0 || !self.budgets.is_empty()
    }
}

/// How a proxy stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Its name in jobs.toml.
    pub name: String,
    /// It is left alone until then; absent: it is up, as far as we know.
    pub down_until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
}

/// How a site stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// Host name and port, or `endpoint NAME`.
    pub site: String,
    /// Requests sent.
    pub requests: u64,
    /// Bytes of bodies received, unpacked.
    pub bytes_received: u64,
    /// Requests refused before they were sent, or answered by a refusal.
    pub refused: u64,
    /// Requests that waited for a place or for the rate's turn.
    pub waits: u64,
    /// How long they waited together, in milliseconds.
    pub waited_ms: u64,
    /// It blocked us several times in a row: once it has cooled down, one request tries while the others wait.
    pub is_open: bool,
    /// It is left alone until then; absent: it isn't.
    pub cooling_until: Option<Timestamp>,
    /// What it said last, as long as it isn't known to work again.
    pub reason: Option<String>,
}

impl GateStatus {
    /// What was denied, and which sessions were renewed, since the start: a sentence each, none of what never happened.
    #[must_use]
    pub fn since_start(&self) -> Vec<String> {
        let denied: Vec<String> =
            self.denials.iter().map(|DenialCount { why, times }| format!("{times} {why}")).collect();
        let denied = (!denied.is_empty()).then(|| format!("denied by policy: {}", denied.join(", ")));
        let renewed = self.renewals.iter().map(|Renewals { session, renewed, failed }| {
            let failed = if *failed > 0 { format!(", and {failed} times in vain") } else { String::new() };
            format!("session {session} was made or renewed {renewed} times{failed}")
        });
        denied.into_iter().chain(renewed).collect()
    }

    /// What stands in the way, a sentence each: proxies that are down, and sites that are left alone, with what was
    /// said last. `ago` says how a time until then is written.
    pub fn sentences(&self, now: Timestamp, ago: impl Fn(Short) -> String) -> Vec<String> {
        let left = |until: Timestamp| ago(Short(until.since(now)));
        let proxies = self.proxies.iter().filter_map(|proxy| {
            proxy.reason.as_ref().map(|reason| format!("proxy {} can't be used now: {reason}", proxy.name))
        });
        let sites = self.sites.iter().filter_map(|SiteStatus { site, reason, cooling_until, is_open, .. }| {
            let reason = reason.as_ref()?;
            Some(match (cooling_until, is_open) {
                (Some(until), false) => format!("{site} is left alone for another {}: {reason}", left(*until)),
                (Some(until), true) => {
                    format!("{site} goes on blocking us; one request tries in {}; last: {reason}", left(*until))
                }
                (None, _) => format!("{site} goes on blocking us; one request at a time tries; last: {reason}"),
            })
        });
        let spent = self.spending.iter().flat_map(|meter| meter.budgets.iter().map(move |budget| (meter, budget)));
        let spent = spent.filter(|(_, budget)| budget.percent >= WARNED_AT).map(|(meter, budget)| {
            let BudgetStatus { period, share, until, .. } = budget;
            let anew = left(*until);
            let what = if budget.percent >= 100 { "has spent its budget" } else { "has nearly spent its budget" };
            format!("{} {what} for this {period}, {share}; it begins anew in {anew}", meter.name)
        });
        proxies.chain(sites).chain(spent).collect()
    }
}
