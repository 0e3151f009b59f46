//! A test handler: fetches pages and asks a model, in the order that its item's data says. Whoever has the pages
//! knows how far it has come.
//!
//! A step is a word and its argument: `fetch https://a.example/`, `ask Is it one?`, and `search Is it one?`, by which
//! the model may search the web first.

use tollgate_sdk::prelude::*;

/// What is done, one after the other.
#[data]
pub(crate) struct Script {
    steps: Vec<String>,
}

/// What came of it.
#[output]
pub(crate) struct Asked {
    /// The answers, in order.
    answers: Vec<String>,
}

/// Needs nothing.
#[stage]
pub(crate) fn pay(script: &Script) -> Result<Asked> {
    let mut answers = Vec::new();
    for step in &script.steps {
        let (word, rest) = step.split_once(' ').or_permanent("a step is a word and its argument")?;
        match word {
            "fetch" => drop(http::get(rest)?.ok()?.bytes()?),
            "ask" => answers.push(llm::ask(rest).call()?),
            "search" => answers.push(llm::ask(rest).web_search().call()?),
            _ => return Err(StageError::permanent(format!("there is no step {word:?}"))),
        }
    }
    Ok(Asked { answers })
}

handler!(stages: [pay]);
