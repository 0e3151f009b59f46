//! The API under `/api/v1` and the overview page, over the engine's operations.
//!
//! The program speaks this API too: over loopback to a running host, in-process to a stopped one.

pub mod api;
mod guard;
mod page;
mod serve;

pub use guard::{TOKEN_FILE, Token};
pub use serve::{HOST_FILE, HostFile, Server, serve};

use std::sync::Arc;

use axum::Router;
use tollgate_engine::Operations;

/// The whole router: the API behind the token, the page for anyone on loopback.
pub fn router(operations: Arc<Operations>, token: Token) -> Router {
    let api = api::router(operations.clone()).layer(axum::middleware::from_fn_with_state(token, guard::token));
    page::router(operations).nest("/api/v1", api).layer(axum::middleware::from_fn(guard::loopback_host))
}
