//! Events of one attempt, with job, item, stage, attempt and handler on each (M04).

use tollgate_sandbox::gates::{LogEvent, LogGate, LogLevel};

use super::AttemptName;

pub(crate) struct AttemptLog {
    name: AttemptName,
}

impl AttemptLog {
    pub(crate) fn new(name: AttemptName) -> Self {
        Self { name }
    }
}

impl LogGate for AttemptLog {
    fn event(&self, event: LogEvent) {
        let AttemptName { job, item, stage, attempt, handler } = &self.name;
        let fields = serde_json::Value::Object(event.fields.into_iter().collect());
        let message = event.message;
        macro_rules! emit {
            ($level:ident) => {
                tracing::$level!(target: "handler", job, item, stage, attempt, handler, %fields, "{message}")
            };
        }
        match event.level {
            LogLevel::Trace => emit!(trace),
            LogLevel::Debug => emit!(debug),
            LogLevel::Info => emit!(info),
            LogLevel::Warn => emit!(warn),
            LogLevel::Error => emit!(error),
        }
    }
}
