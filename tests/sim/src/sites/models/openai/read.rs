//! How OpenAI reads a request, and what it refuses.

use super::{OpenAi, invalid};
use crate::site::Request;
use crate::sites::models::Models;
use crate::sites::models::asked::{Asked, Block, Offered, Part, written_schema};
use crate::sites::models::format::{Format, Refusal, Trouble, facts, header, json, key, open_object, unknown_field};
use serde_json::Value;
use tollgate_core::model::{Dialect, TemperatureRule};

const FIELDS: [&str; 37] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "response_format",
    "temperature",
    "top_p",
    "n",
    "stop",
    "max_tokens",
    "max_completion_tokens",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "user",
    "seed",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "service_tier",
    "store",
    "metadata",
    "modalities",
    "audio",
    "prediction",
    "web_search_options",
    "verbosity",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "functions",
    "function_call",
    "moderation",
    "prompt_cache_options",
];
/// What OpenRouter takes besides.
const OPEN_ROUTER_FIELDS: [&str; 7] = ["provider", "models", "route", "transforms", "plugins", "reasoning", "usage"];

pub(super) fn read(format: &OpenAi, request: &Request, models: &Models) -> Result<Asked, Refusal> {
    if !request.path().ends_with("/chat/completions") {
        return Err(format.refusal(&Trouble::NoSuchPath, ""));
    }
    let bearer = header(request, "authorization").and_then(|value| value.strip_prefix("Bearer "));
    let key = key(format, models, bearer)?;
    let body = json(format, request)?;
    let is_open_router = request.host.contains("openrouter");
    let mut known = FIELDS.to_vec();
    if is_open_router {
        known.extend(OPEN_ROUTER_FIELDS);
    }
    if let Some(name) = unknown_field(&body, &known) {
        return Err(invalid(&format!("Unrecognized request argument supplied: {name}"), None, None));
    }
    let Some(name) = body["model"].as_str() else {
        return Err(invalid("you must provide a model parameter", None, None));
    };
    let facts = facts(format, models, Dialect::OpenAi, name)?;
    let Some(messages) = body["messages"].as_array().filter(|messages| !messages.is_empty()) else {
        return Err(missing("messages"));
    };
    if facts.temperature == TemperatureRule::Fixed {
        refuse_settings(&body)?;
    }
    let is_streamed = body["stream"] == true;
    if !is_streamed && body.get("stream_options").is_some_and(|options| !options.is_null()) {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(invalid(message, Some("stream_options"), None));
    }
    let schema = schema(&body)?;
    let mut blocks = Vec::new();
    if let Some(schema) = schema.filter(|_| facts.is_schema_first) {
        blocks.push(Block::new(Part::Schema, schema.to_string()));
    }
    let tools = tools(&body)?;
    if !tools.is_empty() {
        blocks.push(Block::new(Part::Tools, body["tools"].to_string()));
    }
    read_messages(messages, &mut blocks)?;
    if let Some(schema) = schema.filter(|_| !facts.is_schema_first) {
        blocks.push(Block::new(Part::Schema, schema.to_string()));
    }
    let asked = Asked {
        host: request.host.clone(),
        dialect: Dialect::OpenAi,
        key,
        model: name.to_owned(),
        schema: schema.cloned().or_else(|| written_schema(&blocks)),
        blocks,
        tools,
        is_streamed,
        is_list: false,
        has_usage: body["stream_options"]["include_usage"] == true,
        output_max: body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64()),
        temperature: body["temperature"].as_f64(),
        body,
    };
    if asked.sent() > facts.context_max {
        let message = format!(
            "This model's maximum context length is {} tokens. However, your messages resulted in {} tokens. Please \
             reduce the length of the messages.",
            facts.context_max,
            asked.sent()
        );
        return Err(invalid(&message, Some("messages"), Some("context_length_exceeded")));
    }
    Ok(asked)
}

fn missing(param: &str) -> Refusal {
    invalid(&format!("Missing required parameter: '{param}'."), Some(param), Some("missing_required_parameter"))
}

/// What models that think don't take.
fn refuse_settings(body: &Value) -> Result<(), Refusal> {
    if let Some(temperature) = body["temperature"].as_f64().filter(|temperature| *temperature != 1.0) {
        let message = format!(
            "Unsupported value: 'temperature' does not support {temperature} with this model. Only the default (1) \
             value is supported."
        );
        return Err(invalid(&message, Some("temperature"), Some("unsupported_value")));
    }
    if !body["max_tokens"].is_null() {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
                       'max_completion_tokens' instead.";
        return Err(invalid(message, Some("max_tokens"), Some("unsupported_parameter")));
    }
    Ok(())
}

/// The schema where it belongs, held against what `strict` asks for.
fn schema(body: &Value) -> Result<Option<&Value>, Refusal> {
    let format = &body["response_format"];
    match format["type"].as_str() {
        None if format.is_null() => return Ok(None),
        Some("text" | "json_object") => return Ok(None),
        Some("json_schema") => {}
        _ => {
            let message = "Invalid value: 'response_format.type'. Supported values are: 'json_object', 'json_schema', \
                           and 'text'.";
            return Err(invalid(message, Some("response_format.type"), Some("invalid_value")));
        }
    }
    let given = &format["json_schema"];
    if given.is_null() {
        return Err(missing("response_format.json_schema"));
    }
    let Some(name) = given["name"].as_str() else {
        return Err(missing("response_format.json_schema.name"));
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        let message = "Invalid 'response_format.json_schema.name': string does not match pattern. Expected a string \
                       that matches the pattern '^[a-zA-Z0-9_-]+$'.";
        return Err(invalid(message, Some("response_format.json_schema.name"), Some("invalid_value")));
    }
    if let Some(other) = unknown_field(given, &["name", "schema", "strict", "description"]) {
        let param = format!("response_format.json_schema.{other}");
        return Err(invalid(&format!("Unknown parameter: '{param}'."), Some(&param), Some("unknown_parameter")));
    }
    let schema = &given["schema"];
    let refuse = |context: &[String], words: &str| {
        let context: Vec<String> = context.iter().map(|name| format!("'{name}'")).collect();
        let message =
            format!("Invalid schema for response_format '{name}': In context=({}), {words}", context.join(", "));
        invalid(&message, Some("response_format"), None)
    };
    if given["strict"] != true {
        return Ok(Some(schema));
    }
    if schema["type"] != "object" {
        return Err(refuse(&[], "schema must be a JSON Schema of 'type: \"object\"'."));
    }
    if let Some(context) = open_object(schema) {
        return Err(refuse(&context, "'additionalProperties' is required to be supplied and to be false."));
    }
    if let Some(name) = optional(schema) {
        let words = format!(
            "'required' is required to be supplied and to be an array including every key in properties. Missing \
             '{name}'."
        );
        return Err(refuse(&[], &words));
    }
    Ok(Some(schema))
}

/// A property that may be left out, anywhere in a schema.
fn optional(schema: &Value) -> Option<&str> {
    match schema {
        Value::Object(fields) => {
            let required = fields.get("required").and_then(Value::as_array);
            let properties = fields.get("properties").and_then(Value::as_object);
            let missing = properties.into_iter().flatten().map(|(name, _)| name.as_str());
            let mut missing =
                missing.filter(|name| !required.is_some_and(|all| all.iter().any(|required| required == name)));
            missing.next().or_else(|| fields.values().find_map(optional))
        }
        Value::Array(items) => items.iter().find_map(optional),
        _ => None,
    }
}

fn tools(body: &Value) -> Result<Vec<Offered>, Refusal> {
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let read = tools.iter().enumerate().map(|(at, tool)| {
        let name = tool["function"]["name"].as_str().ok_or_else(|| missing(&format!("tools[{at}].function.name")))?;
        Ok(Offered { name: name.to_owned(), parameters: tool["function"]["parameters"].clone() })
    });
    read.collect()
}

fn read_messages(messages: &[Value], blocks: &mut Vec<Block>) -> Result<(), Refusal> {
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role != "tool" && !open.is_empty() {
            let message = format!(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
                 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
                open.join(", ")
            );
            return Err(invalid(&message, Some(&format!("messages.[{at}].role")), None));
        }
        let part = match role {
            "system" | "developer" => Part::System,
            "user" => Part::User,
            "assistant" => Part::Model,
            "tool" => {
                let id = message["tool_call_id"].as_str().unwrap_or_default();
                let Some(answered) = open.iter().position(|open| *open == id) else {
                    let message = "Invalid parameter: messages with role 'tool' must be a response to a preceeding \
                                   message with 'tool_calls'.";
                    return Err(invalid(message, Some(&format!("messages.[{at}].role")), None));
                };
                open.remove(answered);
                Part::ToolResult
            }
            other => {
                let message = format!(
                    "Invalid value: '{other}'. Supported values are: 'system', 'assistant', 'user', 'function', \
                     'tool', and 'developer'."
                );
                return Err(invalid(&message, Some(&format!("messages[{at}].role")), Some("invalid_value")));
            }
        };
        content(&message["content"], part, at, blocks)?;
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            open.extend(call["id"].as_str());
            blocks.push(Block::new(Part::Model, call["function"].to_string()));
        }
    }
    Ok(())
}

fn content(content: &Value, part: Part, at: usize, blocks: &mut Vec<Block>) -> Result<(), Refusal> {
    if let Some(text) = content.as_str() {
        blocks.push(Block::new(part, text));
    }
    for piece in content.as_array().into_iter().flatten() {
        match piece["type"].as_str() {
            Some("text" | "refusal") => blocks.push(Block::new(part, piece["text"].as_str().unwrap_or_default())),
            Some(kind @ ("image_url" | "file" | "input_audio")) => {
                blocks.push(Block { is_file: true, ..Block::new(part, piece[kind].to_string()) });
            }
            other => {
                let message = format!(
                    "Invalid value: '{}'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', \
                     'audio', and 'file'.",
                    other.unwrap_or_default()
                );
                return Err(invalid(&message, Some(&format!("messages[{at}].content")), Some("invalid_value")));
            }
        }
    }
    Ok(())
}
