//! Loads a handler: read, refuse, hash, compile, link, describe, check. Nothing of it is visible until all is well.

use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::Arc,
    time::Duration,
};

use tollgate_core::{
    StageName,
    contract::Contract,
    graph::{Need, STAGES_MAX},
    handler::{HandlerInfo, StageInfo},
    ids::HandlerName,
};

use crate::{
    Handler, LoadError, Sandbox,
    bindings::v0_1::{HandlerPre, exports::tollgate::handler::stages},
    call::CallLimits,
    gates::{Gates, LogEvent, LogGate},
    handler::Parts,
    inspect::{Section, inspect},
};

/// Largest file of a handler, in bytes: Python's runtime makes some 40 MB.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Longest summary and version, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;
/// Largest schema, in bytes.
const SCHEMA_BYTES_MAX: usize = 1 << 20;

impl Sandbox {
    /// Loads a handler from a file.
    ///
    /// # Errors
    /// The file can't be read, is no handler, wants what isn't offered, or doesn't describe itself.
    pub async fn load(self: &Arc<Self>, name: &HandlerName, file: &Path) -> Result<Arc<Handler>, LoadError> {
        let bytes = read(file)?;
        let inspected = inspect(&bytes)?;
        let digests = inspected.digests;
        let component = self.compile.component(&self.engine, file, bytes, digests.artifact).await?;
        let link = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let instance = self.linker.instantiate_pre(&component).map_err(link)?;
        let pre = HandlerPre::new(instance).map_err(link)?;
        let parts = Parts { pre, engine: self.engine.clone(), running: self.running.clone() };
        let limits = CallLimits { wall_time: Duration::from_secs(30), ..CallLimits::default() };
        let gates = Gates { http: None, artifacts: None, state: None, log: Arc::new(DescribeLog(name.clone())) };
        let described = parts.describe(gates, &limits).await.map_err(|error| LoadError::Describe(error.to_string()))?;
        let info = check(described, inspected.section.as_ref())?;
        Ok(Arc::new(Handler::new(name.clone(), info, digests, inspected.imports, parts)))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |error: std::io::Error| LoadError::Read { file: file.to_owned(), message: error.to_string() };
    let opened = File::open(file).map_err(failed)?;
    let size = opened.metadata().map_err(failed)?.len();
    if size > FILE_BYTES_MAX {
        return Err(LoadError::TooLarge { file: file.to_owned(), bytes: size, max: FILE_BYTES_MAX });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    opened.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Holds what `describe` gave to its word.
fn check(described: stages::HandlerInfo, section: Option<&Section>) -> Result<HandlerInfo, LoadError> {
    let bad = |text: String| LoadError::BadDescription(text);
    let text = |what: &str, text: String| {
        if text.len() > TEXT_BYTES_MAX {
            return Err(bad(format!("{what} has {} bytes; {TEXT_BYTES_MAX} is the limit", text.len())));
        }
        Ok(tollgate_core::task::clean_message(&text))
    };
    if described.stages.is_empty() || described.stages.len() > STAGES_MAX {
        return Err(bad(format!("it has {} stages; 1 to {STAGES_MAX} are possible", described.stages.len())));
    }
    let name = HandlerName::new(&described.name).map_err(|error| bad(format!("its name {:?}: {error}", described.name)))?;
    let mut infos: Vec<StageInfo> = Vec::with_capacity(described.stages.len());
    for stage in described.stages {
        let info = stage_info(stage)?;
        if infos.iter().any(|other| other.name == info.name) {
            return Err(bad(format!("stage {} stands twice", info.name)));
        }
        agree(&info, section)?;
        infos.push(info);
    }
    Ok(HandlerInfo {
        name,
        version: text("its version", described.version)?,
        summary: text("its summary", described.summary)?,
        params: schema("params", &described.params)?,
        stages: infos,
        discovers: described.discovers,
    })
}

fn stage_info(stage: stages::StageInfo) -> Result<StageInfo, LoadError> {
    let bad = |text: String| LoadError::BadDescription(format!("stage {:?}: {text}", stage.name));
    let name = StageName::new(&stage.name).map_err(|error| bad(error.to_string()))?;
    let needs = stage.needs.map(|needs| {
        let need = |need: &String| Need::parse(need).map_err(|error| bad(format!("need {need:?}: {error}")));
        needs.iter().map(need).collect::<Result<Vec<_>, _>>()
    });
    let read = |read: &String| {
        let parts = read.split_once('/').and_then(|(stage, name)| Some((StageName::new(stage).ok()?, name.to_owned())));
        parts.ok_or_else(|| bad(format!("it reads {read:?}; write it as stage/artifact")))
    };
    let reads = stage.reads.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let produces = schema(&format!("stage {name}"), &stage.produces)?;
    Contract::new(produces.clone()).map_err(|error| bad(error.to_string()))?;
    let summary = tollgate_core::task::clean_message(&stage.summary);
    Ok(StageInfo { name, summary, needs: needs.transpose()?, reads, produces, source_hash: stage.source_hash })
}

fn schema(what: &str, text: &str) -> Result<serde_json::Value, LoadError> {
    let bad = |text: String| LoadError::BadDescription(format!("the schema of {what}: {text}"));
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(bad(format!("{} bytes; {SCHEMA_BYTES_MAX} is the limit", text.len())));
    }
    let schema: serde_json::Value = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    if schema.is_object() { Ok(schema) } else { Err(bad("it must be a JSON object".to_owned())) }
}

/// What `describe` says of a stage's sources, and what the section in the file says, must be the same.
fn agree(info: &StageInfo, section: Option<&Section>) -> Result<(), LoadError> {
    let Some(section) = section else {
        return Ok(());
    };
    let told = section.stages.iter().find(|stage| stage.name == info.name.as_str());
    if told.map(|stage| &stage.source_hash) == info.source_hash.as_ref() {
        Ok(())
    } else {
        Err(LoadError::BadDescription(format!(
            "stage {}: `describe` and the section in the file give different source hashes; build it again",
            info.name
        )))
    }
}

/// What a handler logs while it describes itself.
struct DescribeLog(HandlerName);

impl LogGate for DescribeLog {
    fn event(&self, event: LogEvent) {
        tracing::debug!(handler = %self.0, message = event.message, "logged by describe");
    }
}
