//! Settling a page of discovery: its items and where to go on, in one transaction.

use super::{
    fault::Fault,
    settle,
    submit::{self, Prepared},
    writer::Batch,
};
use crate::{DiscoveryPage, DiscoveryResult, Submitted};

/// Settles it in the writer's batch; `items` are those of the page.
pub(crate) fn settle(batch: &mut Batch<'_>, page: &DiscoveryPage, items: &Prepared) -> Result<Submitted, Fault> {
    let submitted = submit::submit(batch, page.job, items, page.now)?;
    let job = batch.jobs.get_mut(page.job).map_err(Fault::Refused)?;
    let state = &mut job.discovery;
    state.last_page_at = Some(page.now);
    match &page.result {
        DiscoveryResult::Page { cursor, next_round, .. } => {
            state.cursor.clone_from(cursor);
            state.found_in_round += items.len() as u64;
            state.errors = 0;
            state.last_error = None;
            state.due = None;
            state.finished = false;
            if cursor.is_none() {
                state.rounds += 1;
                // Known items count: a round that finds what it found before is a healthy one.
                state.empty_rounds = if state.found_in_round == 0 { state.empty_rounds + 1 } else { 0 };
                state.found_in_round = 0;
                state.due = *next_round;
                state.finished = next_round.is_none();
            }
        }
        DiscoveryResult::Error { error, counted, retry_at, pause } => {
            state.errors = state.errors.saturating_add(u32::from(*counted));
            state.last_error = Some(error.clone());
            state.due = Some(*retry_at);
            settle::pause(job, pause.clone());
        }
    }
    Ok(submitted)
}
