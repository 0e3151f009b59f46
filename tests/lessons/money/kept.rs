//! Trap 2 and P02: what was paid for is kept, and a task that runs again pays for nothing twice.

use serde_json::json;
use tollgate_core::{ItemKey, item::ItemStatus, ledger::How, pause::PauseReason};
use tollgate_sim::{Release, sites::models::ModelFault};

use super::{Shop, answers, asks, end, entries, finish, model, paid, sum};
use crate::{
    faulty::Fault,
    world::{detail, open_items, state, stop, wait},
};

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
