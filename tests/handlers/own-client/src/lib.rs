//! A test handler that brings a client of its own: `wstd` for what people do, WASI's bare bindings
//! for what they shouldn't.
//!
//! Data says what the stage does: `{"ask": "get https://a.example/"}`. The SDK describes it; it
//! asks for nothing through it.

mod bare;
mod client;

use tollgate_sdk::prelude::*;

/// What the stage does: a word and its argument. The modules `client` and `bare` list them.
#[data]
struct Asked {
    ask: String,
}

/// What came of it.
#[output]
#[derive(Debug, PartialEq)]
struct Said {
    text: String,
}

/// Does what its item says.
#[stage]
fn ask(item: &Asked) -> Result<Said> {
    let (word, rest) = item.ask.split_once(' ').or_permanent("an action is a word and its argument")?;
    let done = client::act(word, rest).or_else(|| bare::act(word, rest));
    let done = done.or_permanent(&format!("no such action: {word:?}"))?;
    Ok(Said { text: done.map_err(StageError::failed)? })
}

handler!(stages: [ask]);
