//! `generateContent`, held against what Gemini's documentation says of it.

use crate::service::{Asker, GEMINI, document, events, json_of, models, schema};
use serde_json::{Value, json};
use tollgate_sim::sites::models::{Say, tokens_of};

const PLAIN: &str = "gemini-2.5-flash-lite";
const THINKS: &str = "gemini-3-flash-preview";

fn ask(more: &Value) -> Value {
    let mut body = json!({
        "systemInstruction": {"parts": [{"text": document(50)}]},
        "contents": [{"role": "user", "parts": [{"text": "What does it sell?"}]}],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn with_schema() -> Value {
    json!({"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": schema()}})
}

#[tokio::test]
async fn whole_in_events_and_as_a_list_it_says_the_same() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let body = ask(&with_schema());
    let whole = json_of(&asker.generate(THINKS, "generateContent", &body).await);
    let text = whole["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).unwrap()["score"].is_i64());
    let usage = &whole["usageMetadata"];
    assert_eq!((&usage["candidatesTokenCount"], &usage["thoughtsTokenCount"]), (&json!(tokens_of(text)), &json!(64)));
    assert_eq!(models.bill()[0].tokens().output, tokens_of(text) + 64, "what it thought is billed");
    let reply = asker.generate(THINKS, "streamGenerateContent?alt=sse", &body).await;
    let list = json_of(&asker.generate(THINKS, "streamGenerateContent", &body).await);
    for chunks in [events(&reply), list.as_array().unwrap().clone()] {
        let part = |chunk: &Value| chunk["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap().to_owned();
        assert_eq!(chunks.iter().map(part).collect::<String>(), text);
        let last = chunks.last().unwrap();
        assert_eq!((&last["candidates"][0]["finishReason"], &last["usageMetadata"]), (&json!("STOP"), usage));
    }
}

#[tokio::test]
async fn functions_are_called_signed_and_answered() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let tools =
        json!({"tools": [{"functionDeclarations": [{"name": "web_search", "parameters": {"type": "object"}}]}]});
    let mut body = ask(&tools);
    let first = json_of(&asker.generate(THINKS, "generateContent", &body).await);
    let part = &first["candidates"][0]["content"]["parts"][0];
    assert_eq!(part["functionCall"]["args"], json!({"query": "What does it sell?"}), "of itself it searches so");
    body["contents"].as_array_mut().unwrap().push(first["candidates"][0]["content"].clone());
    let response = json!({"name": "web_search", "response": {"hits": [{"url": "https://catalogue.example/item/7"}]}});
    body["contents"].as_array_mut().unwrap().push(json!({"role": "user", "parts": [{"functionResponse": response}]}));
    let last = json_of(&asker.generate(THINKS, "generateContent", &body).await);
    let text = last["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap();
    assert!(text.contains("https://catalogue.example/item/7"), "{text}");
    body["contents"][1]["parts"][0].as_object_mut().unwrap().remove("thoughtSignature");
    let unsigned = asker.generate(THINKS, "generateContent", &body).await;
    assert!(unsigned.status == 400 && unsigned.text().contains("missing a thought_signature"));
    let mut both = ask(&tools);
    both["generationConfig"] = with_schema()["generationConfig"].clone();
    let refused = asker.generate(PLAIN, "generateContent", &both).await;
    assert!(refused.status == 400 && refused.text().contains("Function calling with a response mime type"));
    assert_eq!(asker.generate(THINKS, "generateContent", &both).await.status, 200);
}

#[tokio::test]
async fn how_it_ended_is_said() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let body = ask(&with_schema());
    models.next([Say::Cut, Say::CutToNothing, Say::Refuse(String::new()), Say::Filtered]);
    let cut = json_of(&asker.generate(THINKS, "generateContent", &body).await);
    let text = cut["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
    assert_eq!(cut["candidates"][0]["finishReason"], "MAX_TOKENS");
    let nothing = json_of(&asker.generate(THINKS, "generateContent", &body).await);
    assert_eq!(nothing["candidates"][0]["finishReason"], "MAX_TOKENS");
    assert!(nothing["candidates"][0]["content"].get("parts").is_none());
    let refused = json_of(&asker.generate(THINKS, "generateContent", &body).await);
    assert_eq!(refused["candidates"][0]["finishReason"], "SAFETY");
    let blocked = json_of(&asker.generate(THINKS, "generateContent", &body).await);
    assert_eq!(blocked["promptFeedback"]["blockReason"], "PROHIBITED_CONTENT");
    assert!(blocked.get("candidates").is_none());
}

#[tokio::test]
async fn what_gemini_refuses_is_refused_in_its_words_and_costs_nothing() {
    let models = models();
    let asker = Asker::of_models(&models).await;
    let path = format!("/v1beta/models/{PLAIN}:generateContent");
    let none = asker.post(GEMINI, &path, &[], &ask(&json!({}))).await;
    assert_eq!((none.status.as_u16(), &json_of(&none)["error"]["status"]), (403, &json!("PERMISSION_DENIED")));
    let wrong = json_of(&asker.post(GEMINI, &format!("{path}?key=other"), &[], &ask(&json!({}))).await);
    assert_eq!(wrong["error"]["details"][0]["reason"], "API_KEY_INVALID");
    for (model, more, status, says) in [
        ("gemini-9", json!({}), 404, "models/gemini-9 is not found"),
        (PLAIN, json!({"maxTokens": 1}), 400, "Unknown name \\\"maxTokens\\\": Cannot find field"),
        (PLAIN, json!({"generationConfig": {"schema": {}}}), 400, "at 'generation_config'"),
        (PLAIN, json!({"generationConfig": {"responseJsonSchema": schema()}}), 400, "only supported for"),
        (PLAIN, json!({"contents": []}), 400, "contents is not specified"),
    ] {
        let reply = asker.generate(model, "generateContent", &ask(&more)).await;
        assert!(reply.status == status && reply.text().contains(says), "{more}: {}", reply.text());
    }
    assert!(models.bill().is_empty());
    let snake =
        json!({"generation_config": {"response_mime_type": "application/json", "response_json_schema": schema()}});
    assert_eq!(asker.generate(PLAIN, "generateContent", &ask(&snake)).await.status, 200);
}
