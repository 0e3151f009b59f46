//! Chat completions, held against what OpenAI's documentation says of them.

use crate::service::{Asker, KEY, OPENAI, document, events, json_of, models, schema};
use serde_json::{Value, json};
use tollgate_sim::sites::models::{Say, tokens_of};

fn ask(model: &str, more: &Value) -> Value {
    let mut body = json!({"model": model, "messages": [
        {"role": "system", "content": document(50)}, {"role": "user", "content": "What does it sell?"},
    ]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn format() -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "page", "strict": true, "schema": schema()}})
}

#[tokio::test]
async fn an_answer_satisfies_the_schema_and_its_usage_is_what_is_billed() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let reply = json_of(&asker.chat(&ask("gpt-4.1-mini", &json!({"response_format": format()}))).await);
    let text = reply["choices"][0]["message"]["content"].as_str().unwrap();
    let value: Value = serde_json::from_str(text).unwrap();
    assert!(value["title"].is_string() && value["is_long"] == true && value["score"].is_i64(), "{value}");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    let usage = &reply["usage"];
    let sent = 50 + tokens_of("What does it sell?") + tokens_of(&schema().to_string());
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(sent), &json!(tokens_of(text))));
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
    let [row] = models.bill().try_into().unwrap();
    assert_eq!((row.tokens().sent(), row.tokens().output), (sent, tokens_of(text)));
    assert!(row.is_whole && row.key == KEY && row.host == OPENAI);
    // 40 and 160 cents for a million of them.
    assert_eq!(row.cost.0, sent * 400 + tokens_of(text) * 1_600);
    assert_eq!((models.sum(), models.sum_of_key("other").0), (row.cost, 0));
    assert_eq!(asker.sim.bill(), [row]);
}

#[tokio::test]
async fn a_stream_says_the_same_and_ends_with_the_usage_where_that_is_asked_for() {
    let models = models();
    models.answer("sell", Say::Text("Bearings, mostly, and the parts for “old” ones.".to_owned()));
    let asker = Asker::of_models(&models).await;
    let whole = json_of(&asker.chat(&ask("gpt-5-mini", &json!({}))).await);
    let stream = json!({"stream": true, "stream_options": {"include_usage": true}});
    let events_of = events(&asker.chat(&ask("gpt-5-mini", &stream)).await);
    let text: String = events_of.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(json!(text), whole["choices"][0]["message"]["content"]);
    let [finish, usage, done] = &events_of[events_of.len() - 3..] else { panic!("{events_of:?}") };
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!((&usage["usage"], &usage["choices"], done), (&whole["usage"], &json!([]), &json!("[DONE]")));
    assert_eq!(usage["usage"]["completion_tokens_details"]["reasoning_tokens"], 64);
    let bare = events(&asker.chat(&ask("gpt-5-mini", &json!({"stream": true}))).await);
    assert!(bare.iter().all(|chunk| chunk.get("usage").is_none()));
    assert!(models.bill().iter().all(|row| row.is_whole && row.tokens() == models.bill()[0].tokens()));
}

#[tokio::test]
async fn tools_are_called_and_answered_and_the_last_answer_cites() {
    let models = models();
    models.answer("sell", Say::search("arlen bearings price"));
    let asker = Asker::of_models(&models).await;
    let tool = json!({"type": "function", "function": {"name": "web_search", "parameters": {"type": "object"}}});
    let mut body = ask("gpt-4.1-mini", &json!({ "tools": [tool] }));
    for stream in [false, true] {
        body["stream"] = json!(stream);
        let reply = asker.chat(&body).await;
        let call = if stream {
            let mut call = json!({"function": {"name": "", "arguments": ""}});
            for delta in events(&reply) {
                let delta = &delta["choices"][0]["delta"]["tool_calls"][0];
                for field in ["name", "arguments"] {
                    let so_far = call["function"][field].as_str().unwrap().to_owned();
                    call["function"][field] = json!(so_far + delta["function"][field].as_str().unwrap_or(""));
                }
            }
            call
        } else {
            let reply = json_of(&reply);
            assert_eq!(reply["choices"][0]["finish_reason"], "tool_calls");
            reply["choices"][0]["message"]["tool_calls"][0].clone()
        };
        assert_eq!(call["function"]["name"], "web_search");
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(arguments, json!({"query": "arlen bearings price"}));
    }
    body["stream"] = json!(false);
    let reply = json_of(&asker.chat(&body).await);
    let message = reply["choices"][0]["message"].clone();
    let id = message["tool_calls"][0]["id"].clone();
    body["messages"].as_array_mut().unwrap().push(message);
    let mut gone_on = body.clone();
    gone_on["messages"].as_array_mut().unwrap().push(json!({"role": "user", "content": "go on"}));
    assert_eq!(asker.chat(&gone_on).await.status, 400);
    let found = json!([{"title": "Arlen", "url": "https://catalogue.example/item/3"}]).to_string();
    let result = json!({"role": "tool", "tool_call_id": id, "content": found});
    body["messages"].as_array_mut().unwrap().push(result);
    let last = json_of(&asker.chat(&body).await);
    let text = last["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.contains("https://catalogue.example/item/3"), "{text}");
}

#[tokio::test]
async fn what_openai_refuses_is_refused_in_its_words_and_costs_nothing() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let path = "/v1/chat/completions";
    let body = ask("gpt-4.1-mini", &json!({}));
    let none = asker.post(OPENAI, path, &[], &body).await;
    assert_eq!(none.status, 401);
    assert!(json_of(&none)["error"]["message"].as_str().unwrap().starts_with("You didn't provide an API key."));
    let wrong = asker.post(OPENAI, path, &[("authorization", "Bearer sk-wrong-key-0002")], &body).await;
    let error = &json_of(&wrong)["error"];
    assert_eq!((wrong.status.as_u16(), &error["code"]), (401, &json!("invalid_api_key")));
    assert!(error["message"].as_str().unwrap().contains("sk-wrong*****0002"), "{error}");
    let open =
        json!({"type": "json_schema", "json_schema": {"name": "p", "strict": true, "schema": {"type": "object"}}});
    let misplaced = json!({"type": "json_schema", "schema": schema()});
    for (model, more, status, param, says) in [
        ("gpt-9", json!({}), 404, Value::Null, "does not exist"),
        (
            "gpt-4.1-mini",
            json!({"maxtokens": 4}),
            400,
            Value::Null,
            "Unrecognized request argument supplied: maxtokens",
        ),
        ("gpt-4.1-mini", json!({"messages": []}), 400, json!("messages"), "Missing required parameter"),
        ("gpt-5-mini", json!({"temperature": 0}), 400, json!("temperature"), "Only the default (1) value"),
        ("gpt-5-mini", json!({"max_tokens": 9}), 400, json!("max_tokens"), "'max_completion_tokens' instead"),
        ("gpt-4.1-mini", json!({"response_format": open}), 400, json!("response_format"), "'additionalProperties'"),
        (
            "gpt-4.1-mini",
            json!({"response_format": misplaced}),
            400,
            json!("response_format.json_schema"),
            "Missing required",
        ),
        ("gpt-4.1-mini", json!({"stream_options": {}}), 400, json!("stream_options"), "only allowed when"),
    ] {
        let reply = asker.chat(&ask(model, &more)).await;
        let error = &json_of(&reply)["error"];
        assert_eq!((reply.status.as_u16(), &error["param"]), (status, &param), "{more}: {error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{more}: {error}");
    }
    assert!(models.bill().is_empty());
}
