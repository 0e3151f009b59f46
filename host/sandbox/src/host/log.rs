//! `log`: structured events.

use serde_json::Value;

use crate::{
    bindings::v0_1::tollgate::handler::log,
    gates::{LogEvent, LogLevel},
    guest::{Guest, one_line},
};

/// Fields of one event; how many more there were stands in a field of its own.
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
        let texts = fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.log.take(message.len() + texts)?;
        let dropped = fields.len().saturating_sub(FIELDS_MAX);
        let field = |(name, value): (String, String)| {
            // A value that is no JSON is still worth reading.
            let mut value = serde_json::from_str(&value).unwrap_or(Value::String(value));
            clean(&mut value);
            (one_line(&name), value)
        };
        let mut fields: Vec<_> = fields.into_iter().take(FIELDS_MAX).map(field).collect();
        if dropped > 0 {
            fields.push(("fields-dropped".to_owned(), Value::from(dropped)));
        }
        self.log.event(LogEvent { level, message, fields });
        Ok(())
    }
}

/// Cleans every text of a value. As deep as the parser went, which has a limit.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) => *text = one_line(text),
        Value::Array(list) => list.iter_mut().for_each(clean),
        Value::Object(fields) => {
            let cleaned = std::mem::take(fields).into_iter().map(|(name, mut value)| {
                clean(&mut value);
                (one_line(&name), value)
            });
            *fields = cleaned.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
