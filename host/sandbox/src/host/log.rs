//! `log`: structured events.

use tollgate_core::task::clean_message;

use crate::{
    bindings::v0_1::tollgate::handler::log,
    gates::{LogEvent, LogLevel},
    guest::Guest,
};

/// Fields of one event.
const FIELDS_MAX: usize = 50;

impl log::Host for Guest {
    async fn event(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        let field = |(name, value): (String, String)| {
            // A value that is no JSON is still worth reading.
            let value = serde_json::from_str(&value).unwrap_or(serde_json::Value::String(value));
            (clean_message(&name), value)
        };
        let fields = fields.into_iter().take(FIELDS_MAX).map(field).collect();
        self.log.event(LogEvent { level, message, fields })?;
        Ok(())
    }
}
