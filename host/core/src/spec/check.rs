//! A check of a stored page: a question that a model answers, in a task of its own (R01's third layer, P07, Q08).

use std::{fmt, time::Duration};

use serde_json::{Map, Value};

use super::{GuardOutcome, Place, StageSpec};
use crate::ids::StageName;

/// `[job.NAME.check.CHECK]`, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckSpec {
    /// It as a stage of its job: its name, lane and retries. It needs the stage that keeps the page.
    pub stage: StageSpec,
    /// The stage that keeps the page.
    pub of: StageName,
    /// The page's name as an artifact of that stage.
    pub artifact: String,
    /// Where `of` stands.
    pub of_at: Place,
    /// What is asked of the page.
    pub ask: Question,
    /// The model's name; absent: whoever answers chooses.
    pub model: Option<String>,
    /// What a page means that is refused.
    pub outcome: GuardOutcome,
    /// How long the page's site is left alone; only of [`GuardOutcome::RateLimited`]. Absent: its cool-down.
    pub after: Option<Duration>,
}

/// A question about an item: a text in which `{name}` stands for a field of the item's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl Question {
    /// Reads a question.
    ///
    /// # Errors
    /// It asks nothing, or its braces make no field; says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("it asks nothing".to_owned());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            let field = from.strip_prefix('{').ok_or("a `}` closes nothing")?;
            let (name, after) = field.split_once('}').ok_or("a `{` is never closed")?;
            let is_name = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-');
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(format!("`{{{name}}}` names no field"));
            }
            parts.extend([Part::Text(before.to_owned()), Part::Field(name.to_owned())]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The question about an item with this data.
    ///
    /// # Errors
    /// The data lacks a field that it names, or has a list or an object there.
    pub fn about(&self, data: &Map<String, Value>) -> Result<String, String> {
        let mut asked = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => asked.push_str(text),
                Part::Field(name) => match data.get(name) {
                    Some(Value::String(text)) => asked.push_str(text),
                    Some(value @ (Value::Number(_) | Value::Bool(_))) => asked.push_str(&value.to_string()),
                    Some(Value::Array(_) | Value::Object(_)) => {
                        return Err(format!("`{{{name}}}` of `ask`: the item's data has no single value there"));
                    }
                    None | Some(Value::Null) => {
                        return Err(format!("`{{{name}}}` of `ask`: the item's data has no `{name}`"));
                    }
                },
            }
        }
        Ok(asked)
    }
}

/// As it is written.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn q08_a_question_takes_fields_of_the_items_data_and_says_which_is_missing() {
        let question = Question::parse("Is {company} ({year}) in it?").unwrap();
        let of = |data: Value| question.about(data.as_object().unwrap());
        assert_eq!(of(json!({"company": "A {b} Co", "year": 2025})).unwrap(), "Is A {b} Co (2025) in it?");
        assert!(of(json!({"company": "A"})).unwrap_err().contains("no `year`"));
        assert!(of(json!({"company": ["A"], "year": 1})).unwrap_err().contains("{company}"));
    }
}
