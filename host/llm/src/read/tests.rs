//! Answers as providers send them, streamed and in one piece, whole, cut and broken.

use serde_json::json;
use tollgate_core::model::Tokens;

use super::*;
use crate::answer::Finish;

/// Events of a stream, one for each value.
fn stream(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: x\ndata: {event}\n\n")).collect()
}

fn read_in<'a>(dialect: Dialect, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Result<Answer, WireError>, Reader) {
    let mut reader = Reader::new(dialect);
    let fed = pieces.into_iter().try_for_each(|piece| reader.feed(piece));
    let answer = fed.and_then(|()| reader.end());
    (answer, reader)
}

/// Reads a body in one piece and byte by byte, which must be the same.
fn read(dialect: Dialect, body: &str) -> Result<Answer, WireError> {
    let (answer, _) = read_in(dialect, [body.as_bytes()]);
    let (bytewise, _) = read_in(dialect, body.as_bytes().chunks(1));
    assert_eq!(answer, bytewise);
    answer
}

fn openai_stream() -> Vec<Value> {
    let chunk = |delta: Value, finish: Value| {
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o-2024-08-06",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": null})
    };
    vec![
        chunk(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null),
        chunk(json!({"content": "{\"a\":"}), Value::Null),
        chunk(json!({"content": "\"ä\"}"}), Value::Null),
        chunk(json!({}), json!("stop")),
        json!({"id": "chatcmpl-1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 0}}}),
    ]
}

fn anthropic_stream() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": [],
            "model": "claude-sonnet-4-5-20250929", "stop_reason": null, "usage": {"input_tokens": 25,
            "cache_creation_input_tokens": 100, "cache_read_input_tokens": 10, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "ping"}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hello"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " there"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
            "usage": {"input_tokens": 25, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 10, "output_tokens": 15}}),
        json!({"type": "message_stop"}),
    ]
}

fn gemini_chunk(parts: &Value, finish: Value, usage: &Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}],
        "usageMetadata": usage, "modelVersion": "gemini-2.5-pro", "responseId": "r1"})
}

fn gemini_stream() -> Vec<Value> {
    let usage = |candidates: u64| {
        json!({"promptTokenCount": 8, "candidatesTokenCount": candidates, "thoughtsTokenCount": 5,
            "totalTokenCount": 13 + candidates})
    };
    vec![
        gemini_chunk(&json!([{"text": "I think.", "thought": true}]), Value::Null, &usage(0)),
        gemini_chunk(&json!([{"text": "Good "}]), Value::Null, &usage(1)),
        gemini_chunk(&json!([{"text": "day"}]), json!("STOP"), &usage(2)),
    ]
}

/// The body of a stream, whole, for each format.
fn streams() -> [(Dialect, String); 3] {
    [
        (Dialect::OpenAi, stream(&openai_stream()) + "data: [DONE]\n\n"),
        (Dialect::Anthropic, stream(&anthropic_stream())),
        (Dialect::Gemini, stream(&gemini_stream())),
    ]
}

#[test]
fn a_stream_of_each_format_is_read() {
    let [openai, anthropic, gemini] = streams().map(|(dialect, body)| read(dialect, &body).unwrap());
    assert_eq!(openai.text(), Ok("{\"a\":\"ä\"}"));
    assert_eq!((openai.model.as_str(), openai.request_id.as_str()), ("gpt-4o-2024-08-06", "chatcmpl-1"));
    assert_eq!(openai.usage.tokens, Some(Tokens { input: 9, output: 4, ..Tokens::default() }));
    assert_eq!(anthropic.text(), Ok("Hello there"));
    let tokens = Tokens { input: 25, cache_read: 10, cache_write: 100, cache_write_long: 0, output: 15 };
    assert_eq!(
        anthropic.usage,
        Usage { tokens: Some(tokens), doubts: vec![] },
        "a snapshot replaces, and adds nothing"
    );
    assert_eq!(anthropic.said.raw[0], json!({"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}));
    assert_eq!(gemini.text(), Ok("Good day"), "thoughts are no words of the answer");
    assert_eq!(gemini.usage.tokens, Some(Tokens { input: 8, output: 7, ..Tokens::default() }));
    assert!([openai, anthropic, gemini].iter().all(|answer| answer.finish == Finish::Whole && answer.usage.is_whole()));
}

#[test]
fn a_chunk_of_words_is_read_as_it_would_be_as_any_chunk() {
    let chunk = |delta: Value, more: Value| {
        let mut chunk =
            json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
        chunk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        chunk
    };
    let words = |delta: Value| chunk(delta, json!({"usage": null, "service_tier": "default"}));
    let mut of_words = openai_stream();
    let last = of_words.pop().unwrap();
    of_words.extend([
        words(json!({"content": "a \"quoted\"\n\u{1f600}", "tool_calls": null})),
        words(json!({"content": null, "reasoning": "Hm.", "reasoning_content": "Well."})),
        chunk(json!({}), json!({"choices": [{"delta": {}, "finish_reason": ""}], "model": null})),
    ]);
    let function = json!({"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}});
    let others = [
        last,
        words(json!({"content": [{"type": "text", "text": "a"}]})),
        words(json!({"refusal": "no"})),
        words(json!({"tool_calls": [function]})),
        chunk(json!({"content": "a"}), json!({"usage": {"prompt_tokens": 1}})),
        chunk(json!({"content": "a"}), json!({"x_groq": {"usage": {"prompt_tokens": 1}}})),
        chunk(json!({"content": "a"}), json!({"error": {"message": "no"}})),
        chunk(json!({}), json!({"choices": [{"delta": {"content": "a"}, "error": {"message": "no"}}]})),
        chunk(json!({}), json!({"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]})),
        chunk(json!({"content": "a"}), json!({"model": 1})),
        json!([]),
    ];
    let (mut one, mut other) = (openai::State::default(), openai::State::default());
    for chunk in &of_words {
        let data = chunk.to_string();
        one.words(&openai::Words::read(data.as_bytes()).unwrap()).unwrap();
        other.chunk(chunk).unwrap();
        assert_eq!(format!("{one:?}"), format!("{other:?}"), "{chunk}");
    }
    for chunk in &others {
        assert!(openai::Words::read(chunk.to_string().as_bytes()).is_none(), "{chunk}");
    }
}

#[test]
fn an_answer_in_one_piece_is_read_whatever_was_asked_for() {
    let openai = json!({"id": "c", "model": "local", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}]});
    let answer = read(Dialect::OpenAi, &format!("\n  \n{openai}")).unwrap();
    assert_eq!((answer.text(), &answer.usage), (Ok("ab"), &Usage::default()), "trap 4: no usage is not a usage of 0");
    let anthropic = json!({"id": "m", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "a"}], "usage": {"input_tokens": 1, "output_tokens": 2}});
    let answer = read(Dialect::Anthropic, &anthropic.to_string()).unwrap();
    assert!(answer.usage.is_whole() && answer.text() == Ok("a"));
    let chunks = Value::Array(gemini_stream());
    assert_eq!(read(Dialect::Gemini, &chunks.to_string()).unwrap().text(), Ok("Good day"), "a list of chunks");
}

#[test]
fn trap10_a_stream_that_ends_without_its_end_mark_is_cut_wherever_it_ends() {
    for (dialect, body) in streams() {
        // The blank lines after the last event say nothing.
        let end = body.trim_end().len();
        for at in 0..end {
            let (answer, _) = read_in(dialect, [&body.as_bytes()[..at]]);
            assert!(matches!(answer, Err(WireError::CutInTransit)), "{dialect:?} {at}: {answer:?}");
        }
        assert!(read(dialect, body.trim_end()).is_ok(), "{dialect:?}: some close after their last line");
    }
    let whole = json!({"choices": [{"finish_reason": "stop", "message": {"content": "abc"}}]}).to_string();
    assert_eq!(read(Dialect::OpenAi, &whole[..whole.len() - 3]), Err(WireError::CutInTransit));
    assert_eq!(read(Dialect::OpenAi, " \n"), Err(WireError::CutInTransit));
}

#[test]
fn trap07_what_came_before_a_stream_was_cut_is_known() {
    let body = stream(&anthropic_stream()[..8]);
    let (answer, reader) = read_in(Dialect::Anthropic, [body.as_bytes()]);
    assert_eq!((answer, reader.output_bytes()), (Err(WireError::CutInTransit), "Hm.Hello".len()));
    let usage = reader.usage();
    assert_eq!(usage.tokens.map(|tokens| tokens.sent()), Some(135), "what was sent is known from the begin");
    assert_eq!(usage.doubts, ["the count at the end is missing"]);
    let (_, reader) = read_in(Dialect::OpenAi, [stream(&openai_stream()[..3]).as_bytes()]);
    assert_eq!((reader.usage(), reader.output_bytes()), (Usage::default(), "{\"a\":\"ä\"}".len()));
}

#[test]
fn trap10_each_way_of_ending_has_its_finish() {
    let openai = |finish: &str, message: Value| {
        read(Dialect::OpenAi, &json!({"choices": [{"finish_reason": finish, "message": message}]}).to_string())
    };
    let finish = |answer: Result<Answer, WireError>| answer.unwrap().finish;
    assert_eq!(finish(openai("length", json!({"content": "{"}))), Finish::Cut);
    assert_eq!(finish(openai("content_filter", json!({}))), Finish::Refused("content_filter".into()));
    assert_eq!(
        finish(openai("stop", json!({"content": null, "refusal": "I can't."}))),
        Finish::Refused("I can't.".into())
    );
    assert!(matches!(openai("odd", json!({"content": "x"})), Err(WireError::Malformed(_))), "unknown is not whole");
    assert!(matches!(openai("error", json!({})), Err(WireError::Provider(ProviderError::Server(_)))));

    let anthropic = |reason: &str, more: Value| {
        read(
            Dialect::Anthropic,
            &json!({"content": [{"type": "text", "text": "x"}], "stop_reason": reason,
            "stop_details": more})
            .to_string(),
        )
    };
    assert_eq!(finish(anthropic("max_tokens", Value::Null)), Finish::Cut);
    assert_eq!(finish(anthropic("model_context_window_exceeded", Value::Null)), Finish::Cut);
    assert_eq!(finish(anthropic("pause_turn", Value::Null)), Finish::Paused);
    assert_eq!(finish(anthropic("refusal", json!({"explanation": "no"}))), Finish::Refused("no".into()));
    assert!(matches!(anthropic("tool_use", Value::Null), Err(WireError::Malformed(_))), "and names no tool");
    assert!(matches!(anthropic("odd", Value::Null), Err(WireError::Malformed(_))));

    let gemini = |finish: &str| read(Dialect::Gemini, &json!({"candidates": [{"finishReason": finish}]}).to_string());
    assert_eq!(finish(gemini("MAX_TOKENS")), Finish::Cut, "without any part");
    assert_eq!(finish(gemini("SAFETY")), Finish::Refused("SAFETY".into()));
    assert!(matches!(gemini("MALFORMED_FUNCTION_CALL"), Err(WireError::Malformed(_))));
    let blocked =
        json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 3}});
    let blocked = read(Dialect::Gemini, &blocked.to_string()).unwrap();
    assert_eq!(blocked.finish, Finish::Refused("the prompt is blocked: PROHIBITED_CONTENT".into()));
}

#[test]
fn m02_calls_of_tools_are_read_and_can_be_sent_back_as_they_came() {
    let part = |call: Value| json!({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": null}]});
    let events = [
        part(
            json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "web_search", "arguments": ""},
            "extra_content": {"google": {"thought_signature": "s"}}}),
        ),
        part(
            json!({"index": 1, "id": "call_2", "type": "function", "function": {"name": "web_search", "arguments": "{\"que"}}),
        ),
        part(json!({"index": 0, "function": {"arguments": "{\"query\":\"tolls\"}"}})),
        part(json!({"index": 1, "function": {"arguments": "ry\":\"gates\"}"}})),
        json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
    ];
    let openai = read(Dialect::OpenAi, &(stream(&events) + "data: [DONE]\n\n")).unwrap();
    assert_eq!(openai.finish, Finish::CallsTools);
    let queries: Vec<_> = openai.calls.iter().map(|call| (call.id.as_str(), call.query().unwrap())).collect();
    assert_eq!(queries, [("call_1", "tolls"), ("call_2", "gates")]);
    assert_eq!(openai.said.raw["content"], Value::Null);
    assert_eq!(openai.said.raw["tool_calls"][0]["extra_content"]["google"]["thought_signature"], "s");

    let mut events = anthropic_stream();
    events.truncate(10);
    events.extend([
        json!({"type": "content_block_start", "index": 2, "content_block":
            {"type": "tool_use", "id": "toolu_1", "name": "web_search", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"query\": \"to"}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "lls\"}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 40}}),
        json!({"type": "message_stop"}),
    ]);
    let anthropic = read(Dialect::Anthropic, &stream(&events)).unwrap();
    assert_eq!((&anthropic.finish, anthropic.calls[0].query()), (&Finish::CallsTools, Some("tolls")));
    assert_eq!(anthropic.said.raw[2]["input"], json!({"query": "tolls"}));
    assert_eq!(anthropic.usage.tokens.unwrap().sent(), 135, "a count that the end leaves out stays");

    let parts =
        json!([{"functionCall": {"name": "web_search", "args": {"query": "tolls"}}, "thoughtSignature": "c2ln"}]);
    let usage = json!({"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2});
    let gemini = read(Dialect::Gemini, &stream(&[gemini_chunk(&parts, json!("STOP"), &usage)])).unwrap();
    assert_eq!((&gemini.finish, gemini.calls[0].query()), (&Finish::CallsTools, Some("tolls")));
    assert_eq!(gemini.said.raw, json!({"role": "model", "parts": parts}));
}

#[test]
fn trap08_an_error_in_a_body_of_status_200_or_in_a_stream_is_the_providers() {
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let mut events = anthropic_stream();
    events.insert(8, overloaded);
    let (answer, reader) = read_in(Dialect::Anthropic, [stream(&events).as_bytes()]);
    assert_eq!(answer, Err(WireError::Provider(ProviderError::Overloaded { after: None })));
    assert_eq!(reader.usage().tokens.map(|tokens| tokens.sent()), Some(135));

    let router = json!({"error": {"code": 402, "message": "Insufficient credits"}, "user_id": "u"});
    let error = read(Dialect::OpenAi, &router.to_string()).unwrap_err();
    assert!(matches!(error, WireError::Provider(ProviderError::Terminal { .. })), "{error}");
    let mut events = openai_stream();
    events.insert(
        2,
        json!({"id": "c", "error": {"code": 429, "message": "Rate limited. Please retry in 3s."},
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}),
    );
    let after = Some(std::time::Duration::from_secs(3));
    let body = format!(": OPENROUTER PROCESSING\n\n{}", stream(&events));
    assert_eq!(read(Dialect::OpenAi, &body), Err(WireError::Provider(ProviderError::RateLimited { after })));
    let choice = json!({"choices": [{"error": {"code": 502, "message": "upstream"}, "finish_reason": "error"}]});
    let error = read(Dialect::OpenAi, &choice.to_string());
    assert!(matches!(error, Err(WireError::Provider(ProviderError::Server(_)))), "{error:?}");

    let gemini = json!({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}});
    let error = read(Dialect::Gemini, &stream(&[gemini_stream()[0].clone(), gemini]));
    assert_eq!(error, Err(WireError::Provider(ProviderError::Overloaded { after: None })));
}

#[test]
fn what_is_no_answer_is_told_and_what_is_too_large_is_not_held() {
    for (body, dialect) in [
        ("<html>login</html>", Dialect::OpenAi),
        ("{\"choices\": []}", Dialect::OpenAi),
        ("data: {\"choices\": oops}\n\n", Dialect::OpenAi),
        ("{\"type\": \"message\"}", Dialect::Anthropic),
        ("data: {\"type\": \"content_block_start\", \"content_block\": \"x\"}\n\n", Dialect::Anthropic),
        (
            "data: {\"type\": \"content_block_delta\", \"delta\": {\"type\": \"text_delta\", \"text\": \"x\"}}\n\n",
            Dialect::Anthropic,
        ),
    ] {
        assert!(matches!(read(dialect, body), Err(WireError::Malformed(_))), "{body}");
    }
    for (dialect, [event, ..]) in [
        (Dialect::OpenAi, [json!({"choices": [{"delta": {"content": "x".repeat(1 << 20)}}]})]),
        (Dialect::Gemini, [gemini_chunk(&json!([{"text": "x".repeat(1 << 20)}]), Value::Null, &json!({}))]),
    ] {
        let mut reader = Reader::new(dialect);
        let body = stream(&[event]);
        let fed = (0..17).find_map(|_| reader.feed(body.as_bytes()).err());
        assert_eq!(fed, Some(WireError::TooLarge), "{dialect:?}");
    }
    let mut reader = Reader::new(Dialect::OpenAi);
    let half = vec![b'{'; ANSWER_BYTES_MAX / 2 + 1];
    assert!(reader.feed(&half).is_ok());
    assert_eq!(reader.feed(&half), Err(WireError::TooLarge));
}

#[test]
fn trap07_a_refusal_in_the_middle_of_an_answer_is_told_from_one_before_it_though_no_usage_came_yet() {
    let error = json!({ "error": { "message": "The server had an error", "type": "server_error" } });
    let begun = openai_stream().into_iter().take(1).chain([error.clone()]).collect::<Vec<_>>();
    for (events, has_begun) in [(vec![error], false), (begun, true)] {
        let (answer, reader) = read_in(Dialect::OpenAi, [stream(&events).as_bytes()]);
        assert!(matches!(answer, Err(WireError::Provider(_))), "{answer:?}");
        assert_eq!((reader.has_begun(), reader.usage().tokens), (has_begun, None));
    }
}
