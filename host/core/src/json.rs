//! JSON objects as text, canonical: equal objects have equal texts and digests, and who only
//! passes one on reads nothing.

mod part;

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

use crate::artifact::Digest;
pub use part::{JsonFields, JsonPart};

/// A JSON object as canonical text: keys sorted at every depth, no spaces. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct JsonObject(Arc<str>);

impl JsonObject {
    /// Writes an object.
    #[must_use]
    pub fn of(object: &Map<String, Value>) -> Self {
        let mut text = String::with_capacity(128);
        write_object(object, &mut text);
        Self(text.into())
    }

    /// Writes one that is put together.
    #[must_use]
    pub fn of_parts(fields: &JsonFields<'_>) -> Self {
        let mut text = String::with_capacity(part::bytes(fields));
        part::write(fields, &mut text);
        Self(text.into())
    }

    /// Takes a text that this type has written before; it isn't read.
    #[must_use]
    pub fn from_canonical(text: &str) -> Self {
        Self(text.into())
    }

    /// An object of objects.
    #[must_use]
    pub fn nest<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Self)>) -> Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        fields.dedup_by_key(|(name, _)| *name);
        let mut text = String::with_capacity(fields.iter().map(|(name, field)| name.len() + field.0.len() + 8).sum());
        write_fields(fields.into_iter(), &mut text, |field, text| text.push_str(&field.0));
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// Reads it.
    ///
    /// # Errors
    /// It wasn't canonical text of an object after all.
    pub fn parse(&self) -> Result<Map<String, Value>, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl AsRef<[u8]> for JsonObject {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn write_object(object: &Map<String, Value>, into: &mut String) {
    // serde_json's map is sorted unless some crate of the build turns on `preserve_order`: don't rely on it.
    let mut entries: Vec<_> = object.iter().map(|(key, value)| (key.as_str(), value)).collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    write_fields(entries.into_iter(), into, write_value);
}

fn write_fields<'a, T>(
    fields: impl Iterator<Item = (&'a str, T)>,
    into: &mut String,
    mut write: impl FnMut(T, &mut String),
) {
    into.push('{');
    for (place, (key, value)) in fields.enumerate() {
        if place > 0 {
            into.push(',');
        }
        write_text(key, into);
        into.push(':');
        write(value, into);
    }
    into.push('}');
}

fn write_value(value: &Value, into: &mut String) {
    match value {
        Value::Object(object) => write_object(object, into),
        Value::Array(values) => {
            into.push('[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    into.push(',');
                }
                write_value(value, into);
            }
            into.push(']');
        }
        Value::String(text) => write_text(text, into),
        plain => into.push_str(&plain.to_string()),
    }
}

/// Writes a text as serde_json does, without the copies that it would make on the way: documents are long.
fn write_text(text: &str, into: &mut String) {
    let is_escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let mut rest = text;
    into.push('"');
    while let Some(at) = rest.bytes().position(is_escaped) {
        into.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'\n' => into.push_str("\\n"),
            b'\r' => into.push_str("\\r"),
            b'\t' => into.push_str("\\t"),
            0x08 => into.push_str("\\b"),
            0x0c => into.push_str("\\f"),
            control @ 0..0x20 => into.push_str(&format!("\\u{control:04x}")),
            quote => into.extend(['\\', char::from(quote)]),
        }
        rest = &rest[at + 1..];
    }
    into.push_str(rest);
    into.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_sorted_and_reads_back() {
        let text = r#"{"b":[1,{"z":null,"a":"é\"\n"}],"a":1.5e300,"c":true,"":-3}"#;
        let value: Map<String, Value> = serde_json::from_str(text).unwrap();
        let object = JsonObject::of(&value);
        assert!(object.as_str().starts_with(r#"{"":-3,"a":1.5e+300,"b":[1,{"a":"#));
        assert_eq!(object.parse().unwrap(), value);
        assert_eq!(JsonObject::from_canonical(object.as_str()).digest(), object.digest());
    }

    #[test]
    fn numbers_are_themselves_when_they_were_written_and_read() {
        // Without the feature `float_roundtrip` of serde_json the last digit of these is another.
        for text in [r#"{"a":31.245270191439438}"#, r#"{"a":121.48791951161945}"#, r#"{"a":5e-324}"#] {
            let read = JsonObject::from_canonical(text).parse().unwrap();
            assert_eq!(JsonObject::of(&read).as_str(), text);
        }
    }

    #[test]
    fn a_text_is_written_as_serde_json_writes_it() {
        let all: String = ('\0'..'\u{100}').chain(['\u{2028}', '\u{fffd}', '\u{1f600}']).collect();
        for text in [all.as_str(), "", "plain", "\n", "ends with \"", "\\ begins"] {
            let mut written = String::new();
            write_text(text, &mut written);
            assert_eq!(written, Value::from(text).to_string());
        }
    }

    #[test]
    fn an_object_of_objects_is_what_it_would_be_if_it_were_written_whole() {
        let inner: Map<String, Value> = serde_json::from_str(r#"{"a":[1],"b":"\""}"#).unwrap();
        let whole: Map<String, Value> = [("x", inner.clone()), ("a", Map::new())]
            .map(|(key, value)| (key.to_owned(), value.into()))
            .into_iter()
            .collect();
        let (inner, empty) = (JsonObject::of(&inner), JsonObject::of(&Map::new()));
        let nested = JsonObject::nest([("x", &inner), ("a", &empty), ("x", &inner)]);
        assert_eq!(nested, JsonObject::of(&whole));
        assert_eq!(JsonObject::nest([]).as_str(), "{}");
    }
}
