//! A test handler: asks models what its item's data says, call by call.
//!
//! Data says what each stage asks: `{"first": [{"ask": "Is it one?", "extract": true}], "second": [{"ask": "Sum it
//! up."}]}`. A stage without calls is done at once, and asks nothing. `second` needs `first`. The stage's output bears
//! each answer with what it took, and each error that a call was told to swallow.

mod asking;

use asking::{Answered, Call};
use tollgate_sdk::prelude::*;

/// What each stage asks, one call after the other.
#[data]
#[derive(Default)]
pub(crate) struct Script {
    /// Of `first`.
    #[serde(default)]
    first: Vec<Call>,
    /// Of `second`.
    #[serde(default)]
    second: Vec<Call>,
}

/// What came of the calls of `first`.
#[output]
pub(crate) struct First {
    /// Of each call that was answered, in order.
    #[may_be_empty]
    answered: Vec<Answered>,
    /// What was said to each call that was not.
    #[may_be_empty]
    swallowed: Vec<String>,
}

/// What came of the calls of `second`.
#[output]
pub(crate) struct Second {
    /// Of each call that was answered, in order.
    #[may_be_empty]
    answered: Vec<Answered>,
    /// What was said to each call that was not.
    #[may_be_empty]
    swallowed: Vec<String>,
}

/// Needs nothing.
#[stage]
pub(crate) fn first(script: &Script) -> Result<First> {
    let (answered, swallowed) = asking::ask_all(&script.first)?;
    Ok(First { answered, swallowed })
}

/// Needs `first`.
#[stage]
pub(crate) fn second(_first: First, script: &Script) -> Result<Second> {
    let (answered, swallowed) = asking::ask_all(&script.second)?;
    Ok(Second { answered, swallowed })
}

handler!(stages: [first, second]);
