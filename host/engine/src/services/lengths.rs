//! How long answers are, by the ledger: after a restart, estimates are told from what stages were answered before it.

use tollgate_core::{
    ItemId, JobId, StageIx,
    ledger::{Entry, How, PaidKind},
};
use tollgate_llm::Models;
use tollgate_store::{ENTRIES_PAGE_MAX, LedgerQuery, Store};

/// Newest rows of the ledger that are looked at when the host starts, for how long answers are: hundreds of each of
/// some stages.
const LENGTHS_LOOKED_AT: usize = 5_000;

/// How long answers were of late, by the ledger. Where it can't be read, each is held to be as long as it can be, as at
/// the first start.
pub(super) async fn remember(models: &Models, store: &dyn Store) {
    let (mut answers, mut looked_at, mut after) = (Vec::new(), 0, None);
    while looked_at < LENGTHS_LOOKED_AT {
        let query = LedgerQuery { after, limit: ENTRIES_PAGE_MAX, ..LedgerQuery::default() };
        let page = match store.ledger_entries(query).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "how long answers are can't be told from the ledger: until more are known, the most is held for each");
                break;
            }
        };
        looked_at += page.entries.len();
        let entries = page.entries.into_iter().map(|view| view.entry);
        answers.extend(entries.filter_map(|Entry { call, end, .. }| {
            // What nobody has counted tells nothing of how long answers are.
            let end = end.filter(|end| end.how == How::Answered && !end.is_estimate)?;
            (call.paid.kind == PaidKind::Model).then_some((call.caller, call.paid, end.tokens.output))
        }));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    for (caller, paid, output) in answers.into_iter().rev() {
        models.remember(&asker(caller.job, caller.task), &paid, output);
    }
}

/// Whose answers are of one length: a job's stage, or its discovery.
pub(super) fn asker(job: JobId, task: Option<(ItemId, StageIx)>) -> String {
    let stage = task.map(|(_, stage)| stage.0);
    format!("{} {stage:?}", job.0)
}
