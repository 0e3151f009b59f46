//! A JSON Schema as each provider's grammar takes it. What a grammar can't hold is said in a description instead, and
//! the answer is held against the schema as it was given: a fitted schema may be looser than it, never another.

use std::{collections::BTreeMap, sync::OnceLock};

use serde_json::{Map, Value};
use tollgate_core::JsonObject;

/// Deepest nesting that is fitted: OpenAI's own bound.
const DEPTH_MAX: usize = 10;
/// References that are followed one from another.
const STEPS_MAX: usize = 32;
/// Formats of strings that both grammars know.
const FORMATS: [&str; 9] = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];

/// Who takes the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// `strict`: every property is required, and no other is there.
    OpenAi,
    /// `output_config.format`.
    Anthropic,
    /// `responseJsonSchema`.
    Gemini,
}

impl Grammar {
    /// Constraints that it holds itself.
    fn holds(self, key: &str, value: &Value) -> bool {
        match (self, key) {
            (_, "format") => value.as_str().is_some_and(|format| FORMATS.contains(&format)),
            (Self::OpenAi | Self::Gemini, "minItems" | "maxItems" | "minimum" | "maximum") => true,
            (Self::OpenAi, "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" | "pattern") => true,
            (Self::Anthropic, "minItems") => matches!(value.as_u64(), Some(0 | 1)),
            _ => false,
        }
    }
}

/// One schema as it is sent, written when it is first asked for: as it was given, and as each grammar takes it.
#[derive(Debug, Default)]
pub(crate) struct Fitted {
    given: OnceLock<Option<JsonObject>>,
    of: [OnceLock<Option<JsonObject>>; 3],
}

impl Fitted {
    /// The schema as it was given; absent: it is no object.
    pub(crate) fn given(&self, schema: &Value) -> Option<&JsonObject> {
        self.given.get_or_init(|| schema.as_object().map(JsonObject::of)).as_ref()
    }

    /// The schema as that grammar takes it; absent: its structure can't be said there.
    pub(super) fn of(&self, schema: &Value, grammar: Grammar) -> Option<&JsonObject> {
        let fitted = || fit(schema, grammar)?.as_object().map(JsonObject::of);
        self.of[grammar as usize].get_or_init(fitted).as_ref()
    }
}

/// The schema as a grammar takes it; absent: its structure can't be said there.
fn fit(schema: &Value, grammar: Grammar) -> Option<Value> {
    // Anthropic's grammar knows no recursion.
    if grammar == Grammar::Anthropic && has_circle(schema, schema, &mut BTreeMap::new(), 0) {
        return None;
    }
    let fit = Fit { root: schema, grammar };
    let fitted = fit.schema(schema, 0)?;
    // A root has to be an object of known properties, but for Gemini's.
    let is_object = fitted.get("properties").is_some_and(Value::is_object);
    (is_object || grammar == Grammar::Gemini).then_some(fitted)
}

struct Fit<'a> {
    root: &'a Value,
    grammar: Grammar,
}

impl Fit<'_> {
    fn schema(&self, schema: &Value, depth: usize) -> Option<Value> {
        let given = schema.as_object()?;
        if depth > DEPTH_MAX {
            return None;
        }
        if let Some(reference) = given.get("$ref") {
            return self.reference(reference, given, depth);
        }
        let mut fitted = Map::new();
        let mut notes = Vec::new();
        for (key, value) in given {
            match key.as_str() {
                "type" | "enum" | "title" | "description" | "required" => {
                    fitted.insert(key.clone(), value.clone());
                }
                "const" => {
                    fitted.insert("enum".to_owned(), Value::from(vec![value.clone()]));
                }
                "properties" | "$defs" | "definitions" => {
                    fitted.insert(key.clone(), self.each(value, depth)?);
                }
                "items" => {
                    fitted.insert(key.clone(), self.schema(value, depth + 1)?);
                }
                "anyOf" | "oneOf" => {
                    let branches = value.as_array()?.iter().map(|branch| self.schema(branch, depth + 1));
                    fitted.insert("anyOf".to_owned(), Value::Array(branches.collect::<Option<_>>()?));
                }
                "additionalProperties" => {
                    let is_map = *value != Value::Bool(false) && *value != Value::Bool(true);
                    match self.grammar {
                        Grammar::Gemini if is_map => {
                            fitted.insert(key.clone(), self.schema(value, depth + 1)?);
                        }
                        Grammar::Gemini => {
                            fitted.insert(key.clone(), value.clone());
                        }
                        // Further properties are never made, so a schema that merely lets them be is kept by none.
                        Grammar::OpenAi | Grammar::Anthropic if is_map => return None,
                        Grammar::OpenAi | Grammar::Anthropic => {}
                    }
                }
                "allOf" | "not" | "if" | "then" | "else" | "patternProperties" | "dependentSchemas" | "$dynamicRef" => {
                    return None;
                }
                "$schema" | "$id" | "$comment" | "default" | "examples" => {}
                _ if self.grammar.holds(key, value) => {
                    fitted.insert(key.clone(), value.clone());
                }
                _ => notes.push(format!("{key}: {value}")),
            }
        }
        self.object(given, &mut fitted)?;
        // In one order, however serde_json is built: the bytes of a request are its name.
        notes.sort_unstable();
        note(&mut fitted, &notes);
        // "Anything" is no grammar.
        let says = ["type", "enum", "anyOf", "properties"].iter().any(|key| fitted.contains_key(*key));
        (says || self.grammar == Grammar::Gemini).then_some(Value::Object(fitted))
    }

    /// A reference stands alone; what it refers to is fitted where it stands.
    fn reference(&self, reference: &Value, given: &Map<String, Value>, depth: usize) -> Option<Value> {
        self.root.pointer(reference.as_str()?.strip_prefix('#')?)?;
        let mut fitted = Map::new();
        fitted.insert("$ref".to_owned(), reference.clone());
        if let Some(definitions) = given.get("$defs") {
            fitted.insert("$defs".to_owned(), self.each(definitions, depth)?);
        }
        Some(Value::Object(fitted))
    }

    fn each(&self, schemas: &Value, depth: usize) -> Option<Value> {
        let fitted =
            schemas.as_object()?.iter().map(|(name, schema)| Some((name.clone(), self.schema(schema, depth + 1)?)));
        Some(Value::Object(fitted.collect::<Option<_>>()?))
    }

    /// Objects are closed, and, in OpenAI's grammar, all their properties required: one that may be left out has to
    /// take null, or the grammar would force a value that the schema doesn't ask for.
    fn object(&self, given: &Map<String, Value>, fitted: &mut Map<String, Value>) -> Option<()> {
        let is_object = given.get("type").is_some_and(|kind| names(kind, "object")) || given.contains_key("properties");
        if !is_object || self.grammar == Grammar::Gemini {
            return Some(());
        }
        let properties = fitted.get("properties").and_then(Value::as_object).filter(|fields| !fields.is_empty())?;
        if self.grammar == Grammar::OpenAi {
            let required = given.get("required").and_then(Value::as_array);
            let is_required = |name: &str| required.is_some_and(|list| list.iter().any(|entry| entry == name));
            if !properties.iter().all(|(name, schema)| is_required(name) || takes_null(schema)) {
                return None;
            }
            let mut all: Vec<_> = properties.keys().map(String::as_str).collect();
            all.sort_unstable();
            let all = Value::from(all);
            fitted.insert("required".to_owned(), all);
        }
        fitted.insert("additionalProperties".to_owned(), Value::Bool(false));
        Some(())
    }
}

/// Whether following references from a part of a schema leads back to where one has been. `is_done` has those that are
/// known to end, and those that are being followed; one that takes too many steps counts as a circle.
fn has_circle<'a>(root: &'a Value, part: &'a Value, is_done: &mut BTreeMap<&'a str, bool>, steps: usize) -> bool {
    match part {
        Value::Array(list) => list.iter().any(|part| has_circle(root, part, is_done, steps)),
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            let reference = if key == "$ref" { value.as_str() } else { None };
            let Some(reference) = reference else {
                return has_circle(root, value, is_done, steps);
            };
            match is_done.get(reference) {
                Some(is_done) => !is_done,
                None if steps == STEPS_MAX => true,
                None => {
                    is_done.insert(reference, false);
                    let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
                    let has = target.is_some_and(|target| has_circle(root, target, is_done, steps + 1));
                    is_done.insert(reference, true);
                    has
                }
            }
        }),
        _ => false,
    }
}

/// Whether a `type` is that one, or has it among others.
fn names(kind: &Value, name: &str) -> bool {
    kind == name || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == name))
}

fn takes_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| names(kind, "null"))
        || schema.get("anyOf").and_then(Value::as_array).is_some_and(|branches| branches.iter().any(takes_null))
}

/// Says in the description what the grammar doesn't hold.
fn note(fitted: &mut Map<String, Value>, notes: &[String]) {
    if notes.is_empty() {
        return;
    }
    let said = fitted.get("description").and_then(Value::as_str).map_or(String::new(), |text| format!("{text} "));
    fitted.insert("description".to_owned(), Value::from(format!("{said}({})", notes.join(", "))));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_of_required_fields_is_strict_and_closed() {
        let schema = json!({"$schema": "x", "type": "object", "required": ["title"], "properties": {
            "title": {"type": "string", "minLength": 3, "description": "Its name."},
            "score": {"type": ["integer", "null"], "format": "uint8", "minimum": 0},
        }});
        let strict = json!({"type": "object", "required": ["score", "title"], "additionalProperties": false, "properties": {
            "title": {"type": "string", "description": "Its name. (minLength: 3)"},
            "score": {"type": ["integer", "null"], "minimum": 0, "description": "(format: \"uint8\")"},
        }});
        assert_eq!(fit(&schema, Grammar::OpenAi), Some(strict));
        let anthropic = fit(&schema, Grammar::Anthropic).unwrap();
        assert_eq!(anthropic["required"], json!(["title"]), "it lets properties be left out");
        assert_eq!(anthropic["properties"]["score"]["description"], "(format: \"uint8\", minimum: 0)");
        let gemini = fit(&schema, Grammar::Gemini).unwrap();
        assert_eq!((gemini.get("additionalProperties"), gemini.get("$schema")), (None, None));
    }

    #[test]
    fn what_a_grammar_cannot_say_is_not_fitted() {
        let of = |property: Value| json!({"type": "object", "required": ["a"], "properties": {"a": property}});
        let none = [
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({}),
            json!(true),
            json!({"type": "object"}),
            json!({"not": {"type": "string"}}),
            json!({"$ref": "https://elsewhere.example/schema"}),
        ];
        for property in none {
            for grammar in [Grammar::OpenAi, Grammar::Anthropic] {
                assert_eq!(fit(&of(property.clone()), grammar), None, "{grammar:?} {property}");
            }
        }
        assert!(fit(&json!({"type": "array", "items": {"type": "string"}}), Grammar::OpenAi).is_none());
        let optional = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        assert!(fit(&optional, Grammar::OpenAi).is_none() && fit(&optional, Grammar::Anthropic).is_some());
        let map = of(json!({"type": "object", "additionalProperties": {"type": "string", "minLength": 2}}));
        let fitted = fit(&map, Grammar::Gemini).unwrap();
        assert_eq!(fitted["properties"]["a"]["additionalProperties"]["description"], "(minLength: 2)");
    }

    #[test]
    fn references_stand_alone_and_a_circle_is_refused_where_the_grammar_knows_none() {
        let schema = |inner: Value| {
            json!({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/$defs/T", "description": "x"}},
                "$defs": {"T": {"type": "object", "required": ["b"], "properties": {"b": inner}}}})
        };
        let straight = schema(json!({"type": "string"}));
        for grammar in [Grammar::OpenAi, Grammar::Anthropic] {
            let fitted = fit(&straight, grammar).unwrap();
            assert_eq!(fitted["properties"]["a"], json!({"$ref": "#/$defs/T"}));
            assert_eq!(fitted["$defs"]["T"]["additionalProperties"], json!(false));
        }
        let circle = schema(json!({"type": "array", "items": {"$ref": "#/$defs/T"}}));
        assert!(fit(&circle, Grammar::OpenAi).is_some() && fit(&circle, Grammar::Anthropic).is_none());
    }
}
