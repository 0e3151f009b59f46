//! What the model says: from its script and the request alone.

use super::asked::{Asked, Part, first_tokens, tokens_of};
use super::example::{Source, example};
use super::facts::ModelFacts;
use super::script::Say;
use serde_json::{Value, json};
use tollgate_core::model::Dialect;

/// The tool by which a model searches the web.
pub const SEARCH_TOOL: &str = "web_search";
/// Words that a model searches for of itself.
const QUERY_WORDS: usize = 6;
/// Words of a sentence.
const SENTENCE_WORDS: usize = 16;

/// Why it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    Calls,
    Limit,
    Context,
    Refused,
    Filtered,
    Paused,
}

/// What it said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub(super) text: String,
    /// Calls of tools, by name and arguments.
    pub(super) calls: Vec<(String, Value)>,
    pub(super) ending: Ending,
    /// Tokens that it thought.
    pub(super) thought: u64,
}

impl Said {
    fn new(text: impl Into<String>, ending: Ending, facts: &ModelFacts) -> Self {
        Self { text: text.into(), calls: Vec::new(), ending, thought: facts.thinking_tokens }
    }

    /// What was made, without what was thought.
    pub(super) fn spoken(&self) -> u64 {
        let calls = self.calls.iter().map(|(name, arguments)| tokens_of(name) + tokens_of(&arguments.to_string()));
        tokens_of(&self.text) + calls.sum::<u64>()
    }
}

pub(super) fn said(say: &Say, asked: &Asked, facts: &ModelFacts) -> Said {
    let offers_search = asked.tools.iter().any(|tool| tool.name == SEARCH_TOOL);
    let may_search = offers_search && !asked.has_results();
    let said = match say {
        Say::Usual if may_search => searches(&[query(asked)], facts),
        Say::Search(queries) if may_search => searches(queries, facts),
        Say::Usual | Say::Search(_) => Said::new(usual(asked), Ending::Whole, facts),
        Say::Text(text) => Said::new(text, Ending::Whole, facts),
        Say::Json(value) => Said::new(value.to_string(), Ending::Whole, facts),
        Say::Calls(calls) => Said { calls: calls.clone(), ..Said::new("", Ending::Calls, facts) },
        Say::Refuse(words) => Said::new(words, Ending::Refused, facts),
        Say::Filtered => Said::new("", Ending::Filtered, facts),
        Say::CutToNothing => {
            let most = asked.output_max.unwrap_or(facts.output_max).min(facts.output_max);
            return Said { thought: most, ..Said::new("", Ending::Limit, facts) };
        }
        Say::Cut => Said::new(half(&usual(asked)), Ending::Limit, facts),
        Say::ContextFull if asked.dialect == Dialect::Anthropic => {
            Said::new(half(&usual(asked)), Ending::Context, facts)
        }
        Say::Pause if asked.dialect == Dialect::Anthropic => Said::new(half(&usual(asked)), Ending::Paused, facts),
        Say::ContextFull | Say::Pause => Said::new(half(&usual(asked)), Ending::Limit, facts),
    };
    within_limit(said, asked, facts)
}

/// No answer is longer than the request or the model allows.
fn within_limit(mut said: Said, asked: &Asked, facts: &ModelFacts) -> Said {
    let most = asked.output_max.unwrap_or(facts.output_max).min(facts.output_max);
    if said.thought + said.spoken() <= most {
        return said;
    }
    said.thought = said.thought.min(most);
    said.text = first_tokens(&said.text, most - said.thought).to_owned();
    said.calls.clear();
    said.ending = Ending::Limit;
    said
}

fn half(text: &str) -> &str {
    &text[..text.floor_char_boundary(text.len() / 2)]
}

fn searches(queries: &[String], facts: &ModelFacts) -> Said {
    let calls = queries.iter().map(|query| (SEARCH_TOOL.to_owned(), json!({ "query": query }))).collect();
    Said { calls, ..Said::new("", Ending::Calls, facts) }
}

/// What it would search for: how the user's prompt begins.
fn query(asked: &Asked) -> String {
    let user = asked.said_by(Part::User);
    user.split_whitespace().take(QUERY_WORDS).collect::<Vec<_>>().join(" ")
}

/// The answer of which nobody said anything.
fn usual(asked: &Asked) -> String {
    let (system, user) = (asked.said_by(Part::System), asked.said_by(Part::User));
    let found = asked.said_by(Part::ToolResult);
    // What stands between `<document …>` and its end is what is read; without one, the prompts themselves.
    let documents: String = system
        .split("<document")
        .skip(1)
        .filter_map(|part| part.split_once('>')?.1.split("</document").next())
        .collect::<Vec<_>>()
        .join(" ");
    let read = if documents.trim().is_empty() { format!("{system} {user}") } else { documents };
    let source = Source::new(&read, &found);
    if let Some(schema) = &asked.schema {
        return example(schema, &source).to_string();
    }
    let mut text = format!("It says: {}.", source.words("sentence", SENTENCE_WORDS));
    for url in source.urls().iter().take(2) {
        text += &format!(" See {url}.");
    }
    text
}
