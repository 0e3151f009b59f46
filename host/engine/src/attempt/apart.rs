//! Work for an attempt in a task of its own: a guest that has to wait for its turn to compute holds up nobody else.

use std::{future::Future, panic::resume_unwind};

use tokio::task::JoinSet;

/// What comes of it. Let go of, it ends. Absent: somebody else has ended it, and nobody but this call could. It panics
/// where the work does.
pub(super) async fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let mut tasks = JoinSet::new();
    tasks.spawn(work);
    match tasks.join_next().await? {
        Ok(done) => Some(done),
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}
