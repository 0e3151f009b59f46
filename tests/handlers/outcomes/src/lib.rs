//! A test handler: its stages do what their item's data says, each outcome of the interface.
//!
//! Data says what each stage does: `{"first": "done", "second": "permanent"}`; a stage that isn't named is done.
//! The graph is `first → second`, and `left`, `right` → `last`, which takes whichever of the two is done.
//!
//! An action is a word, or a word and its argument: `"fetch https://a.example/"`. The module `act` lists all of them.
//! Discovery gives `count` items, `page` at a time.

mod act;
mod stages;

use stages::{first, last, left, numbers, right, second};
use tollgate_sdk::prelude::*;

handler!(discover: numbers, stages: [first, second, left, right, last]);
