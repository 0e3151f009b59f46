//! What a guest answered, held to its word: JSON objects, keys, bounds. A breach names its field.

use std::time::Duration;

use serde_json::{Map, Value};
use tollgate_core::{
    ItemKey,
    item::NewItem,
    outcome::{StageError, StageOutput},
    task::clean_message,
};

use crate::{bindings::v0_1::tollgate::handler::types, call::CallFailure};

/// Largest output, in bytes of JSON, as the store has it: a document's text, not its images.
const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// Largest data of an item, in bytes of JSON, as the store has it.
const ITEM_DATA_BYTES_MAX: usize = 1 << 20;
/// Longest revision of an item, in bytes, as the store has it.
const REVISION_BYTES_MAX: usize = 1_024;
/// Items of one answer, as the store has it; the largest sitemap allowed has 50,000.
const ITEMS_MAX: usize = 100_000;
/// Quality flags of one output.
const FLAGS_MAX: usize = 100;
/// Objects and lists within one another. Readers of JSON give up at 128, and have it within more: the inputs of a later
/// stage, a page of the API.
const NESTING_MAX: usize = 100;

pub(crate) fn output(output: types::Output) -> Result<StageOutput, CallFailure> {
    if output.quality_flags.len() > FLAGS_MAX {
        let text = format!("{} quality flags; {FLAGS_MAX} is the limit", output.quality_flags.len());
        return Err(CallFailure::Invalid(text));
    }
    let fields = object(|| "fields".to_owned(), &output.fields, OUTPUT_BYTES_MAX)?;
    let quality_flags = output.quality_flags.iter().map(|flag| clean_message(flag)).collect();
    Ok(StageOutput { fields, found: new_items(output.found)?, quality_flags })
}

pub(crate) fn new_items(items: Vec<types::NewItem>) -> Result<Vec<NewItem>, CallFailure> {
    if items.len() > ITEMS_MAX {
        let text = format!("{} items at once; {ITEMS_MAX} is the limit: use a cursor", items.len());
        return Err(CallFailure::Invalid(text));
    }
    let item = |(place, item): (usize, types::NewItem)| {
        let key = ItemKey::new(&item.key);
        let key = key.map_err(|error| CallFailure::Invalid(format!("the key of item {place}: {error}")))?;
        let data = object(|| format!("the data of item {place}"), &item.data, ITEM_DATA_BYTES_MAX)?;
        if let Some(long) = item.revision.as_ref().map(String::len).filter(|long| *long > REVISION_BYTES_MAX) {
            let text = format!("the revision of item {place} has {long} bytes; {REVISION_BYTES_MAX} is the limit");
            return Err(CallFailure::Invalid(text));
        }
        Ok(NewItem { key, data, priority: item.priority, revision: item.revision })
    };
    items.into_iter().enumerate().map(item).collect()
}

fn object(what: impl Fn() -> String, text: &str, bytes_max: usize) -> Result<Map<String, Value>, CallFailure> {
    let invalid = |text: String| Err(CallFailure::Invalid(format!("{}: {text}", what())));
    if text.len() > bytes_max {
        return invalid(format!("{} bytes of JSON; {bytes_max} is the limit", text.len()));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) if object.values().any(|value| nests_deeper(value, NESTING_MAX - 1)) => {
            invalid(format!("more than {NESTING_MAX} objects and lists within one another"))
        }
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => invalid("not a JSON object".to_owned()),
        Err(error) => invalid(format!("not JSON: {error}")),
    }
}

/// Whether more than `levels` of objects and lists stand within one another there.
fn nests_deeper(value: &Value, levels: usize) -> bool {
    let Some(left) = levels.checked_sub(1) else {
        return value.is_array() || value.is_object();
    };
    match value {
        Value::Array(list) => list.iter().any(|value| nests_deeper(value, left)),
        Value::Object(fields) => fields.values().any(|value| nests_deeper(value, left)),
        _ => false,
    }
}

/// A stage's own words are a guest's: cleaned and cut like all that is shown.
pub(crate) fn stage_error(error: types::StageError) -> StageError {
    let clean = |text: String| clean_message(&text);
    match error {
        types::StageError::RetryLater(retry) => {
            StageError::RetryLater { reason: clean(retry.reason), after: retry.after.map(Duration::from_millis) }
        }
        types::StageError::NothingHere(text) => StageError::NothingHere(clean(text)),
        types::StageError::Reject(text) => StageError::Reject(clean(text)),
        types::StageError::Blocked(text) => StageError::Blocked(clean(text)),
        types::StageError::LoginRequired(text) => StageError::LoginRequired(clean(text)),
        types::StageError::Permanent(text) => StageError::Permanent(clean(text)),
        types::StageError::Failed(text) => StageError::Failed(clean(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nests_deeper_than_its_readers_go_is_invalid() {
        let read = |levels: usize| {
            let text = format!("{}{{}}{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1));
            object(|| "fields".to_owned(), &text, OUTPUT_BYTES_MAX)
        };
        assert!(read(NESTING_MAX).is_ok());
        let refused = read(NESTING_MAX + 1);
        assert!(matches!(&refused, Err(CallFailure::Invalid(text)) if text.contains("100 objects")), "{refused:?}");
        let lists = format!(r#"{{"a":{}1{}}}"#, "[".repeat(NESTING_MAX - 1), "]".repeat(NESTING_MAX - 1));
        assert!(object(|| "fields".to_owned(), &lists, OUTPUT_BYTES_MAX).is_ok());
        assert!(object(|| "fields".to_owned(), &lists.replace('1', "[]"), OUTPUT_BYTES_MAX).is_err());
    }
}
