//! Large binaries that no stage needs any more: their rows go with the settlement that ends the last need, and then
//! their files, unless another row names the same content (P06).

use redb::ReadableTable;
use tollgate_core::{ItemId, StageIx, artifact::is_large_binary, outcome::Verdict, task::TaskState};

use super::{
    fault::Fault,
    tables::{Tables, TaskKey, task_key, task_key_stage},
    tasks::ItemTasks,
};
use crate::{
    Gone, Passing, Settlement, TaskRef,
    stored::{StoredArtifactRow, StoredGone, decode, encode},
};

/// Removes the rows of large binaries whose last need ends with this settlement, and notes that they have gone.
pub(super) fn drop_rows(
    tables: &mut Tables<'_>,
    settlement: &Settlement,
    before: &ItemTasks,
    after: &ItemTasks,
) -> Result<(), Fault> {
    let ends = |passing: &&Passing| has_passed(passing, after) && !has_passed(passing, before);
    for passing in settlement.passing.iter().filter(ends) {
        let task = TaskRef { item: settlement.task.item, stage: passing.maker };
        // Who was done before has read what its maker has just replaced: it may come to read this too, or nobody could
        // have one stage run again, and then the other.
        let is_anew = task == settlement.task && matches!(settlement.verdict, Verdict::Done(_));
        let may_be_read = |name: &[u8]| {
            let by_done = |stage| matches!(after.state(stage), Some(TaskState::Done));
            is_anew && passing.readers.iter().any(|(stage, read)| read.as_bytes() == name && by_done(*stage))
        };
        let first = task_key(task.item, task.stage);
        let mut gone = read_note(&tables.gone, &first)?.unwrap_or_default();
        let mut keys = Vec::new();
        for row in tables.artifacts.rows().range::<&[u8]>(first.as_slice()..)? {
            let (key, row) = row?;
            let Some((pending, name)) = key.value().strip_prefix(first.as_slice()).and_then(<[u8]>::split_first) else {
                break;
            };
            let StoredArtifactRow::V1(artifact) = decode("artifacts", row.value())?;
            if is_large_binary(&artifact.content_type, artifact.size) && !may_be_read(name) {
                keys.push(key.value().to_vec());
                gone.binaries = gone.binaries.saturating_add(1);
                gone.bytes = gone.bytes.saturating_add(artifact.size);
                // Others see only what an output stands on.
                let readers = passing.readers.iter().filter(|(_, read)| *pending == 0 && read.as_bytes() == name);
                gone.readers.extend(readers.map(|(stage, _)| *stage));
            }
        }
        for key in &keys {
            tables.artifacts.remove(&mut tables.files, key)?;
        }
        if !keys.is_empty() {
            write_note(tables, &first, gone)?;
        }
    }
    Ok(())
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

/// Whether its maker and all who read it, or may, have come to a good end. What has failed, or may open again by
/// itself, may want it.
fn has_passed(passing: &Passing, tasks: &ItemTasks) -> bool {
    let has_ended = |stage| {
        matches!(tasks.state(stage), Some(TaskState::Done | TaskState::Nothing { .. } | TaskState::Skipped { .. }))
    };
    let readers = passing.readers.iter().map(|(stage, _)| stage);
    has_ended(passing.maker) && readers.chain(&passing.after).all(|stage| has_ended(*stage))
}
