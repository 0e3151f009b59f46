//! Which blobs are rows of `content.redb`, beside the rows themselves: to look for those that no row of the queue
//! names, and to remove them, some at a time.

use redb::{
    Database, ReadOnlyTable, ReadableTable as _, ReadableTableMetadata as _, TableDefinition, WriteTransaction,
};
use tollgate_core::Digest;

use super::{
    Shared,
    content::{BLOBS, QUEUE_BLOBS_MAX, begin},
    fault::Fault,
    tables::number_after,
};
use crate::{StoreError, stored::corrupt};

/// The digests of all blobs that are rows, those of one transaction in a row: to read a key there is to read its blob.
pub(super) const LISTED: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("listed");

/// Lists what an older program has kept.
pub(super) fn list_all(blobs: &Blobs<'_>, listed: &mut Listed<'_>) -> Result<(), Fault> {
    let mut digests = Vec::with_capacity(QUEUE_BLOBS_MAX);
    for row in blobs.iter()? {
        digests.push(Digest(*row?.0.value()));
        if digests.len() == QUEUE_BLOBS_MAX {
            list(listed, &digests)?;
            digests.clear();
        }
    }
    list(listed, &digests)
}

type Blobs<'t> = redb::Table<'t, &'static [u8; 32], &'static [u8]>;
type Listed<'t> = redb::Table<'t, u64, &'static [u8]>;

/// Lists these, in a row of their own.
pub(super) fn list(listed: &mut Listed<'_>, digests: &[Digest]) -> Result<(), Fault> {
    if digests.is_empty() {
        return Ok(());
    }
    let last = listed.last()?.map_or(0, |(number, _)| number.value());
    listed.insert(number_after("lists of blobs", last)?, list_row(digests).as_slice())?;
    Ok(())
}

fn list_row(digests: &[Digest]) -> Vec<u8> {
    digests.iter().flat_map(|digest| digest.0).collect()
}

fn of_list_row(row: &[u8]) -> Result<Vec<Digest>, StoreError> {
    let (digests, rest) = row.as_chunks::<32>();
    if rest.is_empty() {
        Ok(digests.iter().map(|digest| Digest(*digest)).collect())
    } else {
        Err(corrupt("a list of blobs is cut short"))
    }
}

/// Removes rows that a sweep has found without a name. Who keeps one of them anew is asked after that, or remembered
/// before.
pub(super) fn remove(shared: &Shared, content: &Database, rows: Vec<(u64, Vec<Digest>)>) -> Result<(u64, u64), Fault> {
    let transaction = begin(content)?;
    let removed = remove_in(shared, &transaction, rows)?;
    transaction.commit()?;
    Ok(removed)
}

fn remove_in(
    shared: &Shared,
    transaction: &WriteTransaction,
    rows: Vec<(u64, Vec<Digest>)>,
) -> Result<(u64, u64), Fault> {
    let (mut blobs, mut listed) = (transaction.open_table(BLOBS)?, transaction.open_table(LISTED)?);
    let (mut removed, mut bytes) = (0, 0);
    for (number, mut digests) in rows {
        {
            let unnamed = shared.unnamed();
            digests.retain(|digest| !unnamed.is_new(*digest));
        }
        for digest in &digests {
            if let Some(row) = blobs.remove(&digest.0)? {
                removed += 1;
                bytes += row.value().len() as u64;
            }
        }
        let mut left = listed.get(number)?.map(|row| of_list_row(row.value())).transpose()?.unwrap_or_default();
        left.retain(|digest| !digests.contains(digest));
        if left.is_empty() {
            listed.remove(number)?;
        } else {
            listed.insert(number, list_row(&left).as_slice())?;
        }
    }
    Ok((removed, bytes))
}

/// Rows that are looked for, list by list.
pub(crate) struct Found {
    /// By the number of the list that has them.
    pub(crate) rows: Vec<(u64, Vec<Digest>)>,
    /// The last list that was looked at.
    pub(crate) last: Option<u64>,
    /// Whether there are no more.
    pub(crate) is_end: bool,
}

/// Looks through the lists after `after` for rows that are meant, until there are `limit` of them; those of one list
/// stay together.
pub(crate) fn listed(
    shared: &Shared,
    after: Option<u64>,
    limit: usize,
    is_meant: impl Fn(Digest) -> bool,
) -> Result<Found, Fault> {
    let table = shared.begin_read_content()?.open_table(LISTED)?;
    let mut found = Found { rows: Vec::new(), last: after, is_end: false };
    let mut count = 0;
    for row in table.range(after.map_or(0, |after| after.saturating_add(1))..)? {
        let (number, row) = row?;
        found.last = Some(number.value());
        let mut digests = of_list_row(row.value())?;
        digests.retain(|digest| is_meant(*digest));
        count += digests.len();
        if !digests.is_empty() {
            found.rows.push((number.value(), digests));
        }
        if count >= limit {
            return Ok(found);
        }
    }
    found.is_end = true;
    Ok(found)
}

/// What is wrong with the list, in a sentence.
pub(super) fn problem(
    blobs: &ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    listed: &ReadOnlyTable<u64, &'static [u8]>,
) -> Result<Option<String>, Fault> {
    let mut count = 0;
    for row in listed.iter()? {
        match of_list_row(row?.1.value()) {
            Ok(digests) => count += digests.len() as u64,
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
    let has = blobs.len()?;
    Ok((count != has).then(|| format!("{has} blobs are rows, {count} are listed")))
}
