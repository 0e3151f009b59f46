//! What stages take and make: the traits behind `#[stage]`, `#[data]`, `#[output]` and `#[params]`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    error::{Result, StageError},
    items::{IntoItem, NewItem},
};

/// One piece of work: this stage, for this item.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Task {
    /// The job.
    pub job: String,
    /// The stage.
    pub stage: String,
    /// The item's key.
    pub item_key: String,
    /// What discovery said of the item.
    pub data: Value,
    /// Outputs of the stages that this one needs, keyed by stage.
    pub inputs: Map<String, Value>,
    /// The job's params with the stage's laid over them.
    pub params: Value,
    /// 1 for the first try.
    pub attempt: u32,
    /// What was left of the task's own time when it began, in milliseconds.
    pub time_left_ms: u64,
}

/// What a stage may take as a parameter.
#[diagnostic::on_unimplemented(
    message = "a stage can't take a `{Self}`",
    label = "not something that the host gives",
    note = "a stage takes: a `#[data]` type, the `#[output]` type of another stage, `Either` of two of those, a `#[params]` type, `#[reads(\"stage/name\")]` and an `Artifact`, `&Artifacts` or `&Task`"
)]
pub trait StageParam: Sized {
    /// Takes it out of the task.
    ///
    /// # Errors
    /// It isn't there, or has another shape.
    fn take(task: &Task) -> Result<Self>;

    /// The need that it stands for: `fetch`, or `captions|whisper`.
    #[must_use]
    fn need() -> Option<String> {
        None
    }

    /// The JSON Schema of the params that it reads.
    #[must_use]
    fn params_schema() -> Option<Value> {
        None
    }
}

impl StageParam for Task {
    fn take(task: &Task) -> Result<Self> {
        Ok(task.clone())
    }
}

/// What discovery knows of an item: made by `#[data]`.
pub trait Data: Serialize + DeserializeOwned {}

/// What a field of data, outputs or params may be: made by `#[part]`, and there for what serde and schemars know.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a field of data, outputs or params",
    label = "no part of an item, an output or params",
    note = "write `#[part]` above `{Self}`; a type of another crate must implement serde's traits and schemars' `JsonSchema`"
)]
pub trait Part {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + JsonSchema> Part for T {}

/// Asks whether a field's type is a [`Part`]: the compiler's answer says what to do.
#[doc(hidden)]
pub const fn is_part<T: Part>() {}

/// A stage's output: made by `#[output]`.
pub trait Output: Serialize + DeserializeOwned + JsonSchema {}

/// Says which stage makes an output: made by `#[stage]`, so that no name is written twice.
#[diagnostic::on_unimplemented(
    message = "no stage makes a `{Self}`",
    note = "a stage takes the output of another by its type: some `#[stage]` function must return `Result<{Self}>`"
)]
pub trait MadeBy: Output {
    /// That stage's name.
    const STAGE: &'static str;
}

/// Takes the data of the item.
///
/// # Errors
/// It doesn't have the shape of `T`: names the field.
#[doc(hidden)]
pub fn take_data<T: DeserializeOwned>(task: &Task) -> Result<T> {
    T::deserialize(&task.data).map_err(|error| StageError::Permanent(format!("the item's data: {error}")))
}

/// Takes the output of a stage.
///
/// # Errors
/// The host didn't give it, or it doesn't have the shape of `T`.
#[doc(hidden)]
pub fn take_input<T: MadeBy>(task: &Task) -> Result<T> {
    let input = task.inputs.get(T::STAGE);
    let input = input.ok_or_else(|| StageError::Failed(format!("the output of stage {} is missing", T::STAGE)))?;
    T::deserialize(input).map_err(|error| StageError::Failed(format!("the output of stage {}: {error}", T::STAGE)))
}

/// Takes params out of a JSON object.
///
/// # Errors
/// They don't have the shape of `T`: names the param. It is a failure, not the item's end: every item meets it, and the
/// breaker pauses the job.
#[doc(hidden)]
pub fn take_params<T: DeserializeOwned>(params: &Value) -> Result<T> {
    T::deserialize(params).map_err(|error| StageError::Failed(format!("params in jobs.toml: {error}")))
}

/// The output of whichever of two stages is done; the first is the cheaper one, and is preferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first stage's.
    First(A),
    /// The second stage's.
    Second(B),
}

impl<A: MadeBy, B: MadeBy> StageParam for Either<A, B> {
    fn take(task: &Task) -> Result<Self> {
        if task.inputs.contains_key(A::STAGE) {
            take_input(task).map(Self::First)
        } else {
            take_input(task).map(Self::Second)
        }
    }

    fn need() -> Option<String> {
        Some(format!("{}|{}", A::STAGE, B::STAGE))
    }
}

/// An output with what else the stage came upon.
#[derive(Debug, Clone, PartialEq)]
pub struct With<T> {
    /// The output itself.
    pub output: T,
    /// New items, submitted in the same step as the output.
    pub found: Vec<NewItem>,
    /// Flags: doubts that a person should see.
    pub flags: Vec<String>,
}

impl<T> With<T> {
    /// Adds items that the stage came upon.
    #[must_use]
    pub fn found(mut self, items: impl IntoIterator<Item = impl IntoItem>) -> Self {
        self.found.extend(items.into_iter().map(IntoItem::into_item));
        self
    }

    /// Adds a flag: a doubt that a person should see.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }
}

impl<T: Output> From<T> for With<T> {
    fn from(output: T) -> Self {
        Self { output, found: Vec::new(), flags: Vec::new() }
    }
}

/// Adds found items or flags to an output.
pub trait OutputExt: Output {
    /// The output, with items that the stage came upon.
    fn found(self, items: impl IntoIterator<Item = impl IntoItem>) -> With<Self> {
        With::from(self).found(items)
    }

    /// The output, with a flag: a doubt that a person should see.
    fn flag(self, flag: impl Into<String>) -> With<Self> {
        With::from(self).flag(flag)
    }
}

impl<T: Output> OutputExt for T {}

/// What a stage function returns, unwrapped: an output, alone or [`With`] more.
pub trait StageReturn {
    /// The output.
    type Output: Output;

    /// The output with what else there is.
    fn with(self) -> With<Self::Output>;
}

impl<T: Output> StageReturn for T {
    type Output = T;

    fn with(self) -> With<T> {
        self.into()
    }
}

impl<T: Output> StageReturn for With<T> {
    type Output = T;

    fn with(self) -> Self {
        self
    }
}

/// An output on its way to the host.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The output's fields.
    pub fields: Value,
    /// New items.
    pub found: Vec<NewItem>,
    /// Flags.
    pub flags: Vec<String>,
}

impl Made {
    /// Makes it of what a stage returned.
    ///
    /// # Errors
    /// The output can't be written as a JSON object.
    pub fn of<R: StageReturn>(returned: R) -> Result<Self> {
        let With { output, found, flags } = returned.with();
        let fields = serde_json::to_value(output)?;
        if !fields.is_object() {
            return Err(StageError::Failed(format!("an output must be a JSON object, this one is {}", Kind(&fields))));
        }
        found.iter().try_for_each(NewItem::check)?;
        Ok(Self { fields, found, flags })
    }
}

struct Kind<'a>(&'a Value);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        })
    }
}

/// Writes the schema of a stage's output or params: self-contained, so that schemas of several types can be merged.
#[doc(hidden)]
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Value {
    let settings =
        schemars::generate::SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().into()
}

/// Needs of a stage: those of its parameters, and the stages whose artifacts it reads.
#[doc(hidden)]
#[must_use]
pub fn needs_of(name: &str, needs: Vec<String>, reads: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let stages_read = reads.iter().filter_map(|read| read.split_once('/')).map(|(stage, _)| stage);
    for need in needs {
        if !all.contains(&need) {
            all.push(need);
        }
    }
    for stage in stages_read {
        let is_named = all.iter().any(|need| need.split('|').any(|alternative| alternative == stage));
        // What a stage put itself in an earlier attempt is no need of it.
        if stage != name && !is_named {
            all.push(stage.to_owned());
        }
    }
    all
}
