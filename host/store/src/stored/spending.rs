//! What a proxy or a site has spent, on disk.

use serde::{Deserialize, Serialize};
use tollgate_core::{
    Timestamp,
    budget::{Spending, Spent},
    calendar::Period,
    money::NanoUsd,
};

/// Twin of [`Spending`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredSpending {
    /// From schema 3.
    V1 { day: StoredSpent, month: StoredSpent },
}

/// Twin of [`Spent`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredSpent {
    begins_ms: u64,
    ends_ms: u64,
    bytes: u64,
    estimated: u64,
    nano_usd: u64,
    is_warned: bool,
}

impl From<Spent> for StoredSpent {
    fn from(spent: Spent) -> Self {
        let Spent { period, bytes, estimated, money, is_warned } = spent;
        let (begins_ms, ends_ms) = (period.begins.0, period.ends.0);
        Self { begins_ms, ends_ms, bytes, estimated, nano_usd: money.0, is_warned }
    }
}

impl From<StoredSpent> for Spent {
    fn from(row: StoredSpent) -> Self {
        let StoredSpent { begins_ms, ends_ms, bytes, estimated, nano_usd, is_warned } = row;
        let period = Period { begins: Timestamp(begins_ms), ends: Timestamp(ends_ms) };
        Self { period, bytes, estimated, money: NanoUsd(nano_usd), is_warned }
    }
}

impl From<Spending> for StoredSpending {
    fn from(spending: Spending) -> Self {
        Self::V1 { day: spending.day.into(), month: spending.month.into() }
    }
}

impl From<StoredSpending> for Spending {
    fn from(row: StoredSpending) -> Self {
        let StoredSpending::V1 { day, month } = row;
        Self { day: day.into(), month: month.into() }
    }
}
