//! A ledger as paid calls leave it, written into a data folder that no host has yet.

use std::path::Path;

use tollgate_core::{
    ClaimToken, Digest, ItemKey, JobId, JobName, Lane, StageName, Timestamp,
    budget::Spending,
    calendar::Zone,
    circuit::{Circuit, Cooling, CoolingKind},
    item::NewItem,
    ledger::{Budgets, Call, CallEnd, Caller, Cost, Costs, How, Paid, PaidKind, Reservation, Units},
    model::Tokens,
    money::NanoUsd,
    spec::JobKind,
};
use tollgate_store::{DeclaredStage, JobDeclaration, RedbStore, Reserved, Store, StoreOptions};

const DAY: u64 = 86_400_000;
/// Calls that [`fill`] makes, over three days.
const CALLS: u64 = 90;

/// Models of a jobs.toml that cost what [`fill`] says: one with a price, one without, one that is left alone.
pub(crate) const MODELS: &str = "[model.fast]\nprovider = \"openai\"\nname = \"fast-1\"\n\
     url = \"http://127.0.0.1:9/v1\"\n\
     price = { input = \"0.10 USD\", output = \"0.40 USD\" }\n\
     [model.bare]\nprovider = \"openai\"\nname = \"bare-1\"\nurl = \"http://127.0.0.1:9/v1\"\n";

/// A search and a speech of a jobs.toml, which are left alone.
pub(crate) const SERVICES: &str = "[search.web]\nprovider = \"serper\"\nurl = \"http://127.0.0.1:9/v1\"\n\
     [speech.ear]\nprovider = \"openai\"\nname = \"ear-1\"\nurl = \"http://127.0.0.1:9/v1\"\n";

/// A call that [`fill`] made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// Days ago.
    pub(crate) ago: u64,
    pub(crate) job: &'static str,
    /// Absent: the job's discovery.
    pub(crate) stage: Option<&'static str>,
    pub(crate) estimate: NanoUsd,
    /// Absent: it was under way when its host ended.
    pub(crate) end: Option<CallEnd>,
}

/// What calls came to that are settled.
pub(crate) fn sum<'a>(calls: impl IntoIterator<Item = &'a Made>) -> Costs {
    calls.into_iter().filter_map(|call| call.end.as_ref()).fold(Costs::default(), |sum, end| sum.and(&Costs::of(end)))
}

struct Target {
    job: &'static str,
    id: JobId,
    task: Option<(tollgate_core::ItemId, tollgate_core::StageIx)>,
    stage: Option<&'static str>,
    claim: ClaimToken,
}

async fn declare(store: &RedbStore, name: &str, stages: &[&str], keys: &[&str]) -> JobId {
    let stage = |name: &&str| DeclaredStage { name: StageName::new(name).unwrap(), needs: vec![], brings: vec![] };
    let declaration = JobDeclaration {
        name: JobName::new(name).unwrap(),
        kind: JobKind::Backfill,
        stages: stages.iter().map(stage).collect(),
        keep_attempts: 3,
        breaker: 3,
        discovery: None,
    };
    let job = store.declare(declaration, Timestamp(0)).await.unwrap().id;
    let item = |key: &&str| NewItem {
        key: ItemKey::new(key).unwrap(),
        data: serde_json::Map::new(),
        priority: 0,
        revision: None,
    };
    store.submit(job, keys.iter().map(item).collect(), Timestamp(0)).await.unwrap();
    job
}

/// Writes a ledger: jobs `test` (items `a` and `b`, stages `first` and `second`) and `news` (item `c`, stage `digest`,
/// and a discovery that pays); known, unpriced and estimated costs; two calls under way. Answers the calls.
pub(crate) async fn fill(data: &Path, now: Timestamp) -> Vec<Made> {
    std::fs::create_dir_all(data).unwrap();
    let store = RedbStore::open(data, StoreOptions::default()).unwrap();
    let test = declare(&store, "test", &["first", "second"], &["a", "b"]).await;
    let news = declare(&store, "news", &["digest"], &["c"]).await;
    let mut targets = Vec::new();
    for (job, id, stages) in [("test", test, &["first", "second"][..]), ("news", news, &["digest"])] {
        for (number, stage) in stages.iter().enumerate() {
            let lane = Lane { job: id, stage: tollgate_core::StageIx(number.try_into().unwrap()) };
            for claim in store.claim(lane, 10, now).await.unwrap() {
                let task = Some((claim.task.item, claim.task.stage));
                targets.push(Target { job, id, task, stage: Some(stage), claim: claim.token });
            }
        }
    }
    let claim = store.claim_discovery(news).await.unwrap().token;
    targets.push(Target { job: "news", id: news, task: None, stage: None, claim });
    assert_eq!(targets.len(), 6);
    let mut all = Vec::new();
    for number in 0..CALLS {
        let ago = 2 - number / (CALLS / 3);
        let target = &targets[usize::try_from(number).unwrap() % targets.len()];
        let (kind, alias) = match number % 5 {
            0 => (PaidKind::Search, "web"),
            1 | 2 => (PaidKind::Model, "fast"),
            _ => (PaidKind::Model, "bare"),
        };
        let paid = Paid { kind, provider: "sim".into(), alias: alias.into(), model: format!("{alias}-1") };
        // Odd amounts: what is rounded anywhere shows.
        let (cost, estimate) = (NanoUsd(number * 1_000_003 + 7), NanoUsd(200_000_001 + number));
        let at = Timestamp(now.0 - ago * DAY);
        let caller = Caller { job: target.id, task: target.task, attempt: 1, number: number.try_into().unwrap() };
        let request = Digest::of(&number.to_be_bytes());
        let call = Call { caller, paid, request, at, estimate: Cost::Known(estimate) };
        let reservation = Reservation { call, claim: target.claim, budgets: Budgets::default(), zone: Zone::default() };
        let Reserved::Made { call, .. } = store.reserve_call(reservation).await.unwrap() else {
            panic!("nothing bounds it");
        };
        let cost = if number % 11 == 5 { Cost::Unpriced } else { Cost::Known(cost) };
        let tokens = Tokens { input: number, cache_read: 4, cache_write: 3, cache_write_long: 2, output: 5 };
        let units = Units { credits: u64::from(kind == PaidKind::Search), audio_ms: 0 };
        let end = CallEnd {
            at,
            how: How::Answered,
            cost,
            is_estimate: number % 13 == 4,
            tokens,
            units,
            provider_request: None,
        };
        let end = (![40, CALLS - 1].contains(&number)).then_some(end);
        if let Some(end) = &end {
            store.settle_call(call, end.clone(), None).await.unwrap();
        }
        all.push(Made { ago, job: target.job, stage: target.stage, estimate, end });
    }
    store.close().await.unwrap();
    all
}

/// Has the model `bare` of [`MODELS`] and those of [`SERVICES`] left alone for an hour, as an earlier
/// host would have kept it.
pub(crate) async fn leave_alone(data: &Path, now: Timestamp) {
    std::fs::create_dir_all(data).unwrap();
    let store = RedbStore::open(data, StoreOptions::default()).unwrap();
    let cooling =
        Cooling { until: Timestamp(now.0 + 3_600_000), kind: CoolingKind::Blocked, reason: "no credit".into() };
    for name in ["bare-1", "serper", "ear-1"] {
        let account = format!("model http://127.0.0.1:9/v1  {name}");
        store.keep_circuit(account, Circuit::remembered(Some(cooling.clone()), 0), now).await.unwrap();
    }
    store.close().await.unwrap();
}

/// Has the proxy `main` cost so much today, for a site that shares it, as an earlier host would have kept it.
pub(crate) async fn spend_by_proxy(data: &Path, now: Timestamp, cost: NanoUsd) {
    let store = RedbStore::open(data, StoreOptions::default()).unwrap();
    let mut spending = Spending::default();
    spending.turn(&Zone::default(), now);
    spending.add_at(1_000, 0, cost);
    let rows = ["proxy main", "site *"].map(|name| (name.to_owned(), spending));
    store.keep_spending(rows.to_vec()).await.unwrap();
    store.close().await.unwrap();
}
