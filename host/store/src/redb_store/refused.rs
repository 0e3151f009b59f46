//! A page that a check refused (R01's third layer): kept apart, and its task taken back with all that stands on it.

use tollgate_core::Timestamp;

use super::{
    apart::{Again, queue_again, set_apart},
    duplicates::let_go,
    fault::Fault,
    jobs::Spec,
    settle::write_error,
    tasks::note,
    writer::Batch,
};
use crate::{RefusedPage, Settled, TaskRef};

/// Takes back what stands on the page. The check's own task, whose claim is still held, waits for another page with the
/// rest.
pub(crate) fn take_back(
    batch: &mut Batch<'_>,
    spec: &Spec,
    check: TaskRef,
    page: &RefusedPage,
    now: Timestamp,
    settled: &mut Settled,
) -> Result<(), Fault> {
    let task = TaskRef { item: check.item, stage: page.stage };
    set_apart(&mut batch.tables, task, &[(page.blob, page.name.as_str())])?;
    let_go(batch, spec, task)?;
    let again = Again { state: page.state.clone(), tally: Some(page.tally) };
    queue_again(batch, spec, task, again, now, &mut settled.opened)?;
    // Its lane has to know when it is due.
    note(&mut settled.opened, page.stage);
    let job = batch.jobs.get_mut(spec.id)?;
    write_error(&mut batch.tables, job, task, page.error.as_ref(), now)
}
