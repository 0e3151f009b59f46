//! Background tasks that can't end unseen (S17).

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;

/// Runs a future; a panic in it becomes its message.
pub(crate) async fn catch<T>(future: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| panic_message(&*panic))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked without a message".to_owned())
}
