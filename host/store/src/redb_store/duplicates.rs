//! Pages that several items hold (S11): who holds which, the flag on their outputs, and taking a page back from all.
//!
//! A holder is a task whose output stands on the page. Each item is written down once for a page, and each request that
//! was made once: the same page by the same request is no copy, however many items need it. The others that made it
//! share it: they are no copies, and are taken back with the rest.

use redb::ReadableTable;
use tollgate_core::{Digest, ItemId, Lane, StageIx, Timestamp, outcome::Verdict, task::TaskState};

use super::{
    apart::{Again, artifacts, queue_again, set_apart},
    fault::Fault,
    jobs::Spec,
    tables::{Tables, holders_key, sharer_key, sharer_place, sharers_range, task_key},
    tasks::read_item,
    writer::Batch,
};
use crate::{
    Duplicate, KeptPage, PageCopy, Settled, Settlement, StoreError, TakeBack, TaskRef,
    stored::{
        StoredHolder, StoredHolders, StoredOutput, StoredOutputV1, StoredPage, StoredPages, corrupt, decode, encode,
        half,
    },
};

/// How the flag begins that all who hold one page have.
pub const POSSIBLE_DUPLICATE: &str = "possible-duplicate";
/// Other holders that a flag or an error names; the rest is counted.
const NAMED_MAX: usize = 3;
/// Longest address that is kept with a page, in bytes; of a longer one the beginning.
const URL_BYTES_MAX: usize = 2_048;

/// Who holds a page.
#[derive(Default)]
struct Holders {
    caught: u32,
    all: Vec<StoredHolder>,
}

impl Holders {
    fn read(
        table: &impl ReadableTable<&'static super::tables::HoldersKey, &'static [u8]>,
        lane: Lane,
        signature: &[u8; 16],
    ) -> Result<Self, Fault> {
        let Some(row) = table.get(&holders_key(lane, signature))? else {
            return Ok(Self::default());
        };
        let StoredHolders::V1 { caught, holders } = decode(HOLDERS_NAME, row.value())?;
        Ok(Self { caught, all: holders })
    }

    /// Writes them; a page that nobody holds and that was never caught is forgotten.
    fn write(self, tables: &mut Tables<'_>, lane: Lane, signature: &[u8; 16]) -> Result<(), Fault> {
        let key = holders_key(lane, signature);
        if self.all.is_empty() && self.caught == 0 {
            tables.holders.remove(&key)?;
            return Ok(());
        }
        let row = encode(&StoredHolders::V1 { caught: self.caught, holders: self.all })?;
        tables.holders.insert(&key, row.as_slice())?;
        Ok(())
    }

    /// Holders that are neither that item nor of that address.
    fn beside(&self, item: ItemId, asked: Option<&[u8; 16]>) -> impl Iterator<Item = ItemId> {
        let asked = asked.copied();
        let is_other = move |holder: &&StoredHolder| holder.item != item.0 && Some(holder.asked) != asked;
        self.all.iter().filter(is_other).map(|holder| ItemId(holder.item))
    }
}

const HOLDERS_NAME: &str = "holders";

fn lane(spec: &Spec, stage: StageIx) -> Lane {
    Lane { job: spec.id, stage }
}

/// Refuses a settlement whose page more items were served than may be.
pub(crate) fn check(batch: &Batch<'_>, spec: &Spec, settlement: &Settlement) -> Result<(), Fault> {
    if !matches!(settlement.verdict, Verdict::Done(_)) {
        return Ok(());
    }
    let task = settlement.task;
    for copy in settlement.pages.iter().filter_map(|page| page.copy) {
        let PageCopy { signature, asked, items_max } = copy;
        let holders = Holders::read(&batch.tables.holders, lane(spec, task.stage), &half(&signature.0))?;
        let others: Vec<ItemId> = holders.beside(task.item, Some(&half(&asked.0))).collect();
        let items = others.len() as u64 + 1;
        if items > u64::from(items_max) || holders.caught > items_max {
            let others = others.iter().take(NAMED_MAX).map(|item| key_of(batch, *item)).collect::<Result<_, _>>()?;
            let items = items.max(u64::from(holders.caught));
            return Err(Fault::Refused(StoreError::Duplicate(Box::new(Duplicate { signature, items, others }))));
        }
    }
    Ok(())
}

/// Writes down the pages of a settled task, and who holds them from now on. Answers the flag of its output.
pub(crate) fn hold(batch: &mut Batch<'_>, spec: &Spec, settlement: &Settlement) -> Result<Option<String>, Fault> {
    let task = settlement.task;
    let key = task_key(task.item, task.stage);
    match &settlement.verdict {
        Verdict::Done(_) => {}
        // Its last good output serves no more, but what that stood on is still kept.
        Verdict::Nothing(_) | Verdict::Reject(_) | Verdict::Skipped(_) => {
            let_go(batch, spec, task)?;
            keep_beside(&mut batch.tables, settlement)?;
            return Ok(None);
        }
        Verdict::Failed(_) | Verdict::Later { .. } => {
            keep_beside(&mut batch.tables, settlement)?;
            return Ok(None);
        }
    }
    let lane = lane(spec, task.stage);
    let mut changed = Vec::new();
    for old in read_pages(&batch.tables.pages, task)?.into_iter().filter_map(|page| page.held) {
        changed.extend(leave(&mut batch.tables, lane, task.item, &old)?);
    }
    let pages = settlement.pages.iter().map(|page| stored(page, true)).collect::<Vec<_>>();
    for copy in settlement.pages.iter().filter_map(|page| page.copy) {
        let (signature, asked) = (half(&copy.signature.0), half(&copy.asked.0));
        let mut holders = Holders::read(&batch.tables.holders, lane, &signature)?;
        if holders.all.iter().any(|holder| holder.item == task.item.0) {
            continue;
        }
        let sharer = sharer_key(lane, &signature, task.item);
        if holders.all.iter().any(|holder| holder.asked == asked) {
            batch.tables.sharers.insert(&sharer, asked)?;
            continue;
        }
        batch.tables.sharers.remove(&sharer)?;
        changed.extend(holders.beside(task.item, None));
        holders.all.push(StoredHolder { item: task.item.0, asked });
        holders.write(&mut batch.tables, lane, &signature)?;
    }
    write_pages(&mut batch.tables, task, pages)?;
    changed.sort_unstable();
    changed.dedup();
    for item in changed {
        flag_again(batch, spec, TaskRef { item, stage: task.stage })?;
    }
    if batch.tables.pages.get(&key)?.is_none() { Ok(None) } else { flag(batch, lane, task) }
}

/// An attempt that made no output keeps its pages beside those that the last output stands on, as far as artifacts name
/// them.
fn keep_beside(tables: &mut Tables<'_>, settlement: &Settlement) -> Result<(), Fault> {
    if settlement.pages.is_empty() {
        return Ok(());
    }
    let task = settlement.task;
    let mut pages = read_pages(&tables.pages, task)?;
    for page in &settlement.pages {
        pages.retain(|old| old.blob != page.blob.0 || old.held.is_some());
        if !pages.iter().any(|old| old.blob == page.blob.0) {
            pages.push(stored(page, false));
        }
    }
    let mut named: Vec<[u8; 32]> = settlement.artifacts.iter().map(|artifact| artifact.blob.digest.0).collect();
    named.extend(artifacts(tables, task)?.into_iter().map(|one| one.digest.0));
    pages.retain(|page| named.contains(&page.blob));
    write_pages(tables, task, pages)
}

fn stored(page: &KeptPage, holds: bool) -> StoredPage {
    let mut stored = StoredPage::new(page, holds);
    let mut end = stored.url.len().min(URL_BYTES_MAX);
    while !stored.url.is_char_boundary(end) {
        end -= 1;
    }
    stored.url.truncate(end);
    stored
}

/// The pages of a task.
pub(crate) fn read_pages(
    table: &impl ReadableTable<&'static super::tables::TaskKey, &'static [u8]>,
    task: TaskRef,
) -> Result<Vec<StoredPage>, Fault> {
    let Some(row) = table.get(&task_key(task.item, task.stage))? else {
        return Ok(Vec::new());
    };
    let StoredPages::V1(pages) = decode("pages", row.value())?;
    Ok(pages)
}

fn write_pages(tables: &mut Tables<'_>, task: TaskRef, pages: Vec<StoredPage>) -> Result<(), Fault> {
    let key = task_key(task.item, task.stage);
    if pages.is_empty() {
        tables.pages.remove(&key)?;
    } else {
        tables.pages.insert(&key, encode(&StoredPages::V1(pages))?.as_slice())?;
    }
    Ok(())
}

/// Who shares the request of one of the page's holders, with what was asked for.
fn sharers<'t>(
    tables: &'t Tables<'_>,
    lane: Lane,
    signature: &[u8; 16],
) -> Result<impl Iterator<Item = Result<StoredHolder, Fault>> + 't, Fault> {
    let (first, last) = sharers_range(lane, signature);
    let rows = tables.sharers.range::<&super::tables::SharerKey>(&first..=&last)?;
    Ok(rows.map(|row| {
        let (key, asked) = row?;
        Ok(StoredHolder { item: sharer_place(key.value()).1.0, asked: asked.value() })
    }))
}

/// An item holds a page no more; whoever shares its request holds it in its place. Answers those who hold it now.
fn leave(tables: &mut Tables<'_>, lane: Lane, item: ItemId, signature: &[u8; 16]) -> Result<Vec<ItemId>, Fault> {
    let mut holders = Holders::read(&tables.holders, lane, signature)?;
    tables.sharers.remove(&sharer_key(lane, signature, item))?;
    let Some(place) = holders.all.iter().position(|holder| holder.item == item.0) else {
        return Ok(Vec::new());
    };
    let gone = holders.all.remove(place);
    let is_same = |sharer: &Result<StoredHolder, Fault>| !sharer.as_ref().is_ok_and(|one| one.asked != gone.asked);
    let next = sharers(tables, lane, signature)?.find(is_same).transpose()?;
    if let Some(next) = next {
        tables.sharers.remove(&sharer_key(lane, signature, ItemId(next.item)))?;
        holders.all.push(next);
    }
    let left = holders.beside(item, None).collect();
    holders.write(tables, lane, signature)?;
    Ok(left)
}

/// The flag of an output that stands on pages which others hold too.
fn flag(batch: &Batch<'_>, lane: Lane, task: TaskRef) -> Result<Option<String>, Fault> {
    let mut others: Vec<ItemId> = Vec::new();
    for signature in read_pages(&batch.tables.pages, task)?.iter().filter_map(|page| page.held) {
        let holders = Holders::read(&batch.tables.holders, lane, &signature)?;
        if holders.all.iter().any(|holder| holder.item == task.item.0) {
            others.extend(holders.beside(task.item, None));
        } else if let Some(asked) = batch.tables.sharers.get(&sharer_key(lane, &signature, task.item))? {
            // Who made the same request as a holder holds the page as that one does. It is flagged as it settles.
            others.extend(holders.beside(task.item, Some(&asked.value())));
        }
    }
    others.sort_unstable();
    others.dedup();
    if others.is_empty() {
        return Ok(None);
    }
    let named = others.iter().take(NAMED_MAX).map(|item| key_of(batch, *item).map(|key| key.to_string()));
    let named = named.collect::<Result<Vec<_>, _>>()?.join(", ");
    let more = others.len().saturating_sub(NAMED_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Ok(Some(format!("{POSSIBLE_DUPLICATE}: the same page as {named}{more}")))
}

/// Gives an output the flag that it has by now, in place of the one that it had.
fn flag_again(batch: &mut Batch<'_>, spec: &Spec, task: TaskRef) -> Result<(), Fault> {
    let flag = flag(batch, lane(spec, task.stage), task)?;
    let key = task_key(task.item, task.stage);
    let row = {
        let Some(row) = batch.tables.outputs.get(&key)? else {
            return Ok(());
        };
        let StoredOutput::V1(output) = decode("outputs", row.value())?;
        encode(&StoredOutput::V1(StoredOutputV1 { quality_flags: with_flag(output.quality_flags, flag), ..output }))?
    };
    batch.tables.outputs.insert(&key, row.as_slice())?;
    Ok(())
}

/// The flags of an output with that of a duplicate, or without one.
pub(crate) fn with_flag(mut flags: Vec<String>, flag: Option<String>) -> Vec<String> {
    flags.retain(|old| !old.starts_with(&format!("{POSSIBLE_DUPLICATE}: ")));
    flags.extend(flag);
    flags
}

fn key_of(batch: &Batch<'_>, item: ItemId) -> Result<tollgate_core::ItemKey, Fault> {
    read_item(&batch.tables.items, item, |_, row| tollgate_core::ItemKey::new(row.key).map_err(corrupt))
}

/// Takes a page back from all who hold it: they are queued again, with all that stands on it, and it is kept apart.
pub(crate) fn take_back(
    batch: &mut Batch<'_>,
    spec: &Spec,
    task: TaskRef,
    back: &TakeBack,
    now: Timestamp,
    settled: &mut Settled,
) -> Result<(), Fault> {
    let (lane, signature) = (lane(spec, task.stage), half(&back.signature.0));
    let mut holders = Holders::read(&batch.tables.holders, lane, &signature)?;
    let mut held = std::mem::take(&mut holders.all);
    let items = held.iter().filter(|holder| holder.item != task.item.0).count() + 1;
    holders.caught = holders.caught.max(u32::try_from(items).unwrap_or(u32::MAX));
    holders.write(&mut batch.tables, lane, &signature)?;
    held.extend(sharers(&batch.tables, lane, &signature)?.collect::<Result<Vec<_>, _>>()?);
    let (first, last) = sharers_range(lane, &signature);
    batch.tables.sharers.retain_in::<&super::tables::SharerKey, _>(&first..=&last, |_, _| false)?;
    for holder in held {
        let holder = TaskRef { item: ItemId(holder.item), stage: task.stage };
        let caught = read_pages(&batch.tables.pages, holder)?.into_iter().filter(|page| page.held == Some(signature));
        let blobs: Vec<Digest> = caught.map(|page| Digest(page.blob)).collect();
        let_go(batch, spec, holder)?;
        let apart = blobs.iter().map(|blob| (*blob, back.name.as_str())).collect::<Vec<_>>();
        set_apart(&mut batch.tables, holder, &apart)?;
        let again = Again::anew(TaskState::RetryLater { due: back.due, reason: back.reason.clone() });
        if queue_again(batch, spec, holder, again, now, &mut settled.opened)? {
            settled.due = Some(settled.due.map_or(back.due, |due| due.min(back.due)));
        }
    }
    Ok(())
}

/// The output of a task stands on its pages no more: they are only kept.
pub(crate) fn let_go(batch: &mut Batch<'_>, spec: &Spec, task: TaskRef) -> Result<(), Fault> {
    let mut pages = read_pages(&batch.tables.pages, task)?;
    let mut others = Vec::new();
    for signature in pages.iter_mut().filter_map(|page| page.held.take()) {
        others.extend(leave(&mut batch.tables, lane(spec, task.stage), task.item, &signature)?);
    }
    write_pages(&mut batch.tables, task, pages)?;
    for item in others {
        flag_again(batch, spec, TaskRef { item, ..task })?;
    }
    Ok(())
}
