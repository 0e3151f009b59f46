//! Traps 1, 3 and 4, and A03: what is held and spent is never more than a budget, and nothing is
//! sent that nobody can count.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tollgate::Host;
use tollgate_core::{
    Clock,
    item::ItemStatus,
    ledger::{Cost, Entry, How, Scope},
    model::Dialect,
    money::NanoUsd,
    pause::PauseReason,
    task::TaskState,
};
use tollgate_llm::LENGTHS_NEEDED;
use tollgate_sim::{
    Release,
    sites::{
        models::{ModelFacts, ModelFault, UsageLie},
        scripted::{Scripted, Step},
    },
};
use tollgate_store::{Selection, Store};

use super::{Shop, answers, asks, asks_one, end, entries, model, model_named, sum};
use crate::{
    faulty::{Fault, Faulty},
    world::{SITE, advance, detail, first, item, open_items, outcomes, quiet, rest, retrying, state, stop, wait},
};

const CALLS: u64 = 1_000;
const HOURS_25: Duration = Duration::from_hours(25);

#[tokio::test]
async fn trap01_of_1000_calls_at_once_no_more_are_made_than_the_budget_has_room_for() {
    let shop = Shop::new().await;
    let cap = NanoUsd(50_000_000);
    let budget = "[budget]\nday = \"0.05 USD\"\n";
    let job = format!("stages = [\"first\"]\n[job.test.stage.first]\nconcurrency = {CALLS}\n");
    let file = shop.file(&format!("{budget}{}", model("gpt", "output-max = 100")), &job);
    let release = Release::new();
    shop.models.next(vec![ModelFault::Hold(release.clone()); 100]);
    let (host, store) = shop.start(&file).await;
    let mut progress = host.progress();
    let thesis = json!([{ "name": "thesis", "text": "Acme makes anvils. ", "times": 100 }]);
    let call = json!({ "ask": "Is it one?", "documents": thesis });
    let items = (0..CALLS).map(|number| asks(&number.to_string(), std::slice::from_ref(&call))).collect();
    host.operations().add("test", items).await.unwrap();
    // One that finds no room says that as many are under way as ever will be.
    wait(&mut progress, host.operations(), |job| retrying(job) > 0).await;
    let held = entries(&store).await;
    let under_way = u64::try_from(held.len()).unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == CALLS - under_way).await;
    shop.world.sim.wait_for(|counts| counts.of_host("api.openai.com") == under_way).await;
    let estimate = held[0].call.estimate.known().unwrap();
    assert_eq!(under_way, cap.0 / estimate.0, "as many as there is room for");
    let today = |accounts: Vec<tollgate_store::AccountView>| {
        let all = accounts.into_iter().find(|view| view.scope == Scope::Everything).unwrap();
        (all.account.day.settled, all.account.day.reserved)
    };
    let (settled, reserved) = today(store.accounts().await.unwrap());
    assert_eq!((settled, reserved), (NanoUsd(0), NanoUsd(estimate.0 * under_way)));
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none(), "held isn't spent");
    release.release();
    let mut days = 1;
    loop {
        rest(&host, &shop.clock).await;
        let (settled, reserved) = today(store.accounts().await.unwrap());
        assert!(settled.0 + reserved.0 <= cap.0, "{settled} and {reserved}");
        let job = host.operations().job("test").await.unwrap();
        if open_items(&job) == 0 {
            break;
        }
        let Some(pause) = job.job.pause else {
            shop.clock.advance(Duration::from_secs(30));
            continue;
        };
        assert_eq!(pause.reason, PauseReason::Budget, "{pause:?}");
        assert!(pause.evidence.contains("the budget of everything that is paid for this day is spent"), "{pause:?}");
        days += 1;
        let until = pause.until.unwrap();
        advance(&host, &shop.clock, until.since(shop.clock.now())).await;
        wait(&mut progress, host.operations(), |job| job.job.pause.is_none()).await;
    }
    assert!(days > 1, "the budget was spent at least once");
    let all = shop.is_the_bill(&store).await;
    assert_eq!(u64::try_from(all.len()).unwrap(), CALLS, "each was asked once");
    stop(host).await;
}

#[tokio::test]
async fn trap03_while_the_ledger_cannot_be_written_nothing_is_asked() {
    let shop = Shop::new().await;
    let (host, store) = shop.start(&shop.file(&model("gpt", ""), "breaker = 1")).await;
    let mut progress = host.progress();
    store.set(Some(Fault::Ledger));
    host.operations().add("test", vec![asks_one("one")]).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some() || retrying(job) == 1).await;
    assert_eq!((shop.hits(Dialect::OpenAi), entries(&store).await.len()), (0, 0));
    let why = host.operations().job("test").await.unwrap();
    assert!(format!("{why:?}").contains("the ledger's disk is gone"), "{why:#?}");
    store.set(None);
    host.operations().resume("test").await.unwrap();
    advance(&host, &shop.clock, Duration::from_secs(3_600)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(shop.is_the_bill(&store).await.len(), 1);
    stop(host).await;
}

#[tokio::test]
async fn trap04_a_model_without_a_price_is_not_asked_under_a_budget_and_is_unpriced_without_one() {
    let odd = ModelFacts::usual(Dialect::OpenAi, "odd-1", [NanoUsd(1_000_000_000); 3]);
    let shop = Shop::with(vec![odd], |builder| builder).await;
    let odd = model_named("odd", Dialect::OpenAi, "odd-1", "");
    let (host, store) = shop.start(&shop.file(&odd, "budget = { day = \"1000 USD\" }")).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![asks_one("one")]).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
    assert_eq!(pause.reason, PauseReason::Budget);
    assert!(pause.evidence.contains("job test has a budget, and the call has no price"), "{pause:?}");
    assert_eq!((shop.hits(Dialect::OpenAi), entries(&store).await.len()), (0, 0));
    stop(host).await;

    let (host, store) = shop.start(&shop.file(&odd, "")).await;
    let mut progress = host.progress();
    host.operations().resume("test").await.unwrap();
    advance(&host, &shop.clock, HOURS_25).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let rows = entries(&store).await;
    assert_eq!(rows.iter().map(end).collect::<Vec<_>>(), [(How::Answered, false, Cost::Unpriced)]);
    let one = detail(&host, "one").await;
    assert_eq!(answers(&one, "first")[0]["cost"], json!(null), "unknown isn't 0");
    stop(host).await;
}

#[tokio::test]
async fn trap04_a_budget_of_nothing_sends_nothing() {
    for (everything, of_job, of_model) in [
        ("[budget]\nday = \"0 USD\"\n", "", ""),
        ("", "budget = { day = \"0 USD\" }", ""),
        ("", "", "budget = { month = \"0 USD\" }"),
    ] {
        let shop = Shop::new().await;
        let file = shop.file(&format!("{everything}{}", model("gpt", of_model)), of_job);
        let (host, store) = shop.start(&file).await;
        let mut progress = host.progress();
        host.operations().add("test", vec![asks_one("one")]).await.unwrap();
        wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
        let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
        assert!(pause.reason == PauseReason::Budget && pause.evidence.contains("is spent"), "{pause:?}");
        assert_eq!((shop.hits(Dialect::OpenAi), entries(&store).await.len()), (0, 0));
        stop(host).await;
    }
}

#[tokio::test]
async fn trap04_a_typo_in_a_models_name_is_asked_once_costs_nothing_and_waits_for_a_person() {
    let shop = Shop::new().await;
    let price = "price = { input = \"1 USD\", output = \"1 USD\" }";
    let file = shop
        .file(&model_named("gpt", Dialect::OpenAi, "gpt-4.1-mimi", price), "[job.test.stage.first]\nconcurrency = 1");
    let (host, store) = shop.start(&file).await;
    let mut progress = host.progress();
    host.operations().add("test", ["one", "two", "three"].map(asks_one).into()).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
    assert!(pause.evidence.contains("gpt-4.1-mimi"), "{pause:?}");
    assert_eq!(shop.hits(Dialect::OpenAi), 1);
    assert_eq!(
        entries(&store).await.iter().map(end).collect::<Vec<_>>(),
        [(How::Refused, false, Cost::Known(NanoUsd(0)))]
    );
    assert_eq!(shop.models.sum(), NanoUsd(0));
    stop(host).await;
}

#[tokio::test]
async fn trap04_an_answer_without_its_usage_is_settled_at_a_marked_estimate() {
    for alias in super::EACH {
        let shop = Shop::new().await;
        // At Anthropic the cache is counted beside the input, so that no count of it contradicts another.
        let last = if alias == "claude" { UsageLie::Null } else { UsageLie::CachedOverInput };
        let lies = [UsageLie::Missing, UsageLie::Null, UsageLie::Zero, last];
        shop.models.next(lies.map(ModelFault::Usage));
        let (host, store) = shop.start(&shop.file(&model(alias, ""), "[job.test.stage.first]\nconcurrency = 1")).await;
        let mut progress = host.progress();
        host.operations().add("test", ["one", "two", "three", "four"].map(asks_one).into()).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        let (rows, bill) = (entries(&store).await, shop.models.bill());
        assert_eq!((rows.len(), bill.len()), (4, 4));
        for (row, billed) in rows.iter().zip(&bill) {
            let (how, is_estimate, cost) = end(row);
            assert_eq!((how, is_estimate), (How::Answered, true), "{alias}: {row:?}");
            assert!(cost.known().unwrap() >= billed.cost && billed.cost > NanoUsd(0), "{alias}: {row:?}");
        }
        stop(host).await;
    }
}

#[tokio::test]
async fn a03_one_call_dearer_than_a_whole_budget_fails_its_item_and_holds_up_no_other() {
    let shop = Shop::new().await;
    let of = |dollars: &str| {
        let job = format!("budget = {{ day = \"{dollars} USD\" }}\n[job.test.stage.first]\nconcurrency = 1");
        shop.file(&model("gpt", "output-max = 100"), &job)
    };
    let (host, store) = shop.start(&of("0.002")).await;
    let mut progress = host.progress();
    let thesis = json!([{ "name": "thesis", "text": "Acme makes anvils. ", "times": 2_000 }]);
    let dear = asks("dear", &[json!({ "ask": "Is it one?", "documents": thesis })]);
    host.operations().add("test", vec![dear, asks_one("one"), asks_one("two")]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none(), "one is no reason for a pause");
    for key in ["one", "two"] {
        assert_eq!(detail(&host, key).await.item.status, ItemStatus::Done);
    }
    let one = detail(&host, "dear").await;
    let TaskState::Failed { error } = state(&one, "first") else { panic!("{one:#?}") };
    for part in ["budget of job test is 0.002 USD for a whole day", "raise `budget` of [job.test]", "may cost 0.00"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    assert_eq!(shop.is_the_bill(&store).await.len(), 2, "it isn't sent");
    drop(store);
    stop(host).await;

    let (host, store) = shop.start(&of("1")).await;
    let mut progress = host.progress();
    host.operations().retry("test", Selection::Failed).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(detail(&host, "dear").await.item.status, ItemStatus::Done);
    assert_eq!(shop.is_the_bill(&store).await.len(), 3);
    stop(host).await;
}

#[tokio::test]
async fn a03_how_long_answers_are_is_told_from_the_ledger_after_a_restart() {
    let shop = Shop::new().await;
    let file = shop.file(&model("gpt", ""), "[job.test.stage.first]\nconcurrency = 1");
    let (host, store) = shop.start(&file).await;
    let mut progress = host.progress();
    let keys = (0..LENGTHS_NEEDED).map(|number| asks_one(&number.to_string())).collect();
    host.operations().add("test", keys).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let before = entries(&store).await;
    drop(store);
    stop(host).await;

    let (host, store) = shop.start(&file).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![asks_one("after")]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let held = |entry: &Entry| entry.call.estimate.known().unwrap();
    let (first, after) = (held(&before[0]), held(entries(&store).await.last().unwrap()));
    assert!(after.0 < first.0 / 10, "{after} of {first}, the most that it can make");
    shop.is_the_bill(&store).await;
    stop(host).await;
}

#[tokio::test]
async fn a03_a_budget_that_no_call_fits_pauses_its_job_until_a_person_raises_it() {
    let shop = Shop::new().await;
    let of_model = "output-max = 100\nbudget = { month = \"0.0001 USD\" }";
    let file = shop.file(&model("gpt", of_model), "[job.test.stage.first]\nconcurrency = 1");
    let (host, store) = shop.start(&file).await;
    let mut progress = host.progress();
    let keys = ["one", "two", "three", "four"];
    host.operations().add("test", keys.map(asks_one).into()).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
    assert!(matches!(pause.reason, PauseReason::Breaker { failures: 3, .. }) && pause.until.is_none(), "{pause:?}");
    assert!(pause.evidence.contains("raise `budget` of [model.gpt] in jobs.toml"), "{pause:?}");
    assert_eq!((shop.hits(Dialect::OpenAi), entries(&store).await.len()), (0, 0));
    stop(host).await;
}

#[tokio::test]
async fn a03_a_budget_of_everything_of_a_job_and_of_a_model_each_pauses_the_job_until_the_next_day_with_a_warning_before()
 {
    let day = "day = \"0.001 USD\"";
    let of = |inline: bool| if inline { format!("budget = {{ {day} }}") } else { String::new() };
    for (place, name) in ["everything that is paid", "job test", "model gpt"].into_iter().enumerate() {
        let shop = Shop::new().await;
        let everything = if place == 0 { format!("[budget]\n{day}\n") } else { String::new() };
        let of_model = format!("output-max = 100\n{}", of(place == 2));
        let job = format!("{}\n[job.test.stage.first]\nconcurrency = 1", of(place == 1));
        let file = shop.file(&format!("{everything}{}", model("gpt", &of_model)), &job);
        let (host, store) = shop.start(&file).await;
        let mut progress = host.progress();
        let keys: Vec<_> = (0..100).map(|number| asks_one(&number.to_string())).collect();
        host.operations().add("test", keys).await.unwrap();
        wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
        let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
        let said = format!("the budget of {name} for this day is spent");
        assert!(pause.reason == PauseReason::Budget && pause.evidence.contains(&said), "{pause:?}");
        let rows = shop.is_the_bill(&store).await;
        assert!(sum(&rows) <= NanoUsd(1_000_000) && rows.len() > 3, "{rows:?}");
        let accounts = store.accounts().await.unwrap();
        let account = accounts.iter().find(|view| {
            matches!((&view.scope, place), (Scope::Everything, 0) | (Scope::Job(_), 1) | (Scope::Paid(..), 2))
        });
        assert!(account.unwrap().account.day.is_warned, "{accounts:?}");
        assert_eq!(accounts.iter().filter(|view| view.account.day.is_warned).count(), 1, "{accounts:?}");
        let until = pause.until.unwrap();
        assert!(until.since(shop.clock.now()) <= Duration::from_hours(25));
        advance(&host, &shop.clock, until.since(shop.clock.now())).await;
        let before = rows.len();
        wait(&mut progress, host.operations(), |job| job.job.pause.as_ref().is_none_or(|next| next.at > pause.at))
            .await;
        rest(&host, &shop.clock).await;
        assert!(shop.is_the_bill(&store).await.len() > before, "it went on by itself");
        stop(host).await;
    }
}

#[tokio::test]
async fn a03_what_calls_have_cost_stops_a_proxy_that_costs_money_until_the_next_day() {
    let page = Arc::new(Scripted::new().path("/", [Step::ok("a page of words")]));
    let shop = Shop::with(Vec::new(), |builder| builder.site(SITE, page)).await;
    let jobs = "[job.ask]\nkind = \"backfill\"\nhandler = \"paid\"\ngrant = [\"llm\", \"artifacts\"]\n";
    let file = |price: &str, budget: &str| {
        let proxy = format!("[proxy.main]\nurl = {:?}\nca = \"ca.pem\"\n{price}\n", shop.world.sim.proxy_url());
        shop.world.file(&format!("{proxy}{budget}{}{jobs}{}", model("gpt", ""), outcomes("")))
    };
    // What nobody has counted costs what it was held to: two such calls spend a budget of twice that to the end.
    shop.models.next([UsageLie::Missing, UsageLie::Missing].map(ModelFault::Usage));
    let (host, store) = shop.start(&file("", "")).await;
    let ask = async |host: &Host, store: &Faulty, key: &str, calls: u64| {
        host.operations().add("ask", vec![asks_one(key)]).await.unwrap();
        store.calls_settled(calls).await;
        quiet(host).await;
    };
    ask(&host, &store, "one", 1).await;
    let held = end(&entries(&store).await[0]).2.known().unwrap();
    drop(store);
    stop(host).await;

    let budget = format!("[budget]\nday = \"{}\"\n", held.saturating_add(held));
    let (host, store) = shop.start(&file("price = \"0.001 USD/GB\"", &budget)).await;
    let mut progress = host.progress();
    assert_eq!(store.accounts_read(), 1, "at the start");
    ask(&host, &store, "two", 1).await;
    assert_eq!(store.accounts_read(), 1, "and not after a call");
    assert_eq!(sum(&entries(&store).await), held.saturating_add(held));
    host.operations().add("test", vec![item("page", &first(&format!("fetch http://{SITE}/")))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
    let said = "the budget of everything that is paid for this day is spent";
    assert!(pause.reason == PauseReason::Budget && pause.evidence.contains(said), "{pause:?}");
    assert_eq!(
        (shop.world.sim.counts().of_host(SITE), detail(&host, "page").await.item.tasks[0].tally.counted),
        (0, 0)
    );
    assert!(pause.until.is_some_and(|until| until.since(shop.clock.now()) <= HOURS_25), "{pause:?}");
    // A job that is paused isn't idle, and nothing of it is due.
    quiet(&host).await;
    shop.clock.advance(HOURS_25);
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(shop.world.sim.counts().of_host(SITE), 1, "it went on by itself");
    stop(host).await;
}
