//! What handler authors write against.
//!
//! A handler is the logic of a data job: plain functions, compiled to a WebAssembly component. It has no socket, no
//! file and no clock of its own; what it wants from the world it asks the host for, which owns the queue, the proxy,
//! the rate limits and the retries.
//!
//! # A whole handler
//!
//! `tollgate new handler books` makes a crate with this shape:
//!
//! ```
//! //! Books of a shop: keep the page, take title and price.
//! use tollgate_sdk::prelude::*;
//!
//! /// What discovery knows of a book. Its address is the item's key.
//! #[data]
//! struct Book {
//!     #[key]
//!     url: String,
//! }
//!
//! /// Settings of the job, from `params` in jobs.toml.
//! #[params]
//! struct Shop {
//!     /// Address of the list of books.
//!     list: String,
//!     #[serde(default = "ten")]
//!     most_pages: u64,
//! }
//!
//! fn ten() -> u64 {
//!     10
//! }
//!
//! #[output]
//! struct Page {
//!     size: u64,
//! }
//!
//! #[output]
//! struct Offer {
//!     title: String,
//!     price: Option<String>,
//!     #[may_be_empty]
//!     authors: Vec<String>,
//! }
//!
//! /// The shop's list, page by page.
//! #[discover]
//! fn list(round: &Round, shop: &Shop) -> Result<Found> {
//!     let page = http::get(&format!("{}?page={}", shop.list, round.page()))?.html()?;
//!     let links = page.select("a.book")?.into_iter().filter_map(|element| element.link("href"));
//!     let books: Vec<Book> = links.map(|url| Book { url }).collect();
//!     let next = round.page() + 1;
//!     let is_last = books.is_empty() || next == shop.most_pages;
//!     Ok(if is_last { Found::all(books) } else { Found::more(books, next) })
//! }
//!
//! /// Keeps the raw page; parses nothing.
//! #[stage]
//! fn fetch(book: &Book) -> Result<Page> {
//!     let page = http::get(&book.url)?.save("page.html")?;
//!     Ok(Page { size: page.size })
//! }
//!
//! /// Needs `fetch`, because it takes a `Page`.
//! #[stage]
//! fn extract(_page: Page, book: &Book, #[reads("fetch/page.html")] raw: Artifact) -> Result<Offer> {
//!     let page = raw.html(&book.url)?;
//!     Ok(Offer {
//!         title: page.text_of("h1")?.or_reject("no title: not a book")?,
//!         price: page.text_of(".price")?,
//!         authors: page.select(".author")?.iter().map(|author| author.text()).collect(),
//!     })
//! }
//! # fn main() {}
//! ```
//!
//! and, at its end, what makes a handler of the functions; its name is the crate's:
//!
//! ```text
//! handler!(discover: list, stages: [fetch, extract]);
//! ```
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
//! | `shop: &Shop` | a `#[params]` struct | `params` of jobs.toml, the stage's own laid over the job's; names are kebab-case there |
//! | `#[reads("fetch/page.html")] raw: Artifact` | an artifact of another stage | it is kept until this stage is done |
//! | `all: &Artifacts` | the item's artifacts | put your own, list them all |
//! | `task: &Task` | everything | key, attempt, time left |
//!
//! Structs and enums inside of those bear `#[part]`.
//!
//! # What a stage returns
//!
//! `Result<T>` with `T` an `#[output]` struct, one for each stage. Its JSON Schema is the stage's contract: the host
//! refuses an output that breaks it, and one in which a string or a list is empty, unless the field says
//! `#[may_be_empty]`. What may be absent is an `Option`.
//!
//! A stage that comes upon new items, such as the links of a page, returns `Result<With<T>>`:
//! `Ok(Page { size }.found(items))`. They are submitted in the same step as the output. `.flag("…")` adds a doubt
//! that is shown to people.
//!
//! # How a stage ends without an output
//!
//! | error | what the host does | made by |
//! |---|---|---|
//! | [`StageError::RetryLater`] | tries again, uses no attempt | `.or_later("…")`, cool-downs, timeouts and connection errors by `?` |
//! | [`StageError::NothingHere`] | counts the stage as ended well; alternatives run | `.or_nothing("…")` |
//! | [`StageError::Reject`] | skips the item's later stages; nothing failed | `.or_reject("…")` |
//! | [`StageError::Blocked`] | leaves the site alone for a while, for every job | a 403 or 451, a guard |
//! | [`StageError::LoginRequired`] | renews the session, or asks a person | a 401 |
//! | [`StageError::Permanent`] | fails the task at once | `.or_permanent("…")`, a 404 or 410, bad params |
//! | [`StageError::Failed`] | tries again up to the stage's bound, then fails | `.or_fail("…")`, a 5xx, missing artifacts, bad JSON |
//!
//! `?` turns the errors of [`http`], [`Artifacts`] and [`state`] into the one that fits. A panic is a failure too; a
//! task that panics twice in a row isn't tried again.
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
//! # State and logs
//!
//! [`state`] is a key-value store of the job, shared by its items: [`state::update`] changes an entry safely beside
//! others. [`info!`] and its kin log a message with fields: `info!("saved", size = page.size)`.
//!
//! # Staleness
//!
//! [`handler!`](prelude::handler) computes a hash for each stage from the crate's sources, so that the host knows
//! which outputs another version of the code would make anew. Comments, formatting and tests don't count.

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
pub mod search;
#[cfg(feature = "html")]
pub mod sitemap;
pub mod speech;
pub mod stage;
pub mod state;
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
        llm, log, search, speech,
        stage::{Either, OutputExt, Task, With},
        state, tools,
    };
    #[cfg(feature = "html")]
    pub use crate::{links, sitemap};
    pub use tollgate_sdk_macros::{data, discover, handler, output, params, part, stage};
}
