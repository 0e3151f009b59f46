//! Trap 2 and P02: what was paid for is kept, a task that runs again pays for nothing twice, and one that a person has
//! run again does so where that person wants it.

use std::{path::Path, sync::Arc};

use serde_json::{Value, json};
use tollgate::Host;
use tollgate_core::{
    ItemKey,
    item::ItemStatus,
    ledger::How,
    model::Dialect,
    pause::PauseReason,
    task::{Answers, Tally},
};
use tollgate_engine::Operations;
use tollgate_sim::{Release, sites::models::ModelFault};
use tollgate_store::{RedbStore, Selection, Store as _, StoreOptions};

use super::{Shop, answers, asks, end, entries, finish, model, model_named, paid, sum};
use crate::{
    faulty::Fault,
    world::{detail, open_items, state, stop, wait},
};

/// How many requests said this.
fn asked(shop: &Shop, what: &str) -> usize {
    shop.models.asked().iter().filter(|asked| asked.says(what)).count()
}

/// A jobs.toml whose second model is another one than it was.
fn with_second(shop: &Shop, name: &str, job: &str) -> std::path::PathBuf {
    shop.file(&format!("{}{}", model("gpt", ""), model_named("second", Dialect::OpenAi, name, "")), job)
}

fn one() -> Vec<ItemKey> {
    vec![ItemKey::new("one").unwrap()]
}

/// What a person does with a stopped host.
async fn stopped<T>(shop: &Shop, act: impl AsyncFnOnce(Operations) -> T) -> T {
    let data = shop.world.path("data");
    let store = RedbStore::open(&data, StoreOptions::default()).unwrap();
    let done = act(Operations::new(store.clone(), Arc::new(shop.clock.clone()), data)).await;
    store.close().await.unwrap();
    done
}

/// Runs a host over a jobs.toml until nothing is left to do, and holds its ledger against the bill. Answers what came
/// of the item's first stage, and its tally.
async fn run_to_the_end(shop: &Shop, file: &Path, act: impl AsyncFnOnce(&Host)) -> (Vec<Value>, Tally) {
    let (host, store) = shop.start(file).await;
    act(&host).await;
    finish(&host, &shop.clock).await;
    let one = detail(&host, "one").await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
    shop.is_the_bill(&store).await;
    drop(store);
    stop(host).await;
    let mut answers = answers(&one, "first").to_vec();
    // Its time was real, and another one each time.
    answers.iter_mut().for_each(|answer| drop(answer.as_object_mut().unwrap().remove("took_us")));
    (answers, one.item.tasks[0].tally)
}

#[tokio::test]
async fn p02_a_re_run_that_is_asked_to_has_its_earlier_answers_over_a_restart_and_pays_for_what_differs() {
    let shop = Shop::new().await;
    let job = "model = \"gpt\"";
    let (before, after) = (with_second(&shop, "gpt-4.1-mini", job), "gpt-5-mini");
    let calls = [
        json!({ "ask": "What is made?", "extract": true }),
        json!({ "ask": "Sum it up." }),
        // Who asks the same again wants another answer, and has both again.
        json!({ "ask": "Sum it up." }),
        json!({ "ask": "Who makes it?", "model": "second" }),
    ];
    let add = async |host: &Host| {
        host.operations().add("test", vec![asks("one", &calls)]).await.unwrap();
    };
    let (first, tally) = run_to_the_end(&shop, &before, add).await;
    assert_eq!((first.len(), shop.models.asked().len(), tally.reuses), (4, 4, None));

    // What a person wants is durable, though nothing runs.
    let opened = stopped(&shop, async |operations| {
        operations.retry_with("test", Selection::Items(one()), Answers::Kept).await.unwrap()
    });
    assert_eq!(opened.await.tasks, 2);
    let shown = stopped(&shop, async |operations| operations.item("test", &one()[0]).await.unwrap().unwrap()).await;
    assert_eq!(shown.item.tasks[0].tally.reuses, Some(1), "it can be seen: {shown:#?}");
    let nothing = async |_: &Host| ();
    let (second, tally) = run_to_the_end(&shop, &with_second(&shop, after, job), nothing).await;
    assert_eq!(shop.models.asked().len(), 5, "one request differs");
    assert_eq!(
        (second[..3].to_vec(), &second[3]["model"]),
        (first[..3].to_vec(), &json!(after)),
        "the others are as they were"
    );
    assert_eq!((tally.attempts, tally.reuses), (2, None), "it was asked for that run alone");

    // Who says nothing of it has all made anew.
    let again = async |host: &Host| {
        host.operations().retry("test", Selection::Items(one())).await.unwrap();
    };
    run_to_the_end(&shop, &with_second(&shop, after, job), again).await;
    assert_eq!(shop.models.asked().len(), 9);
    // One stage alone, of a host that runs.
    let kept = async |host: &Host| {
        host.operations().retry_stage_with("test", "first", one(), Answers::Kept).await.unwrap();
    };
    let (last, tally) = run_to_the_end(&shop, &with_second(&shop, after, job), kept).await;
    assert_eq!((shop.models.asked().len(), last.len(), tally.attempts), (9, 4, 4), "nothing was paid");
}

#[tokio::test]
async fn p02_a_re_run_that_fails_half_way_has_earlier_answers_to_its_end_and_makes_anew_what_it_paid_for_itself() {
    let shop = Shop::new().await;
    let job = "model = \"gpt\"\n[job.test.stage.first]\nattempts = 3";
    let calls = [
        json!({ "ask": "What is made?" }),
        json!({ "ask": "Who makes it?", "model": "second" }),
        json!({ "ask": "What does it weigh?", "model": "second" }),
    ];
    let add = async |host: &Host| {
        host.operations().add("test", vec![asks("one", &calls)]).await.unwrap();
    };
    run_to_the_end(&shop, &with_second(&shop, "gpt-4.1-mini", job), add).await;
    assert_eq!(shop.models.asked().len(), 3);
    shop.models.next_for("What does it weigh?", [ModelFault::Broken]);
    let kept = async |host: &Host| {
        host.operations().retry_with("test", Selection::Items(one()), Answers::Kept).await.unwrap();
    };
    let (_, tally) = run_to_the_end(&shop, &with_second(&shop, "gpt-5-mini", job), kept).await;
    assert_eq!((tally.attempts, tally.reuses), (3, None));
    assert_eq!(asked(&shop, "What is made?"), 1, "from before, in each attempt");
    // An attempt that failed may have failed of its answer.
    assert_eq!((asked(&shop, "Who makes it?"), asked(&shop, "What does it weigh?")), (3, 3));
}

#[tokio::test]
async fn trap02_a_task_that_could_not_be_settled_runs_again_without_asking_again() {
    let shop = Shop::new().await;
    let (host, store) = shop.start(&shop.file(&model("gpt", ""), "")).await;
    let mut progress = host.progress();
    store.set(Some(Fault::SettlePanics));
    let calls = [
        json!({ "ask": "Is it one?", "extract": true }),
        json!({ "ask": "Sum it up." }),
        // Who asks the same again wants another answer.
        json!({ "ask": "Sum it up." }),
    ];
    host.operations().add("test", vec![asks("one", &calls)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    assert_eq!(host.operations().job("test").await.unwrap().job.pause.unwrap().reason, PauseReason::Host);
    assert_eq!(shop.models.asked().len(), 3);
    store.set(None);
    host.operations().resume("test").await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    assert_eq!((one.item.status, answers(&one, "first").len()), (ItemStatus::Done, 3), "{one:#?}");
    shop.is_the_bill(&store).await;
    assert_eq!(shop.models.asked().len(), 3, "nothing was asked again");
    stop(host).await;
}

#[tokio::test]
async fn trap02_a_host_that_ends_between_two_calls_of_a_task_pays_for_the_first_once() {
    let shop = Shop::new().await;
    let release = Release::new();
    shop.models.next_for("Who makes it?", [ModelFault::Hold(release.clone())]);
    let proxy = format!("[proxy.main]\nurl = {:?}\nca = \"ca.pem\"\n", shop.world.sim.proxy_url());
    let file = shop.world.file(&format!("grace = \"0s\"\n{proxy}{}{}", model("gpt", ""), paid("")));
    let (host, store) = shop.start(&file).await;
    let calls = [json!({ "ask": "What is made?" }), json!({ "ask": "Who makes it?" })];
    host.operations().add("test", vec![asks("one", &calls)]).await.unwrap();
    shop.models.billed(2).await;
    drop(store);
    stop(host).await;
    release.release();

    let (host, store) = shop.start(&file).await;
    let mut progress = host.progress();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
    assert_eq!(answers(&one, "first").len(), 2);
    let asked = shop.models.asked();
    assert_eq!(asked.iter().filter(|asked| asked.says("What is made?")).count(), 1, "it was paid for");
    let rows = entries(&store).await;
    let ends: Vec<_> = rows.iter().map(|row| (end(row).0, end(row).1)).collect();
    assert_eq!(ends, [(How::Answered, false), (How::Lost, true), (How::Answered, false)], "{rows:#?}");
    assert!(sum(&rows) >= shop.models.sum());
    let told: Vec<_> = rows.iter().filter(|row| !end(row).1).map(|row| end(row).2.known().unwrap()).collect();
    let bill = shop.models.bill();
    assert_eq!(told, [bill[0].cost, bill[2].cost], "what isn't marked is the bill");
    stop(host).await;
}

#[tokio::test]
async fn p02_a_task_that_waits_for_its_second_call_has_its_first_from_before() {
    let shop = Shop::new().await;
    shop.models.next_for("Who makes it?", [ModelFault::busy_s(5), ModelFault::busy_s(5)]);
    let (host, store) = shop.start(&shop.file(&model("gpt", ""), "")).await;
    let calls = [json!({ "ask": "What is made?" }), json!({ "ask": "Who makes it?" })];
    host.operations().add("test", vec![asks("one", &calls)]).await.unwrap();
    finish(&host, &shop.clock).await;
    let one = detail(&host, "one").await;
    assert_eq!((one.item.status, answers(&one, "first").len()), (ItemStatus::Done, 2), "{one:#?}");
    let asked = shop.models.asked();
    assert_eq!(asked.iter().filter(|asked| asked.says("What is made?")).count(), 1, "it was paid for");
    shop.is_the_bill(&store).await;
    // Who wants the stage run again wants its answers made anew.
    host.operations().retry_stage("test", "first", vec![ItemKey::new("one").unwrap()]).await.unwrap();
    finish(&host, &shop.clock).await;
    assert_eq!(shop.models.asked().iter().filter(|asked| asked.says("What is made?")).count(), 2);
    shop.is_the_bill(&store).await;
    stop(host).await;
}

#[tokio::test]
async fn trap02_a_stop_waits_for_calls_whose_tasks_are_over_and_settles_them_by_the_bill() {
    let shop = Shop::new().await;
    let release = Release::new();
    shop.models.next([ModelFault::Stall(release.clone())]);
    let file = shop.file(&model("gpt", ""), "[job.test.stage.first]\nattempts = 1\ntimeout = \"1s\"");
    let (host, store) = shop.start(&file).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![asks("one", &[json!({ "ask": "What is made?" })])]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert!(entries(&store).await[0].end.is_none(), "nobody waits for it any more");
    drop(store);
    host.stop().await;
    let ended = tokio::spawn(host.wait());
    release.release();
    ended.await.unwrap().unwrap();

    let (host, store) = shop.start(&file).await;
    let rows = shop.is_the_bill(&store).await;
    assert_eq!(rows.iter().map(|row| end(row).0).collect::<Vec<_>>(), [How::Answered]);
    stop(host).await;
}

#[tokio::test]
async fn trap03_an_answer_that_cannot_be_kept_is_not_given_out_and_its_cost_is_settled() {
    let shop = Shop::new().await;
    let file = shop.file(&model("gpt", ""), "[job.test.stage.first]\nattempts = 1");
    let (host, store) = shop.start(&file).await;
    let mut progress = host.progress();
    store.set(Some(Fault::Answers));
    host.operations().add("test", vec![asks("one", &[json!({ "ask": "What is made?" })])]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    assert_eq!(one.item.status, ItemStatus::Failed);
    assert!(state(&one, "first").why().contains("no answer can be kept"), "{one:#?}");
    let rows = shop.is_the_bill(&store).await;
    assert_eq!(rows.iter().map(|row| end(row).0).collect::<Vec<_>>(), [How::Answered], "it was paid");
    stop(host).await;
}
