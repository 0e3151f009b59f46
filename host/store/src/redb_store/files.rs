//! How many rows name each file: counted with the rows, so that a file that no row names any more is known at once,
//! without a walk over all of them (P06). Blobs that are rows themselves aren't counted: most are named once, and
//! `sweep` finds those that aren't.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use tollgate_core::Digest;

use super::{
    answers,
    content::BLOB_ROW_BYTES_MAX,
    fault::Fault,
    ledger_tables::ANSWERS,
    tables::{ARTIFACTS, TaskKey, number_after},
};
use crate::{
    StoreError, StoredBlob,
    stored::{StoredArtifactRow, decode, encode},
};

/// By a file's digest, how many rows of artifacts and of kept answers name it; at least one.
pub(crate) const FILES: TableDefinition<'static, &'static [u8; 32], u64> = TableDefinition::new("files");

/// Whether a blob is a file.
pub(super) fn is_file(blob: StoredBlob) -> bool {
    blob.size > BLOB_ROW_BYTES_MAX
}

/// The counts of one transaction, opened by the first that changes one.
pub(crate) struct Files<'t> {
    transaction: &'t WriteTransaction,
    table: Option<Table<'t, &'static [u8; 32], u64>>,
    /// Those that lost their last name; one of them may have another by now.
    lost: Vec<Digest>,
}

impl<'t> Files<'t> {
    pub(crate) fn new(transaction: &'t WriteTransaction) -> Self {
        Self { transaction, table: None, lost: Vec::new() }
    }

    /// Opens the table, and makes it where there is none.
    pub(crate) fn table(&mut self) -> Result<&mut Table<'t, &'static [u8; 32], u64>, TableError> {
        let open = match self.table.take() {
            Some(open) => open,
            None => self.transaction.open_table(FILES)?,
        };
        Ok(self.table.insert(open))
    }

    /// A row more names that blob.
    pub(crate) fn name(&mut self, blob: StoredBlob) -> Result<(), Fault> {
        if !is_file(blob) {
            return Ok(());
        }
        let table = self.table()?;
        let count = table.get(&blob.digest.0)?.map_or(0, |count| count.value());
        table.insert(&blob.digest.0, number_after("names of a file", count)?)?;
        Ok(())
    }

    /// The same for an answer that is paid: a count that can't rise any more fails nobody then, and keeps the file.
    pub(crate) fn name_paid(&mut self, blob: StoredBlob) -> Result<(), Fault> {
        match self.name(blob) {
            Err(Fault::Broken(error)) => {
                tracing::error!(%error, digest = %blob.digest, "one name more of a file isn't counted");
                Ok(())
            }
            named => named,
        }
    }

    /// A row that named that blob is no more.
    pub(crate) fn unname(&mut self, blob: StoredBlob) -> Result<(), Fault> {
        if !is_file(blob) {
            return Ok(());
        }
        let table = self.table()?;
        let count = table.get(&blob.digest.0)?.map(|count| count.value());
        match count {
            Some(count @ 2..) => {
                table.insert(&blob.digest.0, count - 1)?;
            }
            Some(_) => {
                table.remove(&blob.digest.0)?;
                self.lost.push(blob.digest);
            }
            None => {
                tracing::warn!(digest = %blob.digest, "a file was named, and not counted; it stays until the next start")
            }
        }
        Ok(())
    }

    /// Takes those that lost their last name.
    pub(crate) fn take_lost(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.lost)
    }
}

/// The rows of artifacts, whose changes are counted.
pub(crate) struct Artifacts<'t>(Table<'t, &'static [u8], &'static [u8]>);

impl<'t> Artifacts<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self(transaction.open_table(ARTIFACTS)?))
    }

    /// To read them.
    pub(crate) fn rows(&self) -> &Table<'t, &'static [u8], &'static [u8]> {
        &self.0
    }

    pub(crate) fn insert(&mut self, files: &mut Files<'t>, key: &[u8], row: &StoredArtifactRow) -> Result<(), Fault> {
        files.name(row.blob())?;
        let old = self.0.insert(key, encode(row)?.as_slice())?.map(|old| named_by(old.value()));
        old.flatten().map_or(Ok(()), |old| files.unname(old))
    }

    pub(crate) fn remove(&mut self, files: &mut Files<'t>, key: &[u8]) -> Result<(), Fault> {
        let old = self.0.remove(key)?.map(|old| named_by(old.value()));
        old.flatten().map_or(Ok(()), |old| files.unname(old))
    }

    /// Removes all of a task's.
    pub(crate) fn clear(&mut self, files: &mut Files<'t>, task: &TaskKey) -> Result<(), Fault> {
        let mut after = task.to_vec();
        after.push(2);
        let mut old = Vec::new();
        self.0.retain_in::<&[u8], _>(task.as_slice()..after.as_slice(), |_, row| {
            old.extend(named_by(row));
            false
        })?;
        old.into_iter().try_for_each(|old| files.unname(old))
    }
}

/// The blob of an artifact's row. What can't be read may be replaced all the same: then its file, if it had one, stays
/// until the next start.
fn named_by(row: &[u8]) -> Option<StoredBlob> {
    match decode::<StoredArtifactRow>("artifacts", row) {
        Ok(row) => Some(row.blob()),
        Err(error) => {
            tracing::warn!(%error, "what an artifact's row named isn't known");
            None
        }
    }
}

/// Every blob that a row names, over and over where several do: artifacts of any kind, pages that are kept apart among
/// them, and kept answers. `each` is told of an unreadable row too, in its place.
pub(super) fn each_named(
    artifacts: &impl ReadableTable<&'static [u8], &'static [u8]>,
    answers: &impl ReadableTable<&'static super::ledger_tables::AnswerPlace, &'static [u8]>,
    mut each: impl FnMut(Result<StoredBlob, StoreError>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for row in artifacts.iter()? {
        each(decode::<StoredArtifactRow>("artifacts", row?.1.value()).map(|row| row.blob()))?;
    }
    for row in answers.iter()? {
        let (place, row) = row?;
        let placed = answers::placed(place.value(), row.value()).map(|(_, _, blob)| blob);
        placed.transpose().map_or(Ok(()), &mut each)?;
    }
    Ok(())
}

/// Counts all files anew: the step to schema 5. What can't be read is left out, and named as `store verify` finds it.
pub(super) fn count_all(transaction: &WriteTransaction) -> Result<(), Fault> {
    let (artifacts, answers) = (transaction.open_table(ARTIFACTS)?, transaction.open_table(ANSWERS)?);
    let mut files = Files::new(transaction);
    files.table()?;
    each_named(&artifacts, &answers, |blob| match blob {
        Ok(blob) => files.name(blob),
        Err(error) => {
            tracing::warn!(%error, "what a row names isn't known, and not counted");
            Ok(())
        }
    })
}

/// What is wrong with the counts, a sentence each.
pub(super) fn problems(snapshot: &ReadTransaction) -> Result<Vec<String>, Fault> {
    let (artifacts, answers) = (snapshot.open_table(ARTIFACTS)?, snapshot.open_table(ANSWERS)?);
    let (mut found, mut problems) = (BTreeMap::<Digest, u64>::new(), Vec::new());
    each_named(&artifacts, &answers, |blob| {
        match blob {
            Ok(blob) if is_file(blob) => *found.entry(blob.digest).or_default() += 1,
            Ok(_) => {}
            Err(error) => problems.push(format!("what a row names isn't known: {error}")),
        }
        Ok(())
    })?;
    let mut problem = |digest, has: u64, found: u64| {
        if has != found {
            problems.push(format!("file {digest} is counted as named {has} times, {found} rows name it"));
        }
    };
    for row in snapshot.open_table(FILES)?.iter()? {
        let (digest, has) = row?;
        let digest = Digest(*digest.value());
        problem(digest, has.value(), found.remove(&digest).unwrap_or(0));
    }
    found.into_iter().for_each(|(digest, found)| problem(digest, 0, found));
    Ok(problems)
}
