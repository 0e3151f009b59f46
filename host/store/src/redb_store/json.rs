//! JSON objects as they are stored: canonical, so that equal objects have equal bytes and digests.

use serde_json::{Map, Value};

use crate::{StoreError, stored::corrupt};

/// Writes an object with its keys sorted, at every depth, and no spaces.
pub(crate) fn canonical(object: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    write_object(object, &mut bytes);
    bytes
}

fn write_object(object: &Map<String, Value>, into: &mut Vec<u8>) {
    // serde_json's map is sorted unless some crate of the build turns on `preserve_order`: don't rely on it.
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| key.as_str());
    into.push(b'{');
    for (place, (key, value)) in entries.into_iter().enumerate() {
        if place > 0 {
            into.push(b',');
        }
        write_text(key, into);
        into.push(b':');
        write_value(value, into);
    }
    into.push(b'}');
}

fn write_value(value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Object(object) => write_object(object, into),
        Value::Array(values) => {
            into.push(b'[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    into.push(b',');
                }
                write_value(value, into);
            }
            into.push(b']');
        }
        Value::String(text) => write_text(text, into),
        plain => into.extend_from_slice(plain.to_string().as_bytes()),
    }
}

fn write_text(text: &str, into: &mut Vec<u8>) {
    // `Value`'s own Display quotes and escapes; only texts that need no escape are copied directly.
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        into.push(b'"');
        into.extend_from_slice(text.as_bytes());
        into.push(b'"');
    } else {
        into.extend_from_slice(Value::from(text).to_string().as_bytes());
    }
}

/// Reads an object of the table `table`.
pub(crate) fn object(table: &str, bytes: &[u8]) -> Result<Map<String, Value>, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| corrupt(format!("{table}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_sorted_and_reads_back() {
        let text = r#"{"b":[1,{"z":null,"a":"é\"\n"}],"a":1.5e300,"c":true,"":-3}"#;
        let value: Map<String, Value> = serde_json::from_str(text).unwrap();
        let bytes = canonical(&value);
        assert!(bytes.starts_with(br#"{"":-3,"a":1.5e+300,"b":[1,{"a":"#));
        assert_eq!(object("test", &bytes).unwrap(), value);
    }
}
