//! A job's key-value state: entries with versions, changed all or none.

use redb::ReadableTable;
use tollgate_core::JobId;

use super::{
    fault::Fault,
    tables::{number_after, text_key},
    writer::Batch,
};
use crate::{
    StateChange, StateEntry, StoreError,
    stored::{StoredStateEntry, StoredStateV1, decode, encode},
};

/// Longest key of a state entry, in bytes: a name or a URL, not a document.
pub const STATE_KEY_BYTES_MAX: usize = 2_048;
/// Most bytes of one value: a registry of names fits, a page doesn't; that is an artifact.
pub const STATE_VALUE_BYTES_MAX: usize = 1 << 20;
/// Most changes that are applied at once, and most bytes of them together: they share one transaction.
pub const STATE_CHANGES_MAX: usize = 10_000;
/// See [`STATE_CHANGES_MAX`].
pub const STATE_CHANGES_BYTES_MAX: usize = 8 << 20;

/// Most keys of one page.
pub const STATE_KEYS_PAGE_MAX: usize = 10_000;

/// Whether changes keep within the limits; answers their bytes.
pub(crate) fn check(changes: &[StateChange]) -> Result<usize, StoreError> {
    let limit = |what, found: usize, max: usize| {
        if found > max { Err(StoreError::TooLarge { what, bytes: found as u64, max: max as u64 }) } else { Ok(()) }
    };
    limit("a list of state changes", changes.len(), STATE_CHANGES_MAX)?;
    let mut bytes = 0;
    for change in changes {
        let value = change.value.as_ref().map_or(0, Vec::len);
        limit("a key of the job's state", change.key.len(), STATE_KEY_BYTES_MAX)?;
        limit("a value of the job's state", value, STATE_VALUE_BYTES_MAX)?;
        bytes += change.key.len() + value;
    }
    limit("a list of state changes", bytes, STATE_CHANGES_BYTES_MAX)?;
    Ok(bytes)
}

/// Applies them in the writer's batch: all expectations are held against what was before any of them.
pub(crate) fn apply(batch: &mut Batch<'_>, job: JobId, changes: &[StateChange]) -> Result<(), Fault> {
    batch.jobs.get(job).map_err(Fault::Refused)?;
    for change in changes {
        let Some(expect) = change.expect else {
            continue;
        };
        let found = get(&batch.tables.state, job, &change.key)?.map_or(0, |entry| entry.version);
        if found != expect {
            return Err(Fault::Refused(StoreError::Conflict(change.key.clone())));
        }
    }
    for change in changes {
        let key = text_key(job, &change.key);
        match &change.value {
            None => drop(batch.tables.state.remove(key.as_slice())?),
            Some(value) => {
                // One count for the job, so that an entry that went and came back has another version (no ABA).
                let totals = &mut batch.jobs.get_mut(job)?.totals;
                let version = totals.next_state_version;
                totals.next_state_version = number_after("versions of the job's state", version)?;
                let row = encode(&StoredStateEntry::V1(StoredStateV1 { version, value }))?;
                batch.tables.state.insert(key.as_slice(), row.as_slice())?;
            }
        }
    }
    Ok(())
}

/// Reads an entry.
pub(crate) fn get(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    job: JobId,
    key: &str,
) -> Result<Option<StateEntry>, Fault> {
    let Some(row) = table.get(text_key(job, key).as_slice())? else {
        return Ok(None);
    };
    let StoredStateEntry::V1(entry) = decode("state", row.value())?;
    Ok(Some(StateEntry { value: entry.value.to_vec(), version: entry.version }))
}

/// Keys that begin with `prefix`, after `cursor`, at most `limit`; and whether there are more.
pub(crate) fn keys(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    job: JobId,
    prefix: &str,
    cursor: Option<&str>,
    limit: usize,
) -> Result<(Vec<String>, bool), Fault> {
    let start = text_key(job, cursor.filter(|cursor| *cursor >= prefix).unwrap_or(prefix));
    let wanted = text_key(job, prefix);
    let mut keys = Vec::new();
    for row in table.range::<&[u8]>(start.as_slice()..)? {
        let (key, _) = row?;
        let key = key.value();
        if !key.starts_with(&wanted) {
            break;
        }
        let text = std::str::from_utf8(&key[4..]).map_err(|error| StoreError::Corrupt(format!("state: {error}")))?;
        if cursor == Some(text) {
            continue;
        }
        if keys.len() == limit {
            return Ok((keys, true));
        }
        keys.push(text.to_owned());
    }
    Ok((keys, false))
}
