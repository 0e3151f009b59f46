//! Stored pages for another look at them, and what follows where guards judge otherwise by now (R02).

use tollgate_core::{
    ItemId, ItemKey, JobId, StageIx, Timestamp,
    task::{Answers, TaskState},
};

use super::{
    Shared,
    apart::{Again, artifacts, queue_again, set_apart},
    duplicates::{let_go, read_pages},
    fault::Fault,
    jobs::Spec,
    reopen,
    tables::PAGES,
    tasks::read_item,
    views::{artifacts_of, candidates},
    writer::Batch,
};
use crate::{ItemPages, Page, PageView, Rechecked, Reopened, TaskRef, stored::corrupt};

/// Most items of one page of kept pages, and of one list that was judged anew.
pub const RECHECK_ITEMS_MAX: usize = 200;

/// See [`Store::pages`](crate::Store::pages).
pub(crate) fn pages(shared: &Shared, job: JobId, after: u64, limit: usize) -> Result<Page<ItemPages, ItemId>, Fault> {
    let limit = limit.clamp(1, RECHECK_ITEMS_MAX);
    let spec = shared.jobs().get(job)?.spec.clone();
    let snapshot = shared.begin_read()?;
    let (items, known) = (snapshot.open_table(super::tables::ITEMS)?, snapshot.open_table(PAGES)?);
    let mut page = Page { entries: Vec::new(), next: None };
    for id in candidates(&snapshot, job, None, after)? {
        let id = id?;
        if page.entries.len() == limit {
            page.next = page.entries.last().map(|last: &ItemPages| last.item);
            break;
        }
        let key = read_item(&items, id, |_, row| ItemKey::new(row.key).map_err(corrupt))?;
        let mut found = ItemPages { item: id, key, pages: Vec::new() };
        let mut of_stage: Option<(StageIx, Vec<_>)> = None;
        for stored in artifacts_of(&snapshot, &spec, id)?.into_iter().filter(|stored| spec.has(stored.stage)) {
            let pages = match &mut of_stage {
                Some((stage, pages)) if *stage == stored.stage => pages,
                other => {
                    let task = TaskRef { item: id, stage: stored.stage };
                    &mut other.insert((stored.stage, read_pages(&known, task)?)).1
                }
            };
            let was = pages.iter().find(|page| page.blob == stored.artifact.digest.0);
            let came = was.map(|page| (page.url.clone(), page.status));
            found.pages.push(PageView { stored, came });
        }
        page.entries.push(found);
    }
    Ok(page)
}

/// Queues tasks again whose pages are judged otherwise by now, each if it still is as it was when they were read.
pub(crate) fn recheck(
    batch: &mut Batch<'_>,
    job: JobId,
    rechecked: &[Rechecked],
    now: Timestamp,
) -> Result<Reopened, Fault> {
    let spec = batch.jobs.get(job).map_err(Fault::Refused)?.spec.clone();
    let mut done = Reopened::default();
    let mut last = None;
    for one in rechecked.iter().filter(|one| spec.has(one.task().stage)) {
        let queued = match one {
            Rechecked::Caught { task, pages } => {
                let pages: Vec<_> = pages.iter().map(|(blob, name)| (*blob, name.as_str())).collect();
                if set_apart(&mut batch.tables, *task, &pages)? == 0 {
                    continue;
                }
                let_go(batch, &spec, *task)?;
                queue_again(batch, &spec, *task, Again::anew(TaskState::Ready { due: now }), now, &mut done.opened)?
            }
            Rechecked::Passes { task, blob } => passes(batch, &spec, *task, *blob, now, &mut done.opened)?,
        };
        if queued {
            done.tasks += 1;
            done.items += u64::from(last != Some(one.task().item));
            last = Some(one.task().item);
        }
    }
    Ok(done)
}

/// Tries a task again at once whose guarded page is content by today's rules.
fn passes(
    batch: &mut Batch<'_>,
    spec: &Spec,
    task: TaskRef,
    blob: tollgate_core::Digest,
    now: Timestamp,
    opened: &mut Vec<StageIx>,
) -> Result<bool, Fault> {
    let is_still_apart = artifacts(&batch.tables, task)?.iter().any(|one| one.is_pending && one.digest == blob);
    if !is_still_apart {
        return Ok(false);
    }
    let head = read_item(&batch.tables.items, task.item, |head, _| Ok(head))?;
    let is_stuck = |stage: StageIx, state: &TaskState| {
        stage == task.stage && matches!(state, TaskState::Failed { .. } | TaskState::RetryLater { .. })
    };
    Ok(reopen::open(batch, spec, head, is_stuck, Answers::Anew, now, opened)? > 0)
}
