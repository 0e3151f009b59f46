//! Large binaries that no stage needs any more: their rows go with the settlement that ends the last need, and then their
//! files, unless another row names the same content (P06).

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::ErrorKind,
};

use redb::ReadableTable as _;
use tollgate_core::{Digest, artifact::is_large_binary, task::TaskState};

use super::{
    Shared,
    content::{BLOB_ROW_BYTES_MAX, file_of},
    fault::Fault,
    tables::{ARTIFACTS, Tables, task_key},
    tasks::ItemTasks,
};
use crate::{
    Passing, Settlement,
    stored::{StoredArtifactRow, decode},
};

/// Files of blobs that are kept, and that no row names yet, by how often they were kept: whoever has one means to name it.
#[derive(Debug, Default)]
pub(crate) struct Unnamed(HashMap<Digest, u32>);

impl Unnamed {
    pub(super) fn put(&mut self, digest: Digest) {
        *self.0.entry(digest).or_default() += 1;
    }

    /// A row names it now, or one that named it goes on to.
    pub(super) fn named(&mut self, digest: Digest) {
        if let Some(count) = self.0.get_mut(&digest) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&digest);
            }
        }
    }

    fn has(&self, digest: Digest) -> bool {
        self.0.contains_key(&digest)
    }
}

/// The files that a settlement names and the task's rows haven't named before. Each counts once, under however many names it is
/// kept: another attempt may be about to name the same content, and its own count must stay. Rather too few than too many.
pub(super) fn named_anew(tables: &Tables<'_>, settlement: &Settlement) -> Result<BTreeSet<Digest>, Fault> {
    let files = settlement.artifacts.iter().map(|artifact| artifact.blob);
    let mut files: BTreeSet<Digest> =
        files.filter(|blob| blob.size > BLOB_ROW_BYTES_MAX).map(|blob| blob.digest).collect();
    if !files.is_empty() {
        let task = task_key(settlement.task.item, settlement.task.stage);
        for row in tables.artifacts.range::<&[u8]>(task.as_slice()..)? {
            let (key, row) = row?;
            if !key.value().starts_with(&task) {
                break;
            }
            let StoredArtifactRow::V1(artifact) = decode("artifacts", row.value())?;
            files.remove(&Digest(artifact.digest));
        }
    }
    Ok(files)
}

/// Removes the rows of large binaries whose last need ends with this settlement; answers what they named.
pub(super) fn drop_rows(
    tables: &mut Tables<'_>,
    settlement: &Settlement,
    before: &ItemTasks,
    after: &ItemTasks,
) -> Result<Vec<Digest>, Fault> {
    let mut dropped = Vec::new();
    let ends = |passing: &&Passing| has_passed(passing, after) && !has_passed(passing, before);
    for passing in settlement.passing.iter().filter(ends) {
        let first = task_key(settlement.task.item, passing.maker);
        let mut keys = Vec::new();
        for row in tables.artifacts.range::<&[u8]>(first.as_slice()..)? {
            let (key, row) = row?;
            if !key.value().starts_with(&first) {
                break;
            }
            let StoredArtifactRow::V1(artifact) = decode("artifacts", row.value())?;
            if is_large_binary(&artifact.content_type, artifact.size) {
                keys.push(key.value().to_vec());
                dropped.push(Digest(artifact.digest));
            }
        }
        for key in keys {
            tables.artifacts.remove(key.as_slice())?;
        }
    }
    Ok(dropped)
}

/// Whether its maker and all who read it, or may, have come to a good end. What has failed, or may open again by itself, may want it.
fn has_passed(passing: &Passing, tasks: &ItemTasks) -> bool {
    let has_ended = |stage| {
        matches!(tasks.state(stage), Some(TaskState::Done | TaskState::Nothing { .. } | TaskState::Skipped { .. }))
    };
    has_ended(passing.maker) && passing.readers.iter().chain(&passing.after).all(|stage| has_ended(*stage))
}

/// Removes the files that no row names and that nobody is about to name. Who else names one, only all rows together say:
/// that takes a moment, and comes as seldom as such a file. What can't be looked up or removed stays, and is told.
pub(super) fn forget(shared: &Shared, digests: &[Digest]) {
    // Held while rows are read: who is about to name one has kept it before, and is known here until that is durable.
    let unnamed = shared.unnamed();
    let named = match named(shared, digests) {
        Ok(named) => named,
        Err(fault) => {
            let error = crate::StoreError::from(fault);
            tracing::warn!(%error, files = digests.len(), "files that no stage needs stay: rows can't be read");
            return;
        }
    };
    for digest in digests.iter().filter(|digest| !named.contains(digest) && !unnamed.has(**digest)) {
        match fs::remove_file(file_of(&shared.folder, *digest)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%digest, %error, "a file that no stage needs can't be removed");
            }
            _ => tracing::debug!(%digest, "a file that no stage needs is removed"),
        }
    }
}

/// Those that a row names.
fn named(shared: &Shared, digests: &[Digest]) -> Result<BTreeSet<Digest>, Fault> {
    let mut named = BTreeSet::new();
    for row in shared.begin_read()?.open_table(ARTIFACTS)?.iter()? {
        let StoredArtifactRow::V1(artifact) = decode("artifacts", row?.1.value())?;
        let digest = Digest(artifact.digest);
        if artifact.size > BLOB_ROW_BYTES_MAX && digests.contains(&digest) {
            named.insert(digest);
        }
    }
    Ok(named)
}
