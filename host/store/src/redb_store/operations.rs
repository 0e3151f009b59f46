//! The [`Store`] trait over the parts: what runs here, what the writer does, what the blocking pool reads.

mod in_parts;

use std::collections::BTreeSet;

use futures::FutureExt as _;
use tokio::sync::oneshot;
use tollgate_core::{
    ClaimToken, Digest, ItemId, ItemKey, JobId, JobName, Lane, StageIx, Timestamp,
    budget::Spending,
    circuit::Circuit,
    item::NewItem,
    ledger::{CallEnd, CallId, Costs, Reservation},
    pause::{Pause, PauseReason},
    task::Answers,
};

use super::{
    RedbStore,
    answers::{self, ANSWER_INLINE_BYTES_MAX, Body, Found},
    blocking, circuits,
    content::{self, ContentMessage},
    declare, discovery, handing,
    job_state::{self, STATE_KEYS_PAGE_MAX},
    ledger::{self, Paying},
    ledger_views,
    message::Message,
    queue, recheck, reopen, reopen_stage,
    settle::{self, PreparedSettlement},
    spending,
    submit::{self, Prepared},
    unnamed::Keeping,
    views,
};
use crate::{
    AccountView, AnswerKey, BlobPart, BlobSource, CallSettled, Claim, CostQuery, CostView, DeclaredJob, DiscoveryClaim,
    DiscoveryPage, DiscoveryResult, DiscoveryState, EntryView, ErrorView, ItemDetail, ItemPages, ItemQuery, ItemView,
    JobDeclaration, JobView, KeptAnswer, LedgerQuery, Page, Rechecked, Reopened, Reply, Reserved, Selection, Settled,
    Settlement, StageItems, StateChange, StateEntry, Store, StoreError, StoredArtifact, StoredBlob, Submitted, TaskRef,
};

/// Bytes of a small operation, about: what a batch counts it as.
const SMALL: usize = 256;

impl RedbStore {
    async fn prepare(&self, job: JobId, items: Vec<NewItem>, now: Timestamp) -> Result<Prepared, StoreError> {
        if items.len() <= submit::PACK_HERE_MAX {
            return Prepared::new(job, &items, now);
        }
        blocking(move || Prepared::new(job, &items, now)).await
    }

    async fn settle_all(&self, settlements: Vec<Settlement>) -> Result<Vec<Result<Settled, StoreError>>, StoreError> {
        let mut prepared = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let claim = self.shared.claims().check(settlement.task, settlement.token);
            prepared.push(match claim {
                Ok(job) if settle::is_large(&settlement) => {
                    blocking(move || PreparedSettlement::new(settlement, job)).await
                }
                Ok(job) => PreparedSettlement::new(settlement, job),
                Err(stale) => Err(stale),
            });
        }
        let bytes = prepared.iter().flatten().map(PreparedSettlement::bytes).sum();
        self.write(bytes, move |batch| settle::settle_all(batch, &mut prepared)).await
    }

    async fn keep_blob(&self, body: BlobSource) -> Result<StoredBlob, StoreError> {
        let shared = self.shared.clone();
        let packed = match blocking(move || content::prepare_blob(&shared, &body)).await? {
            content::Prepared::Done(blob) => return Ok(blob),
            content::Prepared::Row(packed) => packed,
        };
        let ended = || self.shared.content_ended.get().cloned().unwrap_or(StoreError::Closed);
        let (reply, answer) = oneshot::channel();
        self.shared.unnamed().kept(packed.blob().digest);
        self.content.send(ContentMessage::Keep(packed, reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Settles a call; a long answer is durable as a blob before its row names it.
    async fn settle_paid(&self, call: CallId, end: CallEnd, answer: Option<String>) -> Result<CallSettled, StoreError> {
        let end = ledger::kept(end);
        // Until it is named: a call is settled whether or not its task's claim still stands.
        let keeping = Keeping::new(self.shared.clone());
        let mut body = match answer {
            Some(text) if text.len() > ANSWER_INLINE_BYTES_MAX => {
                answers::check(&text)?;
                Some(Body::Blob(self.keep_blob(BlobSource::Bytes(text.into())).await?))
            }
            Some(text) => Some(Body::Inline(text)),
            None => None,
        };
        let bytes = SMALL + body.as_ref().map_or(0, Body::bytes);
        let work = move |paying: &mut Paying<'_>| {
            let _ = &keeping;
            ledger::settle(paying, call, &end, body.take())
        };
        self.pay(bytes, work).await
    }

    async fn find_answer(&self, key: AnswerKey) -> Result<Option<KeptAnswer>, StoreError> {
        // Until it is read: who asks may have no claim that keeps its blob from going for a newer answer.
        let _keeping = Keeping::new(self.shared.clone());
        // Here and not on the blocking pool, as a claim is: a few pages from the cache.
        match answers::find(&self.shared, &key)? {
            None => Ok(None),
            Some(Found::Whole(answer)) => Ok(Some(answer)),
            Some(Found::Blob(answer, blob)) => {
                let bytes = self.read(move |shared| content::read(shared, blob.digest, None)).await?;
                Ok(Some(KeptAnswer { json: answers::text(bytes)?, ..answer }))
            }
        }
    }

    /// Expires what was under way, in as many steps as it takes.
    async fn expire_all(&self, now: Timestamp) -> Result<Costs, StoreError> {
        self.fold().await?;
        let (mut total, mut after) = (Costs::default(), Some(CallId(0)));
        while let Some(from) = after {
            let (part, next) = self.pay(SMALL, move |paying| ledger::expire(paying, from, now)).await?;
            total = total.and(&part);
            after = next;
        }
        Ok(total)
    }
}

impl Store for RedbStore {
    fn declare<'a>(&'a self, job: JobDeclaration, now: Timestamp) -> Reply<'a, DeclaredJob> {
        self.write(SMALL, move |batch| declare::declare(batch, &job, now)).boxed()
    }

    fn submit<'a>(&'a self, job: JobId, items: Vec<NewItem>, now: Timestamp) -> Reply<'a, Submitted> {
        async move {
            let prepared = self.prepare(job, items, now).await?;
            self.write(prepared.bytes, move |batch| submit::submit(batch, job, &prepared, now)).await
        }
        .boxed()
    }

    fn claim_discovery<'a>(&'a self, job: JobId) -> Reply<'a, DiscoveryClaim> {
        async move {
            self.open_jobs()?;
            discovery::claim(&self.shared, job)
        }
        .boxed()
    }

    fn settle_discovery<'a>(&'a self, mut page: DiscoveryPage) -> Reply<'a, Submitted> {
        async move {
            let items = match &mut page.result {
                DiscoveryResult::Page { items, .. } => std::mem::take(items),
                DiscoveryResult::Error { .. } => Vec::new(),
            };
            let prepared = self.prepare(page.job, items, page.now).await?;
            self.write(prepared.bytes, move |batch| discovery::settle(batch, &page, &prepared)).await
        }
        .boxed()
    }

    fn discovery<'a>(&'a self, job: JobId) -> Reply<'a, DiscoveryState> {
        async move { Ok(self.open_jobs()?.get(job)?.discovery.clone()) }.boxed()
    }

    fn claim<'a>(&'a self, lane: Lane, limit: usize, now: Timestamp) -> Reply<'a, Vec<Claim>> {
        // Here and not on the blocking pool: a few pages from the cache, sooner read than handed over.
        async move { Ok(queue::claim(&self.shared, lane, limit, now)?) }.boxed()
    }

    fn next_due<'a>(&'a self, lane: Lane, now: Timestamp) -> Reply<'a, Option<Timestamp>> {
        async move { Ok(queue::next_due(&self.shared, lane, now)?) }.boxed()
    }

    fn release<'a>(&'a self, released: Vec<(TaskRef, ClaimToken)>) -> Reply<'a, ()> {
        async move {
            let mut claims = self.shared.claims();
            released.into_iter().for_each(|(task, token)| claims.release(task, token));
            Ok(())
        }
        .boxed()
    }

    fn settle<'a>(&'a self, settlements: Vec<Settlement>) -> Reply<'a, Vec<Result<Settled, StoreError>>> {
        self.settle_all(settlements).boxed()
    }

    fn put_blob<'a>(&'a self, body: BlobSource) -> Reply<'a, StoredBlob> {
        self.keep_blob(body).boxed()
    }

    fn read_blob<'a>(&'a self, digest: Digest, part: Option<BlobPart>) -> Reply<'a, Vec<u8>> {
        self.read(move |shared| content::read(shared, digest, part)).boxed()
    }

    fn artifacts<'a>(&'a self, item: ItemId, own: Option<StageIx>) -> Reply<'a, Vec<StoredArtifact>> {
        async move { Ok(views::artifacts(&self.shared, item, own)?) }.boxed()
    }

    fn state_get<'a>(&'a self, job: JobId, key: String) -> Reply<'a, Option<StateEntry>> {
        async move {
            let table = self.shared.begin_read()?.open_table(super::tables::STATE).map_err(super::Fault::from)?;
            Ok(job_state::get(&table, job, &key)?)
        }
        .boxed()
    }

    fn state_apply<'a>(&'a self, job: JobId, changes: Vec<StateChange>) -> Reply<'a, ()> {
        async move {
            let bytes = job_state::check(&changes)?;
            self.write(bytes + SMALL, move |batch| job_state::apply(batch, job, &changes)).await
        }
        .boxed()
    }

    fn state_keys<'a>(
        &'a self,
        job: JobId,
        prefix: String,
        cursor: Option<String>,
        limit: usize,
    ) -> Reply<'a, Page<String, String>> {
        self.read(move |shared| {
            let table = shared.begin_read()?.open_table(super::tables::STATE)?;
            let limit = limit.clamp(1, STATE_KEYS_PAGE_MAX);
            let (entries, more) = job_state::keys(&table, job, &prefix, cursor.as_deref(), limit)?;
            let next = entries.last().cloned().filter(|_| more);
            Ok(Page { entries, next })
        })
        .boxed()
    }

    fn pause<'a>(&'a self, job: JobId, pause: Pause) -> Reply<'a, ()> {
        self.write(SMALL, move |batch| {
            let job = batch.jobs.get_mut(job).map_err(super::Fault::Refused)?;
            if pause.reason == PauseReason::Manual {
                job.pause = Some(pause.clone());
            } else {
                settle::pause(job, Some(pause.clone()));
            }
            Ok(())
        })
        .boxed()
    }

    fn resume<'a>(&'a self, job: JobId) -> Reply<'a, Option<Pause>> {
        self.write(SMALL, move |batch| reopen::resume(batch, job)).boxed()
    }

    fn end_pause<'a>(&'a self, job: JobId, now: Timestamp) -> Reply<'a, Option<Pause>> {
        self.write(SMALL, move |batch| {
            let job = batch.jobs.get_mut(job).map_err(super::Fault::Refused)?;
            let is_over = job.pause.as_ref().is_some_and(|pause| pause.until.is_some_and(|until| until <= now));
            Ok(if is_over { job.pause.take() } else { None })
        })
        .boxed()
    }

    fn reopen<'a>(&'a self, job: JobId, what: Selection, answers: Answers, now: Timestamp) -> Reply<'a, Reopened> {
        match what {
            Selection::Items(keys) => self.reopen_items(job, None, keys, answers, now).boxed(),
            Selection::Stage(stage, keys) => self.reopen_items(job, Some(stage), keys, answers, now).boxed(),
            Selection::Failed => self.reopen_failed(job, answers, now).boxed(),
        }
    }

    fn stage_items<'a>(&'a self, job: JobId, stage: StageIx, query: ItemQuery) -> Reply<'a, StageItems> {
        self.read(move |shared| reopen_stage::stage_items(shared, job, stage, &query)).boxed()
    }

    fn pages<'a>(&'a self, job: JobId, after: Option<ItemId>, limit: usize) -> Reply<'a, Page<ItemPages, ItemId>> {
        let after = after.map_or(0, |after| after.0);
        self.read(move |shared| recheck::pages(shared, job, after, limit)).boxed()
    }

    fn recheck<'a>(&'a self, job: JobId, rechecked: Vec<Rechecked>, now: Timestamp) -> Reply<'a, Reopened> {
        self.recheck_all(job, rechecked, now).boxed()
    }

    fn exclude<'a>(&'a self, job: JobId, keys: Vec<ItemKey>, reason: String, now: Timestamp) -> Reply<'a, Reopened> {
        self.exclude_items(job, keys, reason, now).boxed()
    }

    fn keep_circuit<'a>(&'a self, site: String, circuit: Circuit, now: Timestamp) -> Reply<'a, ()> {
        self.write(SMALL, move |batch| circuits::keep(batch, &site, &circuit, now)).boxed()
    }

    fn circuits<'a>(&'a self, now: Timestamp) -> Reply<'a, Vec<(String, Circuit)>> {
        async move {
            self.write(SMALL, move |batch| circuits::sweep(batch, now)).await?;
            self.read(move |shared| circuits::all(shared, now)).await
        }
        .boxed()
    }

    fn keep_spending<'a>(&'a self, rows: Vec<(String, Spending)>) -> Reply<'a, ()> {
        self.write(SMALL, move |batch| spending::keep(batch, &rows)).boxed()
    }

    fn spending<'a>(&'a self) -> Reply<'a, Vec<(String, Spending)>> {
        self.read(spending::all).boxed()
    }

    fn reserve_call<'a>(&'a self, reservation: Reservation) -> Reply<'a, Reserved> {
        async move {
            ledger::check(&reservation)?;
            let (payment, answer) = handing::reserve(reservation, &self.queue, &self.shared.returned);
            self.answered(payment, answer).await?.take()
        }
        .boxed()
    }

    fn settle_call<'a>(&'a self, call: CallId, end: CallEnd, answer: Option<String>) -> Reply<'a, CallSettled> {
        self.settle_paid(call, end, answer).boxed()
    }

    fn kept_requests<'a>(&'a self, job: JobId, task: (ItemId, StageIx)) -> Reply<'a, BTreeSet<Digest>> {
        // On the pool: mostly it is one page, but nothing bounds what one attempt may have been answered.
        self.read(move |shared| answers::requests(shared, job, task)).boxed()
    }

    fn kept_answer<'a>(&'a self, key: AnswerKey) -> Reply<'a, Option<KeptAnswer>> {
        self.find_answer(key).boxed()
    }

    fn answer_of<'a>(&'a self, call: CallId) -> Reply<'a, Option<KeptAnswer>> {
        async move {
            let key = self.read_ledger(move |shared| ledger_views::answer_key(shared, call)).await?;
            let kept = match key {
                Some(key) => self.find_answer(key).await?,
                None => None,
            };
            Ok(kept.filter(|kept| kept.call == call))
        }
        .boxed()
    }

    fn expire_reservations<'a>(&'a self, now: Timestamp) -> Reply<'a, Costs> {
        self.expire_all(now).boxed()
    }

    fn ledger_entries<'a>(&'a self, query: LedgerQuery) -> Reply<'a, Page<EntryView, CallId>> {
        self.read_ledger(move |shared| ledger_views::entries(shared, &query)).boxed()
    }

    fn costs<'a>(&'a self, query: CostQuery) -> Reply<'a, Page<CostView, (JobId, ItemId)>> {
        self.read_ledger(move |shared| ledger_views::costs(shared, &query)).boxed()
    }

    fn accounts<'a>(&'a self) -> Reply<'a, Vec<AccountView>> {
        self.read_ledger(ledger_views::accounts).boxed()
    }

    fn jobs<'a>(&'a self) -> Reply<'a, Vec<JobView>> {
        async move { self.open_jobs()?.by_id.values().map(|job| views::job(job)).collect() }.boxed()
    }

    fn job_id<'a>(&'a self, name: JobName) -> Reply<'a, Option<JobId>> {
        async move { Ok(self.open_jobs()?.by_name(&name).map(|job| job.spec.id)) }.boxed()
    }

    fn items<'a>(&'a self, job: JobId, query: ItemQuery) -> Reply<'a, Page<ItemView, ItemId>> {
        self.read(move |shared| views::items(shared, job, &query)).boxed()
    }

    fn item<'a>(&'a self, job: JobId, key: ItemKey) -> Reply<'a, Option<ItemDetail>> {
        self.read(move |shared| views::item(shared, job, &key)).boxed()
    }

    fn recent_errors<'a>(&'a self, job: JobId, limit: usize) -> Reply<'a, Vec<ErrorView>> {
        self.read(move |shared| views::recent_errors(shared, job, limit)).boxed()
    }

    fn close<'a>(&'a self) -> Reply<'a, ()> {
        async move {
            // An error means that the writer has ended already.
            drop(self.queue.send(Message::Close).await);
            self.threads.close();
            let (shared, threads, content) = (self.shared.clone(), self.threads.clone(), self.content.clone());
            blocking(move || {
                // First who names blobs, then who removes those without a name.
                threads.join_queue();
                drop(content.blocking_send(ContentMessage::Close));
                threads.join();
                shared.close()
            })
            .await
        }
        .boxed()
    }
}

impl RedbStore {
    /// The jobs as of the last commit, while the store is open.
    fn open_jobs(&self) -> Result<std::sync::Arc<super::Jobs>, StoreError> {
        match self.shared.ended.get() {
            Some(StoreError::Closed) => Err(StoreError::Closed),
            _ => Ok(self.shared.jobs()),
        }
    }
}
