//! An object that is put together to be written, of parts that are borrowed or handed over: documents are long, and
//! schemas are written already.

use std::borrow::Cow;

use serde_json::Value;

use super::{JsonObject, write_fields, write_text, write_value};

/// What stands around a text, a name or a list, and behind it, in bytes.
const AROUND: usize = 3;
/// Of so many letters of a text, one is held to be escaped: about a line's.
const ESCAPED_SHARE: usize = 32;
/// What a value is held to be that isn't looked into, in bytes.
const VALUE_BYTES: usize = 64;

/// A part of an object that is put together.
#[derive(Debug, Clone)]
pub enum JsonPart<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A value as it was read, or one that is no text.
    Value(Cow<'a, Value>),
    /// An object that is written already.
    Written(&'a JsonObject),
    /// An array.
    List(Vec<Self>),
    /// An object.
    Fields(JsonFields<'a>),
}

/// Fields of an object that is put together, in whatever order; each name is there once.
pub type JsonFields<'a> = Vec<(&'a str, JsonPart<'a>)>;

impl JsonPart<'_> {
    fn write(&self, into: &mut String) {
        match self {
            Self::Text(text) => write_text(text, into),
            Self::Value(value) => write_value(value, into),
            Self::Written(object) => into.push_str(object.as_str()),
            Self::List(parts) => {
                into.push('[');
                for (place, part) in parts.iter().enumerate() {
                    if place > 0 {
                        into.push(',');
                    }
                    part.write(into);
                }
                into.push(']');
            }
            Self::Fields(fields) => write(fields, into),
        }
    }

    /// About how many bytes it is when it is written: texts make up most of it.
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + text.len() / ESCAPED_SHARE + AROUND,
            Self::Value(_) => VALUE_BYTES,
            Self::Written(object) => object.as_str().len(),
            Self::List(parts) => parts.iter().map(|part| part.bytes() + AROUND).sum::<usize>() + AROUND,
            Self::Fields(fields) => bytes(fields),
        }
    }
}

/// About how many bytes fields are when they are written.
pub(super) fn bytes(fields: &JsonFields<'_>) -> usize {
    fields.iter().map(|(name, part)| name.len() + part.bytes() + 2 * AROUND).sum::<usize>() + AROUND
}

/// Writes fields, sorted by their names.
pub(super) fn write(fields: &JsonFields<'_>, into: &mut String) {
    let mut sorted: Vec<_> = fields.iter().map(|(name, part)| (*name, part)).collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    debug_assert!(sorted.windows(2).all(|pair| pair[0].0 != pair[1].0), "a name is there twice");
    write_fields(sorted.into_iter(), into, JsonPart::write);
}

impl<'a> From<&'a str> for JsonPart<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for JsonPart<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<Cow<'a, str>> for JsonPart<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Value> for JsonPart<'a> {
    fn from(value: &'a Value) -> Self {
        Self::Value(Cow::Borrowed(value))
    }
}

impl From<Value> for JsonPart<'_> {
    fn from(value: Value) -> Self {
        Self::Value(Cow::Owned(value))
    }
}

impl From<bool> for JsonPart<'_> {
    fn from(plain: bool) -> Self {
        Value::from(plain).into()
    }
}

impl From<u64> for JsonPart<'_> {
    fn from(number: u64) -> Self {
        Value::from(number).into()
    }
}

impl From<f64> for JsonPart<'_> {
    fn from(number: f64) -> Self {
        Value::from(number).into()
    }
}

impl<'a> From<&'a JsonObject> for JsonPart<'a> {
    fn from(object: &'a JsonObject) -> Self {
        Self::Written(object)
    }
}

impl<'a> From<Vec<Self>> for JsonPart<'a> {
    fn from(parts: Vec<Self>) -> Self {
        Self::List(parts)
    }
}

impl<'a, const N: usize> From<[(&'a str, Self); N]> for JsonPart<'a> {
    fn from(fields: [(&'a str, Self); N]) -> Self {
        Self::Fields(fields.into())
    }
}

impl<'a> From<JsonFields<'a>> for JsonPart<'a> {
    fn from(fields: JsonFields<'a>) -> Self {
        Self::Fields(fields)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_put_together_is_what_it_would_be_if_it_were_written_whole() {
        let (text, inner) = ("a \"quoted\"\nline", json!({"z": [1, null], "a": "\u{1}"}));
        let written = JsonObject::of(inner.as_object().unwrap());
        let parts: JsonFields<'_> = vec![
            ("z", JsonPart::from(vec![text.into(), (&inner).into(), JsonPart::List(Vec::new())])),
            ("b", [("y", true.into()), ("c", 0.5.into()), ("n", 7.into())].into()),
            ("w", (&written).into()),
            ("", String::new().into()),
        ];
        let whole = json!({
            "z": [text, inner, []], "b": {"y": true, "c": 0.5, "n": 7}, "w": inner, "": "",
        });
        assert_eq!(JsonObject::of_parts(&parts), JsonObject::of(whole.as_object().unwrap()));
        assert_eq!(JsonObject::of_parts(&Vec::new()).as_str(), "{}");
    }
}
