//! Why a sandbox can't be set up, or a handler can't be loaded, each with what to do about it.

use std::path::PathBuf;

/// Errors of the sandbox as a whole.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// wasmtime refuses the configuration, or the system the memory.
    #[error("the wasm engine can't be set up: {0}")]
    Engine(String),
    /// The folder for compiled code can't be used.
    #[error("the folder for compiled code, {}, can't be used: {message}", folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        message: String,
    },
}

/// Why a handler can't be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("{} can't be read: {message}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's word.
        message: String,
    },
    /// Larger than a handler may be.
    #[error("{} has {bytes} bytes, and a handler at most {max}: build it with --release, and strip it", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A program or compiled code of some machine (trap 21).
    #[error("it is native code ({0}); a handler is a WebAssembly component: drop the .wasm file that the build made")]
    NativeCode(&'static str),
    /// No wasm at all.
    #[error("it is no WebAssembly; a handler is a component: build it with `tollgate build`")]
    NotWasm,
    /// A core module.
    #[error("it is a core module, not a component; build it for wasm32-wasip2 (`tollgate build` does)")]
    CoreModule,
    /// It ends too soon or is malformed.
    #[error("it is malformed or cut short: {0}; build or copy it again")]
    Malformed(String),
    /// More of something than any handler has: what a file could do harm with before it is compiled (trap 22).
    #[error("it has more than {max} {what}, which no handler needs; build it with the SDK of this Tollgate")]
    Excess {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Its world isn't a handler's.
    #[error(
        "it exports no {expected}, which a handler must; it exports {found}: build it against the world `handler` of \
         wit/{}",
        crate::inspect::OFFERED
    )]
    WrongWorld {
        /// The interface that is missing.
        expected: String,
        /// What it exports instead.
        found: String,
    },
    /// It was built against an interface that this Tollgate doesn't know.
    #[error(
        "it wants {wanted}, and this Tollgate offers {offered}: build it against that version, or run a newer Tollgate"
    )]
    OtherVersion {
        /// The interface it wants.
        wanted: String,
        /// The version offered.
        offered: &'static str,
    },
    /// It imports a capability that this Tollgate doesn't grant to anyone yet.
    #[error("not granted: it imports {0}, which this version of Tollgate does not offer yet; build it without that")]
    NotGranted(String),
    /// It imports what no host offers.
    #[error("it imports {0}, which a handler can't have; a handler may import tollgate:handler and WASI 0.2")]
    UnknownImport(String),
    /// It makes handles of a kind of its own, whose number no limit of wasmtime bounds (trap 18).
    #[error("it defines resources of its own, which no handler needs; build it with the SDK of this Tollgate")]
    OwnResources,
    /// The compiler refused it, or reached its limits (trap 22).
    #[error("it can't be compiled: {0}")]
    Compile(String),
    /// It links to nothing that fits.
    #[error("it can't be linked: {0}; build it against this Tollgate's interface, `wit/0.1.0`")]
    Link(String),
    /// `describe` failed.
    #[error("it can't describe itself: {0}; its author must mend `describe`")]
    Describe(String),
    /// `describe` says what can't be.
    #[error("its description doesn't hold: {0}")]
    BadDescription(String),
}
