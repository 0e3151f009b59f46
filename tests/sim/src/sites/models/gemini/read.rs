//! How Gemini reads a request, and what it refuses.

use super::{Gemini, error, invalid};
use crate::site::Request;
use crate::sites::models::Models;
use crate::sites::models::asked::{Asked, Block, Offered, Part, written_schema};
use crate::sites::models::facts::ModelFacts;
use crate::sites::models::format::{Format, Refusal, Trouble, facts, header, json, key, unknown_field};
use serde_json::{Value, json};
use tollgate_core::model::Dialect;

/// What a model that thinks signs its calls with.
pub(super) const SIGNATURE: &str = "c2ltLXNpZ25hdHVyZQ==";

const FIELDS: [&str; 8] = [
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "safetySettings",
    "generationConfig",
    "cachedContent",
    "model",
];
const SETTINGS: [&str; 24] = [
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "presencePenalty",
    "frequencyPenalty",
    "seed",
    "responseLogprobs",
    "logprobs",
    "thinkingConfig",
    "mediaResolution",
    "responseModalities",
    "speechConfig",
    "imageConfig",
    "audioTimestamp",
    "enableEnhancedCivicAnswers",
    "modelSelectionConfig",
    "responseFormat",
    "routingConfig",
];
const PARTS: [&str; 11] = [
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "thoughtSignature",
    "thought",
    "mediaResolution",
    "videoMetadata",
    "executableCode",
    "codeExecutionResult",
];

pub(super) fn read(format: &Gemini, request: &Request, models: &Models) -> Result<Asked, Refusal> {
    let path = request.path().strip_prefix("/v1beta/models/").and_then(|rest| rest.split_once(':'));
    let Some((name, method @ ("generateContent" | "streamGenerateContent"))) = path else {
        return Err(format.refusal(&Trouble::NoSuchPath, ""));
    };
    let query = request.http.uri().query().unwrap_or_default();
    let of_query = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let key = key(format, models, header(request, "x-goog-api-key").or(of_query("key")))?;
    let mut body = json(format, request)?;
    camel(&mut body, 0);
    let facts = facts(format, models, Dialect::Gemini, name)?;
    known(&body, &FIELDS, "")?;
    known(&body["generationConfig"], &SETTINGS, "generation_config")?;
    let tools = tools(&body)?;
    let schema = schema(&body, facts, !tools.is_empty())?;
    let blocks = blocks(&body, facts)?;
    let is_streamed = method == "streamGenerateContent";
    let settings = &body["generationConfig"];
    let asked = Asked {
        host: request.host.clone(),
        dialect: Dialect::Gemini,
        key,
        model: name.to_owned(),
        schema: schema.or_else(|| written_schema(&blocks)),
        blocks,
        tools,
        is_streamed,
        is_list: is_streamed && of_query("alt") != Some("sse"),
        has_usage: true,
        output_max: settings["maxOutputTokens"].as_u64(),
        temperature: settings["temperature"].as_f64(),
        body,
    };
    if asked.sent() > facts.context_max {
        let message = format!(
            "The input token count ({}) exceeds the maximum number of tokens allowed ({}).",
            asked.sent(),
            facts.context_max
        );
        return Err(invalid(&message));
    }
    Ok(asked)
}

/// Google's JSON takes `system_instruction` for `systemInstruction`. What stands deeper is schemas and texts of others.
fn camel(body: &mut Value, depth: u32) {
    let Some(fields) = body.as_object_mut() else {
        return;
    };
    let old = std::mem::take(fields);
    for (name, mut value) in old {
        if depth == 0 && matches!(name.as_str(), "generationConfig" | "generation_config") {
            camel(&mut value, depth + 1);
        }
        let mut words = name.split('_');
        let mut camel = words.next().unwrap_or_default().to_owned();
        for word in words {
            let mut letters = word.chars();
            camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
            camel.push_str(letters.as_str());
        }
        fields.insert(camel, value);
    }
}

fn known(object: &Value, fields: &[&str], place: &str) -> Result<(), Refusal> {
    let Some(name) = unknown_field(object, fields) else {
        return Ok(());
    };
    let at = if place.is_empty() { String::new() } else { format!(" at '{place}'") };
    let message = format!("Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field.");
    let violation = json!({"field": place, "description": message});
    let details = json!([{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]);
    Err(error(400, "INVALID_ARGUMENT", &message, details))
}

fn tools(body: &Value) -> Result<Vec<Offered>, Refusal> {
    let mut offered = Vec::new();
    for (at, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let declared = tool.get("functionDeclarations").or(tool.get("function_declarations"));
        for (nth, function) in declared.and_then(Value::as_array).into_iter().flatten().enumerate() {
            let place = format!("tools[{at}].function_declarations[{nth}]");
            let fields = [
                "name",
                "description",
                "parameters",
                "parametersJsonSchema",
                "response",
                "responseJsonSchema",
                "behavior",
            ];
            known(function, &fields, &place)?;
            let Some(name) = function["name"].as_str() else {
                return Err(invalid(&format!("GenerateContentRequest.{place}.name: Invalid function name.")));
            };
            let parameters = function.get("parametersJsonSchema").or(function.get("parameters"));
            offered.push(Offered { name: name.to_owned(), parameters: parameters.cloned().unwrap_or_default() });
        }
    }
    Ok(offered)
}

fn schema(body: &Value, facts: &ModelFacts, has_tools: bool) -> Result<Option<Value>, Refusal> {
    let settings = &body["generationConfig"];
    let mime = settings["responseMimeType"].as_str();
    if mime == Some("application/json") && has_tools && !facts.has_schema_with_tools {
        return Err(invalid("Function calling with a response mime type: 'application/json' is unsupported"));
    }
    let given = settings.get("responseJsonSchema").or(settings.get("responseSchema"));
    let Some(schema) = given.filter(|schema| !schema.is_null()) else {
        return Ok(None);
    };
    if mime != Some("application/json") {
        return Err(invalid(
            "GenerateContentRequest.generation_config.response_mime_type: response_schema is only supported for \
             response_mime_type: \"application/json\"",
        ));
    }
    Ok(Some(schema.clone()))
}

fn blocks(body: &Value, facts: &ModelFacts) -> Result<Vec<Block>, Refusal> {
    let mut blocks = Vec::new();
    let settings = &body["generationConfig"];
    let schema = settings.get("responseJsonSchema").or(settings.get("responseSchema"));
    let schema = schema.map(|schema| Block::new(Part::Schema, schema.to_string()));
    if facts.is_schema_first {
        blocks.extend(schema.clone());
    }
    if !body["tools"].is_null() {
        blocks.push(Block::new(Part::Tools, body["tools"].to_string()));
    }
    parts(&body["systemInstruction"], Part::System, facts, &mut blocks)?;
    let contents = body["contents"].as_array().map_or(&[][..], Vec::as_slice);
    if contents.is_empty() {
        return Err(invalid("* GenerateContentRequest.contents: contents is not specified"));
    }
    for content in contents {
        let part = match content["role"].as_str() {
            Some("model") => Part::Model,
            None | Some("user" | "function") => Part::User,
            Some(_) => return Err(invalid("Please use a valid role: user, model.")),
        };
        parts(content, part, facts, &mut blocks)?;
    }
    if !facts.is_schema_first {
        blocks.extend(schema);
    }
    Ok(blocks)
}

fn parts(content: &Value, part: Part, facts: &ModelFacts, blocks: &mut Vec<Block>) -> Result<(), Refusal> {
    let parts = content["parts"].as_array().map_or(&[][..], Vec::as_slice);
    let mut is_signed = false;
    for piece in parts {
        known(piece, &PARTS, "contents[0].parts[0]")?;
        if let Some(text) = piece["text"].as_str() {
            blocks.push(Block::new(part, text));
        } else if let Some(call) = piece.get("functionCall") {
            is_signed |= piece["thoughtSignature"] == SIGNATURE;
            if facts.thinking_tokens > 0 && !is_signed {
                return Err(invalid(
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools to \
                     work correctly, and missing thought_signature may lead to degraded model performance.",
                ));
            }
            blocks.push(Block::new(part, call.to_string()));
        } else if let Some(response) = piece.get("functionResponse") {
            blocks.push(Block::new(Part::ToolResult, response["response"].to_string()));
        } else {
            blocks.push(Block { is_file: true, ..Block::new(part, piece.to_string()) });
        }
    }
    Ok(())
}
