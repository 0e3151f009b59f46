//! What the tests run: small components made of wasm text, the `outcomes` handler, and gates that remember.

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use serde_json::{Map, Value};
use tempfile::TempDir;
use tollgate_core::{ItemKey, JobName, JsonObject, StageName, ids::HandlerName};
use tollgate_sandbox::{
    Compiler, Handler, LoadError, Sandbox, SandboxOptions,
    call::StageCall,
    gates::{Gates, LogEvent, LogGate},
};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

/// The interface, as it stands in the repository.
const WIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/0.1.0");
/// As much of WASI as the guests name.
const WASI: [&str; 2] = [
    "package wasi:cli@0.2.0; interface environment { get-environment: func() -> list<tuple<string, string>>; }",
    "package wasi:random@0.2.0; interface random { get-random-bytes: func(len: u64) -> list<u8>; }",
];
const WORLD: &str = "package test:guest; world guest {
    import tollgate:handler/log@0.1.0;
    import tollgate:handler/llm@0.1.0;
    import wasi:cli/environment@0.2.0;
    import wasi:random/random@0.2.0;
    export tollgate:handler/stages@0.1.0;
}";
/// The whole signature of `process-stage`: six texts, the attempt, the time left.
const TASK: &str = "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (param $attempt i32) (param $left i64)";

/// A guest in wasm text.
pub(crate) struct Guest<'a> {
    /// Imports of the core module.
    pub(crate) imports: &'a str,
    /// Further functions.
    pub(crate) functions: &'a str,
    /// The body of `process-stage`; gives the address of its answer.
    pub(crate) process: &'a str,
    /// What its only stage `only` needs, if it says so.
    pub(crate) needs: Option<&'a str>,
    /// What its only stage reads.
    pub(crate) reads: Option<&'a str>,
    /// The JSON Schema of its params.
    pub(crate) params: &'a str,
    /// Pages of its memory.
    pub(crate) pages: u32,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        let params = r#"{"type": "object"}"#;
        Self { imports: "", functions: "", process: "unreachable", needs: None, reads: None, params, pages: 2 }
    }
}

/// Address of the answer `{}`, which every guest has.
pub(crate) const EMPTY: u32 = 600;
/// Address of the answer `{"seen": true}`.
pub(crate) const SEEN: u32 = 640;

impl Guest<'_> {
    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        resolve.push_dir(WIT).unwrap();
        for (place, wasi) in WASI.into_iter().enumerate() {
            resolve.push_str(format!("wasi{place}.wit"), wasi).unwrap();
        }
        let package = resolve.push_str("guest.wit", WORLD).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut module = wat::parse_str(self.text()).unwrap();
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
    }

    fn text(&self) -> String {
        let mut image = Image { base: 1_024, bytes: Vec::new() };
        let mut stage = image.text("only").to_vec();
        stage.extend(image.text("does what it does"));
        stage.push(u32::from(self.needs.is_some()));
        stage.extend(image.texts(self.needs));
        stage.extend(image.texts(self.reads));
        stage.extend(image.text(r#"{"type": "object", "minProperties": 0}"#));
        stage.extend([0, 0, 0]);
        let stages = image.words(&stage);
        let mut info = Vec::new();
        for text in ["hostile", "1.0.0", "a guest of the tests"] {
            info.extend(image.text(text));
        }
        info.extend([stages, 1]);
        info.extend(image.text(self.params));
        info.push(0);
        let describe = image.words(&info);
        let answer = |fields: [u32; 2]| [0, 0, fields[0], fields[1], 0, 0, 0, 0];
        let (empty, seen) = (image.text("{}"), image.text(r#"{"seen": true}"#));
        let Self { imports, functions, process, pages, .. } = self;
        format!(
            r#"(module {imports}
              (memory (export "memory") {pages})
              (global $top (mut i32) (i32.const 65536))
              (data (i32.const 1024) "{data}")
              (data (i32.const {EMPTY}) "{empty}")
              (data (i32.const {SEEN}) "{seen}")
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                (global.set $top (i32.add (local.get $at) (local.get 3)))
                (block $room (loop $more
                  (br_if $room (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
                  (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
                  unreachable))
                (local.get $at))
              (func (export "tollgate:handler/stages@0.1.0#describe") (result i32) (i32.const {describe}))
              (func (export "tollgate:handler/stages@0.1.0#discover")
                (param i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
              {functions}
              (func (export "tollgate:handler/stages@0.1.0#process-stage") {TASK} (result i32) {process}))"#,
            data = escape(&image.bytes),
            empty = escape(&words(&answer(empty))),
            seen = escape(&words(&answer(seen))),
        )
    }
}

/// Static data of a guest.
struct Image {
    base: u32,
    bytes: Vec<u8>,
}

impl Image {
    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.base + u32::try_from(self.bytes.len()).unwrap();
        self.bytes.extend(bytes);
        at
    }

    fn text(&mut self, text: &str) -> [u32; 2] {
        [self.put(text.as_bytes()), u32::try_from(text.len()).unwrap()]
    }

    fn texts(&mut self, text: Option<&str>) -> [u32; 2] {
        let Some(text) = text else {
            return [0, 0];
        };
        let one = self.text(text);
        [self.words(&one), 1]
    }

    fn words(&mut self, of: &[u32]) -> u32 {
        self.put(&words(of))
    }
}

fn words(of: &[u32]) -> Vec<u8> {
    of.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn escape(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:02x}").unwrap();
        text
    })
}

/// A sandbox with a folder of its own.
pub(crate) struct Bench {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Compiler::InProcess)
    }

    pub(crate) fn with(compiler: Compiler) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = SandboxOptions::new(folder.path().join("cache"), compiler);
        options.instances_max = 8;
        Self { sandbox: Sandbox::new(options).unwrap(), folder }
    }

    /// Puts a file into the folder.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    }

    pub(crate) async fn load(&self, bytes: &[u8]) -> Result<Arc<Handler>, LoadError> {
        let file = self.file("hostile.wasm", bytes);
        self.sandbox.load(&HandlerName::new("hostile").unwrap(), &file).await
    }

    pub(crate) async fn guest(&self, guest: Guest<'_>) -> Arc<Handler> {
        self.load(&guest.component()).await.unwrap()
    }

    pub(crate) async fn outcomes(&self) -> Arc<Handler> {
        self.sandbox.load(&HandlerName::new("outcomes").unwrap(), &outcomes()).await.unwrap()
    }
}

/// The `outcomes` handler that `cargo xtask build-handlers` made.
pub(crate) fn outcomes() -> PathBuf {
    // The test's own program lies in TARGET/PROFILE/deps.
    let program = std::env::current_exe().unwrap();
    let outcomes = program.ancestors().nth(3).unwrap().join("handlers/outcomes.wasm");
    assert!(outcomes.is_file(), "handlers aren't built: run `cargo xtask build-handlers`");
    outcomes
}

/// A log that remembers.
#[derive(Default)]
pub(crate) struct Log(pub(crate) Mutex<Vec<LogEvent>>);

impl LogGate for Log {
    fn event(&self, event: LogEvent) {
        self.0.lock().unwrap().push(event);
    }
}

/// Gates with a log alone.
pub(crate) fn no_gates() -> Gates {
    Gates::none(Arc::new(Log::default()))
}

/// A task of stage `only`.
pub(crate) fn task() -> StageCall {
    StageCall {
        job: JobName::new("trial").unwrap(),
        stage: StageName::new("only").unwrap(),
        key: ItemKey::new("item-1").unwrap(),
        data: JsonObject::nest([]),
        inputs: JsonObject::nest([]),
        params: JsonObject::nest([]),
        attempt: 1,
    }
}

/// A task of the `first` stage of `outcomes`, to do as told.
pub(crate) fn first(action: &str) -> StageCall {
    let data = Map::from_iter([("first".to_owned(), Value::from(action))]);
    StageCall { stage: StageName::new("first").unwrap(), data: JsonObject::of(&data), ..task() }
}
