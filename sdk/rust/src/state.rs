//! Key-value state of the job, shared by its items: cursors, registries, aliases. Writes are durable at once,
//! whatever becomes of the stage's output: a stage that runs twice writes twice. Keep sets, not counters.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    backend,
    error::{Result, StageError, StateError},
};

/// Times that [`update`] tries again when another writer came first.
const UPDATE_TRIES: u32 = 20;

/// An entry of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: Vec<u8>,
    /// Rises with each write.
    pub version: u64,
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which entry.
    pub key: String,
    /// Its new value; absent: it goes.
    pub value: Option<Vec<u8>>,
    /// Only if the entry is at that version; 0: only if there is none.
    pub expect: Option<u64>,
}

/// A page of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// In order.
    pub keys: Vec<String>,
    /// Where the next page begins.
    pub cursor: Option<String>,
}

/// Reads an entry.
///
/// # Errors
/// The store refused.
pub fn entry(key: &str) -> Result<Option<Entry>, StateError> {
    backend::state_get(key)
}

/// Deletes an entry, whatever was there.
///
/// # Errors
/// The store refused.
pub fn delete(key: &str) -> Result<(), StateError> {
    apply(&[Change { key: key.to_owned(), value: None, expect: None }])
}

/// Reads a value kept as JSON.
///
/// # Errors
/// The store refused, or the value has another shape.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>> {
    match entry(key)? {
        Some(entry) => Ok(Some(serde_json::from_slice(&entry.value)?)),
        None => Ok(None),
    }
}

/// Writes a value as JSON, whatever was there.
///
/// # Errors
/// The store refused.
pub fn set(key: &str, value: &impl Serialize) -> Result<()> {
    let value = Some(serde_json::to_vec(value)?);
    Ok(apply(&[Change { key: key.to_owned(), value, expect: None }])?)
}

/// Reads, changes and writes a value; tries again where another writer came first.
///
/// # Errors
/// The store refused, or others kept coming first.
pub fn update<T: DeserializeOwned + Serialize>(key: &str, change: impl Fn(Option<T>) -> T) -> Result<T> {
    for _ in 0..UPDATE_TRIES {
        let before = entry(key)?;
        let expect = Some(before.as_ref().map_or(0, |entry| entry.version));
        let value = before.map(|entry| serde_json::from_slice(&entry.value)).transpose()?;
        let after = change(value);
        let value = Some(serde_json::to_vec(&after)?);
        match apply(&[Change { key: key.to_owned(), value, expect }]) {
            Ok(()) => return Ok(after),
            Err(StateError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StageError::retry_later(format!("state {key:?} is contended")))
}

/// Applies a batch: all of it, or none.
///
/// # Errors
/// An `expect` didn't hold, or the store refused.
pub fn apply(changes: &[Change]) -> Result<(), StateError> {
    backend::state_apply(changes)
}

/// Keys that begin with `prefix`, a page at a time.
///
/// # Errors
/// The store refused.
pub fn keys(prefix: &str, cursor: Option<&str>) -> Result<Keys, StateError> {
    backend::state_keys(prefix, cursor)
}
