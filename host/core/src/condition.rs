//! `when` conditions: small expressions over an item's data and its outputs, parsed at load.

mod fit;

use std::sync::Arc;

use cel::{Context, Program};
use serde_json::{Map, Value};

pub use fit::Misfit;

/// Longest condition, in bytes: one line a person can read.
pub const CONDITION_BYTES_MAX: usize = 1_000;

/// A parsed condition, in the Common Expression Language. Names are `data` and the stages.
#[derive(Clone)]
pub struct Condition {
    source: Arc<str>,
    program: Arc<Program>,
}

/// Why a condition can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// It doesn't parse.
    #[error("`{0}` is not an expression: {1}")]
    Parse(String, String),
    /// It failed on this item.
    #[error("`{0}` can't be evaluated: {1}")]
    Evaluate(String, String),
    /// It gave another thing than true or false.
    #[error("`{0}` gave {1}, neither true nor false")]
    NotBoolean(String, String),
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Condition {
    /// Parses a condition.
    ///
    /// # Errors
    /// It doesn't parse or is longer than [`CONDITION_BYTES_MAX`].
    pub fn parse(source: &str) -> Result<Self, ConditionError> {
        if source.len() > CONDITION_BYTES_MAX {
            let message = format!("longer than {CONDITION_BYTES_MAX} bytes");
            return Err(ConditionError::Parse(source.chars().take(40).collect(), message));
        }
        let program = Program::compile(source)
            .map_err(|error| ConditionError::Parse(source.to_owned(), first_line(&error.to_string())))?;
        Ok(Self { source: source.into(), program: Arc::new(program) })
    }

    /// The text as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names that it uses, `data` among them.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        fit::names(self.program.expression())
    }

    /// Holds it against the schemas of what it names, as far as `schema_of` knows them.
    ///
    /// # Errors
    /// It names a field that isn't there, compares what can't be compared, or gives neither true nor false.
    pub fn check<'a>(&self, schema_of: &dyn Fn(&str) -> Option<&'a Value>) -> Result<(), Misfit> {
        fit::check(self.program.expression(), schema_of)
    }

    /// Evaluates it for one item. `names` holds `data` and one object a stage that is done.
    ///
    /// # Errors
    /// A field isn't there, types don't fit, or the result is no boolean.
    pub fn holds(&self, names: &Map<String, Value>) -> Result<bool, ConditionError> {
        let evaluate = |text: String| ConditionError::Evaluate(self.source.to_string(), text);
        let mut context = Context::default();
        for (name, value) in names {
            let value = cel::to_value(value).map_err(|error| evaluate(error.to_string()))?;
            context.add_variable_from_value(name.clone(), value);
        }
        match self.program.execute(&context) {
            Ok(cel::Value::Bool(truth)) => Ok(truth),
            Ok(other) => Err(ConditionError::NotBoolean(self.source.to_string(), format!("{other:?}"))),
            Err(error) => Err(evaluate(error.to_string())),
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_condition_that_is_too_long_is_named_by_its_beginning_whatever_its_characters() {
        let long = format!("{}é{}", "x".repeat(39), "y".repeat(CONDITION_BYTES_MAX));
        let refused = Condition::parse(&long).unwrap_err().to_string();
        assert!(refused.contains(&format!("{}é", "x".repeat(39))) && refused.contains("longer"), "{refused}");
    }

    #[test]
    fn p03_conditions_read_data_and_outputs() {
        let when = Condition::parse("score.value >= 6 && data.kind == \"call\"").unwrap();
        let mut item = names(json!({"score": {"value": 7}, "data": {"kind": "call"}}));
        assert_eq!(when.holds(&item), Ok(true));
        item["score"]["value"] = json!(5.5);
        assert_eq!(when.holds(&item), Ok(false));
    }

    #[test]
    fn a_missing_field_is_an_error_and_not_false() {
        let when = Condition::parse("score.value >= 6").unwrap();
        assert!(matches!(when.holds(&names(json!({"score": {}}))), Err(ConditionError::Evaluate(..))));
        let when = Condition::parse("score.value").unwrap();
        assert!(matches!(when.holds(&names(json!({"score": {"value": 1}}))), Err(ConditionError::NotBoolean(..))));
    }

    #[test]
    fn bad_syntax_is_refused_at_load() {
        assert!(matches!(Condition::parse("score.value >="), Err(ConditionError::Parse(..))));
    }

    #[test]
    fn absent_options_and_numbers_behave_as_docs_jobs_md_says() {
        let holds = |source: &str, item: Value| Condition::parse(source).unwrap().holds(&names(item));
        let item = json!({"offer": {"price": null, "count": 3, "weight": 3.0}, "data": {}});
        assert!(holds("offer.price > 1", item.clone()).is_err());
        assert_eq!(holds("offer.price != null && offer.price > 1", item.clone()), Ok(false));
        assert_eq!(holds("has(data.tag) && data.tag == \"a\"", item.clone()), Ok(false));
        assert_eq!(holds("offer.count >= 2.5 && offer.weight >= 3 && offer.count == 3.0", item.clone()), Ok(true));
        assert!(holds("offer.count + 0.5 > 3", item.clone()).is_err());
        assert_eq!(holds("double(offer.count) + 0.5 > 3.0", item), Ok(true));
    }
}
