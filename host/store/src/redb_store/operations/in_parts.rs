//! What many items are opened, judged or left out by, in as many transactions as it takes.

use tollgate_core::{ItemId, ItemKey, JobId, StageIx, Timestamp, task::Answers};

use super::SMALL;
use crate::{
    Rechecked, Reopened, StoreError,
    redb_store::{
        Batch, RedbStore,
        recheck::{self, RECHECK_ITEMS_MAX},
        reopen::{self, REOPEN_ITEMS_PER_TRANSACTION},
        reopen_stage,
        tasks::note,
    },
};

impl RedbStore {
    /// Opens what failed, in as many transactions as it takes; the first resumes the job.
    pub(super) async fn reopen_failed(
        &self,
        job: JobId,
        answers: Answers,
        now: Timestamp,
    ) -> Result<Reopened, StoreError> {
        let (mut total, mut after) = (Reopened::default(), Some(ItemId(0)));
        while let Some(from) = after {
            let is_first = from == ItemId(0);
            let work = move |batch: &mut Batch<'_>| {
                let mut part = Reopened::default();
                if is_first {
                    part.resumed = reopen::resume(batch, job)?;
                }
                let next = reopen::failed(batch, job, from, answers, now, &mut part)?;
                Ok((part, next))
            };
            let (part, next) = self.write(SMALL, work).await?;
            add(&mut total, part);
            after = next;
        }
        Ok(total)
    }

    /// Opens items by key, in as many transactions as it takes; the first resumes the job.
    /// `stage`: of that one stage alone.
    pub(super) async fn reopen_items(
        &self,
        job: JobId,
        stage: Option<StageIx>,
        keys: Vec<ItemKey>,
        answers: Answers,
        now: Timestamp,
    ) -> Result<Reopened, StoreError> {
        let mut total = Reopened::default();
        let mut is_first = true;
        for keys in parts(keys) {
            let resumes = is_first;
            is_first = false;
            let work = move |batch: &mut Batch<'_>| {
                let mut part = Reopened::default();
                if resumes {
                    part.resumed = reopen::resume(batch, job)?;
                }
                match stage {
                    Some(stage) => reopen_stage::stage(batch, job, stage, &keys, answers, now, &mut part)?,
                    None => reopen::items(batch, job, &keys, answers, now, &mut part)?,
                }
                Ok(part)
            };
            add(&mut total, self.write(SMALL, work).await?);
        }
        Ok(total)
    }

    pub(super) async fn recheck_all(
        &self,
        job: JobId,
        rechecked: Vec<Rechecked>,
        now: Timestamp,
    ) -> Result<Reopened, StoreError> {
        let mut total = Reopened::default();
        for part in rechecked.chunks(RECHECK_ITEMS_MAX) {
            let part = part.to_vec();
            let work = move |batch: &mut Batch<'_>| recheck::recheck(batch, job, &part, now);
            add(&mut total, self.write(SMALL, work).await?);
        }
        Ok(total)
    }

    pub(super) async fn exclude_items(
        &self,
        job: JobId,
        keys: Vec<ItemKey>,
        reason: String,
        now: Timestamp,
    ) -> Result<Reopened, StoreError> {
        let mut total = Reopened::default();
        for keys in parts(keys) {
            let reason = reason.clone();
            let work = move |batch: &mut Batch<'_>| reopen::exclude(batch, job, &keys, &reason, now);
            add(&mut total, self.write(SMALL, work).await?);
        }
        Ok(total)
    }
}

/// Keys in lists of one transaction each; at least one list, if an empty one.
fn parts(keys: Vec<ItemKey>) -> Vec<Vec<ItemKey>> {
    if keys.len() <= REOPEN_ITEMS_PER_TRANSACTION {
        return vec![keys];
    }
    keys.chunks(REOPEN_ITEMS_PER_TRANSACTION).map(<[_]>::to_vec).collect()
}

fn add(total: &mut Reopened, part: Reopened) {
    total.items += part.items;
    total.tasks += part.tasks;
    part.opened.into_iter().for_each(|stage| note(&mut total.opened, stage));
    total.resumed = total.resumed.take().or(part.resumed);
    total.unknown.extend(part.unknown);
    total.in_progress.extend(part.in_progress);
    total.lacking.extend(part.lacking);
}
