//! What a model answered, and the one way to JSON: how it ended is looked at before a byte of it is parsed (trap 10).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_core::contract::{Breach, Contract};

use crate::{
    prompt::{Said, ToolCall, ToolResult, Turn},
    usage::Usage,
};

/// An answer that came whole over the wire; how the model ended it is another thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Its words, without thoughts.
    pub(crate) text: String,
    /// What it asks of the host.
    pub calls: Vec<ToolCall>,
    /// How it ended.
    pub finish: Finish,
    /// What it took.
    pub usage: Usage,
    /// The model that answered, by its own word; empty where it doesn't say.
    pub model: String,
    /// By which its provider knows the request; empty where it has none.
    pub request_id: String,
    /// To be sent back with the next turn.
    pub said: Said,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// The model had no more to say.
    Whole,
    /// A limit cut it: of tokens, or of what the model can hold at once.
    Cut,
    /// The model or its provider refused; says why, as far as they do.
    Refused(String),
    /// The model pauses, and goes on when it is sent what it has said.
    Paused,
    /// The model waits for the results of its calls.
    CallsTools,
}

/// Why an answer has no text or no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Cut at a limit.
    #[error("the answer was cut at the model's limit; ask for less at once, or take a model that can say more")]
    Cut,
    /// Refused.
    #[error("the model refused: {0}")]
    Refused(String),
    /// It isn't at its end: the model pauses or waits for results.
    #[error("the answer isn't at its end: the model waits to be sent its turn")]
    Unfinished,
    /// It has no words.
    #[error("the answer is empty")]
    Empty,
    /// Not JSON.
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
    /// JSON that doesn't satisfy its schema.
    #[error("the answer doesn't satisfy its schema: {0}")]
    Breach(Breach),
}

impl Answer {
    /// Puts together what was read.
    pub(crate) fn new(text: String, finish: Finish, said: Said) -> Self {
        let (model, request_id) = (String::new(), String::new());
        Self { text, calls: Vec::new(), finish, usage: Usage::default(), model, request_id, said }
    }

    /// The text of an answer that is at its end.
    ///
    /// # Errors
    /// It was cut or refused, isn't at its end, or is empty.
    pub fn text(&self) -> Result<&str, AnswerError> {
        match &self.finish {
            Finish::Cut => Err(AnswerError::Cut),
            Finish::Refused(why) => Err(AnswerError::Refused(why.clone())),
            Finish::Paused | Finish::CallsTools => Err(AnswerError::Unfinished),
            Finish::Whole if self.text.trim().is_empty() => Err(AnswerError::Empty),
            Finish::Whole => Ok(&self.text),
        }
    }

    /// The JSON of an answer that is at its end, held against its schema. It is never mended: one code fence around all
    /// of it, which models put there that were told the schema in words, is the one thing that is taken off.
    ///
    /// # Errors
    /// As for [`Answer::text`], before anything is parsed; or it isn't JSON, or doesn't satisfy the schema.
    pub fn json(&self, schema: &Contract) -> Result<Value, AnswerError> {
        let value: Value =
            serde_json::from_str(unfenced(self.text()?)).map_err(|error| AnswerError::NotJson(error.to_string()))?;
        schema.check_schema(&value).map_err(AnswerError::Breach)?;
        Ok(value)
    }

    /// What came, however it ended: to be shown to a person, never to be parsed.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.text
    }

    /// The turn that follows, for an answer that paused or calls tools.
    #[must_use]
    pub fn turn(&self, results: Vec<ToolResult>) -> Turn {
        Turn { said: self.said.clone(), results }
    }
}

/// The inside of a code fence that is around all of a text.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inside = text.strip_prefix("```").and_then(|text| text.strip_suffix("```"));
    inside.and_then(|text| text.split_once('\n')).map_or(text, |(_, inside)| inside)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tollgate_core::model::Dialect;

    use super::*;

    fn answer(text: &str, finish: Finish) -> Answer {
        Answer::new(text.to_owned(), finish, Said { dialect: Dialect::OpenAi, raw: Value::Null })
    }

    fn schema() -> Contract {
        let schema = json!({"type": "object", "required": ["tags"], "properties": {"tags": {"type": "array"}}});
        Contract::new(schema).unwrap()
    }

    #[test]
    fn trap10_what_was_cut_is_not_parsed_though_it_is_json() {
        let whole = "{\"tags\": []}";
        assert_eq!(answer(whole, Finish::Whole).json(&schema()), Ok(json!({"tags": []})));
        assert_eq!(answer(whole, Finish::Cut).json(&schema()), Err(AnswerError::Cut));
        assert_eq!(answer(whole, Finish::Refused("no".into())).json(&schema()), Err(AnswerError::Refused("no".into())));
        for finish in [Finish::Paused, Finish::CallsTools] {
            assert_eq!(answer(whole, finish).json(&schema()), Err(AnswerError::Unfinished));
        }
    }

    #[test]
    fn trap10_nothing_is_mended() {
        let json = |text| answer(text, Finish::Whole).json(&schema());
        for broken in ["{\"tags\": [", "{\"tags\": []} and more", "```json\n{\"tags\": []}", "Here: {\"tags\": []}"] {
            assert!(matches!(json(broken), Err(AnswerError::NotJson(_))), "{broken}");
        }
        assert_eq!(json("```json\n{\"tags\": []}\n```\n"), Ok(json!({"tags": []})));
        assert_eq!(json(" "), Err(AnswerError::Empty));
        assert!(
            matches!(json("{\"tags\": 1}"), Err(AnswerError::Breach(Breach::Schema { field, .. })) if field == "/tags")
        );
    }
}
