//! How Anthropic reads a request, and what it refuses.

use super::{Anthropic, error, invalid};
use crate::site::Request;
use crate::sites::models::Models;
use crate::sites::models::asked::{Asked, Block, Mark, Offered, Part, written_schema};
use crate::sites::models::facts::ModelFacts;
use crate::sites::models::format::{Format, Refusal, Trouble, facts, header, json, key, open_object, unknown_field};
use serde_json::Value;
use tollgate_core::model::{Dialect, TemperatureRule};

/// The largest request, in bytes.
const BODY_MAX: usize = 32 << 20;
/// The most marks for the cache in one request.
const MARKS_MAX: usize = 4;
/// Bounds that its schemas don't take, and of what.
const UNSUPPORTED: [(&str, &str); 8] = [
    ("minimum", "integer"),
    ("maximum", "integer"),
    ("exclusiveMinimum", "integer"),
    ("exclusiveMaximum", "integer"),
    ("multipleOf", "integer"),
    ("minLength", "string"),
    ("maxLength", "string"),
    ("maxItems", "array"),
];
const FIELDS: [&str; 23] = [
    "model",
    "messages",
    "max_tokens",
    "system",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "stop_sequences",
    "tools",
    "tool_choice",
    "metadata",
    "thinking",
    "service_tier",
    "output_config",
    "container",
    "context_management",
    "mcp_servers",
    "inference_geo",
    "cache_control",
    "diagnostics",
    "speed",
    "user_profile_id",
];

pub(super) fn read(format: &Anthropic, request: &Request, models: &Models) -> Result<Asked, Refusal> {
    if request.path() != "/v1/messages" {
        return Err(format.refusal(&Trouble::NoSuchPath, ""));
    }
    if request.http.body().len() > BODY_MAX {
        return Err(Refusal::new(413, error("request_too_large", "Request exceeds the maximum size")));
    }
    // Anthropic's own client sends the one since its version 2, and the other before.
    let bearer = header(request, "authorization").and_then(|value| value.strip_prefix("Bearer "));
    let key = key(format, models, header(request, "x-api-key").or(bearer))?;
    if header(request, "anthropic-version").is_none() {
        return Err(invalid("anthropic-version: header is required"));
    }
    let body = json(format, request)?;
    if let Some(name) = unknown_field(&body, &FIELDS) {
        return Err(invalid(&format!("{name}: Extra inputs are not permitted")));
    }
    let Some(name) = body["model"].as_str() else {
        return Err(invalid("model: Field required"));
    };
    let facts = facts(format, models, Dialect::Anthropic, name)?;
    let Some(output_max) = body["max_tokens"].as_u64() else {
        return Err(invalid("max_tokens: Field required"));
    };
    if output_max > facts.output_max {
        let message = format!(
            "max_tokens: {output_max} > {}, which is the maximum allowed number of output tokens for {name}",
            facts.output_max
        );
        return Err(invalid(&message));
    }
    if output_max == 0 {
        return Err(invalid("max_tokens: Input should be greater than or equal to 1"));
    }
    if let Some(temperature) = body["temperature"].as_f64() {
        if facts.temperature == TemperatureRule::Fixed {
            return Err(invalid("`temperature` is deprecated for this model."));
        }
        if !(0.0..=1.0).contains(&temperature) {
            return Err(invalid("temperature: range: 0..1"));
        }
    }
    let schema = schema(&body)?;
    let tools = tools(&body)?;
    let blocks = blocks(&body, facts)?;
    let asked = Asked {
        host: request.host.clone(),
        dialect: Dialect::Anthropic,
        key,
        model: name.to_owned(),
        schema: schema.or_else(|| written_schema(&blocks)),
        blocks,
        tools,
        is_streamed: body["stream"] == true,
        is_list: false,
        has_usage: true,
        output_max: Some(output_max),
        temperature: body["temperature"].as_f64(),
        body,
    };
    if asked.sent() > facts.context_max {
        return Err(invalid(&format!("prompt is too long: {} tokens > {} maximum", asked.sent(), facts.context_max)));
    }
    Ok(asked)
}

fn schema(body: &Value) -> Result<Option<Value>, Refusal> {
    let config = &body["output_config"];
    if let Some(name) = unknown_field(config, &["format", "effort"]) {
        return Err(invalid(&format!("output_config.{name}: Extra inputs are not permitted")));
    }
    let format = &config["format"];
    if format.is_null() {
        return Ok(None);
    }
    if format["type"] != "json_schema" {
        return Err(invalid("output_config.format.type: Input should be 'json_schema'"));
    }
    if let Some(name) = unknown_field(format, &["type", "schema"]) {
        return Err(invalid(&format!("output_config.format.{name}: Extra inputs are not permitted")));
    }
    let schema = &format["schema"];
    if !schema.is_object() {
        return Err(invalid("output_config.format.schema: Field required"));
    }
    if open_object(schema).is_some() {
        return Err(invalid(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        ));
    }
    for (keyword, kind) in UNSUPPORTED {
        if has_keyword(schema, keyword) {
            let message =
                format!("output_config.format.schema: For '{kind}' type, property '{keyword}' is not supported");
            return Err(invalid(&message));
        }
    }
    Ok(Some(schema.clone()))
}

/// Whether a schema bounds anything by this keyword. A property of that name is none: what stands there is a schema.
fn has_keyword(schema: &Value, keyword: &str) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.get(keyword).is_some_and(Value::is_number)
                || fields.values().any(|value| has_keyword(value, keyword))
        }
        Value::Array(items) => items.iter().any(|item| has_keyword(item, keyword)),
        _ => false,
    }
}

fn tools(body: &Value) -> Result<Vec<Offered>, Refusal> {
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let read = tools.iter().enumerate().map(|(at, tool)| {
        let required = |field: &str| invalid(&format!("tools.{at}.custom.{field}: Field required"));
        let name = tool["name"].as_str().ok_or_else(|| required("name"))?;
        if !tool["input_schema"].is_object() {
            return Err(required("input_schema"));
        }
        Ok(Offered { name: name.to_owned(), parameters: tool["input_schema"].clone() })
    });
    read.collect()
}

/// In the cache's order: tools, system, messages.
fn blocks(body: &Value, facts: &ModelFacts) -> Result<Vec<Block>, Refusal> {
    let mut blocks = Vec::new();
    let schema = &body["output_config"]["format"]["schema"];
    if facts.is_schema_first && !schema.is_null() {
        blocks.push(Block::new(Part::Schema, schema.to_string()));
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        let mut plain = tool.clone();
        plain.as_object_mut().and_then(|tool| tool.remove("cache_control"));
        blocks.push(Block { mark: mark(tool), ..Block::new(Part::Tools, plain.to_string()) });
    }
    content(&body["system"], Part::System, "system", &mut blocks)?;
    let Some(messages) = body["messages"].as_array() else {
        return Err(invalid("messages: Field required"));
    };
    if messages.is_empty() {
        return Err(invalid("messages: at least one message is required"));
    }
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let part = match message["role"].as_str() {
            Some("user") => Part::User,
            Some("assistant") => Part::Model,
            _ => return Err(invalid(&format!("messages.{at}.role: Input should be 'user' or 'assistant'"))),
        };
        answered(message, at, &mut open)?;
        content(&message["content"], part, &format!("messages.{at}.content"), &mut blocks)?;
    }
    // One mark for all: at the end of the last block.
    if let Some(last) = blocks.last_mut()
        && last.mark.is_none()
    {
        last.mark = mark(body);
    }
    let marks = blocks.iter().filter(|block| block.mark.is_some()).count();
    if marks > MARKS_MAX {
        let message = format!("A maximum of 4 blocks with cache_control may be provided. Found {marks}.");
        return Err(invalid(&message));
    }
    if !facts.is_schema_first && !schema.is_null() {
        blocks.push(Block::new(Part::Schema, schema.to_string()));
    }
    Ok(blocks)
}

/// Each call of a tool is answered in the next message, and nothing else is.
fn answered<'a>(message: &'a Value, at: usize, open: &mut Vec<&'a str>) -> Result<(), Refusal> {
    let blocks = message["content"].as_array().map_or(&[][..], Vec::as_slice);
    let results = blocks.iter().filter(|block| block["type"] == "tool_result");
    for (nth, id) in results.map(|block| block["tool_use_id"].as_str().unwrap_or_default()).enumerate() {
        let Some(place) = open.iter().position(|open| *open == id) else {
            let message = format!(
                "messages.{at}.content.{nth}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each \
                 `tool_result` block must have a corresponding `tool_use` block in the previous message."
            );
            return Err(invalid(&message));
        };
        open.remove(place);
    }
    if !open.is_empty() {
        let message = format!(
            "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
             `tool_use` block must have a corresponding `tool_result` block in the next message.",
            at - 1,
            open.join(", ")
        );
        return Err(invalid(&message));
    }
    open.extend(blocks.iter().filter(|block| block["type"] == "tool_use").filter_map(|block| block["id"].as_str()));
    Ok(())
}

fn mark(block: &Value) -> Option<Mark> {
    let control = block.get("cache_control").filter(|control| !control.is_null())?;
    Some(if control["ttl"] == "1h" { Mark::Hour } else { Mark::Minutes })
}

fn content(content: &Value, part: Part, place: &str, blocks: &mut Vec<Block>) -> Result<(), Refusal> {
    if let Some(text) = content.as_str() {
        blocks.push(Block::new(part, text));
    }
    for (at, piece) in content.as_array().into_iter().flatten().enumerate() {
        let mut block = match piece["type"].as_str() {
            Some("text") if piece["text"].as_str().unwrap_or_default().is_empty() => {
                return Err(invalid(&format!("{place}.{at}: text content blocks must be non-empty")));
            }
            Some("text") => Block::new(part, piece["text"].as_str().unwrap_or_default()),
            Some("image" | "document") => Block { is_file: true, ..Block::new(part, piece["source"].to_string()) },
            Some("tool_use") => Block::new(part, piece["input"].to_string()),
            Some("tool_result") => Block::new(Part::ToolResult, text_of(&piece["content"])),
            Some("thinking" | "redacted_thinking") => Block::new(part, piece["thinking"].as_str().unwrap_or_default()),
            other => {
                let message = format!(
                    "{place}.{at}: Input tag '{}' found using 'type' does not match any of the expected tags",
                    other.unwrap_or_default()
                );
                return Err(invalid(&message));
            }
        };
        block.mark = mark(piece);
        blocks.push(block);
    }
    Ok(())
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}
