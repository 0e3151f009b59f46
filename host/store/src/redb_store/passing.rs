//! Large binaries that no stage needs any more: their rows go with the settlement that ends the last need, and then their
//! files, unless another row names the same content (P06).

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::ErrorKind,
};

use redb::ReadableTable;
use tollgate_core::{Digest, ItemId, StageIx, artifact::is_large_binary, outcome::Verdict, task::TaskState};

use super::{
    Shared,
    content::{BLOB_ROW_BYTES_MAX, file_of},
    fault::Fault,
    tables::{ARTIFACTS, Tables, TaskKey, task_key, task_key_stage},
    tasks::ItemTasks,
};
use crate::{
    Gone, Passing, Settlement, TaskRef,
    stored::{StoredArtifactRow, StoredGone, decode, encode},
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

/// Removes the rows of large binaries whose last need ends with this settlement, and notes that they have gone; answers
/// what they named.
pub(super) fn drop_rows(
    tables: &mut Tables<'_>,
    settlement: &Settlement,
    before: &ItemTasks,
    after: &ItemTasks,
) -> Result<Vec<Digest>, Fault> {
    let mut dropped = Vec::new();
    let ends = |passing: &&Passing| has_passed(passing, after) && !has_passed(passing, before);
    for passing in settlement.passing.iter().filter(ends) {
        let task = TaskRef { item: settlement.task.item, stage: passing.maker };
        // Who was done before has read what its maker has just replaced: it may come to read this too, or nobody could have
        // one stage run again, and then the other.
        let is_anew = task == settlement.task && matches!(settlement.verdict, Verdict::Done(_));
        let may_be_read = |name: &[u8]| {
            let by_done = |stage| matches!(after.state(stage), Some(TaskState::Done));
            is_anew && passing.readers.iter().any(|(stage, read)| read.as_bytes() == name && by_done(*stage))
        };
        let first = task_key(task.item, task.stage);
        let mut gone = read_note(&tables.gone, &first)?.unwrap_or_default();
        let mut keys = Vec::new();
        for row in tables.artifacts.range::<&[u8]>(first.as_slice()..)? {
            let (key, row) = row?;
            let Some((pending, name)) = key.value().strip_prefix(first.as_slice()).and_then(<[u8]>::split_first) else {
                break;
            };
            let StoredArtifactRow::V1(artifact) = decode("artifacts", row.value())?;
            if is_large_binary(&artifact.content_type, artifact.size) && !may_be_read(name) {
                keys.push(key.value().to_vec());
                dropped.push(Digest(artifact.digest));
                gone.binaries = gone.binaries.saturating_add(1);
                gone.bytes = gone.bytes.saturating_add(artifact.size);
                // Others see only what an output stands on.
                let readers = passing.readers.iter().filter(|(_, read)| *pending == 0 && read.as_bytes() == name);
                gone.readers.extend(readers.map(|(stage, _)| *stage));
            }
        }
        for key in &keys {
            tables.artifacts.remove(key.as_slice())?;
        }
        if !keys.is_empty() {
            write_note(tables, &first, gone)?;
        }
    }
    Ok(dropped)
}

/// Large binaries of a task that have gone.
#[derive(Debug, Default)]
struct Note {
    binaries: u64,
    bytes: u64,
    /// Who declared to read one of them.
    readers: Vec<StageIx>,
}

impl Note {
    fn of(row: &[u8]) -> Result<Self, Fault> {
        let StoredGone::V1 { binaries, bytes, readers } = decode("gone", row)?;
        Ok(Self { binaries, bytes, readers: readers.into_iter().map(StageIx).collect() })
    }

    fn gone(&self) -> Gone {
        Gone { items: 1, binaries: self.binaries, bytes: self.bytes }
    }
}

fn read_note(
    notes: &impl ReadableTable<&'static TaskKey, &'static [u8]>,
    task: &TaskKey,
) -> Result<Option<Note>, Fault> {
    notes.get(task)?.map(|row| Note::of(row.value())).transpose()
}

fn write_note(tables: &mut Tables<'_>, task: &TaskKey, note: Note) -> Result<(), Fault> {
    let mut readers: Vec<u16> = note.readers.into_iter().map(|stage| stage.0).collect();
    readers.sort_unstable();
    readers.dedup();
    let row = StoredGone::V1 { binaries: note.binaries, bytes: note.bytes, readers };
    tables.gone.insert(task, encode(&row)?.as_slice())?;
    Ok(())
}

/// What has gone of the large binaries that a task left.
pub(super) fn gone(
    notes: &impl ReadableTable<&'static TaskKey, &'static [u8]>,
    task: TaskRef,
) -> Result<Option<Gone>, Fault> {
    Ok(read_note(notes, &task_key(task.item, task.stage))?.map(|note| note.gone()))
}

/// What has gone that a stage reads, by the stage that left it: as was declared when it went.
pub(super) fn read_and_gone(
    notes: &impl ReadableTable<&'static TaskKey, &'static [u8]>,
    item: ItemId,
    reader: StageIx,
) -> Result<Vec<(StageIx, Gone)>, Fault> {
    let mut all = Vec::new();
    let (first, last) = (task_key(item, StageIx(0)), task_key(item, StageIx(u16::MAX)));
    for row in notes.range::<&TaskKey>(&first..=&last)? {
        let (key, row) = row?;
        let note = Note::of(row.value())?;
        if note.readers.contains(&reader) {
            all.push((task_key_stage(key.value()), note.gone()));
        }
    }
    Ok(all)
}

/// What is wrong with a row, in a sentence.
pub(super) fn problem(row: &[u8]) -> Option<String> {
    match decode::<StoredGone>("gone", row) {
        Err(error) => Some(format!("what has gone of a task can't be read: {error}")),
        Ok(StoredGone::V1 { binaries: 0, .. }) => Some("of a task nothing has gone, and it is noted".to_owned()),
        Ok(_) => None,
    }
}

/// Whether its maker and all who read it, or may, have come to a good end. What has failed, or may open again by itself, may want it.
fn has_passed(passing: &Passing, tasks: &ItemTasks) -> bool {
    let has_ended = |stage| {
        matches!(tasks.state(stage), Some(TaskState::Done | TaskState::Nothing { .. } | TaskState::Skipped { .. }))
    };
    let readers = passing.readers.iter().map(|(stage, _)| stage);
    has_ended(passing.maker) && readers.chain(&passing.after).all(|stage| has_ended(*stage))
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
