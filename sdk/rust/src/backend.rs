//! Where host calls go: to the host from wasm, to the mock host from a native unit test.
//!
//! Both sides offer the same functions, so that the rest of the SDK, and every handler, is the same code for both.

#[cfg(target_family = "wasm")]
mod guest;

#[cfg(target_family = "wasm")]
pub(crate) use guest::*;

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::mock::backend::*;
