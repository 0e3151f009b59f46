//! Items on their way in: what discovery finds, and what a stage comes upon.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    error::{Result, StageError},
    stage::{Data, take_params},
};

/// A new item. A key that the job knows already is left alone, unless its revision differs.
///
/// A `#[data]` struct with a `#[key]` field becomes one by itself; for another key there is [`NewItem::new`].
#[derive(Debug, Clone, PartialEq)]
pub struct NewItem {
    /// Unique in its job.
    pub key: String,
    /// What is known of it, for its stages: a JSON object.
    pub data: Value,
    /// Higher goes first; 0 is usual.
    pub priority: i32,
    /// A known key with another revision reopens the item with the new data; the first one, for an item that had
    /// none, is taken down and reopens nothing.
    pub revision: Option<String>,
    /// Why the data can't be written as JSON: told when the item is handed to the host.
    unwritten: Option<String>,
}

impl NewItem {
    /// An item of that key.
    pub fn new(key: impl Into<String>, data: &impl Data) -> Self {
        let (data, unwritten) = match serde_json::to_value(data) {
            Ok(data) => (data, None),
            Err(error) => (Value::Null, Some(error.to_string())),
        };
        Self { key: key.into(), data, priority: 0, revision: None, unwritten }
    }

    /// With a priority: higher goes first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// With a revision: another one than the item's last reopens it.
    #[must_use]
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = Some(revision.into());
        self
    }

    /// The item, if the host can take it.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(error) = &self.unwritten {
            return Err(StageError::Failed(format!("data of item {:?} can't be written as JSON: {error}", self.key)));
        }
        if self.key.is_empty() {
            return Err(StageError::Failed(format!("an item has an empty key; its data: {}", self.data)));
        }
        Ok(())
    }
}

/// What is an item by itself: [`NewItem`], and `#[data]` structs with a `#[key]` field.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no item by itself",
    label = "no item: it has no key",
    note = "write `#[key]` above the field of the `#[data]` struct that is unique in the job, or make items with `NewItem::new(key, &data)`"
)]
pub trait IntoItem {
    /// The item.
    fn into_item(self) -> NewItem;
}

#[diagnostic::do_not_recommend]
impl<T: Into<NewItem>> IntoItem for T {
    fn into_item(self) -> NewItem {
        self.into()
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
    /// Where the last page ended; absent at the start of a round.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The cursor read as a number, 0 at the start of a round: for listings that are paged by number.
    #[must_use]
    pub fn page(&self) -> u64 {
        self.cursor().and_then(|cursor| cursor.parse().ok()).unwrap_or(0)
    }
}

/// What a discovery may take as a parameter: [`Round`], or a `#[params]` type.
#[diagnostic::on_unimplemented(
    message = "a discovery can't take a `{Self}`",
    label = "not something that a discovery is given",
    note = "a discovery takes `&Round` and `#[params]` types"
)]
pub trait RoundParam: Sized {
    /// Takes it out of the round.
    ///
    /// # Errors
    /// It has another shape.
    fn take(round: &Round) -> Result<Self>;

    /// The JSON Schema of the params that it reads.
    #[must_use]
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
#[doc(hidden)]
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
    pub fn all(items: impl IntoIterator<Item = impl IntoItem>) -> Self {
        Self { items: items.into_iter().map(IntoItem::into_item).collect(), cursor: None }
    }

    /// These items; the next page goes on from `cursor`, and without one the round is complete.
    pub fn page(items: impl IntoIterator<Item = impl IntoItem>, cursor: Option<String>) -> Self {
        Self { cursor, ..Self::all(items) }
    }

    /// These items, and the next page goes on from `cursor`: a number, a token of the site, whatever leads on.
    pub fn more(items: impl IntoIterator<Item = impl IntoItem>, cursor: impl ToString) -> Self {
        Self { cursor: Some(cursor.to_string()), ..Self::all(items) }
    }
}
