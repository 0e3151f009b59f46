//! A03 and P05: what was paid is summed to the nano-dollar whatever it is summed by, and budgets say how they stand.

use std::{path::Path, sync::Arc};

use tollgate_core::{
    Clock as _, ItemKey,
    calendar::Day,
    ledger::{CallId, Costs, PaidKind},
    money::NanoUsd,
    spec::ReadSpec,
};
use tollgate_engine::{
    EngineError, Operations,
    operations::{CostReport, CostsAsked, LedgerAsked},
};
use tollgate_store::{CostGroup, CostKey, RedbStore, Store as _, StoreOptions};

use crate::{
    clock::TestClock,
    paying::{self, MODELS, Made, SERVICES, fill, leave_alone, spend_by_proxy},
    world::{World, outcomes, stop},
};

const GROUPS: [CostGroup; 5] = [CostGroup::Day, CostGroup::Job, CostGroup::Stage, CostGroup::Model, CostGroup::Item];

/// What people do with a stopped host.
struct Stopped {
    operations: Operations,
    store: Arc<RedbStore>,
}

fn stopped(world: &World, file: &Path, clock: &TestClock) -> Stopped {
    let data = world.path("data");
    let store = RedbStore::open(&data, StoreOptions::default()).unwrap();
    let read = ReadSpec::parse(&std::fs::read_to_string(file).unwrap(), "jobs.toml").unwrap();
    let deployment = Ok((Arc::new(read.into_deployment()), world.path("")));
    let operations = Operations::new(store.clone(), Arc::new(clock.clone()), data).with_deployment(deployment);
    Stopped { operations, store }
}

/// The sums of all pages, and the report of the last one.
async fn all_sums(operations: &Operations, asked: &CostsAsked) -> (Vec<Costs>, CostReport) {
    let (mut sums, mut asked) = (Vec::new(), asked.clone());
    loop {
        let report = operations.costs(asked.clone()).await.unwrap();
        sums.extend(report.sums.iter().map(|sum| sum.costs));
        let Some(next) = report.next else { return (sums, report) };
        asked.after = Some(next);
    }
}

/// The sum of all rows, each looked at by itself.
async fn rows(operations: &Operations, asked: &LedgerAsked) -> Costs {
    let (mut sum, mut asked) = (Costs::default(), asked.clone());
    let mut last = CallId(u64::MAX);
    loop {
        let page = operations.ledger(asked.clone()).await.unwrap();
        for row in &page.entries {
            assert!(row.entry.id < last, "newest first, each once");
            last = row.entry.id;
            sum = row.entry.end.as_ref().map_or(sum, |end| sum.and(&Costs::of(end)));
        }
        let Some(next) = page.next else { return sum };
        asked.after = Some(next);
    }
}

#[tokio::test]
async fn a03_sums_by_day_job_stage_model_and_item_are_equal_and_are_those_of_the_rows() {
    let (world, clock) = (World::new(vec![]).await, TestClock::new());
    let file = world.jobs(&outcomes(""));
    let made = fill(&world.path("data"), clock.now()).await;
    let Stopped { operations, store } = stopped(&world, &file, &clock);
    let by_days = CostsAsked { by: CostGroup::Day, job: None, from: None, to: None, after: None, limit: 100 };
    let by_days = operations.costs(by_days).await.unwrap();
    let days: Vec<Day> = by_days
        .sums
        .iter()
        .map(|sum| match &sum.of {
            CostKey::Day(day) => *day,
            of => panic!("{of:?}"),
        })
        .collect();
    assert_eq!(days.len(), 3);
    let is_of = |call: &Made, job: Option<&str>, first: usize, last: usize| {
        let day = 2 - usize::try_from(call.ago).unwrap();
        job.is_none_or(|job| call.job == job) && (first..=last).contains(&day)
    };
    for job in [None, Some("test"), Some("news")] {
        for (first, last) in [(0, 2), (1, 2), (0, 1), (1, 1)] {
            let expected = paying::sum(made.iter().filter(|call| is_of(call, job, first, last)));
            assert!(expected.calls > 0 && (job.is_some() || expected.unpriced > 0), "{expected:?}");
            let (from, to) = (Some(days[first]), Some(days[last]));
            let named = job.map(str::to_owned);
            let asked = LedgerAsked { job: named.clone(), from, to, limit: 7, ..LedgerAsked::default() };
            assert_eq!(rows(&operations, &asked).await, expected, "rows of {job:?}, {from:?} to {to:?}");
            for by in GROUPS {
                let asked = CostsAsked { by, job: named.clone(), from, to, after: None, limit: 1 };
                let (sums, report) = all_sums(&operations, &asked).await;
                let sum = sums.iter().fold(Costs::default(), |sum, next| sum.and(next));
                assert_eq!(sum, expected, "{by:?} of {job:?}, {from:?} to {to:?}");
                assert_eq!(report.total, expected, "{by:?}, the total of each page is that of all");
            }
        }
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn p05_costs_are_told_apart_by_stage_and_the_rows_of_a_stage_and_an_item_are_theirs() {
    let (world, clock) = (World::new(vec![]).await, TestClock::new());
    let file = world.jobs(&outcomes(""));
    let made = fill(&world.path("data"), clock.now()).await;
    spend_by_proxy(&world.path("data"), clock.now(), NanoUsd(77)).await;
    let Stopped { operations, store } = stopped(&world, &file, &clock);
    let asked = CostsAsked { by: CostGroup::Stage, job: None, from: None, to: None, after: None, limit: 100 };
    let report = operations.costs(asked).await.unwrap();
    let [proxy] = &report.proxies[..] else { panic!("a site costs nothing of its own: {:?}", report.proxies) };
    assert_eq!((proxy.name.as_str(), proxy.nano_usd_today, proxy.nano_usd_month), ("main", NanoUsd(77), NanoUsd(77)));
    assert_eq!(report.sums.len(), 4, "two stages, one of another job, and its discovery: {report:?}");
    for sum in &report.sums {
        let CostKey::Stage { job, stage } = &sum.of else { panic!("{sum:?}") };
        let stage = stage.as_ref().map(|stage| stage.as_str());
        let of = made.iter().filter(|call| call.job == job.as_str() && call.stage == stage);
        assert_eq!(sum.costs, paying::sum(of), "{job} {stage:?}");
        if let Some(stage) = stage {
            let (job, stage) = (Some(job.to_string()), Some(stage.to_owned()));
            let asked = LedgerAsked { job, stage, limit: 7, ..LedgerAsked::default() };
            assert_eq!(rows(&operations, &asked).await, sum.costs);
        }
    }
    let of = |key: &str| LedgerAsked {
        job: Some("test".to_owned()),
        key: Some(ItemKey::new(key).unwrap()),
        limit: 100,
        ..LedgerAsked::default()
    };
    let of_item = operations.ledger(of("a")).await.unwrap().entries;
    assert_eq!(of_item.len(), 30, "of one item, both stages");
    assert!(of_item.iter().all(|row| row.key.as_ref().unwrap().as_str() == "a"));
    let said = operations.ledger(of("z")).await.unwrap_err().to_string();
    assert!(said.contains("no item \"z\""), "{said}");
    let wrong = LedgerAsked { after: Some(CallId(9_999)), limit: 100, ..LedgerAsked::default() };
    let said = operations.ledger(wrong).await.unwrap_err();
    assert!(matches!(&said, EngineError::Invalid(said) if said.contains("no call 9999")), "{said}");
    let wrong = LedgerAsked { stage: Some("frist".to_owned()), ..of("a") };
    let said = operations.ledger(wrong).await.unwrap_err().to_string();
    assert!(said.contains("did you mean `first`?"), "{said}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a03_budgets_show_what_is_spent_and_held_and_say_so_when_they_are_nearly_spent() {
    let (world, clock) = (World::new(vec![]).await, TestClock::new());
    let made = fill(&world.path("data"), clock.now()).await;
    let by_proxies = 3_000_001;
    spend_by_proxy(&world.path("data"), clock.now(), NanoUsd(by_proxies)).await;
    let today = |call: &&Made| call.ago == 0;
    // What budgets are charged: of what has no price, what was held.
    let charged = |call: &Made| call.end.as_ref().map_or(0, |end| end.cost.known().unwrap_or(call.estimate).0);
    let of_test: u64 = made.iter().filter(today).filter(|call| call.job == "test").map(charged).sum();
    let all = by_proxies + made.iter().filter(today).map(charged).sum::<u64>();
    let held = made.last().unwrap().estimate.0;
    let usd = |nano: u64| NanoUsd(nano).to_string();
    let (tight, wide) = (usd(of_test), usd(all * 100 / 85));
    let file = world.jobs(&format!(
        "[budget]\nday = \"{wide}\"\n{MODELS}budget = {{ month = \"1000 USD\" }}\n\
         {SERVICES}{}budget = {{ day = \"{tight}\" }}\n",
        outcomes("")
    ));
    leave_alone(&world.path("data"), clock.now()).await;
    let Stopped { operations, store } = stopped(&world, &file, &clock);
    let overview = operations.overview().await.unwrap();
    let [everything, test, bare] = &overview.budgets[..] else { panic!("{:?}", overview.budgets) };
    assert_eq!(
        (everything.of.as_str(), everything.spent, everything.held),
        ("everything that is paid", NanoUsd(all), NanoUsd(held))
    );
    assert!(!everything.is_spent() && everything.percent >= 85, "{everything:?}");
    assert_eq!((test.of.as_str(), test.spent, test.held), ("job test", NanoUsd(of_test), NanoUsd::ZERO));
    assert!(test.is_spent() && test.percent == 100 && test.until > overview.at, "{test:?}");
    assert_eq!((bare.of.as_str(), bare.percent), ("model bare", 0));
    let said = |what: &str| overview.attention.iter().find(|one| one.message.contains(what));
    let nearly = said("everything that is paid for this day is nearly spent").unwrap();
    assert!(nearly.job.is_none() && nearly.message.contains("held); it begins anew at "), "{nearly:?}");
    let spent = said("the budget of job test for this day is spent").unwrap();
    assert!(
        spent.message.contains(&format!("({tight} of {tight}): nothing is sent on it; it goes on at ")),
        "{spent:?}"
    );
    assert!(operations.job("test").await.unwrap().attention.contains(spent), "its own page says so too");
    assert_eq!(said("model bare"), None);
    store.close().await.unwrap();

    let host = world.start_at(&file, clock.clone()).await;
    let overview = host.operations().overview().await.unwrap();
    let everything = &overview.budgets[0];
    assert_eq!(
        (everything.spent, everything.held),
        (NanoUsd(all + held), NanoUsd::ZERO),
        "what was under way is settled"
    );
    let left_alone = overview.services.iter().map(|one| (one.kind, one.name.as_str(), one.reason.as_str()));
    let wanted = [(PaidKind::Model, "bare"), (PaidKind::Search, "web"), (PaidKind::Speech, "ear")];
    assert_eq!(left_alone.collect::<Vec<_>>(), wanted.map(|(kind, name)| (kind, name, "no credit")));
    let sentences = overview.left_alone(|left| left.to_string());
    for name in ["model bare", "search web", "speech ear"] {
        let sentence = format!("{name} is left alone for another 60 min: no credit");
        assert!(sentences.iter().any(|said| said.contains(&sentence)), "{sentences:?}");
    }
    stop(host).await;
}
