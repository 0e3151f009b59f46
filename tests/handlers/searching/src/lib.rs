//! A test handler: searches the web for what its item's data says, query by query.
//!
//! Data says what is searched for: `{"queries": [{"query": "anvils", "limit": 3}]}`. The output of `first`
//! bears what each query found.

use tollgate_sdk::prelude::*;

/// What is searched for, one query after the other.
#[data]
pub(crate) struct Script {
    queries: Vec<Query>,
}

/// A search.
#[data]
pub(crate) struct Query {
    query: String,
    /// Pages at the most.
    limit: u32,
}

/// What all queries found.
#[output]
pub(crate) struct Searched {
    /// Of each query, in order.
    found: Vec<Answer>,
}

/// What one query found.
#[output]
pub(crate) struct Answer {
    query: String,
    #[may_be_empty]
    pages: Vec<Page>,
}

/// A page that was found.
#[output]
pub(crate) struct Page {
    title: String,
    url: String,
    snippet: String,
}

/// Searches for each.
#[stage]
pub(crate) fn first(script: &Script) -> Result<Searched> {
    let mut found = Vec::with_capacity(script.queries.len());
    for Query { query, limit } in &script.queries {
        let pages = search::web(query, *limit)?.into_iter();
        let page = |search::Hit { title, url, snippet }| Page { title, url, snippet };
        found.push(Answer { query: query.clone(), pages: pages.map(page).collect() });
    }
    Ok(Searched { found })
}

handler!(stages: [first]);
