//! What a service would have billed: a row for each request that costs something, whatever its client believes.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::{sync::watch, time::timeout};
use tollgate_core::{model::Tokens, money::NanoUsd};

use crate::counts::STUCK_TIME;

/// What was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// Tokens of a language model.
    Tokens(Tokens),
    /// Credits of a search service.
    Credits(u64),
    /// Audio that was heard, in milliseconds.
    Millis(u64),
}

/// One request that costs something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Billed {
    /// The host name that was asked.
    pub host: String,
    /// The model; of a search service its own name.
    pub model: String,
    /// The key that it was asked with; empty where none was needed.
    pub key: String,
    /// What was used up.
    pub amount: Amount,
    /// What that costs.
    pub cost: NanoUsd,
    /// Whether the whole answer was handed to the connection. One that was held back, broken off or given up by its
    /// client was not, and is billed all the same.
    pub is_whole: bool,
}

impl Billed {
    /// The tokens, of a model's row; none otherwise.
    pub fn tokens(&self) -> Tokens {
        match self.amount {
            Amount::Tokens(tokens) => tokens,
            Amount::Credits(_) | Amount::Millis(_) => Tokens::default(),
        }
    }
}

/// What all rows cost.
pub fn sum<'a>(rows: impl IntoIterator<Item = &'a Billed>) -> NanoUsd {
    rows.into_iter().map(|row| row.cost).sum()
}

/// Which row of a bill; one of before a reset is none of the new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowId(u64);

/// A service's bill.
#[derive(Debug, Default)]
pub(crate) struct Bill {
    rows: Mutex<(u64, BTreeMap<RowId, Billed>)>,
    /// Rows that there are.
    billed: watch::Sender<usize>,
}

impl Bill {
    // Nothing that could panic half-way happens under the lock.
    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<RowId, Billed>)> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, row: Billed) -> RowId {
        let mut bill = self.lock();
        bill.0 += 1;
        let id = RowId(bill.0);
        bill.1.insert(id, row);
        self.billed.send_replace(bill.1.len());
        id
    }

    /// Waits until there are so many rows.
    pub(crate) async fn billed(&self, rows: usize) {
        let mut billed = self.billed.subscribe();
        let waited = timeout(STUCK_TIME, billed.wait_for(|billed| *billed >= rows)).await.map(drop);
        assert!(waited.is_ok(), "nothing more is billed: {:#?}", self.rows());
    }

    /// Notes that the answer of a row went out whole.
    pub(crate) fn whole(&self, id: RowId) {
        if let Some(row) = self.lock().1.get_mut(&id) {
            row.is_whole = true;
        }
    }

    /// In the order in which they were asked.
    pub(crate) fn rows(&self) -> Vec<Billed> {
        self.lock().1.values().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.lock().1.clear();
        self.billed.send_replace(0);
    }
}
