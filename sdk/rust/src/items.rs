//! Items on their way in: what discovery finds, and what a stage comes upon.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::Result,
    stage::{Data, take_params},
};

/// A new item. A key that the job knows already is left alone, unless its revision differs.
#[derive(Debug, Clone, PartialEq)]
pub struct NewItem {
    /// Unique in its job.
    pub key: String,
    /// What is known of it, for its stages: a JSON object.
    pub data: Value,
    /// Higher goes first; 0 is usual.
    pub priority: i32,
    /// A known key with another revision reopens the item with the new data.
    pub revision: Option<String>,
}

impl NewItem {
    /// An item of that key.
    ///
    /// # Errors
    /// The data can't be written as JSON.
    pub fn new(key: impl Into<String>, data: &(impl Data + Serialize)) -> Result<Self> {
        Ok(Self { key: key.into(), data: serde_json::to_value(data)?, priority: 0, revision: None })
    }

    /// With a priority: higher goes first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// With a revision: another one reopens the item.
    #[must_use]
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = Some(revision.into());
        self
    }
}

/// One page of discovery, as asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Round {
    /// The job.
    pub job: String,
    /// The job's params.
    pub params: Value,
    /// Where the last page ended; absent at the start of a round.
    pub cursor: Option<String>,
}

impl Round {
    /// The cursor read as a number, from 0 at the start of a round: for listings that are paged by number.
    #[must_use]
    pub fn page(&self) -> u64 {
        self.cursor.as_deref().and_then(|cursor| cursor.parse().ok()).unwrap_or(0)
    }
}

/// What a discovery may take as a parameter: [`Round`], or a `#[params]` type.
#[diagnostic::on_unimplemented(
    message = "a discovery can't take a `{Self}`",
    note = "a discovery takes `&Round` and `#[params]` types"
)]
pub trait RoundParam: Sized {
    /// Takes it out of the round.
    ///
    /// # Errors
    /// It has another shape.
    fn take(round: &Round) -> Result<Self>;

    /// The JSON Schema of the params that it reads.
    fn params_schema() -> Option<Value> {
        None
    }
}

impl RoundParam for Round {
    fn take(round: &Round) -> Result<Self> {
        Ok(round.clone())
    }
}

/// Takes params for a discovery.
///
/// # Errors
/// They don't have the shape of `T`: names the param.
pub fn take_round_params<T: DeserializeOwned>(round: &Round) -> Result<T> {
    take_params(&round.params)
}

/// What a page of discovery found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// In the order in which they are to be queued.
    pub items: Vec<NewItem>,
    /// Where to go on; absent: the round is complete.
    pub cursor: Option<String>,
}

impl Found {
    /// These items, and the round is complete.
    #[must_use]
    pub fn all(items: Vec<NewItem>) -> Self {
        Self { items, cursor: None }
    }

    /// These items, and more from `cursor` on.
    #[must_use]
    pub fn more(items: Vec<NewItem>, cursor: impl Into<String>) -> Self {
        Self { items, cursor: Some(cursor.into()) }
    }
}
