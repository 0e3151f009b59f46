//! A job's discovery: what its declaration means for it, its claim, and a page's settlement in one transaction.

use tollgate_core::JobId;

use super::{
    Shared,
    fault::Fault,
    settle,
    submit::{self, Prepared},
    writer::Batch,
};
use crate::{DeclaredDiscovery, DiscoveryClaim, DiscoveryPage, DiscoveryResult, DiscoveryState, StoreError, Submitted};

/// Brings a job's discovery into line with its declaration, in the writer's batch: a round that was made of other
/// things is begun anew, and the next one is due as the declaration says now.
pub(crate) fn declare(batch: &mut Batch<'_>, job: JobId, declared: DeclaredDiscovery) -> Result<(), Fault> {
    let before = &batch.jobs.get(job).map_err(Fault::Refused)?.discovery;
    let mut after = before.clone();
    let DeclaredDiscovery { basis, every } = declared;
    // What an older program left has no basis: what it was made of isn't known to be another.
    if before.basis.is_some_and(|before| before != basis) {
        let DiscoveryState { rounds, empty_rounds, last_page_at, .. } = after;
        after = DiscoveryState { rounds, empty_rounds, last_page_at, ..DiscoveryState::default() };
    } else if let (None, 0, true, Some(ended_at)) =
        (&before.cursor, before.errors, before.rounds > 0, before.last_page_at)
        && (before.due.is_some() || before.finished)
    {
        after.due = every.map(|every| ended_at.after(every));
        after.finished = every.is_none();
    }
    after.basis = Some(basis);
    if &after != before {
        batch.jobs.get_mut(job).map_err(Fault::Refused)?.discovery = after;
        batch.discoveries_ended.insert(job);
    }
    Ok(())
}

/// Claims it, with where it stands as of the last commit.
pub(crate) fn claim(shared: &Shared, job: JobId) -> Result<DiscoveryClaim, StoreError> {
    // Under the lock: what is committed meanwhile is seen here, or ends this claim.
    let mut claims = shared.claims();
    let state = shared.jobs().get(job)?.discovery.clone();
    Ok(DiscoveryClaim { token: claims.take_discovery(job), state })
}

/// Settles it in the writer's batch; `items` are those of the page.
pub(crate) fn settle(batch: &mut Batch<'_>, page: &DiscoveryPage, items: &Prepared) -> Result<Submitted, Fault> {
    batch.check_discovery(page.job, page.token).map_err(Fault::Refused)?;
    let submitted = submit::submit(batch, page.job, items, page.now)?;
    let job = batch.jobs.get_mut(page.job).map_err(Fault::Refused)?;
    let state = &mut job.discovery;
    state.last_page_at = Some(page.now);
    match &page.result {
        DiscoveryResult::Page { cursor, next_round, .. } => {
            state.cursor.clone_from(cursor);
            state.found_in_round = state.found_in_round.saturating_add(items.len() as u64);
            state.errors = 0;
            state.last_error = None;
            state.due = None;
            state.finished = false;
            if cursor.is_none() {
                state.rounds = state.rounds.saturating_add(1);
                // Known items count: a round that finds what it found before is a healthy one.
                state.empty_rounds = if state.found_in_round == 0 { state.empty_rounds.saturating_add(1) } else { 0 };
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
    batch.discoveries_ended.insert(page.job);
    Ok(submitted)
}
