//! Traps 5 and 7: each token is counted once, and what nobody waits for any more is billed all the same.

use serde_json::json;
use tollgate_core::{ledger::How, model::Tokens, money::NanoUsd, task::TaskState};
use tollgate_sim::{
    Release,
    sites::models::{ModelFault, Say},
};

use super::{EACH, Shop, answers, asks, asks_one, end, entries, model, sum};
use crate::world::{advance, detail, item, open_items, state, stop, wait};

#[tokio::test]
async fn trap05_tokens_of_the_cache_are_counted_once_and_the_ledger_is_the_bill() {
    for alias in EACH {
        let shop = Shop::new().await;
        let (host, store) = shop.start(&shop.file(&model(alias, ""), "")).await;
        let mut progress = host.progress();
        let thesis = json!([{ "name": "thesis", "text": "Acme makes anvils, and more of them. ",
            "times": 1_200, "shared": true }]);
        let call = |ask: &str| json!({ "ask": ask, "documents": thesis });
        host.operations()
            .add("test", vec![asks("one", &[call("What is made?"), call("Who makes it?")])])
            .await
            .unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        let rows = shop.is_the_bill(&store).await;
        for (row, billed) in rows.iter().zip(shop.models.bill()) {
            let end = row.end.as_ref().unwrap();
            assert_eq!((end.tokens, end.cost.known()), (billed.tokens(), Some(billed.cost)), "{alias}");
        }
        let tokens: Vec<Tokens> = rows.iter().map(|row| row.end.as_ref().unwrap().tokens).collect();
        assert!(tokens[1].cache_read > 8_000 && tokens[1].input < 1_000, "{alias}: {tokens:?}");
        assert_eq!(tokens[0].cache_write > 8_000, alias == "claude", "{alias}: {tokens:?}");
        assert_eq!(tokens[0].sent().abs_diff(tokens[1].sent()) / 8, 0, "{alias}: both sent as much: {tokens:?}");
        let one = detail(&host, "one").await;
        let told: u64 = answers(&one, "first").iter().map(|answer| answer["cost"].as_u64().unwrap()).sum();
        assert_eq!(NanoUsd(told), shop.models.sum(), "the handler is told the same");
        stop(host).await;
    }
}

#[tokio::test]
async fn m06_a_second_stage_with_another_schema_reads_the_shared_document_from_the_cache() {
    for alias in EACH {
        let shop = Shop::new().await;
        let (host, store) = shop.start(&shop.file(&model(alias, ""), "")).await;
        let mut progress = host.progress();
        let call = json!([{ "name": "call", "text": "Acme makes anvils, and more of them. ",
            "times": 1_200, "shared": true }]);
        let script = json!({
            "first": [{ "ask": "Is it one?", "extract": true, "documents": call }],
            "second": [{ "ask": "Sum it up.", "headline": true, "documents": call }],
        });
        host.operations().add("test", vec![item("one", &script)]).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        let rows = shop.is_the_bill(&store).await;
        let tokens: Vec<Tokens> = rows.iter().map(|row| row.end.as_ref().unwrap().tokens).collect();
        assert_eq!((tokens.len(), tokens[0].cache_read), (2, 0), "{alias}: {tokens:?}");
        assert!(tokens[1].cache_read > 8_000 && tokens[1].input < 1_000, "{alias}: {tokens:?}");
        assert!(rows[1].end.as_ref().unwrap().cost.known() < rows[0].end.as_ref().unwrap().cost.known(), "{alias}");
        let one = detail(&host, "one").await;
        for stage in ["first", "second"] {
            assert!(!answers(&one, stage)[0]["text"].as_str().unwrap().is_empty(), "{alias}: {one:#?}");
        }
        let schemas: Vec<_> = shop.models.asked().iter().map(|asked| asked.schema.clone().unwrap()).collect();
        assert_ne!(schemas[0]["properties"], schemas[1]["properties"], "{alias}");
        stop(host).await;
    }
}

#[tokio::test]
async fn trap07_a_task_that_is_dropped_in_the_middle_of_an_answer_settles_by_what_came() {
    let dropped = async |alias| {
        let shop = Shop::new().await;
        let release = Release::new();
        shop.models.next([ModelFault::Stall(release.clone())]);
        // Long enough for a slow machine to come to ask.
        let job = "[job.test.stage.first]\nattempts = 1\ntimeout = \"3s\"";
        let (host, store) = shop.start(&shop.file(&model(alias, ""), job)).await;
        let mut progress = host.progress();
        host.operations().add("test", vec![asks_one("one")]).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        let one = detail(&host, "one").await;
        assert!(matches!(state(&one, "first"), TaskState::Failed { .. }), "{one:#?}");
        assert!(entries(&store).await[0].end.is_none(), "nobody knows yet");
        release.release();
        store.calls_settled(1).await;
        let rows = shop.is_the_bill(&store).await;
        assert_eq!((rows.len(), end(&rows[0]).0), (1, How::Answered), "{alias}");
        stop(host).await;
    };
    let [first, second, third] = EACH;
    tokio::join!(dropped(first), dropped(second), dropped(third));
}

#[tokio::test]
async fn trap07_what_is_lost_breaks_off_or_comes_too_late_is_settled_at_a_marked_estimate() {
    for alias in EACH {
        let shop = Shop::new().await;
        let release = Release::new();
        // Of a short one the half is nothing at all.
        shop.models.answer("", Say::Text("Anvils are made. ".repeat(20)));
        let faults =
            [ModelFault::Lost, ModelFault::Disconnect, ModelFault::ErrorInside, ModelFault::Hold(release.clone())];
        let job = "breaker = 10\n[job.test.stage.first]\nattempts = 1\nconcurrency = 1";
        let (host, store) = shop.start(&shop.file(&model(alias, ""), job)).await;
        let mut progress = host.progress();
        for (nth, fault) in faults.into_iter().enumerate() {
            shop.models.next([fault]);
            // The provider's overload, told in the middle of an answer, holds for all.
            advance(&host, &shop.clock, std::time::Duration::from_secs(60)).await;
            // Nobody waits for what is held back; a slow machine has time to ask before.
            let timeout_ms = if nth == 3 { 3_000 } else { 60_000 };
            let call = json!({ "ask": "Is it one?", "timeout_ms": timeout_ms, "swallow": true });
            host.operations().add("test", vec![asks(&nth.to_string(), &[call])]).await.unwrap();
            store.calls_settled(u64::try_from(nth).unwrap() + 1).await;
        }
        release.release();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        let (rows, bill) = (entries(&store).await, shop.models.bill());
        assert_eq!((rows.len(), bill.len()), (4, 4), "{alias}: one request and one row each");
        for (row, billed) in rows.iter().zip(&bill) {
            let (how, is_estimate, cost) = end(row);
            assert!(how == How::Lost && is_estimate, "{alias}: {row:?}");
            assert!(cost.known().unwrap() >= billed.cost, "{alias}: {row:?} of {billed:?}");
        }
        assert!(sum(&rows) >= shop.models.sum());
        stop(host).await;
    }
}
