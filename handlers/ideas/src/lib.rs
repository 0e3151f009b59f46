//! Theses of an investment-ideas site: finds them in its listing, keeps each page, takes the thesis out of it,
//! and asks a model whether it is one and what it says.
//!
//! What is particular to a site stands in params: the listing's address, and by which selectors its parts are found.
//! Proxy, session, rate and the pages that aren't content are the site's entry in jobs.toml, and no word of them is
//! here.
//!
//! ```toml
//! [job.ideas]
//! kind = "monitor"
//! handler = "ideas"
//! grant = ["http ideas.example", "artifacts", "llm cheap"]
//! params = { listing = "https://ideas.example/ideas" }
//! discover = { every = "6h" }
//!
//! [job.ideas.stage.enrich]
//! when = "extract.words >= 100"        # what is shorter is no thesis: no model is paid to say so
//! ```

mod listing;
mod thesis;
mod verdict;

use listing::list;
use thesis::{extract, fetch};
use tollgate_sdk::prelude::*;
use verdict::enrich;

handler!(discover: list, stages: [fetch, extract, enrich]);
