//! A generic crawler: keeps each raw page, finds links within bounds, takes fields by CSS selectors from params.
//!
//! It needs no code from its user: what to crawl and what to take stands in jobs.toml. Each page is requested once.

mod bounds;
mod crawl;
mod fields;

use crawl::{fetch, seeds};
use fields::extract;
use tollgate_sdk::prelude::*;

handler!("pages", discover: seeds, stages: [fetch, extract]);
