//! Loads a handler: read, refuse, hash, compile, link, describe, check. Nothing of it is visible until all is well.

use std::{fs::File, io::Read, path::Path, sync::Arc, time::Duration};

use tollgate_core::{
    StageIx, StageName,
    contract::{Contract, check_cost},
    graph::{GraphError, GraphStage, Need, STAGES_MAX, StageGraph},
    handler::{HandlerInfo, StageInfo},
    ids::HandlerName,
    task::clean_message,
};

use crate::{
    Handler, LoadError, Sandbox,
    bindings::v0_1::{HandlerPre, exports::tollgate::handler::stages},
    call::CallLimits,
    formats::validator,
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
    pub async fn load(&self, name: &HandlerName, file: &Path) -> Result<Arc<Handler>, LoadError> {
        let path = file.to_owned();
        // Reading, hashing and looking at 64 MiB takes long enough to be in the way of others.
        let looked_at = tokio::task::spawn_blocking(move || {
            let bytes = read(&path)?;
            let inspected = inspect(&bytes)?;
            Ok((bytes, inspected))
        });
        let failed =
            |error: tokio::task::JoinError| LoadError::Read { file: file.to_owned(), message: error.to_string() };
        let (bytes, inspected) = looked_at.await.map_err(failed)??;
        let digests = inspected.digests;
        let component = self.compile.component(&self.engine, file, bytes, digests.artifact).await?;
        let link = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let instance = self.linker.instantiate_pre(&component).map_err(link)?;
        let pre = HandlerPre::new(instance).map_err(link)?;
        let parts = Parts { pre, engine: self.engine.clone(), running: self.running.clone() };
        let limits = CallLimits { wall_time: Duration::from_secs(30), ..CallLimits::default() };
        let log = Arc::new(DescribeLog(name.clone()));
        let described =
            parts.describe(Gates::none(log), &limits).await.map_err(|error| LoadError::Describe(error.to_string()))?;
        let info = check(described, inspected.section.as_ref())?;
        Ok(Arc::new(Handler::new(name.clone(), info, digests, inspected.imports, parts)))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |error: std::io::Error| LoadError::Read { file: file.to_owned(), message: error.to_string() };
    // Asked before it is opened: opening a pipe would wait for whoever writes into it.
    if !std::fs::metadata(file).map_err(failed)?.is_file() {
        return Err(LoadError::Read { file: file.to_owned(), message: "it is no file".to_owned() });
    }
    let opened = File::open(file).map_err(failed)?;
    let size = opened.metadata().map_err(failed)?.len();
    let too_large = |bytes| Err(LoadError::TooLarge { file: file.to_owned(), bytes, max: FILE_BYTES_MAX });
    if size > FILE_BYTES_MAX {
        return too_large(size);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // One more than allowed, so that a file that grows meanwhile isn't taken for a whole one.
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX { too_large(bytes.len() as u64) } else { Ok(bytes) }
}

/// Holds what `describe` gave to its word.
fn check(described: stages::HandlerInfo, section: Option<&Section>) -> Result<HandlerInfo, LoadError> {
    let bad = |text: String| LoadError::BadDescription(text);
    let text = |what: &str, text: String| {
        if text.len() > TEXT_BYTES_MAX {
            return Err(bad(format!("{what} has {} bytes; {TEXT_BYTES_MAX} is the limit", text.len())));
        }
        Ok(clean_message(&text))
    };
    if described.stages.is_empty() || described.stages.len() > STAGES_MAX {
        return Err(bad(format!("it has {} stages; 1 to {STAGES_MAX} are possible", described.stages.len())));
    }
    let shown = clean_message(&described.name);
    let name = HandlerName::new(&described.name).map_err(|error| bad(format!("its name {shown:?}: {error}")))?;
    let version = text("its version", described.version)?;
    let mut infos: Vec<StageInfo> = Vec::with_capacity(described.stages.len());
    for stage in described.stages {
        let info = stage_info(stage)?;
        if infos.iter().any(|other| other.name == info.name) {
            return Err(bad(format!("stage {} stands twice", info.name)));
        }
        infos.push(info);
    }
    graph(&infos)?;
    if let Some(section) = section {
        agree(&name, &version, &infos, section)?;
    }
    let params = schema("params", &described.params)?;
    check_cost(&params).map_err(|error| bad(format!("the schema of params: {error}")))?;
    validator(&params).map_err(|error| bad(format!("the schema of params: {error}")))?;
    let summary = text("its summary", described.summary)?;
    Ok(HandlerInfo { name, version, summary, params, stages: infos, discovers: described.discovers })
}

/// Needs and reads name stages that there are, and no stage waits for itself.
fn graph(infos: &[StageInfo]) -> Result<(), LoadError> {
    let mut before: Option<StageName> = None;
    let mut stages = Vec::with_capacity(infos.len());
    for (place, info) in infos.iter().enumerate() {
        let usual = || before.iter().map(|name| Need { any_of: vec![name.clone()] }).collect();
        let needs = info.needs.clone().unwrap_or_else(usual);
        stages.push(GraphStage {
            ix: StageIx(u16::try_from(place).unwrap_or(u16::MAX)),
            name: info.name.clone(),
            needs,
        });
        before = Some(info.name.clone());
        if let Some((stage, name)) = info.reads.iter().find(|(of, _)| infos.iter().all(|other| &other.name != of)) {
            let text = format!(
                "stage `{}` reads {stage}/{name}, and no stage is named `{stage}`; correct the name, or add the stage \
                 to the handler's list (`handler!` in Rust)",
                info.name
            );
            return Err(LoadError::BadDescription(text));
        }
    }
    StageGraph::new(stages).map(drop).map_err(|error| {
        let remedy = match &error {
            GraphError::UnknownNeed { stage, need } => {
                return LoadError::BadDescription(format!(
                    "stage `{stage}` needs `{need}`, which is not among the handler's stages; add it to their list \
                     (`handler!` in Rust)"
                ));
            }
            GraphError::Cycle(_) => "; one of them must do without another's output",
            GraphError::Twice(_) => "; each stage has a name of its own",
            GraphError::TooMany(_) => "",
        };
        LoadError::BadDescription(format!("{error}{remedy}"))
    })
}

fn stage_info(stage: stages::StageInfo) -> Result<StageInfo, LoadError> {
    let shown = clean_message(&stage.name);
    let bad = |text: String| LoadError::BadDescription(format!("stage {shown:?}: {text}"));
    let name = StageName::new(&stage.name).map_err(|error| bad(error.to_string()))?;
    let needs = stage.needs.map(|needs| {
        let need =
            |need: &String| Need::parse(need).map_err(|error| bad(format!("need {:?}: {error}", clean_message(need))));
        needs.iter().map(need).collect::<Result<Vec<_>, _>>()
    });
    let read = |read: &String| {
        let parts = read.split_once('/').filter(|(_, name)| !name.is_empty());
        let parts = parts.and_then(|(stage, name)| Some((StageName::new(stage).ok()?, name.to_owned())));
        parts.ok_or_else(|| bad(format!("it reads {:?}; write it as stage/artifact", clean_message(read))))
    };
    let reads = stage.reads.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let produces = schema(&format!("stage {name}"), &stage.produces)?;
    Contract::new(produces.clone()).map_err(|error| bad(error.to_string()))?;
    let summary = clean_message(&stage.summary);
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

/// What `describe` says and what the section in the file says must be the same.
fn agree(name: &HandlerName, version: &str, infos: &[StageInfo], section: &Section) -> Result<(), LoadError> {
    let differ = |what: String| {
        let text = format!("`describe` and the section in the file differ in {what}; build it again");
        Err(LoadError::BadDescription(text))
    };
    if section.name != name.as_str() || section.version != version {
        return differ("name or version".to_owned());
    }
    let told = |name: &StageName| section.stages.iter().find(|stage| stage.name == name.as_str());
    for info in infos {
        if told(&info.name).map(|stage| &stage.source_hash) != info.source_hash.as_ref() {
            return differ(format!("the source hash of stage {}", info.name));
        }
    }
    match section.stages.iter().find(|stage| infos.iter().all(|info| info.name.as_str() != stage.name)) {
        Some(stage) => differ(format!("stage {:?}, which `describe` lacks", clean_message(&stage.name))),
        None => Ok(()),
    }
}

/// What a handler logs while it describes itself.
struct DescribeLog(HandlerName);

impl LogGate for DescribeLog {
    fn event(&self, event: LogEvent) {
        tracing::debug!(handler = %self.0, message = event.message, "logged by describe");
    }
}
