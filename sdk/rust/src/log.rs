//! Structured events: a message and key-value fields. The host adds job, item, stage, attempt and handler.
//!
//! ```
//! # use tollgate_sdk::{mock, prelude::*};
//! # let host = mock::Host::new();
//! # host.run(|| {
//! log::info!("saved", size = 12, url = "https://a.example/");
//! # });
//! # assert_eq!(host.logged()[0].fields[0], ("size".into(), 12.into()));
//! ```

use serde_json::Value;

use crate::backend;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Finest.
    Trace,
    /// For the handler's author.
    Debug,
    /// For whoever runs the job.
    Info,
    /// Worth a look.
    Warn,
    /// Something is wrong.
    Error,
}

/// Logs an event; the macros [`info!`](crate::info) and its kin read better.
pub fn event(level: Level, message: &str, fields: Vec<(String, Value)>) {
    backend::log_event(level, message, fields);
}

/// Logs at a level: `log_at!(Level::Info, "saved", size = 12, url = page.url())`.
#[doc(hidden)]
#[macro_export]
macro_rules! log_at {
    ($level:expr, $message:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::log::event(
            $level,
            ::std::convert::AsRef::<str>::as_ref(&$message),
            ::std::vec![$((::std::string::String::from(stringify!($key)), $crate::serde_json::json!($value))),*],
        )
    };
}

/// Logs for the handler's author: `debug!("parsed", links = 12)`.
#[macro_export]
macro_rules! debug {
    ($($event:tt)*) => { $crate::log_at!($crate::log::Level::Debug, $($event)*) };
}

/// Logs for whoever runs the job: `info!("saved", size = 12)`.
#[macro_export]
macro_rules! info {
    ($($event:tt)*) => { $crate::log_at!($crate::log::Level::Info, $($event)*) };
}

/// Logs what is worth a look: `warn!("no title", url = url)`.
#[macro_export]
macro_rules! warn {
    ($($event:tt)*) => { $crate::log_at!($crate::log::Level::Warn, $($event)*) };
}

/// Logs what went wrong: `error!("no answer", url = url)`.
#[macro_export]
macro_rules! error {
    ($($event:tt)*) => { $crate::log_at!($crate::log::Level::Error, $($event)*) };
}

/// Logs the finest detail: `trace!("token", text = text)`.
#[macro_export]
macro_rules! trace {
    ($($event:tt)*) => { $crate::log_at!($crate::log::Level::Trace, $($event)*) };
}

pub use crate::{debug, error, info, trace, warn};
