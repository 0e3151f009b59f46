//! A generic crawler: keeps each raw page, finds links within bounds, takes fields by CSS selectors from params.
//!
//! It needs no code from its user: what to crawl and what to take stands in jobs.toml. Each address is fetched once;
//! `docs/pages.md` says what that means for redirects, dates of sitemaps and failures.
//!
//! ```toml
//! [job.docs]
//! kind = "backfill"
//! handler = "pages"
//! grant = ["http docs.example", "artifacts"]
//! params = { seeds = ["https://docs.example/"], follow = true, max-depth = 3, exclude = ["*/print/*"] }
//!
//! [job.docs.stage.extract.params]
//! required = ["title"]
//! fields.title = "h1"
//! fields.price = { select = ".price", parse = "number" }
//! fields.links = { select = "a", attr = "href", all = true }
//! fields.specs = { table = "table.specs" }
//! fields.text = { text = "article" }
//! ```

mod bounds;
mod crawl;
mod fields;
mod rule;

use crawl::{fetch, seeds};
use fields::extract;
use tollgate_sdk::prelude::*;

handler!(discover: seeds, stages: [fetch, extract]);
