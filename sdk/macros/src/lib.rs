//! Macros of the Tollgate SDK: stages, data, outputs, params and source hashes, all from the code itself.
//!
//! Use them through `tollgate_sdk::prelude`; its documentation shows each at work.

mod function;
mod handler;
mod shape;
mod source;

use proc_macro::TokenStream;

/// Marks a struct as what discovery knows of an item; stages take it as a parameter. With `#[key]` on one of its fields
/// it becomes an item by itself: `Found::all(books)`.
#[proc_macro_attribute]
pub fn data(attributes: TokenStream, item: TokenStream) -> TokenStream {
    finish(shape::data(attributes.into(), item.into()))
}

/// Marks a struct as a stage's output. The JSON Schema of its fields is the stage's contract: strings and lists are not
/// empty, unless the field says `#[may_be_empty]` or is an absent `Option`; a map may be empty. One stage returns it.
#[proc_macro_attribute]
pub fn output(attributes: TokenStream, item: TokenStream) -> TokenStream {
    finish(shape::output(attributes.into(), item.into()))
}

/// Marks a struct as params of jobs.toml. Names are kebab-case there; serde's `default` attributes work. A stage or a
/// discovery may take several such structs side by side, each with the params that it reads.
#[proc_macro_attribute]
pub fn params(attributes: TokenStream, item: TokenStream) -> TokenStream {
    finish(shape::params(attributes.into(), item.into()))
}

/// Marks a struct or an enum as a part of data, outputs or params.
#[proc_macro_attribute]
pub fn part(attributes: TokenStream, item: TokenStream) -> TokenStream {
    finish(shape::part(attributes.into(), item.into()))
}

/// Marks a function as a stage: what it takes is what it needs, what it returns is its contract.
/// A parameter `#[reads("fetch/page.html")] raw: Artifact` is an artifact of another stage; what is read through
/// `&Artifacts` instead is declared by `#[stage(reads("fetch/page.html"))]`.
#[proc_macro_attribute]
pub fn stage(attributes: TokenStream, item: TokenStream) -> TokenStream {
    finish(function::stage(attributes.into(), item.into()))
}

/// Marks a function as the discovery: it takes `&Round` and `#[params]` structs, none or several, and returns
/// `Result<Found>`.
#[proc_macro_attribute]
pub fn discover(attributes: TokenStream, item: TokenStream) -> TokenStream {
    finish(function::discover(attributes.into(), item.into()))
}

/// Makes the handler of its functions: `handler!(discover: seeds, stages: [fetch, extract]);`
///
/// The handler has the crate's name, unless another stands first: `handler!("books", stages: [fetch]);`
#[proc_macro]
pub fn handler(input: TokenStream) -> TokenStream {
    finish(handler::handler(input.into()))
}

fn finish(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(|error| error.to_compile_error()).into()
}
