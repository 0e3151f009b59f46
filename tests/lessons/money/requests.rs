//! Trap 10, M01, M03, M06 and Q09: what a handler's call becomes, and what becomes of an answer that was cut.

use serde_json::json;
use tollgate_core::{ledger::How, task::TaskState};
use tollgate_sim::sites::models::{Mark, Part, Say};

use super::{EACH, Shop, answers, asks, end, model};
use crate::world::{detail, open_items, state, stop, wait};

#[tokio::test]
async fn trap10_m01_an_answer_that_was_cut_is_an_error_that_is_paid_once_and_never_parsed_or_sent_back() {
    for alias in EACH {
        let shop = Shop::new().await;
        shop.models.next([Say::Cut, Say::CutToNothing]);
        let job = "breaker = 10\n[job.test.stage.first]\nattempts = 1\nconcurrency = 1";
        let (host, store) = shop.start(&shop.file(&model(alias, ""), job)).await;
        let mut progress = host.progress();
        let call = json!({ "ask": "Is it one?", "extract": true });
        let items = ["one", "two"].map(|key| asks(key, std::slice::from_ref(&call)));
        host.operations().add("test", items.into()).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        for key in ["one", "two"] {
            let item = detail(&host, key).await;
            let TaskState::Failed { error } = state(&item, "first") else { panic!("{alias}: {item:#?}") };
            assert!(error.message.contains("the answer was cut"), "{alias}: {error}");
        }
        let asked = shop.models.asked();
        assert_eq!(asked.len(), 2, "{alias}: one request an attempt");
        for asked in &asked {
            // Who demands a limit is sent the model's own.
            let demanded = (alias == "claude").then_some(64_000);
            assert_eq!(asked.output_max, demanded, "{alias}");
            assert!(asked.blocks.iter().all(|block| block.part != Part::Model), "{alias}: nothing is sent back");
        }
        let rows = shop.is_the_bill(&store).await;
        assert!(rows.iter().all(|row| end(row).0 == How::Answered), "{rows:?}");
        stop(host).await;
    }
}

#[tokio::test]
async fn m01_what_breaks_its_schema_is_an_error_whatever_it_looks_like() {
    let shop = Shop::new().await;
    let says = [
        Say::Text("```json\n{\"genuine\": true".to_owned()),
        Say::Json(json!({ "genuine": "yes", "summary": "x" })),
        Say::Refuse("I won't.".to_owned()),
    ];
    shop.models.next(says);
    let job = "breaker = 10\n[job.test.stage.first]\nattempts = 1\nconcurrency = 1";
    let (host, store) = shop.start(&shop.file(&model("gpt", ""), job)).await;
    let mut progress = host.progress();
    let call = json!({ "ask": "Is it one?", "extract": true });
    let items = ["one", "two", "three"].map(|key| asks(key, std::slice::from_ref(&call)));
    host.operations().add("test", items.into()).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let mut whys = Vec::new();
    for key in ["one", "two", "three"] {
        whys.push(state(&detail(&host, key).await, "first").why());
    }
    assert_eq!(whys.iter().filter(|why| why.contains("breaks its schema")).count(), 2, "{whys:?}");
    assert_eq!(whys.iter().filter(|why| why.contains("refused: I won't.")).count(), 1, "{whys:?}");
    assert_eq!(shop.is_the_bill(&store).await.len(), 3);
    stop(host).await;
}

#[tokio::test]
async fn m03_a_schema_is_answered_at_temperature_0_and_a_fixed_model_is_sent_none() {
    let shop = Shop::new().await;
    let models: String = ["gpt", "claude", "gemini", "fixed"].map(|alias| model(alias, "")).concat();
    let (host, store) = shop.start(&shop.file(&models, "")).await;
    let mut progress = host.progress();
    for alias in ["gpt", "claude", "gemini", "fixed"] {
        let calls = [
            json!({ "ask": "Is it one?", "model": alias, "extract": true }),
            json!({ "ask": "Sum it up.", "model": alias }),
            json!({ "ask": "Make something up.", "model": alias, "temperature": 0.7 }),
            json!({ "ask": "Is it another?", "model": alias, "extract": true, "temperature": 0.5 }),
        ];
        host.operations().add("test", vec![asks(alias, &calls)]).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        let item = detail(&host, alias).await;
        assert_eq!(answers(&item, "first").len(), 4);
        let asked = shop.models.asked();
        let asked: Vec<_> = asked[asked.len() - 4..].iter().map(|asked| asked.temperature).collect();
        let wanted = if alias == "fixed" { [None; 4] } else { [Some(0.0), None, Some(0.7), Some(0.0)] };
        assert_eq!(asked, wanted, "{alias}");
    }
    shop.is_the_bill(&store).await;
    stop(host).await;
}

#[tokio::test]
async fn m06_documents_are_in_the_system_prompt_and_marked_for_the_cache_where_they_are_shared() {
    let shop = Shop::new().await;
    let models: String = EACH.map(|alias| model(alias, "")).concat();
    let (host, store) = shop.start(&shop.file(&models, "")).await;
    let mut progress = host.progress();
    for alias in EACH {
        let document = |shared: bool| json!([{ "name": "thesis", "text": "Acme makes anvils.", "shared": shared }]);
        let calls = [
            json!({ "ask": "What is made?", "model": alias, "documents": document(false) }),
            json!({ "ask": "Who makes it?", "model": alias, "documents": document(true) }),
        ];
        host.operations().add("test", vec![asks(alias, &calls)]).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        let asked = shop.models.asked();
        let [alone, shared] = &asked[asked.len() - 2..] else { panic!("{asked:?}") };
        for (asked, instruction) in [(alone, "What is made?"), (shared, "Who makes it?")] {
            let (system, user) = (asked.said_by(Part::System), asked.said_by(Part::User));
            assert!(system.contains("<document") && system.contains("Acme makes anvils."), "{alias}: {system}");
            assert!(user.contains(instruction) && !user.contains("anvils"), "{alias}: {user}");
            assert!(!system.contains(instruction), "{alias}: {system}");
        }
        let marks = |asked: &tollgate_sim::sites::models::Asked| -> Vec<Mark> {
            asked.blocks.iter().filter_map(|block| block.mark).collect()
        };
        assert_eq!(marks(alone), [], "{alias}: nobody else reads it");
        assert_eq!(marks(shared).len(), usize::from(alias == "claude"), "{alias}: where marks are, one");
    }
    shop.is_the_bill(&store).await;
    stop(host).await;
}

#[tokio::test]
async fn m06_a_document_is_an_artifact_of_the_item_a_text_or_a_picture() {
    let shop = Shop::new().await;
    let (host, store) =
        shop.start(&shop.file(&model("gpt", ""), "breaker = 10\n[job.test.stage.first]\nattempts = 1")).await;
    let mut progress = host.progress();
    let kept =
        |name: &str, kind: &str, content: &str| json!({ "name": name, "content_type": kind, "content": content });
    let of = |name: &str| json!([{ "name": "it", "artifact": format!("first/{name}") }]);
    let calls = [
        json!({ "ask": "What is written?", "put": kept("note.txt", "text/plain", "Anvils are heavy."),
            "documents": of("note.txt") }),
        json!({ "ask": "What is shown?", "put": kept("chart.png", "image/png", "\u{89}PNG"),
            "documents": of("chart.png") }),
    ];
    host.operations().add("test", vec![asks("one", &calls)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    assert_eq!(answers(&one, "first").len(), 2, "{one:#?}");
    let asked = shop.models.asked();
    assert!(asked[0].said_by(Part::System).contains("Anvils are heavy."));
    let files: Vec<_> = asked[1].blocks.iter().filter(|block| block.is_file).collect();
    assert!(files.len() == 1 && files[0].text.contains("iVBORw"), "{files:?}");
    // Neither what isn't there, nor what no model takes, is asked for.
    let wrong = [
        asks("missing", &[json!({ "ask": "What?", "documents": of("nobody-made-it") })]),
        asks("film", &[json!({ "ask": "What?", "put": kept("a.mp4", "video/mp4", "x"), "documents": of("a.mp4") })]),
    ];
    host.operations().add("test", wrong.into()).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let why = state(&detail(&host, "missing").await, "first").why();
    assert!(why.contains("artifact first/nobody-made-it is missing"), "{why}");
    let why = state(&detail(&host, "film").await, "first").why();
    assert!(why.contains("video/mp4"), "{why}");
    assert_eq!(shop.models.asked().len(), 2);
    shop.is_the_bill(&store).await;
    stop(host).await;
}

#[tokio::test]
async fn q09_data_uris_are_left_out_and_what_is_longer_than_50_000_characters_is_cut_and_told() {
    let shop = Shop::new().await;
    let (host, store) = shop.start(&shop.file(&model("gpt", ""), "")).await;
    let mut progress = host.progress();
    let documents = json!([
        { "name": "page", "text": format!("before ![x](data:image/png;base64,{}) after", "iVBORw0KGgo".repeat(200)) },
        { "name": "long", "text": "word ", "times": 20_000 },
    ]);
    host.operations()
        .add("test", vec![asks("one", &[json!({ "ask": "What?", "documents": documents })])])
        .await
        .unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let asked = shop.models.asked().remove(0);
    let system = asked.said_by(Part::System);
    assert!(system.contains("before ![x]() after") && !system.contains("iVBORw"), "{system}");
    assert!(system.len() > 50_000 && system.len() < 51_500, "{}", system.len());
    assert_eq!(answers(&detail(&host, "one").await, "first")[0]["cut"], json!(["long"]));
    shop.is_the_bill(&store).await;
    stop(host).await;
}
