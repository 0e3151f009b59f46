//! Traps 6, 8 and 9, R07, and fall-backs: a refusal is one request and one row, costs nothing, and holds for everybody.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tollgate_core::{
    Clock,
    calendar::{PeriodKind, Zone},
    item::ItemStatus,
    ledger::{Cost, How},
    model::Dialect,
    money::NanoUsd,
    pause::PauseReason,
};
use tollgate_engine::operations::JobDetail;
use tollgate_sim::sites::{
    models::{ModelFacts, ModelFault, Say},
    scripted::Step,
};
use tollgate_store::Store as _;

use super::{EACH, KEY, Shop, answers, asks_one, end, entries, finish, model, model_named};
use crate::world::{advance, detail, open_items, quiet, retrying, stop, wait};

const WORKERS: u64 = 32;
const FREE: (How, bool, Cost) = (How::Refused, false, Cost::Known(NanoUsd(0)));

fn dialect(alias: &str) -> Dialect {
    super::MODELS.into_iter().find(|(known, ..)| *known == alias).unwrap().1
}

fn failures(job: &JobDetail) -> u32 {
    job.job.stages.iter().map(|stage| stage.breaker).sum()
}

#[tokio::test]
async fn trap06_of_a_provider_that_answers_500_each_attempt_is_one_request_and_one_row() {
    for alias in EACH {
        let shop = Shop::new().await;
        shop.models.next(vec![ModelFault::Broken; 10]);
        let job = "[job.test.stage.first]\nattempts = 4\nbackoff = \"0s\"";
        let (host, store) = shop.start(&shop.file(&model(alias, ""), job)).await;
        let mut progress = host.progress();
        host.operations().add("test", vec![asks_one("one")]).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Failed);
        let rows = entries(&store).await;
        assert_eq!(
            (shop.hits(dialect(alias)), rows.iter().map(end).collect::<Vec<_>>()),
            (4, vec![FREE; 4]),
            "{alias}"
        );
        let attempts: Vec<_> = rows.iter().map(|row| row.call.caller.attempt).collect();
        assert_eq!(attempts, [1, 2, 3, 4]);
        assert_eq!(shop.models.sum(), NanoUsd(0));
        stop(host).await;
    }
}

#[tokio::test]
async fn trap08_a_quota_that_is_used_up_is_not_asked_again_before_it_begins_anew() {
    for alias in EACH {
        let shop = Shop::new().await;
        shop.models.next([ModelFault::Quota]);
        let job = "[job.test.stage.first]\nconcurrency = 1\nretry-for = \"60d\"";
        let file = shop.file(&model(alias, ""), job);
        let (host, store) = shop.start(&file).await;
        let mut progress = host.progress();
        host.operations().add("test", ["one", "two", "three"].map(asks_one).into()).await.unwrap();
        wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
        let job = host.operations().job("test").await.unwrap();
        let pause = job.job.pause.clone().unwrap();
        assert_eq!((pause.reason.clone(), failures(&job)), (PauseReason::Budget, 0), "{alias}: {pause:?}");
        let now = shop.clock.now();
        let wanted = match alias {
            "gpt" => now.after(Duration::from_hours(24)),
            "claude" => Zone::default().period(PeriodKind::Month, now).ends,
            _ => Zone::named("America/Los_Angeles").unwrap().period(PeriodKind::Day, now).ends,
        };
        assert_eq!(pause.until, Some(wanted), "{alias}: {pause:?}");
        // Who resumes too early has nothing sent, not even by another process.
        host.operations().resume("test").await.unwrap();
        wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
        drop(store);
        stop(host).await;
        let (host, store) = shop.start(&file).await;
        let mut progress = host.progress();
        host.operations().resume("test").await.unwrap();
        wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
        assert_eq!(shop.hits(dialect(alias)), 1, "{alias}");
        assert_eq!(detail(&host, "one").await.item.tasks[0].tally.counted, 0);
        advance(&host, &shop.clock, wanted.since(now)).await;
        wait(&mut progress, host.operations(), |job| job.job.pause.is_none()).await;
        finish(&host, &shop.clock).await;
        assert_eq!(shop.hits(dialect(alias)), 4, "{alias}");
        let rows = shop.is_the_bill(&store).await;
        assert_eq!(rows.iter().filter(|row| end(row) == FREE).count(), 1);
        stop(host).await;
    }
}

#[tokio::test]
async fn trap09_a_model_with_a_long_name_is_left_alone_over_a_restart_too() {
    let name = "long".repeat(60);
    let odd = ModelFacts::usual(Dialect::OpenAi, &name, [NanoUsd(1_000_000_000); 3]);
    let shop = Shop::with(vec![odd], |builder| builder).await;
    shop.models.next([ModelFault::Quota]);
    let price = "price = { input = \"1 USD\", output = \"1 USD\" }";
    let file = shop.file(&model_named("odd", Dialect::OpenAi, &name, price), "");
    let (host, store) = shop.start(&file).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![asks_one("one")]).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    drop(store);
    stop(host).await;
    let (host, _store) = shop.start(&file).await;
    let mut progress = host.progress();
    host.operations().resume("test").await.unwrap();
    host.operations().add("test", vec![asks_one("two")]).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some() || open_items(job) < 2).await;
    assert_eq!(shop.hits(Dialect::OpenAi), 1, "its quota is used up, and that is known");
    stop(host).await;
}

#[tokio::test]
async fn trap09_r07_one_429_cools_the_model_for_all_over_a_restart_and_moves_no_breaker() {
    for alias in EACH {
        let shop = Shop::new().await;
        shop.models.next([ModelFault::busy_s(5)]);
        let file = shop.file(&model(alias, ""), &format!("[job.test.stage.first]\nconcurrency = {WORKERS}"));
        let (host, store) = shop.start(&file).await;
        let mut progress = host.progress();
        host.operations().add("test", vec![asks_one("first")]).await.unwrap();
        wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
        let items = (0..WORKERS).map(|number| asks_one(&number.to_string())).collect();
        host.operations().add("test", items).await.unwrap();
        // Those that begin after one of them was told to wait may stay where they are.
        wait(&mut progress, host.operations(), |job| retrying(job) > 1).await;
        quiet(&host).await;
        assert_eq!(shop.hits(dialect(alias)), 1, "{alias}: nobody else asked");
        let told = retrying(&host.operations().job("test").await.unwrap());
        drop(store);
        stop(host).await;
        shop.clock.advance(Duration::from_millis(4_999));
        let (host, store) = shop.start(&file).await;
        let mut progress = host.progress();
        host.operations().add("test", vec![asks_one("late")]).await.unwrap();
        wait(&mut progress, host.operations(), |job| retrying(job) > told).await;
        quiet(&host).await;
        assert_eq!(shop.hits(dialect(alias)), 1, "{alias}: before its time");
        advance(&host, &shop.clock, Duration::from_millis(1)).await;
        finish(&host, &shop.clock).await;
        let job = host.operations().job("test").await.unwrap();
        assert_eq!(job.job.items.get(&ItemStatus::Done).copied(), Some(WORKERS + 2));
        assert_eq!((failures(&job), job.job.pause), (0, None), "{alias}");
        assert_eq!(shop.hits(dialect(alias)), WORKERS + 3);
        shop.is_the_bill(&store).await;
        stop(host).await;
    }
}

#[tokio::test]
async fn trap16_a_key_that_its_provider_says_again_is_shown_nowhere() {
    let shop = Shop::new().await;
    let said = format!("Incorrect API key provided: {KEY}.");
    let inside = json!({ "error": { "message": said, "code": 400 } }).to_string();
    let refusal = json!({ "error": { "message": said, "type": "invalid_request_error", "code": "invalid_api_key" } });
    let steps = [Step::ok(inside), Step::status(StatusCode::UNAUTHORIZED).body(refusal.to_string())];
    shop.models.next(steps.map(|step| ModelFault::Raw(Box::new(step))));
    let job = "[job.test.stage.first]\nattempts = 1\nconcurrency = 1";
    let (host, store) = shop.start(&shop.file(&model("gpt", ""), job)).await;
    let mut progress = host.progress();
    host.operations().add("test", ["one", "two"].map(asks_one).into()).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    let overview = host.operations().overview().await.unwrap();
    let items = [detail(&host, "one").await, detail(&host, "two").await];
    let (rows, kept) = (entries(&store).await, store.circuits(shop.clock.now()).await.unwrap());
    for shown in [format!("{overview:?}"), format!("{items:?}"), format!("{kept:?}")] {
        assert!(shown.contains("Incorrect API key provided: [secret]") && !shown.contains(KEY), "{shown}");
    }
    assert!(!format!("{rows:?}").contains(KEY), "{rows:?}");
    stop(host).await;
}

#[tokio::test]
async fn r07_all_that_were_on_their_way_are_refused_without_a_failure() {
    let shop = Shop::new().await;
    shop.models.next(vec![ModelFault::Overloaded; 16]);
    shop.models.next(vec![ModelFault::busy_s(5); 16]);
    let file = shop.file(&model("gpt", ""), &format!("[job.test.stage.first]\nconcurrency = {WORKERS}"));
    let (host, store) = shop.start(&file).await;
    let mut progress = host.progress();
    let items = (0..WORKERS).map(|number| asks_one(&number.to_string())).collect();
    host.operations().add("test", items).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == WORKERS).await;
    let job = host.operations().job("test").await.unwrap();
    assert_eq!((failures(&job), job.job.pause), (0, None));
    finish(&host, &shop.clock).await;
    let job = host.operations().job("test").await.unwrap();
    assert_eq!(job.job.items.get(&ItemStatus::Done).copied(), Some(WORKERS));
    let rows = shop.is_the_bill(&store).await;
    assert_eq!(rows.iter().filter(|row| end(row).0 == How::Answered).count(), 32);
    stop(host).await;
}

#[tokio::test]
async fn r07_a_fall_back_is_asked_where_the_first_has_certainly_cost_nothing_and_nowhere_else() {
    let models = format!("{}{}", model("gpt", "fall-back = [\"claude\"]"), model("claude", ""));
    let job = "model = \"gpt\"\nbreaker = 10\n[job.test.stage.first]\nattempts = 1\nconcurrency = 1";
    let shop = Shop::new().await;
    shop.models.next([ModelFault::Broken, ModelFault::busy_s(60)].map(tollgate_sim::sites::models::Turn::from));
    let (host, store) = shop.start(&shop.file(&models, job)).await;
    let mut progress = host.progress();
    // The script serves whoever comes: 500, then its stand-in is refused as well.
    host.operations().add("test", vec![asks_one("one")]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0 || retrying(job) == 1).await;
    assert_eq!((shop.hits(Dialect::OpenAi), shop.hits(Dialect::Anthropic)), (1, 1));
    assert_eq!(entries(&store).await.iter().map(end).collect::<Vec<_>>(), [FREE, FREE]);
    stop(host).await;
    drop(shop);

    let shop = Shop::new().await;
    shop.models.next([ModelFault::busy_s(60)]);
    let (host, store) = shop.start(&shop.file(&models, job)).await;
    let mut progress = host.progress();
    host.operations().add("test", ["one", "two"].map(asks_one).into()).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!((shop.hits(Dialect::OpenAi), shop.hits(Dialect::Anthropic)), (1, 2), "the second goes there at once");
    assert_eq!(answers(&detail(&host, "two").await, "first")[0]["model"], "claude-haiku-4-5");
    let rows = shop.is_the_bill(&store).await;
    assert_eq!(rows.iter().map(|row| row.call.paid.alias.as_str()).collect::<Vec<_>>(), ["gpt", "claude", "claude"]);
    stop(host).await;
    drop(shop);

    let shop = Shop::new().await;
    shop.models.next([ModelFault::Disconnect, ModelFault::Lost, ModelFault::ErrorInside]);
    shop.models.next([Say::Cut]);
    let (host, store) = shop.start(&shop.file(&models, job)).await;
    host.operations().add("test", ["one", "two", "three", "four"].map(asks_one).into()).await.unwrap();
    finish(&host, &shop.clock).await;
    assert_eq!(shop.hits(Dialect::Anthropic), 0, "what may be paid is paid once: {:#?}", entries(&store).await);
    stop(host).await;
}
