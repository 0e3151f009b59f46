//! A value that satisfies a JSON schema, made of a document's words: the same for the same schema and document.

use super::pattern;
use serde_json::{Map, Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};

/// How deep a value nests; a schema that wants more gets `null` there.
const DEPTH_MAX: usize = 24;
/// Words of a text for whose length the schema says nothing.
const WORDS: usize = 8;
/// Items of a list for whose length the schema says nothing.
const ITEMS: u64 = 2;

/// What there is to say.
pub(super) struct Source<'a> {
    words: Vec<&'a str>,
    /// Addresses to cite.
    urls: Vec<&'a str>,
}

impl<'a> Source<'a> {
    /// The words of a document, its markup left out, and the addresses of what was found.
    pub(super) fn new(document: &'a str, found: &'a str) -> Self {
        let mut depth = 0_u32;
        let mut words = Vec::new();
        for piece in document.split_inclusive(['<', '>']) {
            let text = piece.trim_end_matches(['<', '>']);
            if depth == 0 {
                words.extend(text.split_whitespace());
            }
            match piece.chars().next_back() {
                Some('<') => depth = 1,
                Some('>') => depth = 0,
                _ => {}
            }
        }
        let ends = |at: char| at.is_whitespace() || "\"'<>)]}\\".contains(at);
        let urls = found.match_indices("http").filter_map(|(at, _)| {
            let url = found[at..].split(ends).next()?;
            (url.starts_with("https://") || url.starts_with("http://")).then_some(url.trim_end_matches([',', '.']))
        });
        Self { words, urls: urls.collect() }
    }

    /// The addresses to cite.
    pub(super) fn urls(&self) -> &[&'a str] {
        &self.urls
    }

    /// So many words, from a place of their own for each name.
    pub(super) fn words(&self, name: &str, count: usize) -> String {
        if self.words.is_empty() {
            return ["nothing", "was", "said", "about", "it"][..count.clamp(1, 5)].join(" ");
        }
        let most = self.words.len().saturating_sub(count);
        let begin = usize::try_from(number(name) % (most as u64 + 1)).unwrap_or_default();
        self.words.iter().skip(begin).take(count).copied().collect::<Vec<_>>().join(" ")
    }

    fn number(&self, name: &str) -> u64 {
        number(&(name, &self.words))
    }
}

/// A number that is always the same for the same thing.
fn number(of: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A value that satisfies `schema`.
pub(super) fn example(schema: &Value, source: &Source<'_>) -> Value {
    Maker { root: schema, source }.value(schema, "answer", DEPTH_MAX)
}

struct Maker<'a> {
    root: &'a Value,
    source: &'a Source<'a>,
}

impl Maker<'_> {
    fn value(&self, schema: &Value, name: &str, depth: usize) -> Value {
        if depth == 0 {
            return Value::Null;
        }
        if let Some(target) = schema["$ref"].as_str() {
            let target = target.strip_prefix('#').and_then(|path| self.root.pointer(path));
            return target.map_or(Value::Null, |target| self.value(target, name, depth - 1));
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(first) = schema["enum"].as_array().and_then(|choices| choices.first()) {
            return first.clone();
        }
        if let Some(merged) = merged(schema) {
            return self.value(&merged, name, depth - 1);
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(choices) = schema[choice].as_array() {
                let first = choices.iter().find(|choice| kind(choice) != Some("null")).or(choices.first());
                return first.map_or(Value::Null, |first| self.value(first, name, depth - 1));
            }
        }
        match kind(schema) {
            Some("object") => self.object(schema, depth),
            Some("array") => self.array(schema, name, depth),
            Some("string") => Value::String(self.string(schema, name)),
            Some("integer") => self.integer(schema, name),
            Some("number") => self.number(schema, name),
            Some("boolean") => Value::Bool(true),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let mut made = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
            // What may be left out is where a schema that names itself ends.
            if is_required || depth > DEPTH_MAX / 2 {
                made.insert(name.clone(), self.value(property, name, depth - 1));
            }
        }
        Value::Object(made)
    }

    fn array(&self, schema: &Value, name: &str, depth: usize) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        // Deep down only what must be there.
        let usual = if depth > DEPTH_MAX / 2 { ITEMS } else { 0 };
        let count = least.max(usual).min(schema["maxItems"].as_u64().unwrap_or(u64::MAX));
        let first = schema["prefixItems"].as_array().map_or(&[][..], Vec::as_slice);
        let items = (0..count.max(first.len() as u64)).map(|at| {
            let given = usize::try_from(at).ok().and_then(|at| first.get(at));
            self.value(given.unwrap_or(&schema["items"]), &format!("{name} {at}"), depth - 1)
        });
        items.collect()
    }

    fn string(&self, schema: &Value, name: &str) -> String {
        let chance = self.source.number(name);
        match schema["format"].as_str() {
            Some("date") => return format!("20{:02}-{:02}-{:02}", 20 + chance % 6, 1 + chance % 12, 1 + chance % 28),
            Some("date-time") => return format!("2025-{:02}-{:02}T09:30:00Z", 1 + chance % 12, 1 + chance % 28),
            Some("time") => return "09:30:00Z".to_owned(),
            Some("email") => return "someone@catalogue.example".to_owned(),
            Some("uri" | "url" | "uri-reference") => {
                let found = self.source.urls().first().copied();
                return found.unwrap_or("https://catalogue.example/").to_owned();
            }
            Some("uuid") => return "0b4e8a52-5f0c-4c69-9a3d-1f2e3d4c5b6a".to_owned(),
            _ => {}
        }
        if let Some(pattern) = schema["pattern"].as_str() {
            return pattern::example(pattern);
        }
        let mut text = self.source.words(name, WORDS);
        let least = schema["minLength"].as_u64().unwrap_or(0);
        while (text.chars().count() as u64) < least {
            text += " and so on";
        }
        match schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok()) {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        }
    }

    fn integer(&self, schema: &Value, name: &str) -> Value {
        let step = schema["multipleOf"].as_i64().filter(|step| *step > 0).unwrap_or(1);
        let least = schema["minimum"].as_f64().map(f64::ceil);
        let least = [least, schema["exclusiveMinimum"].as_f64().map(|least| least.floor() + 1.0)];
        let least = least.into_iter().flatten().reduce(f64::max);
        let most = schema["maximum"].as_f64().map(f64::floor);
        let most = [most, schema["exclusiveMaximum"].as_f64().map(|most| most.ceil() - 1.0)];
        let most = most.into_iter().flatten().reduce(f64::min);
        // Numbers of a schema that anybody writes fit; others are brought to the nearest that does.
        let whole = |number: f64| number as i64;
        let (least, most) = match (least.map(whole), most.map(whole)) {
            (Some(least), Some(most)) => (least, most.max(least)),
            (Some(least), None) => (least, least.saturating_add(100)),
            (None, Some(most)) => (most.saturating_sub(100).max(0).min(most), most),
            (None, None) => (0, 100),
        };
        let first = least.saturating_add((step - least.rem_euclid(step)) % step);
        let choices = (most.saturating_sub(first) / step).max(0).unsigned_abs() + 1;
        let nth = i64::try_from(self.source.number(name) % choices).unwrap_or_default();
        json!(first.saturating_add(nth.saturating_mul(step)))
    }

    fn number(&self, schema: &Value, name: &str) -> Value {
        if schema["multipleOf"].as_f64().is_some_and(|step| step >= 1.0) {
            return self.integer(schema, name);
        }
        let least = schema["minimum"].as_f64().or(schema["exclusiveMinimum"].as_f64());
        let most = schema["maximum"].as_f64().or(schema["exclusiveMaximum"].as_f64());
        let (least, most) = match (least, most) {
            (Some(least), Some(most)) => (least, most),
            (Some(least), None) => (least, least + 100.0),
            (None, Some(most)) => (most - 100.0, most),
            (None, None) => (0.0, 100.0),
        };
        // Eighths, none at an end: exact in binary.
        let eighth = self.source.number(name) % 7 + 1;
        json!(least + (most - least) * eighth as f64 / 8.0)
    }
}

/// The kind of value that a schema wants, by its word or by what it speaks of.
fn kind(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").or(Some("null")),
        _ if schema.get("properties").is_some() => Some("object"),
        _ if schema.get("items").is_some() => Some("array"),
        _ if schema.get("pattern").is_some() || schema.get("format").is_some() => Some("string"),
        _ => None,
    }
}

/// The schemas of `allOf` as one, with what stands beside them.
fn merged(schema: &Value) -> Option<Value> {
    let all = schema["allOf"].as_array()?;
    let mut one = schema.as_object()?.clone();
    one.remove("allOf");
    for part in all.iter().filter_map(Value::as_object) {
        for (key, value) in part {
            match (one.get_mut(key), value) {
                (Some(Value::Object(into)), Value::Object(more)) => {
                    into.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
                (Some(Value::Array(into)), Value::Array(more)) => into.extend(more.iter().cloned()),
                _ => {
                    one.insert(key.clone(), value.clone());
                }
            }
        }
    }
    Some(Value::Object(one))
}

#[cfg(test)]
mod tests {
    use super::{Source, example};
    use serde_json::json;

    #[test]
    fn a_value_satisfies_its_schema_and_is_the_same_each_time() {
        let schemas = [
            json!({"type": "object", "properties": {"score": {"type": "integer", "minimum": 0, "maximum": 10},
                "why": {"type": "string", "minLength": 60, "maxLength": 80}, "is_long": {"type": "boolean"}},
                "required": ["score", "why", "is_long"], "additionalProperties": false}),
            json!({"type": "object", "properties": {"kind": {"enum": ["short", "long"]},
                "when": {"type": "string", "format": "date"},
                "price": {"type": ["number", "null"], "exclusiveMinimum": 0},
                "even": {"type": "integer", "minimum": 3, "maximum": 9, "multipleOf": 2},
                "ticker": {"type": "string", "pattern": "^[A-Z]{1,5}(\\.[A-Z])?$"}}, "required": ["kind", "price"]}),
            json!({"type": "array", "minItems": 3, "items": {"anyOf": [{"type": "null"}, {"type": "string"}]}}),
            json!({"$defs": {"node": {"type": "object", "properties": {"name": {"type": "string"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["name"]}},
                "$ref": "#/$defs/node"}),
            json!({"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"properties": {"b": {"const": 4}}, "required": ["b"]}]}),
        ];
        let source = Source::new("<p>Arlen Bearings earned <b>12 million</b> in the third quarter.</p>", "");
        for schema in schemas {
            let made = example(&schema, &source);
            let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            assert!(validator.is_valid(&made), "{made} for {schema}");
            assert_eq!(made, example(&schema, &source));
        }
    }

    #[test]
    fn its_words_are_the_documents_and_its_addresses_what_was_found() {
        let source = Source::new("<p>one <b class=\"x\">two</b></p> three", "see (https://a.example/x), it says");
        assert_eq!(source.words("any", 9), "one two three");
        let schema = json!({"type": "string", "format": "uri"});
        assert_eq!(example(&schema, &source), "https://a.example/x");
    }

    #[test]
    fn documents_that_differ_score_differently() {
        let schema = json!({"type": "integer", "minimum": 0, "maximum": 10});
        let of = |text: &str| example(&schema, &Source::new(text, "")).as_i64().unwrap();
        let scores: std::collections::BTreeSet<i64> = (0..40).map(|at| of(&format!("document {at}"))).collect();
        assert!(scores.len() > 5, "{scores:?}");
    }
}
