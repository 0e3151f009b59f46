//! Golden requests: for each provider, what is sent for the ways in which a job asks a model, reviewed as snapshots.
#![expect(clippy::unwrap_used, reason = "a test that can't go on says so by panicking")]

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_core::{
    JsonObject,
    model::{Dialect, TemperatureRule},
};
use tollgate_llm::{
    Answer, Document, Finish, Prices, Prompt, Reader, RequestError, ToolResult, WireModel, WireRequest,
    wire::{self, base_url},
};

/// A model of each provider, as the table of prices knows it.
fn models() -> [(&'static str, WireModel); 3] {
    let prices = Prices::pinned().unwrap();
    let models = [("openai", "gpt-4.1-mini"), ("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-flash")];
    models.map(|(provider, name)| {
        let dialect = prices.dialect(provider).unwrap();
        (provider, prices.model(provider, name).unwrap().wire(dialect, name))
    })
}

/// A request as one value: where it goes, with which headers, and the body.
fn shown(model: &WireModel, request: &WireRequest) -> Value {
    let mut headers = serde_json::Map::new();
    for (name, value) in &request.headers {
        headers.insert((*name).to_owned(), Value::from(*value));
    }
    headers.insert(request.key.name.to_owned(), Value::from(request.key.value("KEY")));
    let body = request.body.parse().unwrap();
    assert_eq!(JsonObject::of(&body), request.body, "equal requests are equal texts");
    json!({"url": format!("{}/{}", base_url(model.dialect), request.path), "headers": headers, "body": body})
}

fn golden(case: &str, prompt: &Prompt) {
    for (provider, model) in models() {
        let request = wire::request(&model, prompt).unwrap();
        insta::assert_json_snapshot!(format!("{case}-{provider}"), shown(&model, &request));
    }
}

fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Thesis",
        "type": "object",
        "required": ["company", "claims"],
        "properties": {
            "company": {"type": "string", "minLength": 2},
            "claims": {"type": "array", "items": {"$ref": "#/$defs/Claim"}},
            "target": {"type": ["number", "null"], "minimum": 0},
        },
        "$defs": {"Claim": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}},
    })
}

fn transcript(is_shared: bool) -> Document {
    Document::text("Q3 call", "Operator: Good morning.\nCEO: Margins rose to 41%.", is_shared)
}

#[test]
fn m03_a_document_extraction() {
    let documents = vec![transcript(false)];
    let instruction = "Give the claims of this call.".to_owned();
    golden("extraction", &Prompt { documents, instruction, schema: Some(schema()), ..Prompt::default() });
}

#[test]
fn m03_a_generation() {
    let instruction = "Write a line about tolls.".to_owned();
    golden("generation", &Prompt { instruction, temperature: Some(0.7), ..Prompt::default() });
}

#[test]
fn m06_a_document_of_two_stages() {
    let documents = vec![Document::text("notes", "Of this stage alone.", false), transcript(true)];
    let instruction = "Score the call.".to_owned();
    let prompt = Prompt { documents, instruction, ..Prompt::default() };
    golden("cached", &prompt);
    let other =
        Prompt { documents: vec![transcript(true)], instruction: "Digest the call.".to_owned(), ..Prompt::default() };
    for (provider, model) in models() {
        let [one, other] = [&prompt, &other].map(|prompt| begin(&model, prompt));
        assert_eq!(one, other, "{provider}: both stages begin alike, so that the cache serves the second");
        assert!(one.contains("Margins rose to 41%"), "{provider}");
    }
}

/// A document that each provider's cache keeps.
fn long(is_shared: bool) -> Document {
    Document::text("Q3 call", &CALL.repeat(400), is_shared)
}

const CALL: &str = "CEO: Margins rose to 41%. ";

/// Two stages that read one document, each with a schema of its own.
fn two_stages(document: &Document) -> [Prompt; 2] {
    let score = json!({"type": "object", "required": ["score"], "properties": {"score": {"type": "integer"}}});
    [("Score the call.", score), ("Give the claims of this call.", schema())].map(|(instruction, schema)| Prompt {
        documents: vec![document.clone()],
        instruction: instruction.to_owned(),
        schema: Some(schema),
        ..Prompt::default()
    })
}

/// Where a format bears a schema.
fn native_schema(request: &Value) -> Option<&Value> {
    let places = ["/response_format/json_schema", "/output_config/format", "/generationConfig/responseJsonSchema"];
    places.into_iter().find_map(|place| request.pointer(place))
}

#[test]
fn m06_a_cached_document_of_two_stages_with_schemas_of_their_own() {
    for (provider, model) in models() {
        let requests = two_stages(&long(true)).map(|prompt| wire::request(&model, &prompt).unwrap());
        for (stage, request) in ["score", "digest"].into_iter().zip(&requests) {
            let mut shown = shown(&model, request).to_string();
            shown = shown.replace(CALL.repeat(400).trim_end(), "(the long call)");
            let shown: Value = serde_json::from_str(&shown).unwrap();
            insta::assert_json_snapshot!(format!("two-stages-{stage}-{provider}"), shown);
        }
        let [score, digest] = two_stages(&long(true)).map(|prompt| begin(&model, &prompt));
        assert_eq!(score, digest, "{provider}");
        for request in &requests {
            let body: Value = serde_json::from_str(request.body.as_str()).unwrap();
            let is_written = request.body.as_str().contains("It satisfies this JSON Schema");
            let is_gemini = model.dialect == Dialect::Gemini;
            assert_eq!((native_schema(&body).is_some(), is_written), (is_gemini, !is_gemini), "{provider}");
        }
    }
}

#[test]
fn m06_a_schema_is_given_as_one_where_no_cache_would_keep_what_is_shared() {
    let is_native = |model: &WireModel, document: &Document| {
        let body = wire::request(model, &two_stages(document)[0]).unwrap().body;
        native_schema(&serde_json::from_str(body.as_str()).unwrap()).is_some()
    };
    for (provider, model) in models() {
        assert!(is_native(&model, &long(false)), "{provider}: nobody else reads it");
        assert!(is_native(&model, &transcript(true)), "{provider}: it is too short to be kept");
        let unknown = WireModel { cached_min: None, ..model.clone() };
        assert!(is_native(&unknown, &long(true)), "{provider}: no cache is known of");
        // Of Gemini's the table says none: were one known, its schema would stand where it does.
        let least = model.cached_min.unwrap_or(2_048);
        let model = WireModel { cached_min: Some(least), ..model };
        let of = |tokens: u64| Document::text("Q3 call", &"four".repeat(usize::try_from(tokens).unwrap()), true);
        assert!(is_native(&model, &of(least - 1)), "{provider}");
        assert_eq!(is_native(&model, &of(least)), model.dialect == Dialect::Gemini, "{provider}");
    }
}

/// What a request begins with, as a provider's cache sees it: the system prompt, to the end of the shared document.
fn begin(model: &WireModel, prompt: &Prompt) -> String {
    let body: Value = serde_json::from_str(wire::request(model, prompt).unwrap().body.as_str()).unwrap();
    let system = match model.dialect {
        Dialect::OpenAi => body["messages"][0]["content"].as_str().unwrap().to_owned(),
        Dialect::Anthropic => serde_json::to_string(&body["system"]).unwrap(),
        Dialect::Gemini => body["systemInstruction"]["parts"][0]["text"].as_str().unwrap().to_owned(),
    };
    let end = system.find("</document>").unwrap();
    system[..end].to_owned()
}

#[test]
fn an_image_and_a_pdf() {
    let blob = |name, media, bytes| Document::blob(name, media, Bytes::from_static(bytes), false).unwrap();
    let documents = vec![blob("chart", "image/png", b"\x89PNG"), blob("filing", "application/pdf", b"%PDF-1.7")];
    let instruction = "What does the chart show?".to_owned();
    golden("image", &Prompt { documents, instruction, ..Prompt::default() });
}

/// What each provider says when it wants to search.
fn searching(dialect: Dialect) -> Answer {
    let body = match dialect {
        Dialect::OpenAi => {
            let function = json!({"name": "web_search", "arguments": "{\"query\":\"tolls\"}"});
            let calls = json!([{"id": "call_1", "type": "function", "function": function}]);
            json!({"choices": [{"finish_reason": "tool_calls", "message": {"content": null, "tool_calls": calls}}]})
        }
        Dialect::Anthropic => json!({"stop_reason": "tool_use", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "tool_use", "id": "toolu_1", "name": "web_search", "input": {"query": "tolls"}}]}),
        Dialect::Gemini => json!({"candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [
            {"functionCall": {"name": "web_search", "args": {"query": "tolls"}}, "thoughtSignature": "c2ln"}]}}]}),
    };
    let mut reader = Reader::new(dialect);
    reader.feed(body.to_string().as_bytes()).unwrap();
    reader.end().unwrap()
}

#[test]
fn m02_a_search_and_what_follows_it() {
    let instruction = "What do tolls cost?".to_owned();
    let prompt = Prompt { instruction, schema: Some(schema()), can_search: true, ..Prompt::default() };
    golden("search", &prompt);
    for (provider, model) in models() {
        let answer = searching(model.dialect);
        assert_eq!((&answer.finish, answer.calls[0].query()), (&Finish::CallsTools, Some("tolls")));
        let call = answer.calls[0].clone();
        let results =
            vec![ToolResult { call, text: "1. Tolls of 2026, https://tolls.example".to_owned(), is_error: false }];
        let prompt = Prompt { turns: vec![answer.turn(results)], ..prompt.clone() };
        let request = wire::request(&model, &prompt).unwrap();
        insta::assert_json_snapshot!(format!("searched-{provider}"), shown(&model, &request));
        let other = WireModel { dialect: Dialect::OpenAi, ..model.clone() };
        let is_foreign = wire::request(&other, &prompt).is_err();
        assert_eq!(is_foreign, model.dialect != Dialect::OpenAi, "turns go back to whom they came from");
    }
}

#[test]
fn m01_no_request_bears_a_limit_of_tokens_but_the_models_own_where_one_is_demanded() {
    let prompt = Prompt { documents: vec![transcript(true)], schema: Some(schema()), ..Prompt::default() };
    for (provider, model) in models() {
        let body = wire::request(&model, &prompt).unwrap().body;
        let text = body.as_str();
        let has = ["max_tokens", "max_completion_tokens", "maxOutputTokens", "max_output_tokens", "thinkingBudget"]
            .into_iter()
            .filter(|name| text.contains(name));
        let expected: &[&str] = if provider == "anthropic" { &["max_tokens"] } else { &[] };
        assert_eq!(has.collect::<Vec<_>>(), expected, "{provider}");
        assert!(provider != "anthropic" || text.contains("\"max_tokens\":64000"));
    }
}

#[test]
fn m03_a_schema_means_a_temperature_of_0_but_for_models_that_take_none() {
    for (provider, model) in models() {
        let sent = |rule, prompt: &Prompt| {
            let model = WireModel { temperature: rule, ..model.clone() };
            let body: Value = serde_json::from_str(wire::request(&model, prompt).unwrap().body.as_str()).unwrap();
            let place = if model.dialect == Dialect::Gemini { "/generationConfig/temperature" } else { "/temperature" };
            body.pointer(place).cloned()
        };
        let asked = Prompt { temperature: Some(0.7), ..Prompt::default() };
        let extracted = Prompt { schema: Some(schema()), ..asked.clone() };
        assert_eq!(sent(TemperatureRule::Free, &extracted), Some(json!(0.0)), "{provider}");
        assert_eq!(sent(TemperatureRule::Free, &asked), Some(json!(0.7)), "{provider}");
        assert_eq!(sent(TemperatureRule::Free, &Prompt::default()), None, "{provider}: its own default");
        for prompt in [&extracted, &asked] {
            assert_eq!(sent(TemperatureRule::Fixed, prompt), None, "{provider}");
        }
    }
}

#[test]
fn a_schema_that_cannot_be_strict_is_given_as_it_is() {
    let loose = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let prompt = Prompt { schema: Some(loose.clone()), ..Prompt::default() };
    let format = |model: &WireModel| {
        let body: Value = serde_json::from_str(wire::request(model, &prompt).unwrap().body.as_str()).unwrap();
        body["response_format"]["json_schema"].clone()
    };
    let model = WireModel::new(Dialect::OpenAi, "m");
    assert_eq!(format(&model), json!({"name": "answer", "strict": false, "schema": loose}));
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let model = WireModel { output_max: Some(1), ..WireModel::new(Dialect::Anthropic, "m") };
    let body = wire::request(&model, &Prompt { schema: Some(map.clone()), ..Prompt::default() }).unwrap().body;
    let said = body.as_str();
    assert!(!said.contains("output_config") && said.contains("It satisfies this JSON Schema"), "{said}");
}

#[test]
fn a_temperature_or_a_schema_that_is_none_is_not_sent() {
    for (_, model) in models() {
        for temperature in [f64::NAN, f64::INFINITY, -0.1, 2.1] {
            let prompt = Prompt { temperature: Some(temperature), ..Prompt::default() };
            assert_eq!(wire::request(&model, &prompt), Err(RequestError::Temperature(temperature.to_string())));
        }
        let prompt = Prompt { schema: Some(json!(true)), ..Prompt::default() };
        assert_eq!(wire::request(&model, &prompt), Err(RequestError::Schema));
    }
}

#[test]
fn the_same_prompt_is_the_same_bytes() {
    let prompt =
        Prompt { documents: vec![transcript(true)], schema: Some(schema()), can_search: true, ..Prompt::default() };
    for (_, model) in models() {
        let [one, other] = [(); 2].map(|()| wire::request(&model, &prompt).unwrap().body);
        assert_eq!(one.digest(), other.digest());
    }
}
