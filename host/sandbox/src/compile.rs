//! Compiles components under limits, and keeps the compiled code in a private folder.

use std::{
    collections::hash_map::DefaultHasher,
    fmt, fs,
    hash::{Hash, Hasher},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tollgate_core::{Digest, task::clean_message, time::Short};
use wasmtime::{Engine, component::Component};

use crate::{LoadError, SandboxError, compile_child::ChildLimits};

/// What compiles components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// This process. A hostile component can take its memory; for tests, and for programs that trust their handlers.
    InProcess,
    /// A child process under limits of time and memory: `program args… CPU_SECONDS MEMORY_BYTES INPUT OUTPUT`, which
    /// calls [`compile_child::main`](crate::compile_child::main).
    Child {
        /// The program, such as `tollgate`.
        program: PathBuf,
        /// What comes before the limits and the two paths, such as `compile-component`.
        args: Vec<String>,
        /// What one compilation may take.
        limits: CompileLimits,
    },
}

/// What one compilation in a child may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Wall-clock time.
    pub wall_time: Duration,
    /// What the child holds itself to.
    pub child: ChildLimits,
}

impl Default for CompileLimits {
    /// Python's component takes 5 s on the machines of the design's figures, and some hundred MB.
    fn default() -> Self {
        let child = ChildLimits { cpu_seconds: 300, memory_bytes: 4 << 30 };
        Self { wall_time: Duration::from_mins(3), child }
    }
}

impl fmt::Display for CompileLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChildLimits { cpu_seconds, memory_bytes } = self.child;
        let (wall, cpu) = (Short(self.wall_time), Short(Duration::from_secs(cpu_seconds)));
        write!(f, "{wall}, {cpu} of processor time, {} MiB of memory", memory_bytes >> 20)
    }
}

/// Compiles and caches.
pub(crate) struct Compile {
    folder: PathBuf,
    compiler: Compiler,
    /// Code compiled by another engine, or by another configuration of this one, isn't ours.
    compatibility: u64,
}

impl Compile {
    pub(crate) fn new(engine: &Engine, folder: PathBuf, compiler: Compiler) -> Result<Self, SandboxError> {
        private_folder(&folder).map_err(|message| SandboxError::Cache { folder: folder.clone(), message })?;
        let swept = sweep(&folder);
        swept.map_err(|error| SandboxError::Cache { folder: folder.clone(), message: error.to_string() })?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { folder, compiler, compatibility: hasher.finish() })
    }

    /// The component of a file, from the cache if it is there.
    pub(crate) async fn component(
        &self,
        engine: &Engine,
        file: &Path,
        bytes: Vec<u8>,
        digest: Digest,
    ) -> Result<Component, LoadError> {
        let cached = self.folder.join(format!("{:016x}-{}.cwasm", self.compatibility, digest.to_hex()));
        if cached.is_file() {
            match read_compiled(engine, cached.clone()).await {
                Ok(component) => return Ok(component),
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "compiled code can't be used; compiling again")
                }
            }
        }
        let failed = |error: std::io::Error| LoadError::Compile(format!("its code can't be kept: {error}"));
        let beside = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(&self.folder).map_err(failed)?;
        let (input, output) = (beside.path().join("component.wasm"), beside.path().join("component.cwasm"));
        tracing::info!(file = %file.display(), bytes = bytes.len(), "compiling a handler");
        match &self.compiler {
            Compiler::InProcess => {
                let (engine, output) = (engine.clone(), output.clone());
                let compile = move || {
                    let compiled = engine.precompile_component(&bytes).map_err(|error| format!("{error:#}"))?;
                    fs::write(&output, compiled).map_err(|error| error.to_string())
                };
                let compiled = tokio::task::spawn_blocking(compile).await.map_err(|error| error.to_string());
                compiled.flatten().map_err(|error| LoadError::Compile(clean_message(&error)))?;
            }
            Compiler::Child { program, args, limits } => {
                tokio::fs::write(&input, &bytes).await.map_err(failed)?;
                child(program, args, *limits, &input, &output).await?;
            }
        }
        keep(&output, &cached).map_err(failed)?;
        read_compiled(engine, cached).await.map_err(LoadError::Compile)
    }
}

/// Compiled handlers kept; beyond, the oldest go. A handler that its author builds all day leaves one each time.
const KEPT_MAX: usize = 100;
/// A scratch folder that is older was left by a process that died.
const SCRATCH_AGE_MAX: Duration = Duration::from_hours(1);

/// Removes what died compilations left, and the oldest of what is too much.
fn sweep(folder: &Path) -> std::io::Result<()> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, changed) = (entry.path(), entry.metadata()?.modified()?);
        if entry.file_name().to_string_lossy().starts_with(SCRATCH) {
            if changed.elapsed().is_ok_and(|age| age > SCRATCH_AGE_MAX) {
                fs::remove_dir_all(&path)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "cwasm") {
            kept.push((changed, path));
        }
    }
    kept.sort();
    let too_many = kept.len().saturating_sub(KEPT_MAX);
    for (_, path) in kept.into_iter().take(too_many) {
        for path in [path.with_extension(DIGEST), path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Beginning of the names of scratch folders in the cache.
const SCRATCH: &str = "compiling-";

/// Keeps compiled code with its digest beside it, durably: half a file must never be run.
fn keep(output: &Path, cached: &Path) -> std::io::Result<()> {
    let digest = file_digest(output)?;
    fs::File::open(output)?.sync_all()?;
    let beside = output.with_extension(DIGEST);
    fs::write(&beside, digest.to_hex())?;
    // Between the two the pair doesn't fit together, and is compiled again.
    fs::rename(&beside, cached.with_extension(DIGEST))?;
    fs::rename(output, cached)
}

/// Extension of the file that holds a compiled file's digest.
const DIGEST: &str = "blake3";

fn file_digest(path: &Path) -> std::io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

async fn child(
    program: &Path,
    args: &[String],
    limits: CompileLimits,
    input: &Path,
    output: &Path,
) -> Result<(), LoadError> {
    let mut command = tokio::process::Command::new(program);
    let ChildLimits { cpu_seconds, memory_bytes } = limits.child;
    command.args(args).args([cpu_seconds, memory_bytes].map(|limit| limit.to_string())).arg(input).arg(output);
    // Address space that mimalloc takes ahead, where it is the program's allocator, would be beyond the limit of
    // memory.
    command.env_clear().env("MIMALLOC_ARENA_RESERVE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let ended = |how: &str| LoadError::Compile(format!("{how}; a compilation may take {limits}: make it smaller"));
    let run = tokio::time::timeout(limits.wall_time, command.output()).await;
    let run = run.map_err(|_| ended("the compiler took too long"))?;
    let run = run.map_err(|error| LoadError::Compile(format!("{} can't be run: {error}", program.display())))?;
    if run.status.success() {
        return Ok(());
    }
    let said = clean_message(String::from_utf8_lossy(&run.stderr).trim());
    // Where memory ends, the allocator aborts, or cranelift panics with these words: it depends on the place.
    let is_out_of_memory = said.contains("out-of-memory error");
    Err(match (said.is_empty(), run.status.code().filter(|_| !is_out_of_memory)) {
        (false, Some(_)) => LoadError::Compile(said),
        (_, None) => ended(&format!("the compiler was ended by its limits ({}) {said}", run.status)),
        (true, Some(code)) => LoadError::Compile(format!("the compiler ended with exit code {code}")),
    })
}

async fn read_compiled(engine: &Engine, path: PathBuf) -> Result<Component, String> {
    let engine = engine.clone();
    let read = move || {
        let digest = file_digest(&path).map_err(|error| error.to_string())?;
        let kept = fs::read_to_string(path.with_extension(DIGEST)).map_err(|error| format!("its digest: {error}"))?;
        if kept != digest.to_hex() {
            return Err("it isn't what was kept".to_owned());
        }
        deserialize(&engine, &path)
    };
    tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?
}

#[expect(unsafe_code, reason = "compiled code is trusted by its place")]
fn deserialize(engine: &Engine, path: &Path) -> Result<Component, String> {
    // SAFETY: the file lies in a folder that belongs to us and that nobody else may write to (checked at start), only
    // this module writes there what wasmtime's own compiler made (trap 21), and its digest is the one that was kept.
    // It is mapped, and never written to again: a new one takes its name. wasmtime checks version and configuration.
    unsafe { Component::deserialize_file(engine, path) }.map_err(|error| format!("{error:#}"))
}

/// Makes the folder, or checks that it is ours alone.
fn private_folder(folder: &Path) -> Result<(), String> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| format!("it can't be made: {error}"))?;
    let metadata = fs::symlink_metadata(folder).map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Err("it is no folder".to_owned());
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err("it belongs to another user".to_owned());
    }
    if metadata.permissions().mode() & 0o022 != 0 {
        return Err("others may write to it; take that right away with `chmod 700`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap21_compiled_code_is_read_from_a_private_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        private_folder(&cache).unwrap();
        assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(private_folder(&cache).unwrap_err().contains("chmod"));
    }
}
