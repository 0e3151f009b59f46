//! Messages, held against what Anthropic's documentation says of them.

use crate::service::{ANTHROPIC, Asker, KEY, document, events, json_of, models, schema};
use serde_json::{Value, json};
use tollgate_sim::sites::models::{Say, tokens_of};

fn ask(more: &Value) -> Value {
    let mut body = json!({
        "model": "claude-haiku-4-5", "max_tokens": 64_000,
        "system": [{"type": "text", "text": document(50)}],
        "messages": [{"role": "user", "content": "What does it sell?"}],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_stream_is_the_whole_answer_in_events_and_its_usage_a_snapshot() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let more = json!({"output_config": {"format": {"type": "json_schema", "schema": schema()}}});
    let whole = json_of(&asker.message(&ask(&more)).await);
    let text = whole["content"][0]["text"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).unwrap()["title"].is_string());
    assert_eq!(
        (&whole["stop_reason"], &whole["usage"]["output_tokens"]),
        (&json!("end_turn"), &json!(tokens_of(text)))
    );
    let mut stream = more.clone();
    stream["stream"] = json!(true);
    let reply = asker.message(&ask(&stream)).await;
    assert!(reply.text().starts_with("event: message_start\ndata: {"));
    let events = events(&reply);
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(kinds[kinds.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    let streamed: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(streamed, text);
    assert_eq!(events[0]["message"]["usage"]["output_tokens"], 1);
    assert_eq!(events[events.len() - 2]["usage"], whole["usage"], "the last word, not an addition");
    assert_eq!(models.bill().len(), 2);
}

#[tokio::test]
async fn tools_are_called_and_answered() {
    let models = models();
    models.answer("sell", Say::Search(vec!["arlen".to_owned(), "bearings".to_owned()]));
    let asker = Asker::of_models(&models).await;
    let tool = json!({"name": "web_search", "description": "searches", "input_schema": {"type": "object"}});
    let mut body = ask(&json!({ "tools": [tool] }));
    let first = json_of(&asker.message(&body).await);
    assert_eq!(first["stop_reason"], "tool_use");
    let calls = first["content"].as_array().unwrap();
    assert_eq!(calls[1]["input"], json!({"query": "bearings"}));
    body["stream"] = json!(true);
    let events = events(&asker.message(&body).await);
    let inputs: String = events
        .iter()
        .filter(|event| event["index"] == 1)
        .filter_map(|event| event["delta"]["partial_json"].as_str())
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&inputs).unwrap(), calls[1]["input"]);
    body["stream"] = json!(false);
    let said = json!({"role": "assistant", "content": calls});
    let found = "https://catalogue.example/item/9";
    let result = |at: usize| json!({"type": "tool_result", "tool_use_id": calls[at]["id"], "content": found});
    body["messages"].as_array_mut().unwrap().push(said);
    let mut half = body.clone();
    half["messages"].as_array_mut().unwrap().push(json!({"role": "user", "content": [result(0)]}));
    let refused = asker.message(&half).await;
    assert!(refused.status == 400 && refused.text().contains("without `tool_result` blocks"), "{refused:?}");
    body["messages"].as_array_mut().unwrap().push(json!({"role": "user", "content": [result(0), result(1)]}));
    let last = json_of(&asker.message(&body).await);
    assert!(last["content"][0]["text"].as_str().unwrap().contains("https://catalogue.example/item/9"), "{last}");
}

#[tokio::test]
async fn how_it_ended_is_said() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    for (say, reason) in [
        (Say::Cut, "max_tokens"),
        (Say::ContextFull, "model_context_window_exceeded"),
        (Say::Refuse("I can't help with that.".to_owned()), "refusal"),
        (Say::Pause, "pause_turn"),
    ] {
        models.next([say]);
        assert_eq!(json_of(&asker.message(&ask(&json!({}))).await)["stop_reason"], reason);
    }
    let short = json_of(&asker.message(&ask(&json!({"max_tokens": 3}))).await);
    assert_eq!((&short["stop_reason"], &short["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(3)));
}

#[tokio::test]
async fn what_anthropic_refuses_is_refused_in_its_words_and_costs_nothing() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let body = ask(&json!({}));
    let version = ("anthropic-version", "2023-06-01");
    for (headers, status, kind, says) in [
        (vec![version], 401, "authentication_error", "x-api-key header is required"),
        (vec![version, ("x-api-key", "other")], 401, "authentication_error", "invalid x-api-key"),
        (vec![("x-api-key", KEY)], 400, "invalid_request_error", "anthropic-version: header is required"),
    ] {
        let reply = asker.post(ANTHROPIC, "/v1/messages", &headers, &body).await;
        let error = json_of(&reply);
        assert_eq!((reply.status.as_u16(), &error["error"]["type"]), (status, &json!(kind)));
        assert_eq!((&error["type"], &error["error"]["message"]), (&json!("error"), &json!(says)));
    }
    let mark = json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}});
    let bounded = json!({"type": "object", "additionalProperties": false,
        "properties": {"n": {"type": "integer", "minimum": 1}}});
    for (more, says) in [
        (json!({"max_tokens": null}), "max_tokens: Field required"),
        (json!({"max_tokens": 100_000}), "which is the maximum allowed number"),
        (json!({"response_format": {}}), "response_format: Extra inputs are not permitted"),
        (json!({"model": "claude-opus-4-7", "temperature": 0}), "`temperature` is deprecated for this model."),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}),
            "explicitly set to false",
        ),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": bounded}}}),
            "'minimum' is not supported",
        ),
        (json!({"output_config": {"schema": {}}}), "output_config.schema: Extra inputs"),
        (json!({"system": vec![mark; 5]}), "A maximum of 4 blocks with cache_control may be provided. Found 5."),
        (json!({"messages": []}), "at least one message"),
    ] {
        let reply = asker.message(&ask(&more)).await;
        assert!(reply.status == 400 && reply.text().contains(says), "{more}: {}", reply.text());
    }
    let unknown = asker.message(&ask(&json!({"model": "claude-9"}))).await;
    assert!(unknown.status == 404 && unknown.text().contains("model: claude-9"));
    let large = asker.message(&ask(&json!({"system": "x".repeat(33 << 20)}))).await;
    assert!(large.status == 413 && large.text().contains("request_too_large"));
    assert!(models.bill().is_empty());
}
