//! A store that fails where a test says so: redb behind it, and one fault before it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use futures::FutureExt;
use tokio::sync::{Notify, Semaphore, watch};
use tollgate_core::{
    ClaimToken, Digest, ItemId, ItemKey, JobId, JobName, Lane, StageIx, Timestamp,
    circuit::Circuit,
    item::NewItem,
    ledger::{CallEnd, CallId, Costs, Reservation},
    outcome::BreakerEffect,
    pause::Pause,
    task::Answers,
};
use tollgate_store::{
    AccountView, AnswerKey, BlobPart, BlobSource, CallSettled, Claim, CostQuery, CostView, DeclaredJob, DiscoveryClaim,
    DiscoveryPage, DiscoveryState, EntryView, ErrorView, ItemDetail, ItemPages, ItemQuery, ItemView, JobDeclaration,
    JobView, KeptAnswer, LedgerQuery, Page, Rechecked, RedbStore, Reopened, Reply, Reserved, Selection, Settled,
    Settlement, StageItems, StateChange, StateEntry, Store, StoreError, StoreOptions, StoredArtifact, StoredBlob,
    Submitted, TaskRef,
};

/// What goes wrong.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Claims of that job find a row that can't be read.
    Claims(JobId),
    /// The disk is gone.
    Disk,
    /// The content's disk is full: no blob can be kept.
    Blobs,
    /// The ledger can't be written.
    Ledger,
    /// No answer of a paid call can be kept.
    Answers,
    /// The scratch file of a body is moved away once it is kept, before anybody reads it again; where it is then.
    HidesBody(Arc<Mutex<Option<PathBuf>>>),
    /// Settling panics.
    SettlePanics,
    /// Nothing is settled without a permit, one for each settlement.
    SettlesLate(Arc<Semaphore>),
    /// Claims of that lane wait for a permit.
    ClaimsLate(Lane, Arc<Semaphore>),
    /// A failure that is settled is told there, and its executor hears of it only with a permit.
    FailuresTold { settled: Arc<Notify>, told: Arc<Semaphore> },
    /// A page of discovery that is settled is told there, and how the discovery stands then only with a permit.
    PageTold { settled: Arc<Notify>, told: Arc<Semaphore> },
    /// How a discovery stands is told only with a permit, once.
    DiscoveryTold(Arc<Semaphore>),
    /// Closing fails.
    Close,
}

pub(crate) struct Faulty {
    store: Arc<RedbStore>,
    fault: Mutex<Option<Fault>>,
    closed: Notify,
    calls_settled: watch::Sender<u64>,
    accounts_read: AtomicU64,
}

impl Faulty {
    pub(crate) fn open(data: &Path) -> Arc<Self> {
        std::fs::create_dir_all(data).unwrap();
        let store = RedbStore::open(data, StoreOptions::default()).unwrap();
        Arc::new(Self {
            store,
            fault: Mutex::default(),
            closed: Notify::new(),
            calls_settled: watch::Sender::new(0),
            accounts_read: AtomicU64::default(),
        })
    }

    /// From now on this goes wrong, and nothing else.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Waits until it has been closed.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Waits until so many paid calls have been settled since it was opened.
    pub(crate) async fn calls_settled(&self, calls: u64) {
        self.calls_settled.subscribe().wait_for(|settled| *settled >= calls).await.unwrap();
    }

    /// How often all accounts were read.
    pub(crate) fn accounts_read(&self) -> u64 {
        self.accounts_read.load(SeqCst)
    }

    fn fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap().clone()
    }
}

/// Operations that nothing happens to.
macro_rules! pass {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name<'a>(&'a self, $($arg: $type),*) -> Reply<'a, $answer> {
            self.store.$name($($arg),*)
        }
    )*};
}

impl Store for Faulty {
    pass! {
        declare(job: JobDeclaration, now: Timestamp) -> DeclaredJob;
        submit(job: JobId, items: Vec<NewItem>, now: Timestamp) -> Submitted;
        claim_discovery(job: JobId) -> DiscoveryClaim;
        next_due(lane: Lane, now: Timestamp) -> Option<Timestamp>;
        release(claims: Vec<(TaskRef, ClaimToken)>) -> ();
        read_blob(digest: Digest, part: Option<BlobPart>) -> Vec<u8>;
        artifacts(item: ItemId, own: Option<StageIx>) -> Vec<StoredArtifact>;
        state_get(job: JobId, key: String) -> Option<StateEntry>;
        state_apply(job: JobId, changes: Vec<StateChange>) -> ();
        state_keys(job: JobId, prefix: String, cursor: Option<String>, limit: usize) -> Page<String, String>;
        pause(job: JobId, pause: Pause) -> ();
        resume(job: JobId) -> Option<Pause>;
        reopen(job: JobId, what: Selection, answers: Answers, now: Timestamp) -> Reopened;
        stage_items(job: JobId, stage: StageIx, query: ItemQuery) -> StageItems;
        pages(job: JobId, after: Option<ItemId>, limit: usize) -> Page<ItemPages, ItemId>;
        recheck(job: JobId, rechecked: Vec<Rechecked>, now: Timestamp) -> Reopened;
        exclude(job: JobId, keys: Vec<ItemKey>, reason: String, now: Timestamp) -> Reopened;
        keep_circuit(site: String, circuit: Circuit, now: Timestamp) -> ();
        circuits(now: Timestamp) -> Vec<(String, Circuit)>;
        keep_spending(rows: Vec<(String, tollgate_core::budget::Spending)>) -> ();
        spending() -> Vec<(String, tollgate_core::budget::Spending)>;
        kept_requests(job: JobId, task: (ItemId, StageIx)) -> BTreeSet<Digest>;
        kept_answer(key: AnswerKey) -> Option<KeptAnswer>;
        answer_of(call: CallId) -> Option<KeptAnswer>;
        expire_reservations(now: Timestamp) -> Costs;
        ledger_entries(query: LedgerQuery) -> Page<EntryView, CallId>;
        costs(query: CostQuery) -> Page<CostView, (JobId, ItemId)>;
        end_pause(job: JobId, now: Timestamp) -> Option<Pause>;
        jobs() -> Vec<JobView>;
        job_id(name: JobName) -> Option<JobId>;
        items(job: JobId, query: ItemQuery) -> Page<ItemView, ItemId>;
        item(job: JobId, key: ItemKey) -> Option<ItemDetail>;
        recent_errors(job: JobId, limit: usize) -> Vec<ErrorView>;
    }

    fn claim<'a>(&'a self, lane: Lane, limit: usize, at: Timestamp) -> Reply<'a, Vec<Claim>> {
        async move {
            match self.fault() {
                Some(Fault::Claims(job)) if job == lane.job => {
                    Err(StoreError::Corrupt("items: the test wants it so".to_owned()))
                }
                Some(Fault::Disk) => Err(StoreError::Io("the disk is gone".to_owned())),
                Some(Fault::ClaimsLate(late, now)) if late == lane => {
                    now.acquire().await.unwrap().forget();
                    self.store.claim(lane, limit, at).await
                }
                _ => self.store.claim(lane, limit, at).await,
            }
        }
        .boxed()
    }

    fn settle_discovery<'a>(&'a self, page: DiscoveryPage) -> Reply<'a, Submitted> {
        async move {
            let submitted = self.store.settle_discovery(page).await;
            if let Some(Fault::PageTold { settled, told }) = self.fault() {
                self.set(Some(Fault::DiscoveryTold(told)));
                settled.notify_one();
            }
            submitted
        }
        .boxed()
    }

    fn discovery<'a>(&'a self, job: JobId) -> Reply<'a, DiscoveryState> {
        async move {
            let fault = self.fault();
            if let Some(Fault::DiscoveryTold(told)) = fault {
                self.set(None);
                let stood = self.store.discovery(job).await;
                told.acquire().await.unwrap().forget();
                return stood;
            }
            self.store.discovery(job).await
        }
        .boxed()
    }

    fn reserve_call<'a>(&'a self, reservation: Reservation) -> Reply<'a, Reserved> {
        async move {
            match self.fault() {
                Some(Fault::Ledger) => Err(StoreError::Io("the ledger's disk is gone".to_owned())),
                _ => self.store.reserve_call(reservation).await,
            }
        }
        .boxed()
    }

    fn settle_call<'a>(&'a self, call: CallId, end: CallEnd, answer: Option<String>) -> Reply<'a, CallSettled> {
        async move {
            if matches!(self.fault(), Some(Fault::Answers)) && answer.is_some() {
                return Err(StoreError::Io("no answer can be kept".to_owned()));
            }
            let settled = self.store.settle_call(call, end, answer).await?;
            self.calls_settled.send_modify(|settled| *settled += 1);
            Ok(settled)
        }
        .boxed()
    }

    fn accounts<'a>(&'a self) -> Reply<'a, Vec<AccountView>> {
        self.accounts_read.fetch_add(1, SeqCst);
        self.store.accounts()
    }

    fn put_blob<'a>(&'a self, body: BlobSource) -> Reply<'a, StoredBlob> {
        async move {
            match self.fault() {
                Some(Fault::Blobs) => Err(StoreError::Io("no space is left".to_owned())),
                Some(Fault::HidesBody(hidden)) => {
                    let file = if let BlobSource::File(file) = &body { Some(file.clone()) } else { None };
                    let kept = self.store.put_blob(body).await;
                    if let Some(file) = file {
                        std::fs::rename(&file, file.with_extension("hidden")).unwrap();
                        *hidden.lock().unwrap() = Some(file);
                    }
                    kept
                }
                _ => self.store.put_blob(body).await,
            }
        }
        .boxed()
    }

    fn settle<'a>(&'a self, settlements: Vec<Settlement>) -> Reply<'a, Vec<Result<Settled, StoreError>>> {
        async move {
            let fails = settlements.iter().any(|settlement| settlement.breaker == BreakerEffect::Failure);
            match self.fault() {
                Some(Fault::SettlePanics) => panic!("settling, as the test wants it"),
                Some(Fault::SettlesLate(now)) => {
                    now.acquire().await.unwrap().forget();
                    self.store.settle(settlements).await
                }
                Some(Fault::FailuresTold { settled, told }) if fails => {
                    let answers = self.store.settle(settlements).await;
                    settled.notify_one();
                    told.acquire().await.unwrap().forget();
                    answers
                }
                _ => self.store.settle(settlements).await,
            }
        }
        .boxed()
    }

    fn close<'a>(&'a self) -> Reply<'a, ()> {
        async move {
            self.store.close().await?;
            self.closed.notify_one();
            match self.fault() {
                Some(Fault::Close) => Err(StoreError::Io("closing, as the test wants it".to_owned())),
                _ => Ok(()),
            }
        }
        .boxed()
    }
}
