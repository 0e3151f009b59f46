//! Structured events: a message and key-value fields. The host adds job, item, stage, attempt and handler.

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
