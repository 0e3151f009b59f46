//! What the three providers have in common: faults, the cache, the bill.

use crate::service::{ANTHROPIC, Asker, GEMINI, KEY, OPENAI, document, events, json_of, model, models, schema};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::model::{Dialect, Tokens};
use tollgate_sim::sites::models::{ModelFault, ModelFaults, Models, Say, Turn, UsageLie, usual_models};
use tollgate_sim::sites::scripted::Step;
use tollgate_sim::{Release, Site};

fn chat(user: &str) -> Value {
    json!({"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": user}]})
}

fn message(user: &str) -> Value {
    json!({"model": "claude-haiku-4-5", "max_tokens": 1_000, "messages": [{"role": "user", "content": user}]})
}

fn contents(user: &str) -> Value {
    json!({"contents": [{"parts": [{"text": user}]}]})
}

fn stream(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body
}

const LITE: &str = "gemini-2.5-flash-lite";

#[tokio::test]
async fn each_provider_says_a_limit_in_its_own_way() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let wait = Duration::new(20, 500_000_000);
    models.next([
        ModelFault::Busy(Some(wait)),
        ModelFault::Busy(None),
        ModelFault::BusyInWords(wait),
        ModelFault::Quota,
    ]);
    let [timed, bare, words, quota] = [
        asker.chat(&chat("x")).await,
        asker.chat(&chat("x")).await,
        asker.chat(&chat("x")).await,
        asker.chat(&chat("x")).await,
    ];
    assert!([&timed, &bare, &words, &quota].iter().all(|reply| reply.status == 429));
    assert_eq!((timed.header("retry-after"), bare.header("retry-after"), words.header("retry-after")), ("21", "", ""));
    assert!(words.text().contains("Please try again in 20.5s.") && !bare.text().contains("try again"));
    assert_eq!(json_of(&quota)["error"]["code"], "insufficient_quota");
    models.next([
        ModelFault::busy_s(7),
        ModelFault::Quota,
        ModelFault::Overloaded,
        ModelFault::Broken,
        ModelFault::Credit,
    ]);
    let timed = asker.message(&message("x")).await;
    assert_eq!((timed.status.as_u16(), timed.header("retry-after")), (429, "7"));
    let quota = asker.message(&message("x")).await;
    assert_eq!(json_of(&quota)["error"]["details"]["error_code"], "enforced_spend_limit_reached");
    assert!(quota.status == 429 && !quota.header("retry-after").is_empty(), "it says a time that means nothing");
    let overloaded = asker.message(&message("x")).await;
    assert_eq!((overloaded.status.as_u16(), &json_of(&overloaded)["error"]["type"]), (529, &json!("overloaded_error")));
    assert_eq!(asker.message(&message("x")).await.status, 500);
    assert!(asker.message(&message("x")).await.text().contains("credit balance is too low"));
    models.next([
        ModelFault::Busy(Some(wait)),
        ModelFault::BusyInWords(wait),
        ModelFault::Quota,
        ModelFault::Overloaded,
    ]);
    let timed = asker.generate(LITE, "generateContent", &contents("x")).await;
    assert_eq!(timed.header("retry-after"), "");
    let error = &json_of(&timed)["error"];
    assert_eq!((&error["code"], &error["status"]), (&json!(429), &json!("RESOURCE_EXHAUSTED")));
    assert_eq!(error["details"][2]["retryDelay"], "20.500000000s");
    let words = json_of(&asker.generate(LITE, "generateContent", &contents("x")).await);
    assert!(words["error"]["details"][2].is_null(), "{words}");
    assert!(words["error"]["message"].as_str().unwrap().contains("Please retry in 20.500000000s."));
    let day = json_of(&asker.generate(LITE, "generateContent", &contents("x")).await);
    assert!(day["error"]["details"][1]["violations"][0]["quotaId"].as_str().unwrap().contains("PerDay"));
    assert_eq!(day["error"]["details"][2]["retryDelay"], "45.837906927s");
    assert_eq!(asker.generate(LITE, "generateContent", &contents("x")).await.status, 503);
    assert!(models.bill().is_empty(), "what is refused costs nothing");
}

#[tokio::test]
async fn trap07_an_answer_that_is_broken_off_is_billed_all_the_same() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let key = format!("Bearer {KEY}");
    let cut = async |body: Value| {
        let headers = [("authorization", key.as_str())];
        asker.send(Method::POST, OPENAI, "/v1/chat/completions", &headers, body.to_string()).await
    };
    let whole = asker.chat(&chat("x")).await;
    assert_eq!(whole.status, 200);
    models.next([ModelFault::Disconnect, ModelFault::Disconnect, ModelFault::Lost]);
    assert!(cut(chat("x")).await.is_err() && cut(stream(chat("x"))).await.is_err() && cut(chat("x")).await.is_err());
    let rows = models.bill();
    assert!(rows.iter().all(|row| row.cost == rows[0].cost), "{rows:?}");
    assert_eq!(rows.iter().map(|row| row.is_whole).collect::<Vec<_>>(), [true, false, false, false]);
}

#[tokio::test]
async fn trap07_a_stream_that_its_client_gives_up_is_billed_for_all_of_it() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    asker.chat(&stream(chat("x"))).await;
    let stall = Release::new();
    models.next([ModelFault::Stall(stall.clone())]);
    let body = stream(chat("x"));
    tokio::select! {
        reply = asker.chat(&body) => panic!("it was to stall: {reply:?}"),
        () = asker.sim.wait_for(|counts| counts.answered(OPENAI, "/v1/chat/completions", 200) == 2) => {}
    }
    stall.release();
    let rows = models.bill();
    assert_eq!((rows[1].tokens(), rows[1].cost, rows[1].is_whole), (rows[0].tokens(), rows[0].cost, false));
}

#[tokio::test]
async fn an_error_within_a_200_is_the_providers() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    models.next(vec![ModelFault::ErrorInside; 5]);
    let whole = asker.chat(&chat("x")).await;
    assert!(whole.status == 200 && json_of(&whole)["error"]["code"] == 502, "as OpenRouter does it");
    assert!(models.bill().is_empty());
    let chunks = events(&asker.chat(&stream(chat("x"))).await);
    let last = chunks.last().unwrap();
    assert_eq!(
        (&last["choices"][0]["finish_reason"], &last["error"]["code"]),
        (&json!("error"), &json!("server_error"))
    );
    let reply = asker.message(&stream(message("x"))).await;
    assert_eq!(reply.status, 200);
    assert!(
        reply.text().contains("event: message_start") && reply.text().contains("event: error\n"),
        "{}",
        reply.text()
    );
    assert_eq!(events(&reply).last().unwrap()["error"]["type"], "overloaded_error");
    let gemini = asker.generate(LITE, "streamGenerateContent?alt=sse", &contents("x")).await;
    assert_eq!(events(&gemini).last().unwrap()["error"]["code"], 503);
    let list = asker.generate(LITE, "streamGenerateContent", &contents("x")).await;
    assert_eq!(json_of(&list).as_array().unwrap().last().unwrap()["error"]["code"], 503);
    let rows = models.bill();
    assert!(rows.len() == 4 && rows.iter().all(|row| !row.is_whole && row.tokens().output > 0));
}

#[tokio::test]
async fn trap04_usage_is_told_wrong_and_billed_right() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    for lie in [UsageLie::Missing, UsageLie::Null, UsageLie::Zero, UsageLie::CachedOverInput] {
        models.next([ModelFault::Usage(lie), ModelFault::Usage(lie), ModelFault::Usage(lie)]);
        let openai = json_of(&asker.chat(&chat("x")).await);
        let anthropic = json_of(&asker.message(&message("x")).await);
        let gemini = json_of(&asker.generate(LITE, "generateContent", &contents("x")).await);
        let told = [openai.get("usage"), anthropic.get("usage"), gemini.get("usageMetadata")];
        match lie {
            UsageLie::Missing => assert!(told.iter().all(Option::is_none)),
            UsageLie::Null => assert!(told.iter().all(|usage| usage.is_some_and(Value::is_null))),
            UsageLie::Zero => assert_eq!(openai["usage"]["total_tokens"], 0),
            UsageLie::CachedOverInput => {
                let usage = &openai["usage"];
                let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64();
                assert!(cached > usage["prompt_tokens"].as_u64(), "{usage}");
            }
        }
    }
    let rows = models.bill();
    assert!(rows.iter().all(|row| row.cost.0 > 0));
}

#[tokio::test]
async fn an_answer_waits_where_it_is_held_or_stalls() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let (hold, stall) = (Release::new(), Release::new());
    models.next([ModelFault::Hold(hold.clone())]);
    let held = async {
        let reply = asker.chat(&chat("x")).await;
        assert_eq!(reply.status, 200);
    };
    let release = async {
        asker.sim.wait_for(|counts| counts.in_flight(OPENAI) == 1).await;
        hold.release();
    };
    tokio::join!(held, release);
    models.next([ModelFault::Stall(stall.clone())]);
    let stalled = async {
        let events = events(&asker.chat(&stream(chat("x"))).await);
        assert_eq!(events.last().unwrap(), "[DONE]");
    };
    let release = async {
        asker.sim.wait_for(|counts| counts.answered(OPENAI, "/v1/chat/completions", 200) == 2).await;
        assert!(!models.bill()[1].is_whole);
        stall.release();
    };
    tokio::join!(stalled, release);
    assert!(models.bill()[1].is_whole);
}

/// Two requests that share a long document, and what the second one found of it.
async fn second(asker: &Asker, models: &Models, host: &str, first: &Value, then: &Value) -> [Tokens; 2] {
    let before = models.bill().len();
    for body in [first, then] {
        let reply = match host {
            OPENAI => asker.chat(body).await,
            ANTHROPIC => asker.message(body).await,
            _ => asker.generate(LITE, "generateContent", body).await,
        };
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let rows = models.bill();
    [rows[before].tokens(), rows[before + 1].tokens()]
}

#[tokio::test]
async fn trap05_what_is_read_from_the_cache_is_counted_once_each_in_its_way() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let with = |question: &str| {
        json!({"model": "gpt-4.1-mini", "messages": [
            {"role": "system", "content": document(2_000)}, {"role": "user", "content": question}]})
    };
    let [first, then] = second(&asker, &models, OPENAI, &with("what?"), &with("who?")).await;
    assert_eq!((first.cache_read, first.cache_write, then.cache_read), (0, 0, 1_920), "steps of 128 tokens");
    assert_eq!(then.sent(), 2_001);
    let marked = |question: &str, ttl: &str| {
        let mark = json!({"type": "ephemeral", "ttl": ttl});
        json!({"model": "claude-haiku-4-5", "max_tokens": 1_000, "messages": [{"role": "user", "content": question}],
            "system": [{"type": "text", "text": document(2_000), "cache_control": mark}]})
    };
    let [first, then] = second(&asker, &models, ANTHROPIC, &marked("what?", "5m"), &marked("who?", "5m")).await;
    assert_eq!((first.input, first.cache_write, first.cache_read), (2, 2_000, 0));
    assert_eq!((then.input, then.cache_write, then.cache_read), (1, 0, 2_000));
    models.forget_cache();
    let [hour, _] = second(&asker, &models, ANTHROPIC, &marked("what?", "1h"), &marked("who?", "1h")).await;
    assert_eq!((hour.cache_write, hour.cache_write_long), (0, 2_000));
    let told = json_of(&asker.message(&marked("again?", "1h")).await);
    assert_eq!((&told["usage"]["input_tokens"], &told["usage"]["cache_read_input_tokens"]), (&json!(2), &json!(2_000)));
    let lite = |question: &str| {
        json!({"systemInstruction": {"parts": [{"text": document(3_000)}]},
            "contents": [{"parts": [{"text": question}]}]})
    };
    let [first, then] = second(&asker, &models, GEMINI, &lite("what?"), &lite("who?")).await;
    assert_eq!((first.cache_read, then.cache_read), (0, 2_944));
    let short = |question: &str| {
        json!({"model": "gpt-4.1-mini", "messages": [
            {"role": "system", "content": document(900)}, {"role": "user", "content": question}]})
    };
    let [_, then] = second(&asker, &models, OPENAI, &short("what?"), &short("who?")).await;
    assert_eq!(then.cache_read, 0, "too short");
}

#[tokio::test]
async fn m06_another_schema_finds_nothing_in_the_cache_and_another_key_neither() {
    let models = Arc::new(Models::new(usual_models()));
    let asker = Asker::of_models(&models).await;
    let with = |name: &str| {
        let mut schema = schema();
        schema["title"] = json!(name);
        let mark = json!({"type": "ephemeral"});
        json!({"model": "claude-haiku-4-5", "max_tokens": 1_000, "messages": [{"role": "user", "content": "what?"}],
            "output_config": {"format": {"type": "json_schema", "schema": schema}},
            "system": [{"type": "text", "text": document(2_000), "cache_control": mark}]})
    };
    let [_, same] = second(&asker, &models, ANTHROPIC, &with("one"), &with("one")).await;
    let [_, other] = second(&asker, &models, ANTHROPIC, &with("one"), &with("two")).await;
    assert!(same.cache_read > 2_000 && other.cache_read == 0 && other.cache_write > 2_000);
    let headers = [("x-api-key", "another"), ("anthropic-version", "2023-06-01")];
    asker.post(ANTHROPIC, "/v1/messages", &headers, &with("one")).await;
    assert_eq!(models.bill().last().unwrap().tokens().cache_read, 0);
    assert!(models.sum_of_key("another").0 > 0 && models.sum_of_key("another") < models.sum());
}

#[tokio::test]
async fn m06_a_schema_in_the_users_words_is_satisfied_and_leaves_the_cache_as_it_was() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let mut more = schema();
    more["title"] = json!("More");
    let asks = |schema: &Value| format!("What does it sell? It satisfies this JSON Schema:\n{schema}\nNo more.");
    let openai = |schema: &Value| {
        json!({"model": "gpt-4.1-mini", "messages": [
            {"role": "system", "content": document(2_000)}, {"role": "user", "content": asks(schema)}]})
    };
    let anthropic = |schema: &Value| {
        let mark = json!({"type": "ephemeral"});
        json!({"model": "claude-haiku-4-5", "max_tokens": 1_000,
            "messages": [{"role": "user", "content": [{"type": "text", "text": asks(schema)}]}],
            "system": [{"type": "text", "text": document(2_000), "cache_control": mark}]})
    };
    let gemini = |schema: &Value| {
        json!({"systemInstruction": {"parts": [{"text": document(3_000)}]},
            "contents": [{"parts": [{"text": asks(schema)}]}]})
    };
    let [_, by_steps] = second(&asker, &models, OPENAI, &openai(&schema()), &openai(&more)).await;
    let [_, by_marks] = second(&asker, &models, ANTHROPIC, &anthropic(&schema()), &anthropic(&more)).await;
    let [_, unsaid] = second(&asker, &models, GEMINI, &gemini(&schema()), &gemini(&more)).await;
    for (tokens, least) in [(by_steps, 1_920), (by_marks, 2_000), (unsaid, 2_944)] {
        assert!(tokens.cache_read >= least, "{tokens:?}");
    }
    let replies = [
        json_of(&asker.chat(&openai(&more)).await)["choices"][0]["message"]["content"].clone(),
        json_of(&asker.message(&anthropic(&more)).await)["content"][0]["text"].clone(),
        json_of(&asker.generate(LITE, "generateContent", &gemini(&more)).await)["candidates"][0]["content"]["parts"][0]
            ["text"]
            .clone(),
    ];
    for reply in replies {
        let value: Value = serde_json::from_str(reply.as_str().unwrap()).unwrap();
        assert!(value["title"].is_string() && value["is_long"] == true && value["score"].is_i64(), "{value}");
    }
}

#[tokio::test]
async fn of_requests_sent_at_once_none_finds_anothers_prefix() {
    let models = model("gpt-4.1-mini", |facts| facts.has_cache_writes = true);
    let asker = Asker::of_models(&models).await;
    let release = Release::new();
    models.next([ModelFault::Hold(release.clone()), ModelFault::Hold(release.clone())]);
    let body = json!({"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": document(1_280)}]});
    let free = async {
        models.billed(2).await;
        release.release();
    };
    tokio::join!(asker.chat(&body), asker.chat(&body), free);
    asker.chat(&body).await;
    let found: Vec<_> = models.bill().iter().map(|row| (row.tokens().cache_read, row.tokens().cache_write)).collect();
    assert_eq!(found, [(0, 1_280), (0, 1_280), (1_280, 0)]);
    assert_eq!(json_of(&asker.chat(&body).await)["usage"]["prompt_tokens_details"]["cached_tokens"], 1_280);
}

#[tokio::test]
async fn rules_turns_and_seeds_decide_in_that_order() {
    let models = model("gpt-4.1-mini", |_| {});
    let asker = Asker::of_models(&models).await;
    models.answer("", Say::Text("by rule".to_owned()));
    models.answer("apples", Say::Json(json!({"kind": "apple"})));
    models.next_for(
        "apples",
        [Say::Text("first of all".to_owned()).into(), Turn::from(ModelFault::Broken), Turn::default()],
    );
    models.next([Turn::from(ModelFault::Raw(Box::new(Step::hang_up())))]);
    let of = async |user: &str| {
        let reply = asker.chat(&chat(user)).await;
        (reply.status.as_u16(), json_of(&reply)["choices"][0]["message"]["content"].as_str().unwrap_or("").to_owned())
    };
    assert_eq!(of("two apples").await, (200, "first of all".to_owned()));
    assert_eq!(of("two apples").await.0, 500);
    assert_eq!(of("two apples").await, (200, "{\"kind\":\"apple\"}".to_owned()));
    let key = format!("Bearer {KEY}");
    let lost = asker
        .send(Method::POST, OPENAI, "/v1/chat/completions", &[("authorization", &key)], chat("pears").to_string())
        .await;
    assert!(lost.is_err());
    assert_eq!(of("pears").await, (200, "by rule".to_owned()));
    assert_eq!(models.bill().len(), 3, "what a script sends in the model's place costs nothing");
    models.set_faults(Some(ModelFaults { broken: 1.0, ..ModelFaults::none(5) }));
    let statuses = [of("plums").await.0, of("plums").await.0, of("plums").await.0, of("plums").await.0];
    assert_eq!(statuses, [500, 500, 500, 200], "a request heals");
    assert_eq!(models.asked().iter().filter(|asked| asked.says("plums")).count(), 4);
    asker.sim.reset();
    assert!(models.asked().is_empty() && models.bill().is_empty());
}

#[tokio::test]
async fn one_service_under_several_names_has_one_bill() {
    let models = models();
    let under: Arc<dyn Site> = models.site(Dialect::OpenAi);
    let hosts = vec![(OPENAI, under.clone()), ("api.groq.com", under.clone()), ("openrouter.ai", under)];
    let asker = Asker::new(hosts).await;
    let key = format!("Bearer {KEY}");
    let groq = asker.post("api.groq.com", "/openai/v1/chat/completions", &[("authorization", &key)], &chat("x")).await;
    let mut routed = stream(chat("x"));
    routed["provider"] = json!({"order": ["sim"]});
    let router = asker.post("openrouter.ai", "/api/v1/chat/completions", &[("authorization", &key)], &routed).await;
    assert!(groq.status == 200 && router.text().starts_with(": OPENROUTER PROCESSING\n\n"));
    let hosts: Vec<String> = asker.sim.bill().into_iter().map(|row| row.host).collect();
    assert_eq!(hosts, ["api.groq.com", "openrouter.ai"]);
}
