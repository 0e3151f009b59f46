//! A handler as a value: what `handler!` makes of the functions, and what the host asks of it.

use serde_json::{Map, Value, json};

use crate::{
    error::{Result, StageError},
    items::{Found, NewItem, Round},
    stage::{Made, Task},
};

/// A stage as `#[stage]` makes it.
#[doc(hidden)]
pub trait Stage {
    /// The function's name.
    const NAME: &'static str;
    /// The first line of its documentation.
    const SUMMARY: &'static str;
    /// Artifacts that it reads, as `stage/name`.
    const READS: &'static [&'static str];
    /// Stages that it needs.
    fn needs() -> Vec<String>;
    /// JSON Schema of its output.
    fn produces() -> Value;
    /// JSON Schemas of the params that it reads.
    fn params() -> Vec<Value>;
    /// Runs it.
    ///
    /// # Errors
    /// As the function says.
    fn run(task: &Task) -> Result<Made>;
}

/// A discovery as `#[discover]` makes it.
#[doc(hidden)]
pub trait Discover {
    /// JSON Schemas of the params that it reads.
    fn params() -> Vec<Value>;
    /// Runs one page.
    ///
    /// # Errors
    /// As the function says.
    fn run(round: &Round) -> Result<Found>;
}

/// A stage of a [`Handler`].
#[doc(hidden)]
pub struct StageDef {
    /// Its name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Artifacts that it reads.
    pub reads: &'static [&'static str],
    /// Digest of the sources that it is made of.
    pub source_hash: &'static str,
    /// Stages that it needs.
    pub needs: fn() -> Vec<String>,
    /// JSON Schema of its output.
    pub produces: fn() -> Value,
    /// JSON Schemas of its params.
    pub params: fn() -> Vec<Value>,
    /// Runs it.
    pub run: fn(&Task) -> Result<Made>,
}

impl StageDef {
    /// The definition of a stage, with the hash of its sources.
    #[must_use]
    pub fn of<S: Stage>(source_hash: &'static str) -> Self {
        Self {
            name: S::NAME,
            summary: S::SUMMARY,
            reads: S::READS,
            source_hash,
            needs: S::needs,
            produces: S::produces,
            params: S::params,
            run: S::run,
        }
    }
}

/// The discovery of a [`Handler`].
#[doc(hidden)]
pub struct DiscoverDef {
    /// JSON Schemas of its params.
    pub params: fn() -> Vec<Value>,
    /// Runs one page.
    pub run: fn(&Round) -> Result<Found>,
}

impl DiscoverDef {
    /// The definition of a discovery.
    #[must_use]
    pub fn of<D: Discover>() -> Self {
        Self { params: D::params, run: D::run }
    }
}

/// A whole handler. In unit tests, `handler()` of the handler's crate gives it.
pub struct Handler {
    /// Its name.
    pub name: &'static str,
    /// Its crate's version.
    pub version: &'static str,
    /// Its crate's description.
    pub summary: &'static str,
    /// Its discovery.
    pub discover: Option<DiscoverDef>,
    /// Its stages, in order.
    pub stages: Vec<StageDef>,
}

impl Handler {
    /// Runs one stage by its name.
    ///
    /// # Errors
    /// There is no such stage, or as the stage says.
    pub fn process(&self, task: &Task) -> Result<Made> {
        let stage = self.stages.iter().find(|stage| stage.name == task.stage);
        let stage = stage.ok_or_else(|| StageError::Failed(format!("{} has no stage {:?}", self.name, task.stage)))?;
        (stage.run)(task)
    }

    /// Runs one page of discovery.
    ///
    /// # Errors
    /// There is no discovery, or as it says.
    pub fn discover(&self, round: &Round) -> Result<Found> {
        let none = || StageError::Failed(format!("{} has no discovery", self.name));
        let found = (self.discover.as_ref().ok_or_else(none)?.run)(round)?;
        found.items.iter().try_for_each(NewItem::check)?;
        Ok(found)
    }

    /// JSON Schema of a job's params: all that any stage or the discovery reads, and nothing else, so that a typo in
    /// jobs.toml is found. What each of them wants for itself, required params included, stands under `$defs`, as
    /// `stage.NAME` and `discover`: a job's params may be complete with those of a stage only.
    #[must_use]
    pub fn params_schema(&self) -> Value {
        let of_stages = self.stages.iter().map(|stage| (format!("stage.{}", stage.name), (stage.params)()));
        let of_discovery = self.discover.iter().map(|discover| ("discover".to_owned(), (discover.params)()));
        let readers: Vec<(String, Vec<Value>)> = of_stages.chain(of_discovery).collect();
        let mut properties: Map<String, Value> = Map::new();
        for mut schema in readers.iter().flat_map(|(_, schemas)| schemas.clone()) {
            let Some(Value::Object(some)) = schema.get_mut("properties").map(Value::take) else {
                continue;
            };
            for (name, property) in some {
                match properties.get_mut(&name) {
                    None => {
                        properties.insert(name, property);
                    }
                    Some(known) if *known == property => {}
                    // Two structs read one param: it has to suit both.
                    Some(known) => *known = json!({"allOf": [known.take(), property]}),
                }
            }
        }
        let own: Map<String, Value> = readers
            .into_iter()
            .filter(|(_, schemas)| !schemas.is_empty())
            .map(|(reader, schemas)| (reader, json!({"allOf": schemas})))
            .collect();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
            "$defs": own,
        })
    }
}
