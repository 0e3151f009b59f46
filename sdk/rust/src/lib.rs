//! What handler authors write against.
//!
//! A handler is the logic of a data job: plain functions, compiled to a WebAssembly component. It has no socket, no
//! file and no clock of its own; what it wants from the world it asks the host for, which owns the queue, the proxy,
//! the rate limits and the retries.
//!
//! # A whole handler
//!
//! `tollgate new handler books` makes a crate that builds as it is. Its `src/lib.rs` may look like this:
//!
//! ```ignore
#![doc = include_str!("../examples/books.rs")]
//! ```
//!
//! No name is written twice: a stage is called as its function is, the handler as its crate is (so `"books"` could go),
//! needs and contracts come from the types. Two stages can't return one type.
//!
//! Its Cargo.toml says `crate-type = ["cdylib", "rlib"]`, so that it builds for wasm and its tests run natively.
//! `tollgate build` compiles it into the handlers folder; by hand that is
//! `cargo build --release --target wasm32-wasip2` and a copy of the `.wasm` file.
//!
//! Its job in jobs.toml:
//!
//! ```toml
//! [job.books]
//! kind = "monitor"                       # keeps finding new items; "backfill" for a finite list
//! handler = "books"                      # handlers/books.wasm
//! grant = ["http shop.example", "artifacts"]
//! params = { list = "https://shop.example/books" }
//! discover = { every = "6h" }
//!
//! [job.books.stage.fetch]
//! concurrency = 2
//! ```
//!
//! # What a stage takes
//!
//! | parameter | is | and means |
//! |---|---|---|
//! | `book: &Book` | a `#[data]` struct | what discovery said of the item |
//! | `page: Page` | the `#[output]` of another stage | this stage needs that one, and runs after it |
//! | `text: Either<Captions, Whisper>` | one of two outputs | whichever is done; the second stage runs only where the first says `nothing-here` |
//! | `shop: &Shop` | a `#[params]` struct | `params` of jobs.toml, the stage's own laid over the job's; names are kebab-case there. A stage may take several such structs, each with the params that it reads |
//! | `#[reads("fetch/page.html")] raw: Artifact` | an artifact of another stage | this stage needs that one, and the artifact is kept until it is done |
//! | `all: &Artifacts` | the item's artifacts | put your own, list them all |
//! | `task: &Task` | everything | key, attempt, time left |
//!
//! Each may be taken owned or by reference: `page: Page` and `page: &Page` are the same to the host.
//!
//! Structs and enums inside of those bear `#[part]`; all of them derive `Debug`. A param that no struct of the handler
//! has is refused when jobs.toml is loaded, so that a typo is found; so is what is no address or selector where one is
//! asked for ([`params`]).
//!
//! # What a stage returns
//!
//! `Result<T>` with `T` an `#[output]` struct, one for each stage. Its JSON Schema is the stage's contract: the host
//! refuses an output that breaks it, and one in which a string or a list is empty, at whatever depth, unless the field
//! says `#[may_be_empty]`. A map may be empty, its values may not. What may be absent is an `Option`.
//!
//! A stage that comes upon new items, such as the links of a page, returns `Result<With<T>>`:
//! `Ok(Page { size }.found(items))`. They are submitted in the same step as the output. `.flag("…")` adds a flag: a
//! doubt that `tollgate item show` shows to people.
//!
//! # Items
//!
//! A `#[data]` struct with a `#[key]` field is an item by itself; the key is unique in its job, and one that is known
//! already is left alone. `NewItem::from(book).revision(changed_at)` reopens it when the revision differs,
//! `.priority(1)` puts it before others.
//!
//! # Discovery
//!
//! A `#[discover]` function takes [`&Round`](items::Round) and `#[params]` structs, several if it likes, and returns
//! `Result<Found>`. It gives a page at a time: `Found::all(books)` ends the round, `Found::more(books, cursor)` goes
//! on, with the cursor in [`Round::cursor`](items::Round::cursor), or [`Round::page`](items::Round::page) for a number.
//! Each page is durable before the next one is asked for. [`sitemap::page`] reads all that a shop's sitemaps list; its
//! module shows a whole discovery.
//!
//! # How a stage ends without an output
//!
//! | error | what the host does | made by |
//! |---|---|---|
//! | [`StageError::RetryLater`] | tries again, uses no attempt | `.or_later("…")`, cool-downs, timeouts and connection errors by `?` |
//! | [`StageError::NothingHere`] | counts the stage as ended well; alternatives run | `.or_nothing("…")` |
//! | [`StageError::Reject`] | skips the item's later stages; nothing failed | `.or_reject("…")` |
//! | [`StageError::Blocked`] | leaves the site alone for a while, for every job | a stage that sees it; `?` while the site is left alone |
//! | [`StageError::LoginRequired`] | renews the site's session; without one, or where that doesn't help, pauses the job for a person | a stage that sees a login page |
//! | [`StageError::Permanent`] | fails the task at once | `.or_permanent("…")`, a 404 or 410 |
//! | [`StageError::Failed`] | tries again up to the stage's bound, then fails | `.or_fail("…")`, any other status from 400 up, missing artifacts, bad JSON, bad params |
//!
//! `StageError::retry_later("…").after(wait)` names a time. A stage that has seen a 5xx by [`http::Request::send`] and
//! ends with an error of its own is taken at its word; only `Failed` then counts as the site's failure.
//!
//! A discovery, which has no item, fails as a stage does: `RetryLater` and cool-downs wait as long as they say,
//! `Blocked` and `LoginRequired` mean what they mean there, and a failure is tried again. `Permanent`, or five failures
//! in a row, pause the job with the error. `NothingHere` and `Reject` are failures: there is no item that they could be
//! true of. Items of earlier pages stay.
//!
//! `?` turns the errors of [`http`], [`Artifact`], [`state`] and the services into the one that fits: an exhausted
//! budget comes later as well. A panic is a failure too; a task that panics twice in a row isn't tried again.
//!
//! # Raw first
//!
//! [`http::Response::save`] keeps a body as an artifact without taking it into the handler. A body that a stage
//! reads without saving it is kept by the host, as `raw-1`, `raw-2`, …, before the stage can parse it. Later
//! stages read artifacts instead of fetching again, and declare it: `#[reads("fetch/page.html")] raw: Artifact`.
//!
//! # Tests
//!
//! Stages are functions: a test calls them within a [`mock::Host`].
//!
//! ```
//! # fn main() {
//! # use tollgate_sdk::prelude::*;
//! # #[data]
//! # struct Book { url: String }
//! # #[output]
//! # #[derive(Debug)]
//! # struct Page { size: u64 }
//! # #[stage]
//! # fn fetch(book: &Book) -> Result<Page> {
//! #     let page = http::get(&book.url)?.save("page.html")?;
//! #     Ok(Page { size: page.size })
//! # }
//! use tollgate_sdk::mock;
//!
//! let book = Book { url: "https://shop.example/1".into() };
//! let host = mock::Host::new().page(&book.url, "<h1>Emma</h1>");
//! let page = host.run(|| fetch(&book)).unwrap();
//! assert_eq!(page.size, 13);
//!
//! let gone = mock::Host::new().status(&book.url, 404).run(|| fetch(&book));
//! assert!(matches!(gone, Err(StageError::Permanent(_))));
//! # }
//! ```
//!
//! What a stage puts or saves is found under its function's name: `host.artifact_body("fetch", "page.html")`.
//!
//! # A stage may run twice
//!
//! A stage runs again after a failure, a lost connection or a kill of the host, and when somebody asks for it. Its
//! output, its artifacts' names and what it found are settled in one step at its end; what it wrote into [`state`]
//! before that stays, even if it fails afterwards. So keep sets of keys in `state`, not counters, and let a second run
//! write the same again.
//!
//! # State and logs
//!
//! [`state`] is a key-value store of the job, shared by its items: [`state::update`] changes an entry safely beside
//! others. Writes are durable at once, and don't wait for the output. [`log::info!`] and its kin log a message with
//! fields: `log::info!("saved", size = page.size)`.
//!
//! # Pages
//!
//! [`html`] takes pages apart by CSS selectors; [`links`] finds links in one pass, for stages that fetch; [`sitemap`]
//! reads sitemaps. They are the feature `html`, on by default. [`text`] makes values of words: [`text::number`] of a
//! price, [`text::pairs`] of a table's rows. [`tickers`] tells a company's own earnings call by its title, [`quarters`]
//! which quarter it is about.
//!
//! # Models, search, speech, tools
//!
//! [`llm`], [`search`], [`speech`] and [`tools`] ask the host, which holds the keys and keeps the budget. What a
//! handler calls, its job must be granted: else the host refuses it at load, and prints the line that grants it.
//!
//! # Staleness
//!
//! [`handler!`](prelude::handler) computes a hash for each stage from the crate's sources, so that the host knows
//! which outputs another version of the code would make anew. It covers every item of the crate but the other stages'
//! own functions and what only they name, and the closure of dependencies in Cargo.lock. Comments, formatting and tests
//! don't count; but in a crate that asks a model ([`llm`]), comments on its types do, since the model reads them.
//! Features given on cargo's command line aren't seen: name them in Cargo.toml.

// The macros name the SDK by its outer name, inside of it as well.
#[cfg(target_family = "wasm")]
extern crate self as tollgate_sdk;

pub mod artifacts;
mod backend;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod bindings;
mod charset;
mod error;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod export;
pub mod handler;
#[cfg(feature = "html")]
pub mod html;
pub mod http;
pub mod items;
#[cfg(feature = "html")]
pub mod links;
pub mod llm;
pub mod log;
#[cfg(not(target_family = "wasm"))]
pub mod mock;
mod or_end;
pub mod params;
pub mod quarters;
#[cfg(doctest)]
mod refused;
#[cfg(feature = "html")]
mod scan;
pub mod search;
#[cfg(feature = "html")]
pub mod sitemap;
pub mod speech;
pub mod stage;
pub mod state;
pub mod text;
pub mod tickers;
pub mod tools;

pub use artifacts::{Artifact, Artifacts};
pub use error::{ArtifactError, HttpError, Result, ServiceError, StageError, StateError, ToolError};
pub use or_end::OrEnd;
pub use serde_json::{Map, Value, json};

#[doc(hidden)]
pub use {schemars, serde, serde_json};

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub use wit_bindgen;

/// All that a handler needs: `use tollgate_sdk::prelude::*;`
pub mod prelude {
    pub use crate::{
        Artifact, Artifacts, HttpError, OrEnd, Result, StageError, http,
        items::{Found, NewItem, Round},
        llm, log,
        params::{Address, Selector},
        search, speech,
        stage::{Either, OutputExt, Task, With},
        state, text, tools,
    };
    #[cfg(feature = "html")]
    pub use crate::{links, sitemap};
    pub use tollgate_sdk_macros::{data, discover, handler, output, params, part, stage};
}
