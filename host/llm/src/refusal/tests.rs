//! Bodies as providers send them.

use serde_json::json;

use super::*;

fn of(dialect: Dialect, status: u16, body: &Value) -> ProviderError {
    read(dialect, status, &[], body.to_string().as_bytes(), Timestamp(0))
}

fn limited(seconds: f64) -> ProviderError {
    ProviderError::RateLimited { after: Some(Duration::from_secs_f64(seconds)) }
}

fn until(error: &ProviderError) -> Option<Reset> {
    match error {
        ProviderError::Terminal { until, .. } => Some(*until),
        _ => None,
    }
}

#[test]
fn trap08_what_no_retry_helps_is_told_from_what_waits() {
    let openai = |kind: &str, code: &str, message: &str| json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    let quota =
        openai("insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan.");
    assert_eq!(until(&of(Dialect::OpenAi, 429, &quota)), Some(Reset::Unknown));
    let billing = openai("invalid_request_error", "billing_hard_limit_reached", "Billing hard limit has been reached");
    assert_eq!(until(&of(Dialect::OpenAi, 400, &billing)), Some(Reset::Unknown));
    let tpm = "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29000, \
               Requested 2000. Please try again in 2s.";
    assert_eq!(of(Dialect::OpenAi, 429, &openai("tokens", "rate_limit_exceeded", tpm)), limited(2.0));
    let ramp = openai("rate_limit_error", "slow_down", "Slow down.");
    assert_eq!(of(Dialect::OpenAi, 429, &ramp), ProviderError::RateLimited { after: None });

    let spend = json!({"type": "error", "request_id": "req_1", "error": {"type": "rate_limit_error",
        "message": "This request would exceed your organization's spend limit.",
        "details": {"error_code": "enforced_spend_limit_reached"}}});
    let headers = [("retry-after", "30")];
    let error = read(Dialect::Anthropic, 429, &headers, spend.to_string().as_bytes(), Timestamp(0));
    assert_eq!(until(&error), Some(Reset::NextMonth), "though a delay stands beside it");
    let anthropic = |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
    let usual = anthropic("rate_limit_error", "This request would exceed the rate limit for your organization.");
    let error = read(Dialect::Anthropic, 429, &headers, usual.to_string().as_bytes(), Timestamp(0));
    assert_eq!(error, limited(30.0));
    let credit = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.";
    assert_eq!(until(&of(Dialect::Anthropic, 400, &anthropic("invalid_request_error", credit))), Some(Reset::Unknown));
    let regain = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.";
    assert_eq!(
        until(&of(Dialect::Anthropic, 400, &anthropic("invalid_request_error", regain))),
        Some(Reset::NextMonth)
    );
}

#[test]
fn trap08_geminis_quota_of_a_day_comes_before_the_delay_beside_it() {
    let gemini = |quota: &str, value: &str, retry: &Value| {
        json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED",
            "message": "You exceeded your current quota. Please retry in 45.837906927s.", "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [
                    {"quotaMetric": "m", "quotaId": quota, "quotaDimensions": {}, "quotaValue": value}]},
                {"@type": "type.googleapis.com/google.rpc.Help", "links": []}, retry]}})
    };
    let info = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "45s"});
    let day = of(Dialect::Gemini, 429, &gemini("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "250", &info));
    assert_eq!(until(&day), Some(Reset::NextDay(DayOf::Gemini)));
    assert_eq!(until(&day).unwrap().zone(), "America/Los_Angeles");
    let minute = gemini("GenerateRequestsPerMinutePerProjectPerModel", "10", &info);
    assert_eq!(of(Dialect::Gemini, 429, &minute), limited(45.0));
    let words = gemini("GenerateRequestsPerMinutePerProjectPerModel", "10", &json!({}));
    assert_eq!(of(Dialect::Gemini, 429, &words), limited(45.837_906_927), "in the message alone");
    let none = gemini("GenerateContentInputTokensPerModelPerMinute-FreeTier", "0", &info);
    assert_eq!(until(&of(Dialect::Gemini, 429, &none)), Some(Reset::Unknown), "no quota at all");
    let listed = Value::Array(vec![minute]);
    assert_eq!(of(Dialect::Gemini, 429, &listed), limited(45.0), "as a list");
}

#[test]
fn trap08_openrouters_credit_is_terminal_unless_it_says_when() {
    let body = |code: u16, message: &str| json!({"error": {"code": code, "message": message}, "user_id": "u"});
    let credit = body(402, "Insufficient credits. Add more using https://openrouter.ai/credits");
    assert_eq!(until(&of(Dialect::OpenAi, 402, &credit)), Some(Reset::Unknown));
    assert_eq!(until(&in_body(Dialect::OpenAi, &credit).unwrap()), Some(Reset::Unknown), "in a body of status 200");
    let waits = read(Dialect::OpenAi, 402, &[("Retry-After", "5")], credit.to_string().as_bytes(), Timestamp(0));
    assert_eq!(waits, limited(5.0));
    let free = body(429, "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 requests per day");
    assert_eq!(until(&of(Dialect::OpenAi, 429, &free)), Some(Reset::NextDay(DayOf::Utc)));
    let flagged = json!({"error": {"code": 403, "message": "Input flagged", "metadata": {"reasons": ["violence"]}}});
    assert!(matches!(of(Dialect::OpenAi, 403, &flagged), ProviderError::Refused(_)));
}

#[test]
fn r07_overload_is_a_wait_with_and_without_a_status() {
    let anthropic = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let overloaded = ProviderError::Overloaded { after: None };
    assert_eq!(of(Dialect::Anthropic, 529, &anthropic), overloaded);
    assert_eq!(in_body(Dialect::Anthropic, &anthropic), Some(overloaded.clone()));
    let openai = json!({"error": {"message": "busy", "type": "server_error", "code": "server_is_overloaded"}});
    assert_eq!(of(Dialect::OpenAi, 503, &openai), overloaded);
    let gemini = json!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}});
    assert_eq!(of(Dialect::Gemini, 503, &gemini), overloaded);
    assert_eq!(in_body(Dialect::Gemini, &gemini), Some(overloaded.clone()));
    assert_eq!(of(Dialect::OpenAi, 498, &json!({"error": {"message": "capacity_exceeded"}})), overloaded);
    for status in [500, 502, 504, 520, 408] {
        assert!(matches!(read(Dialect::OpenAi, status, &[], b"", Timestamp(0)), ProviderError::Server(_)), "{status}");
    }
}

#[test]
fn what_a_person_has_to_mend_says_what() {
    let openai = |code: &str, message: &str| json!({"error": {"message": message, "type": "x", "code": code}});
    let key = openai("invalid_api_key", "Incorrect API key provided: sk-ab***yz.");
    assert!(matches!(of(Dialect::OpenAi, 401, &key), ProviderError::Auth(said) if said.contains("sk-ab***yz")));
    let model = openai("model_not_found", "The model `gpt-9` does not exist or you do not have access to it.");
    assert!(matches!(of(Dialect::OpenAi, 404, &model), ProviderError::ModelUnknown(said) if said.contains("gpt-9")));
    let long = openai("context_length_exceeded", "This model's maximum context length is 128000 tokens.");
    assert!(matches!(of(Dialect::OpenAi, 400, &long), ProviderError::TooLarge(_)));
    let minute = openai(
        "rate_limit_exceeded",
        "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 90000.",
    );
    assert!(matches!(of(Dialect::OpenAi, 429, &minute), ProviderError::TooLarge(_)), "no wait lets it through");
    let policy = openai("content_policy_violation", "Your request was rejected by our safety system.");
    assert!(matches!(of(Dialect::OpenAi, 400, &policy), ProviderError::Refused(_)));
    let wrong = openai("invalid_type", "Invalid schema for response_format 'answer'.");
    assert!(matches!(of(Dialect::OpenAi, 400, &wrong), ProviderError::InvalidRequest(said) if said.contains("(400)")));

    let anthropic = |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
    let long = anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum");
    assert!(matches!(of(Dialect::Anthropic, 400, &long), ProviderError::TooLarge(_)));
    let large = anthropic("request_too_large", "Request exceeds the maximum size");
    assert!(matches!(of(Dialect::Anthropic, 413, &large), ProviderError::TooLarge(_)));
    let model = anthropic("not_found_error", "model: claude-x");
    assert!(matches!(of(Dialect::Anthropic, 404, &model), ProviderError::ModelUnknown(_)));

    let gemini = |code: u16, status: &str, message: &str, details: Value| json!({"error": {"code": code, "status": status, "message": message, "details": details}});
    let key = gemini(400, "INVALID_ARGUMENT", "API key not valid.", json!([{"reason": "API_KEY_INVALID"}]));
    assert!(matches!(of(Dialect::Gemini, 400, &key), ProviderError::Auth(_)));
    let place = gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use.", json!([]));
    assert!(matches!(of(Dialect::Gemini, 400, &place), ProviderError::Auth(_)));
    let model = gemini(404, "NOT_FOUND", "models/gemini-x is not found for API version v1beta", json!([]));
    assert!(matches!(of(Dialect::Gemini, 404, &model), ProviderError::ModelUnknown(_)));
    let long = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).";
    assert!(matches!(
        of(Dialect::Gemini, 400, &gemini(400, "INVALID_ARGUMENT", long, json!([]))),
        ProviderError::TooLarge(_)
    ));

    let page = read(Dialect::OpenAi, 404, &[], b" <html>nginx</html>", Timestamp(0));
    assert_eq!(page.to_string(), "invalid request: it answers with a page (404); is the base URL right?");
}

/// As version 1.108.7 of its proxy says them; `money::litellm` of the lessons asks a real one.
#[test]
fn what_a_litellm_proxy_says_is_what_stands_behind_its_words() {
    let openai = |kind: &str, code: &str, message: &str| json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    let anthropic = |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
    let filtered = "litellm.BadRequestError: litellm.ContentPolicyViolationError: litellm.MockException: not this one\n\
                    model=m. content_policy_fallback=None. fallbacks=None.";
    let small =
        "litellm.ContextWindowExceededError: litellm.BadRequestError: this is a mock context window exceeded error";
    let blocked = "Content blocked: keyword 'anvils' detected (nothing about them)";
    let mut guarded = [openai("invalid_request_error", "400", blocked), anthropic("invalid_request_error", blocked)];
    guarded.iter_mut().for_each(|body| body["error"]["provider_specific_fields"] = json!({"guardrail_name": "words"}));
    let [of_openai, of_anthropic] = &guarded;
    for (dialect, body, words) in [
        (Dialect::OpenAi, &openai("invalid_request_error", "400", filtered), "not this one"),
        (Dialect::Anthropic, &anthropic("invalid_request_error", filtered), "not this one"),
        (Dialect::OpenAi, of_openai, blocked),
        (Dialect::Anthropic, of_anthropic, blocked),
    ] {
        assert!(matches!(of(dialect, 400, body), ProviderError::Refused(said) if said.contains(words)), "{body}");
    }
    for (dialect, body) in [
        (Dialect::OpenAi, openai("invalid_request_error", "400", small)),
        (Dialect::Anthropic, anthropic("invalid_request_error", small)),
    ] {
        assert!(matches!(of(dialect, 400, &body), ProviderError::TooLarge(_)), "{body}");
    }
    let limited = "litellm.RateLimitError: this is a mock rate limit error";
    let waits = ProviderError::RateLimited { after: None };
    assert_eq!(of(Dialect::OpenAi, 429, &openai("throttling_error", "429", limited)), waits);
    assert_eq!(of(Dialect::Anthropic, 429, &anthropic("rate_limit_error", limited)), waits);
    let spent = openai("budget_exceeded", "422", "Budget has been exceeded! Current cost: 2.0, Max budget: 1.0");
    assert_eq!(until(&of(Dialect::OpenAi, 422, &spent)), Some(Reset::Unknown));
}

#[test]
fn trap23_a_providers_words_are_one_line_and_short() {
    let body = json!({"error": {"message": format!("a\n\u{1b}[31mb{}", "x".repeat(9_000))}});
    let ProviderError::InvalidRequest(said) = of(Dialect::OpenAi, 400, &body) else { panic!() };
    assert!(said.starts_with("a [31mbx") && said.len() < SAID_CHARS_MAX + 20, "{said}");
}
