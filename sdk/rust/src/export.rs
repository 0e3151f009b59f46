//! The wasm side of `handler!`: from the interface's values to the SDK's and back.

use serde_json::Value;

use crate::{
    bindings::{
        exports::tollgate::handler::stages::{DiscoverContext, Discovery, HandlerInfo, StageInfo},
        tollgate::handler::types,
    },
    error::{Result, StageError},
    handler::Handler,
    items::{NewItem, Round},
    stage::Task,
};

/// What the handler says of itself.
#[must_use]
pub fn describe(handler: &Handler) -> HandlerInfo {
    HandlerInfo {
        name: handler.name.to_owned(),
        version: handler.version.to_owned(),
        summary: handler.summary.to_owned(),
        stages: handler
            .stages
            .iter()
            .map(|stage| StageInfo {
                name: stage.name.to_owned(),
                summary: stage.summary.to_owned(),
                needs: Some((stage.needs)()),
                reads: stage.reads.iter().map(|read| (*read).to_owned()).collect(),
                produces: (stage.produces)().to_string(),
                source_hash: Some(stage.source_hash.to_owned()),
            })
            .collect(),
        params: handler.params_schema().to_string(),
        discovers: handler.discover.is_some(),
    }
}

/// One page of discovery.
///
/// # Errors
/// As the discovery says.
pub fn discover(handler: &Handler, context: DiscoverContext) -> std::result::Result<Discovery, types::StageError> {
    let run = || {
        let params = json(&context.params, "params")?;
        handler.discover(&Round { job: context.job.clone(), params, cursor: context.cursor.clone() })
    };
    let found = run().map_err(stage_error)?;
    Ok(Discovery { items: found.items.into_iter().map(new_item).collect(), cursor: found.cursor })
}

/// One task.
///
/// # Errors
/// As the stage says.
pub fn process(handler: &Handler, task: types::Task) -> std::result::Result<types::Output, types::StageError> {
    let run = || -> Result<types::Output> {
        let inputs = match json(&task.inputs, "inputs")? {
            Value::Object(inputs) => inputs,
            other => return Err(StageError::Failed(format!("inputs are no JSON object: {other}"))),
        };
        let made = handler.process(&Task {
            data: json(&task.data, "data")?,
            inputs,
            params: json(&task.params, "params")?,
            job: task.job,
            stage: task.stage,
            item_key: task.item_key,
            attempt: task.attempt,
            time_left_ms: task.time_left,
        })?;
        Ok(types::Output {
            fields: serde_json::to_string(&made.fields)
                .map_err(|error| StageError::Failed(format!("the output can't be written as JSON: {error}")))?,
            found: made.found.into_iter().map(new_item).collect(),
            quality_flags: made.flags,
        })
    };
    run().map_err(stage_error)
}

fn json(text: &str, what: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| StageError::Failed(format!("{what}: {error}")))
}

fn new_item(item: NewItem) -> types::NewItem {
    types::NewItem { key: item.key, data: item.data.to_string(), priority: item.priority, revision: item.revision }
}

fn stage_error(error: StageError) -> types::StageError {
    match error {
        StageError::RetryLater { reason, after } => types::StageError::RetryLater(types::Retry {
            reason,
            after: after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        }),
        StageError::NothingHere(reason) => types::StageError::NothingHere(reason),
        StageError::Reject(reason) => types::StageError::Reject(reason),
        StageError::Blocked(reason) => types::StageError::Blocked(reason),
        StageError::LoginRequired(reason) => types::StageError::LoginRequired(reason),
        StageError::Permanent(reason) => types::StageError::Permanent(reason),
        StageError::Failed(reason) => types::StageError::Failed(reason),
    }
}
