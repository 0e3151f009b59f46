//! What holding a value against a schema costs at the most: a schema may refer to its own parts, and so unfold into far
//! more than its text.

use std::collections::HashMap;

use serde_json::Value;

use super::SchemaError;

/// Most parts that a schema may unfold into: some thousand times a large handler's.
const PARTS_MAX: u64 = 100_000;
/// References that may lead on from each other.
const REFERENCES_MAX: usize = 200;
/// Most looks of a part at a value: about half a second of a core.
const LOOKS_MAX: u64 = 10_000_000;
/// Keys whose schemas are about the same value; all others are about what is in it.
const IN_PLACE: [&str; 9] =
    ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"];
/// Keys whose schemas hold only where something refers to them.
const SHELVES: [&str; 2] = ["$defs", "definitions"];
/// Keys that refer.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// What a schema unfolds into, once through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// Its parts.
    parts: u64,
    /// Those of them at which it begins again, one level deeper in the value.
    again: u64,
}

impl Cost {
    /// Unfolds a schema.
    ///
    /// # Errors
    /// It unfolds into more than can be looked at, or for ever.
    pub(super) fn of(schema: &Value) -> Result<Self, SchemaError> {
        let mut unfolding = Unfolding { root: schema, known: HashMap::new(), open: Vec::new() };
        let cost = unfolding.part(schema, 0)?;
        if cost.parts > PARTS_MAX {
            let text = format!("its references unfold into {} parts; {PARTS_MAX} is the limit", cost.parts);
            return Err(SchemaError(text));
        }
        Ok(cost)
    }

    /// Whether a value can be held against the schema in reasonable time.
    pub(super) fn allows(&self, value: &Value) -> bool {
        let (mut values, mut deepest) = (0_u64, 0);
        measure(value, 0, &mut values, &mut deepest);
        let levels = self.again.max(1).saturating_pow(deepest);
        self.parts.saturating_mul(values).saturating_mul(levels) <= LOOKS_MAX
    }
}

/// Values within `value`, itself among them, and how deep they lie.
fn measure(value: &Value, depth: u32, values: &mut u64, deepest: &mut u32) {
    *values += 1;
    *deepest = (*deepest).max(depth);
    match value {
        Value::Array(list) => list.iter().for_each(|value| measure(value, depth + 1, values, deepest)),
        Value::Object(fields) => fields.values().for_each(|value| measure(value, depth + 1, values, deepest)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

struct Unfolding<'a> {
    root: &'a Value,
    /// By where the part lies in memory: the schema doesn't move meanwhile.
    known: HashMap<*const Value, Cost>,
    /// Parts that are being unfolded because something referred to them, and how deep in the value they stand.
    open: Vec<(*const Value, usize)>,
}

impl Unfolding<'_> {
    fn part(&mut self, part: &Value, depth: usize) -> Result<Cost, SchemaError> {
        let mut cost = Cost { parts: 1, again: 0 };
        let mut add = |more: Cost| {
            cost.parts = cost.parts.saturating_add(more.parts);
            cost.again = cost.again.saturating_add(more.again);
        };
        match part {
            Value::Array(list) => {
                for part in list {
                    add(self.part(part, depth)?);
                }
            }
            Value::Object(fields) => {
                for (key, part) in fields {
                    let key = key.as_str();
                    match part.as_str().filter(|_| REFERENCES.contains(&key)) {
                        Some(reference) => add(self.reference(reference, depth)?),
                        None if SHELVES.contains(&key) => {}
                        None => add(self.part(part, depth + usize::from(!IN_PLACE.contains(&key)))?),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(cost)
    }

    fn reference(&mut self, reference: &str, depth: usize) -> Result<Cost, SchemaError> {
        // What isn't a place in this schema is refused when it is compiled, or is an anchor: at worst, all of it.
        let root = self.root;
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer)).unwrap_or(root);
        let place = std::ptr::from_ref(target);
        if let Some((_, began)) = self.open.iter().find(|(open, _)| *open == place) {
            if *began >= depth {
                return Err(SchemaError(format!("{reference} refers to itself without an end")));
            }
            return Ok(Cost { parts: 1, again: 1 });
        }
        if let Some(known) = self.known.get(&place) {
            return Ok(*known);
        }
        if self.open.len() >= REFERENCES_MAX {
            return Err(SchemaError(format!("more than {REFERENCES_MAX} references lead on from each other")));
        }
        self.open.push((place, depth));
        let cost = self.part(target, depth);
        self.open.pop();
        let cost = cost?;
        self.known.insert(place, cost);
        Ok(cost)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A chain of parts, each of which names the next one twice.
    fn doubling(links: usize) -> Value {
        let link = |number: usize| {
            let next = json!({"$ref": format!("#/$defs/a{}", number + 1)});
            (format!("a{number}"), json!({"allOf": [next, next]}))
        };
        let mut defs: serde_json::Map<String, Value> = (0..links).map(link).collect();
        defs.insert(format!("a{links}"), json!({"type": "object"}));
        json!({"type": "object", "$ref": "#/$defs/a0", "$defs": defs})
    }

    #[test]
    fn trap18_a_schema_that_doubles_with_each_reference_is_refused_before_anything_is_held_against_it() {
        let refused = Cost::of(&doubling(60)).unwrap_err();
        assert!(refused.0.contains("unfold into"), "{refused}");
        assert!(Cost::of(&doubling(8)).is_ok());
    }

    #[test]
    fn trap18_a_reference_to_itself_is_refused_unless_it_goes_deeper() {
        for schema in [
            json!({"allOf": [{"$ref": "#"}]}),
            json!({"$ref": "#/$defs/a",
                "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}}),
        ] {
            assert!(Cost::of(&schema).unwrap_err().0.contains("without an end"), "{schema}");
        }
        let tree = json!({"type": "object", "properties": {"children": {"items": {"$ref": "#"}}}});
        let cost = Cost::of(&tree).unwrap();
        assert!(cost.allows(&json!({"children": [{"children": []}, {"children": [{}]}]})));
    }

    #[test]
    fn trap18_a_schema_that_doubles_with_each_level_of_a_value_allows_shallow_ones_only() {
        let twice = json!({"properties": {"x": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}});
        let cost = Cost::of(&twice).unwrap();
        let deep = |levels| (0..levels).fold(json!({}), |inner, _| json!({"x": inner}));
        assert!(cost.allows(&deep(5)) && !cost.allows(&deep(100)));
    }

    #[test]
    fn many_values_against_many_parts_are_too_much() {
        let wide: serde_json::Map<String, Value> = (0..20_000).map(|n| (n.to_string(), json!({}))).collect();
        let cost = Cost::of(&json!({"items": {"properties": wide}})).unwrap();
        assert!(cost.allows(&json!([{"1": 1}])));
        assert!(!cost.allows(&Value::Array(vec![json!({}); 10_000])));
    }
}
