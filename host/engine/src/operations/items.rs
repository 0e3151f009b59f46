//! What people do with a job's items: look at them, submit them, run them again, judge them again, leave them out.

use serde::{Deserialize, Serialize};
use tollgate_core::{
    ItemId, ItemKey, JobId, StageIx, item::NewItem, pause::Pause, spec::diagnostic::did_you_mean, task::Answers,
};
use tollgate_store::{ItemDetail, ItemQuery, ItemView, Lacking, Page, Reopened, Selection, StageItems, Submitted};

use super::Operations;
use crate::{
    EngineError,
    dispatcher::Event,
    recheck::{self, RecheckedPart},
};

/// Most items of one page of a list.
pub const ITEMS_PAGE_MAX: usize = 1_000;

/// What an action did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Done {
    /// Items touched.
    pub items: u64,
    /// Tasks opened or skipped.
    pub tasks: u64,
    /// The job was paused and goes on with this; its pause.
    pub resumed: Option<Pause>,
    /// Keys that the job doesn't have.
    pub unknown: Vec<ItemKey>,
    /// Items that have work to do already, and were left to it.
    #[serde(default)]
    pub in_progress: Vec<ItemKey>,
    /// Items that were left alone, as large binaries have gone that the stage reads: what to run first (P06).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<Lacking>,
}

impl From<Reopened> for Done {
    fn from(reopened: Reopened) -> Self {
        let Reopened { items, tasks, resumed, unknown, in_progress, lacking, opened: _ } = reopened;
        Self { items, tasks, resumed, unknown, in_progress, lacking }
    }
}

/// What a submission did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Added {
    /// New items.
    pub new: u64,
    /// Known items with another revision, opened again.
    pub reopened: u64,
    /// Known items, left alone.
    pub known: u64,
}

impl Operations {
    /// Items of a job, by rising number.
    ///
    /// # Errors
    /// No job of that name, or the store can't be read.
    pub async fn items(
        &self,
        name: &str,
        query: ItemQuery,
    ) -> Result<Page<ItemView, tollgate_core::ItemId>, EngineError> {
        let job = self.job_id(name).await?;
        let limit = query.limit.clamp(1, ITEMS_PAGE_MAX);
        Ok(self.store.items(job, ItemQuery { limit, ..query }).await?)
    }

    /// All that is known of an item; absent: the job has none of that key.
    ///
    /// # Errors
    /// No job of that name, or the store can't be read.
    pub async fn item(&self, name: &str, key: &ItemKey) -> Result<Option<ItemDetail>, EngineError> {
        let job = self.job_id(name).await?;
        Ok(self.store.item(job, key.clone()).await?)
    }

    /// Submits items by hand.
    ///
    /// # Errors
    /// No job of that name, or the store can't be written.
    pub async fn add(&self, name: &str, items: Vec<NewItem>) -> Result<Added, EngineError> {
        let job = self.job_id(name).await?;
        let (store, now) = (self.store.clone(), self.clock.now());
        let submitted =
            self.change(job, async move { store.submit(job, items, now).await }, move |submitted: &Submitted| {
                Event::Opened { job, stages: submitted.opened.clone() }
            });
        let Submitted { new, reopened, known, .. } = submitted.await?;
        Ok(Added { new, reopened, known })
    }

    /// Opens tasks again, to have what they pay for made anew, and resumes the job, and says so (R12).
    ///
    /// # Errors
    /// No job of that name, or the store can't be written.
    pub async fn retry(&self, name: &str, what: Selection) -> Result<Done, EngineError> {
        self.retry_with(name, what, Answers::Anew).await
    }

    /// The same; with [`Answers::Kept`], a task that comes to run by it takes the answers that it paid for before,
    /// until it has ended, and pays only for requests that differ.
    ///
    /// # Errors
    /// As [`Operations::retry`].
    pub async fn retry_with(&self, name: &str, what: Selection, answers: Answers) -> Result<Done, EngineError> {
        let job = self.job_id(name).await?;
        let (store, now) = (self.store.clone(), self.clock.now());
        let reopened = self
            .change(job, async move { store.reopen(job, what, answers, now).await }, move |_| Event::Changed { job })
            .await?;
        Ok(reopened.into())
    }

    /// Judges the stored pages of some items after `after` by today's guards. What is no content any more is kept apart
    /// and queued again with what stands on it, and so is what is content by now; a dry run only
    /// counts. The job's pause stays.
    ///
    /// # Errors
    /// No job of that name, jobs.toml can't be read, or the store can't be read or written.
    pub async fn recheck(
        &self,
        name: &str,
        after: Option<ItemId>,
        dry_run: bool,
    ) -> Result<RecheckedPart, EngineError> {
        let job = self.job_id(name).await?;
        let deployment = self.jobs_toml().map_err(|error| {
            EngineError::Invalid(format!("guards stand in jobs.toml, which can't be read: {error}"))
        })?;
        let now = self.clock.now();
        let (mut part, rechecked) = recheck::look(&*self.store, &deployment, job, after, now).await?;
        if !dry_run && !rechecked.is_empty() {
            let store = self.store.clone();
            let changing = async move { store.recheck(job, rechecked, now).await };
            let reopened = self.change(job, changing, move |_| Event::Changed { job }).await?;
            part.queued = reopened.tasks;
        }
        Ok(part)
    }

    /// Opens one stage of items again, done or not, from what is stored: no stage before it
    /// runs (P07). Resumes the job.
    ///
    /// # Errors
    /// No job of that name, no stage of it, or the store can't be written.
    pub async fn retry_stage(&self, name: &str, stage: &str, keys: Vec<ItemKey>) -> Result<Done, EngineError> {
        self.retry_stage_with(name, stage, keys, Answers::Anew).await
    }

    /// The same, with the answers that [`Operations::retry_with`] says.
    ///
    /// # Errors
    /// As [`Operations::retry_stage`].
    pub async fn retry_stage_with(
        &self,
        name: &str,
        stage: &str,
        keys: Vec<ItemKey>,
        answers: Answers,
    ) -> Result<Done, EngineError> {
        let (_, ix) = self.stage_ix(name, stage).await?;
        self.retry_with(name, Selection::Stage(ix, keys), answers).await
    }

    /// Items of which [`Operations::retry_stage`] would open that stage now, a page of those that `query` means.
    /// Whoever acts on them names them, so that what is done is what was shown (trap 31). Also which large
    /// binaries have gone (P06).
    ///
    /// # Errors
    /// No job of that name, no stage of it, or the store can't be read.
    pub async fn stage_items(&self, name: &str, stage: &str, query: ItemQuery) -> Result<StageItems, EngineError> {
        let (job, ix) = self.stage_ix(name, stage).await?;
        Ok(self.store.stage_items(job, ix, query).await?)
    }

    pub(super) async fn stage_ix(&self, name: &str, stage: &str) -> Result<(JobId, StageIx), EngineError> {
        let job = self.job_id(name).await?;
        let jobs = self.store.jobs().await?;
        let stages = jobs.into_iter().find(|known| known.id == job).map(|known| known.stages).unwrap_or_default();
        let found = stages.iter().find(|known| known.name.as_str() == stage).map(|known| known.ix);
        let ix = found.ok_or_else(|| {
            let known: Vec<&str> = stages.iter().map(|known| known.name.as_str()).collect();
            let help = did_you_mean(stage, &known, "its stages are");
            EngineError::Invalid(format!("{name} has no stage `{stage}`; {help}"))
        })?;
        Ok((job, ix))
    }

    /// Leaves items out.
    ///
    /// # Errors
    /// No job of that name, or the store can't be written.
    pub async fn exclude(&self, name: &str, keys: Vec<ItemKey>, reason: &str) -> Result<Done, EngineError> {
        let job = self.job_id(name).await?;
        let (store, reason, now) = (self.store.clone(), reason.to_owned(), self.clock.now());
        let excluded = self
            .change(job, async move { store.exclude(job, keys, reason, now).await }, move |_| Event::Changed { job })
            .await?;
        Ok(excluded.into())
    }
}
