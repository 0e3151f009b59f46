//! What pages and `tollgate cost` read: sums that agree with the rows to the billionth, and rows by page.

use std::collections::BTreeMap;

use tollgate_core::{
    StageIx, Timestamp,
    ledger::{Caller, Costs, Entry},
};
use tollgate_store::{CostGroup, CostKey, CostQuery, LedgerQuery, Store};

use crate::{
    fixture::{EXTRACT, Fixture, done},
    paying::{DAY, answered, by, known, paid, reservation},
};

/// Some hundred calls over five days, of five items, two stages, the discovery and three models; some are under way.
async fn filled() -> Fixture {
    let fixture = Fixture::new().await;
    let keys = ["a", "b", "c", "d", "e"];
    fixture.submit(&keys, 1).await;
    for _ in keys {
        fixture.run(StageIx(0), done("x"), 1).await;
    }
    fixture.submit(&["f", "g"], 1).await;
    let mut claims = fixture.claim(EXTRACT, 9, 2).await;
    claims.extend(fixture.claim(StageIx(0), 9, 2).await);
    let discovery = fixture.store.claim_discovery(fixture.job).await.unwrap().token;
    for number in 0..200_u64 {
        let claim = &claims[number as usize % claims.len()];
        let estimate = if number % 11 == 0 { tollgate_core::ledger::Cost::Unpriced } else { known(number * 7 + 1) };
        let mut asked = reservation(&fixture, claim, &number.to_string(), estimate, DAY * (1 + number / 40));
        asked.call.paid = paid(["fast", "best", "search"][number as usize % 3]);
        if number % 13 == 0 {
            asked.call.caller = Caller { task: None, attempt: 0, ..asked.call.caller };
            asked.claim = discovery;
        }
        let call = fixture.reserve(asked).await;
        if number % 17 != 0 {
            let mut end = answered(if number % 11 == 0 { estimate } else { known(number * 5 + 3) }, DAY * 6);
            end.is_estimate = number % 5 == 0;
            fixture.store.settle_call(call, end, None).await.unwrap();
        }
    }
    fixture.sound().await;
    fixture
}

/// All rows that are meant, in pages of seven.
async fn rows(fixture: &Fixture, query: LedgerQuery) -> Vec<Entry> {
    let (mut all, mut query) = (Vec::new(), LedgerQuery { limit: 7, ..query });
    loop {
        let page = fixture.store.ledger_entries(query).await.unwrap();
        all.extend(page.entries.into_iter().map(|row| row.entry));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return all,
        }
    }
}

/// All sums that are meant; those of items in pages of two.
async fn sums(fixture: &Fixture, query: CostQuery) -> BTreeMap<CostKey, Costs> {
    let (mut all, mut query) = (BTreeMap::new(), CostQuery { limit: 2, ..query });
    loop {
        let page = fixture.store.costs(query).await.unwrap();
        for sum in page.entries {
            assert!(all.insert(sum.of, sum.costs).is_none(), "an item is on one page alone");
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return all,
        }
    }
}

#[tokio::test]
async fn a03_sums_by_anything_agree_with_the_rows_to_the_billionth() {
    let fixture = filled().await;
    let all = rows(&fixture, LedgerQuery::default()).await;
    assert_eq!(all.len(), 200);
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first, each once");
    let settled = |rows: &[Entry]| {
        let ends = rows.iter().filter_map(|row| row.end.as_ref()).map(Costs::of);
        ends.fold(Costs::default(), |sum, costs| sum.and(&costs))
    };
    let total = settled(&all);
    assert!(total.unpriced > 0 && total.estimated.0 > 0 && total.units.audio_ms > 0);
    let day = |number: u64| tollgate_core::calendar::Zone::default().day(Timestamp(DAY * number));
    let (from, to) = (Some(day(2)), Some(day(3)));
    let within = rows(&fixture, LedgerQuery { from, to, ..LedgerQuery::default() }).await;
    assert_eq!(within.len(), 80);
    let whole = |costs: &BTreeMap<CostKey, Costs>| costs.values().fold(Costs::default(), |sum, one| sum.and(one));
    for (group, count) in
        [(CostGroup::Day, 5), (CostGroup::Job, 1), (CostGroup::Stage, 3), (CostGroup::Model, 3), (CostGroup::Item, 8)]
    {
        let found = sums(&fixture, by(group)).await;
        assert_eq!((found.len(), whole(&found)), (count, total), "{group:?}");
        let found = sums(&fixture, CostQuery { from, to, job: Some(fixture.job), ..by(group) }).await;
        assert_eq!(whole(&found), settled(&within), "{group:?}");
        let none = CostQuery { job: Some(tollgate_core::JobId(9)), ..by(group) };
        assert!(sums(&fixture, none).await.is_empty());
        assert!(sums(&fixture, CostQuery { from: to, to: from, ..by(group) }).await.is_empty());
    }
    let items = sums(&fixture, by(CostGroup::Item)).await;
    let days = sums(&fixture, by(CostGroup::Day)).await;
    for number in 1..=5 {
        let of_day: Vec<Entry> = all.iter().filter(|row| row.day == day(number)).cloned().collect();
        assert_eq!(days[&CostKey::Day(day(number))], settled(&of_day));
    }
    for (of, costs) in &items {
        let CostKey::Item { item, .. } = of else { panic!("{of:?}") };
        let item = item.as_ref().map(|(item, _)| *item);
        let is_of = |row: &&Entry| row.call.caller.task.map(|(item, _)| item) == item;
        let its: Vec<Entry> = all.iter().filter(is_of).cloned().collect();
        assert_eq!(*costs, settled(&its));
    }
}

#[tokio::test]
async fn rows_of_an_item_or_a_stage_are_listed_newest_first() {
    let fixture = filled().await;
    let all = rows(&fixture, LedgerQuery::default()).await;
    let item = fixture.detail("c").await.item.id;
    let job = Some(fixture.job);
    let of_item: Vec<Entry> =
        all.iter().filter(|row| row.call.caller.task.is_some_and(|(of, _)| of == item)).cloned().collect();
    let query = LedgerQuery { item: Some(item), ..LedgerQuery::default() };
    assert_eq!(rows(&fixture, LedgerQuery { job, ..query }).await, of_item);
    assert_eq!(rows(&fixture, query).await, of_item);
    let of_stage = rows(&fixture, LedgerQuery { job, stage: Some(EXTRACT), ..LedgerQuery::default() }).await;
    assert!(!of_stage.is_empty() && of_stage.len() < all.len());
    assert!(of_stage.iter().all(|row| row.call.caller.task.is_some_and(|(_, stage)| stage == EXTRACT)));
    let named = fixture.store.ledger_entries(LedgerQuery { job, limit: 1, ..query }).await.unwrap().entries.remove(0);
    assert_eq!((named.key.unwrap().as_str(), named.stage.unwrap().as_str()), ("c", "extract"));
    assert_eq!(named.job.as_str(), "pages");
}
