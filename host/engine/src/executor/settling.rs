//! Settling what an attempt came to; and what it comes to instead, where the store can't take it.

use tollgate_core::{
    Digest, ItemKey,
    artifact::free_name,
    outcome::{Outcome, Verdict},
    task::{LaterKind, LaterReason, clean_message},
};
use tollgate_egress::guard::DUPLICATE;
use tollgate_store::{AttemptRecord, Duplicate, KeptPage, NewArtifact, Settled, Settlement, StoreError, TakeBack};

use super::{InTheWay, Judged, Ran, Running, judging::settlement_of};
use crate::attempt::{AttemptEnded, GUARDED_PREFIX};

/// Settles; an output that the store can't take is a failure of the stage, which says so, and one that stands on a page
/// which too many items were served is none (S11). Answers what stood in the way, where only the store could tell.
pub(super) async fn settle(
    running: Running<'_>,
    settlement: Settlement,
) -> Result<(Settled, Option<InTheWay>), StoreError> {
    let one = async |settlement| {
        let answers = running.tools.store.settle(vec![settlement]).await?;
        answers.into_iter().next().unwrap_or(Err(StoreError::Closed))
    };
    let (spent, artifacts) = (settlement.attempt.clone(), settlement.artifacts.clone());
    let pages = settlement.pages.clone();
    match one(settlement).await {
        Err(error @ StoreError::TooLarge { .. }) => {
            let ran = Ran::nothing(Outcome::Contract(error.to_string()));
            let mut failed = settlement_of(running, ran).await.settlement;
            // What it cost and what it kept is as it was.
            (failed.artifacts, failed.pages) = (artifacts, pages);
            spent.into_iter().for_each(|spent| cost_of(&mut failed, &spent));
            Ok((one(failed).await?, None))
        }
        Err(StoreError::Duplicate(found)) => {
            let kept = AttemptEnded { artifacts, pages, ..AttemptEnded::default() };
            let (mut refused, in_the_way) = duplicated(running, *found, kept).await;
            spent.into_iter().for_each(|spent| cost_of(&mut refused, &spent));
            Ok((one(refused).await?, in_the_way))
        }
        answer => answer.map(|settled| (settled, None)),
    }
}

/// An attempt that is settled in another way has cost what it cost.
fn cost_of(settlement: &mut Settlement, spent: &AttemptRecord) {
    if let Some(attempt) = &mut settlement.attempt {
        attempt.requests = spent.requests;
        attempt.bytes_received = spent.bytes_received;
        attempt.guest_us = spent.guest_us;
        attempt.tools.clone_from(&spent.tools);
    }
}

/// The settlement of an attempt whose page is one that too many items were served: a guard's, and the page is taken
/// back from all who hold it.
async fn duplicated(running: Running<'_>, found: Duplicate, mut kept: AttemptEnded) -> (Settlement, Option<InTheWay>) {
    let Running { tools, job, stage, claim, started_at } = running;
    let Duplicate { signature, items, others } = found;
    let is_it = |page: &&KeptPage| page.copy.is_some_and(|copy| copy.signature == signature);
    let (blobs, url) = {
        let caught = kept.pages.iter().filter(is_it);
        let blobs: Vec<_> = caught.clone().map(|page| page.blob).collect();
        (blobs, caught.map(|page| page.url.clone()).next().unwrap_or_default())
    };
    let name = format!("{GUARDED_PREFIX}{DUPLICATE}");
    name_apart(&mut kept.artifacts, &blobs, &name);
    let others: Vec<&str> = others.iter().map(ItemKey::as_str).collect();
    let others = if others.is_empty() { String::new() } else { format!(", {} among them", others.join(", ")) };
    let what = format!(
        "{items} items were served one and the same page{others}; if it is content, write a higher `duplicates` for \
         the site, or `duplicates = false`"
    );
    let refusal = tools.gate.duplicated(&url, &what, started_at).await;
    tracing::warn!(job = %job.spec.name, item = %claim.key, stage = %stage.spec.name, url, "{}", refusal.message);
    let after = refusal.after.unwrap_or_default();
    (kept.last_url, kept.refusal) = (Some(url), Some(refusal.clone()));
    let ran = Ran { outcome: Outcome::Contract(refusal.message.clone()), ended: kept, guest_us: 0 };
    let judged = settlement_of(running, ran).await;
    let Judged { mut settlement, in_the_way, .. } = judged;
    let (due, reason) = match &settlement.verdict {
        Verdict::Later { due, reason } => (*due, reason.clone()),
        // This one has been tried for long enough; the others are tried again all the same.
        _ => {
            let reason = LaterReason { kind: LaterKind::Blocked, message: clean_message(&refusal.message) };
            (settlement.now.after(after), reason)
        }
    };
    settlement.take_back = Some(TakeBack { signature, name, due, reason });
    (settlement, in_the_way)
}

/// Gives those artifacts that are one of these blobs the name, each blob once, and with a number after the first.
fn name_apart(artifacts: &mut Vec<NewArtifact>, blobs: &[Digest], name: &str) {
    let (caught, mut kept): (Vec<_>, Vec<_>) =
        artifacts.drain(..).partition(|artifact| blobs.contains(&artifact.blob.digest));
    for artifact in caught {
        let digest = artifact.blob.digest;
        let is_named = |known: &NewArtifact| known.blob.digest == digest;
        if !kept.iter().any(is_named) {
            let name = free_name(name, |name| kept.iter().all(|known| known.name != name));
            kept.push(NewArtifact { name, ..artifact });
        }
    }
    *artifacts = kept;
}
