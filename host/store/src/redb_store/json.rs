//! JSON objects as they are stored: [`JsonObject`]'s canonical text.

use serde_json::{Map, Value};
use tollgate_core::JsonObject;

use crate::{StoreError, stored::corrupt};

/// Takes an object of the table `table` as it is.
pub(crate) fn text(table: &str, bytes: &[u8]) -> Result<JsonObject, StoreError> {
    let text = std::str::from_utf8(bytes).map_err(|error| corrupt(format!("{table}: {error}")))?;
    Ok(JsonObject::from_canonical(text))
}

/// Reads an object of the table `table`.
pub(crate) fn object(table: &str, bytes: &[u8]) -> Result<Map<String, Value>, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| corrupt(format!("{table}: {error}")))
}

/// Whether an object's text has more than about `most` bytes; looks no further than that.
pub(crate) fn is_longer(object: &Map<String, Value>, most: usize) -> bool {
    let mut left = Some(most);
    object.iter().for_each(|(key, value)| spend(&mut left, key, value));
    left.is_none()
}

fn spend(left: &mut Option<usize>, key: &str, value: &Value) {
    // Quotes, colon and comma, or a short number.
    let own = key.len() + 8 + value.as_str().map_or(0, str::len);
    *left = left.and_then(|left| left.checked_sub(own));
    if left.is_none() {
        return;
    }
    match value {
        Value::Array(values) => values.iter().for_each(|value| spend(left, "", value)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| spend(left, key, value)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_objects_are_known_without_writing_them() {
        let long = |value: Value| is_longer(value.as_object().unwrap(), 100);
        assert!(!long(json!({"a": "x".repeat(50), "b": [1, 2]})));
        assert!(long(json!({"a": "x".repeat(150)})));
        assert!(long(json!({"a": {"b": vec![0; 50]}})));
    }
}
