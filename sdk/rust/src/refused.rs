//! Mistakes that the compiler must refuse; each is compiled as a test of the documentation.
//!
//! A struct inside an output that isn't a `#[part]`:
//!
//! ```compile_fail,E0277
//! use tollgate_sdk::prelude::*;
//! struct Inner { size: u64 }
//! #[output]
//! struct Page { inner: Inner }
//! # fn main() {}
//! ```
//!
//! Items of a `#[data]` struct without a `#[key]`:
//!
//! ```compile_fail,E0277
//! use tollgate_sdk::prelude::*;
//! #[data]
//! struct Book { url: String }
//! fn all(books: Vec<Book>) -> Found { Found::all(books) }
//! # fn main() {}
//! ```
//!
//! Two stages that return one type:
//!
//! ```compile_fail,E0592
//! use tollgate_sdk::prelude::*;
//! #[output]
//! struct Page { size: u64 }
//! #[stage]
//! fn one() -> Result<Page> { Ok(Page { size: 1 }) }
//! #[stage]
//! fn other() -> Result<Page> { Ok(Page { size: 2 }) }
//! # fn main() {}
//! ```
