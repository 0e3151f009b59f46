//! Contracts: an output is held against its stage's JSON Schema, and holds no empty string or list (S01).

mod cost;

use jsonschema::PatternOptions;
use serde_json::{Map, Value};

use cost::Cost;

/// Deepest nesting of a schema that is walked for "may be empty".
const DEPTH_MAX: usize = 32;

/// A compiled contract.
#[derive(Debug)]
pub struct Contract {
    schema: Value,
    validator: jsonschema::Validator,
    cost: Cost,
}

/// Why a schema can't be a contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON Schema of an object: {0}")]
pub struct SchemaError(pub String);

/// What an output breaks; names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// The schema refuses it.
    #[error("field `{field}`: {message}")]
    Schema {
        /// Where, as a JSON pointer; empty: the output as a whole.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// Empty where the contract doesn't say that it may be.
    #[error(
        "field `{field}` is empty; leave it out, or allow it: `Option` or `#[may_be_empty]` on the field in Rust, \
         `minLength: 0` or `minItems: 0` in its schema"
    )]
    Empty {
        /// Where, as a JSON pointer.
        field: String,
    },
}

impl Contract {
    /// Compiles a stage's schema.
    ///
    /// # Errors
    /// It is no JSON Schema, one that refers elsewhere, or one that unfolds into too much.
    pub fn new(schema: Value) -> Result<Self, SchemaError> {
        if !schema.is_object() {
            return Err(SchemaError("it must be a JSON object".to_owned()));
        }
        let cost = Cost::of(&schema)?;
        // Patterns are a guest's: no engine that may take for ever over a few bytes.
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        let validator = options.build(&schema).map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self { schema, validator, cost })
    }

    /// The schema as given.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Holds an output against the contract.
    ///
    /// # Errors
    /// The first breach, with its field.
    pub fn check(&self, output: &Value) -> Result<(), Breach> {
        self.check_schema(output)?;
        if output.as_object().is_some_and(Map::is_empty) && !allows_no_fields(&self.schema) {
            return Err(Breach::Empty { field: String::new() });
        }
        match first_empty(output, &self.schema, &self.schema, 0) {
            Some(field) => Err(Breach::Empty { field }),
            None => Ok(()),
        }
    }

    /// Holds a value against the schema alone: empty strings and lists are fine where it lets them be. For what is no
    /// output yet, such as a model's answer.
    ///
    /// # Errors
    /// The first breach, with its field.
    pub fn check_schema(&self, value: &Value) -> Result<(), Breach> {
        if !self.cost.allows(value) {
            let message = "it has more values, or is nested deeper, than can be held against its schema".to_owned();
            return Err(Breach::Schema { field: String::new(), message });
        }
        self.validator.validate(value).map_err(|error| {
            let field = error.instance_path().to_string();
            Breach::Schema { field, message: error.to_string() }
        })
    }
}

/// Whether a schema, whatever it is for, can be held against a value in reasonable time.
///
/// # Errors
/// It unfolds into too much, or for ever.
pub fn check_cost(schema: &Value) -> Result<(), SchemaError> {
    Cost::of(schema).map(drop)
}

/// A stage whose output has no fields at all says so with `minProperties: 0`.
fn allows_no_fields(schema: &Value) -> bool {
    schema.get("minProperties").and_then(Value::as_u64) == Some(0)
}

/// The first string or list that is empty without leave, as a JSON pointer from `value` on.
fn first_empty(value: &Value, schema: &Value, root: &Value, depth: usize) -> Option<String> {
    let schema = follow(schema, root);
    let may = |key: &str| schema.get(key).and_then(Value::as_u64) == Some(0);
    if depth > DEPTH_MAX {
        return None;
    }
    match value {
        Value::String(text) => (text.trim().is_empty() && !may("minLength")).then(String::new),
        Value::Array(list) if list.is_empty() => (!may("minItems")).then(String::new),
        Value::Array(list) => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            list.iter().enumerate().find_map(|(place, value)| {
                first_empty(value, items, root, depth + 1).map(|rest| format!("/{place}{rest}"))
            })
        }
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let of_field = schema.get("properties").and_then(|all| all.get(name));
            let of_field = of_field.or_else(|| schema.get("additionalProperties")).unwrap_or(&Value::Null);
            first_empty(value, of_field, root, depth + 1).map(|rest| format!("/{}{rest}", escape(name)))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Follows local references, and the one non-null branch of an `anyOf` as `Option<T>` makes it.
pub(crate) fn follow<'a>(mut schema: &'a Value, root: &'a Value) -> &'a Value {
    for _ in 0..DEPTH_MAX {
        if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#')) {
            match root.pointer(target) {
                Some(found) => schema = found,
                None => return schema,
            }
        } else if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
            let mut others = branches.iter().filter(|branch| branch.get("type") != Some(&Value::from("null")));
            match (others.next(), others.next()) {
                (Some(only), None) => schema = only,
                _ => return schema,
            }
        } else {
            return schema;
        }
    }
    schema
}

/// A name as a part of a JSON pointer, RFC 6901.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, output: Value) -> Result<(), Breach> {
        Contract::new(schema).unwrap().check(&output)
    }

    #[test]
    fn s01_empty_strings_and_lists_are_refused_unless_allowed() {
        let schema = json!({"type": "object", "properties": {
            "title": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}},
            "notes": {"type": "string", "minLength": 0}, "links": {"type": "array", "minItems": 0},
        }});
        assert_eq!(check(schema.clone(), json!({"title": "a", "notes": "", "links": []})), Ok(()));
        assert_eq!(check(schema.clone(), json!({"title": " "})), Err(Breach::Empty { field: "/title".into() }));
        assert_eq!(check(schema.clone(), json!({"tags": []})), Err(Breach::Empty { field: "/tags".into() }));
        assert_eq!(check(schema.clone(), json!({"tags": ["a", ""]})), Err(Breach::Empty { field: "/tags/1".into() }));
        assert_eq!(check(schema, json!({})), Err(Breach::Empty { field: String::new() }));
        let said = Breach::Empty { field: "/tags".into() }.to_string();
        assert!(said.contains("`Option` or `#[may_be_empty]`") && said.contains("`minItems: 0`"), "{said}");
        let map = json!({"type": "object", "properties": {"specs": {"type": "object"}}});
        assert_eq!(check(map.clone(), json!({"specs": {}})), Ok(()), "a map may be empty");
        assert!(check(map, json!({"specs": {"a": ""}})).is_err(), "its values may not");
    }

    #[test]
    fn a_breach_names_the_field() {
        let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
        assert!(matches!(check(schema.clone(), json!({"n": "x"})), Err(Breach::Schema { field, .. }) if field == "/n"));
        let missing = check(schema, json!({"m": 1})).unwrap_err();
        assert!(missing.to_string().contains("\"n\""), "{missing}");
    }

    #[test]
    fn references_and_options_are_followed() {
        let schema = json!({"type": "object", "$defs": {"T": {"type": "string", "minLength": 0}},
            "properties": {"a": {"$ref": "#/$defs/T"}, "b": {"anyOf": [{"$ref": "#/$defs/T"}, {"type": "null"}]}}});
        assert_eq!(check(schema, json!({"a": "", "b": ""})), Ok(()));
    }
}
