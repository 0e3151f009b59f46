//! Loading: what is refused and with which words, what is kept (traps 21 and 22; I01, I04, D03, S13).

use std::{fs, path::PathBuf};

use tollgate_core::{handler::Capability, ids::HandlerName};
use tollgate_sandbox::{CompileLimits, Compiler, HandlerSet, LoadError, call::CallLimits};

use crate::guests::{Bench, EMPTY, Guest, first, no_gates, outcomes, task};

#[tokio::test]
async fn a_handler_is_described_once_and_complete() {
    let outcomes = Bench::new().outcomes().await;
    let info = outcomes.info();
    let names: Vec<_> = info.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!((info.name.as_str(), names), ("outcomes", vec!["first", "second", "left", "right", "last"]));
    assert!(info.discovers && info.stages.iter().all(|stage| stage.source_hash.is_some()));
    assert!(outcomes.imports().contains(&Capability::Http) && !outcomes.imports().contains(&Capability::Llm));
}

#[tokio::test]
async fn trap21_what_is_no_component_is_refused_in_words() {
    let bench = Bench::new();
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(matches!(bench.load(&program[..4_096]).await, Err(LoadError::NativeCode(_))));
    let own = bench.sandbox_code().await;
    assert!(matches!(bench.load(&own).await, Err(LoadError::NativeCode(what)) if what.contains("wasmtime")));
    let module = wat::parse_str("(module)").unwrap();
    let refusal = bench.load(&module).await.unwrap_err();
    assert!(refusal.to_string().contains("wasm32-wasip2"), "{refusal}");
    let whole = Guest::default().component();
    assert!(matches!(bench.load(&whole[..whole.len() / 2]).await, Err(LoadError::Malformed(_))));
    let name = HandlerName::new("hostile").unwrap();
    let refusal = bench.sandbox.load(&name, bench.folder.path()).await.unwrap_err();
    assert!(matches!(&refusal, LoadError::Read { message, .. } if message == "it is no file"), "{refusal}");
}

#[tokio::test]
async fn trap22_a_file_beyond_the_cap_is_not_read() {
    let bench = Bench::new();
    let file = bench.file("huge.wasm", b"\0asm");
    fs::File::options().write(true).open(&file).unwrap().set_len(1 << 30).unwrap();
    let refusal = bench.sandbox.load(&HandlerName::new("huge").unwrap(), &file).await.unwrap_err();
    assert!(matches!(refusal, LoadError::TooLarge { bytes, .. } if bytes == 1 << 30), "{refusal}");
}

#[tokio::test]
async fn i04_a_capability_that_is_imported_is_told_so_that_its_grant_can_be_asked_for() {
    let imports = r#"(import "tollgate:handler/llm@0.1.0" "complete"
        (func (param i32 i32)))"#;
    let handler = Bench::new().load(&Guest { imports, ..Guest::default() }.component()).await.unwrap();
    assert!(handler.imports().contains(&Capability::Llm), "{:?}", handler.imports());
}

#[tokio::test]
async fn d03_a_world_that_does_not_match_is_refused_with_what_differs() {
    let bench = Bench::new();
    let other = wat::parse_str(r#"(component (instance $i) (export "tollgate:handler/stages@0.1.0" (instance $i)))"#);
    let refusal = bench.load(&other.unwrap()).await.unwrap_err();
    assert!(matches!(&refusal, LoadError::Link(text) if text.contains("describe")), "{refusal}");
    let none = wat::parse_str(r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#);
    let refusal = bench.load(&none.unwrap()).await.unwrap_err();
    assert!(matches!(&refusal, LoadError::WrongWorld { found, .. } if found == "wasi:cli/run@0.2.0"), "{refusal}");
}

#[tokio::test]
async fn trap18_handles_that_no_limit_would_bound_are_refused() {
    let own = wat::parse_str(
        r#"(component (type $own (resource (rep i32))) (core func (canon resource.new $own))
            (instance $i) (export "tollgate:handler/stages@0.1.0" (instance $i)))"#,
    );
    assert_eq!(Bench::new().load(&own.unwrap()).await.err(), Some(LoadError::OwnResources));
}

#[tokio::test]
async fn a_description_that_cannot_be_is_refused() {
    let bench = Bench::new();
    for (guest, word) in [
        (Guest { needs: Some("other"), ..Guest::default() }, "other"),
        (Guest { needs: Some("only"), ..Guest::default() }, "only"),
        (Guest { reads: Some("only"), ..Guest::default() }, "stage/artifact"),
        (Guest { reads: Some("other/page.html"), ..Guest::default() }, "no stage is named `other`"),
        (Guest { params: "[]", ..Guest::default() }, "must be a JSON object"),
        (Guest { params: r#"{"type": 7}"#, ..Guest::default() }, "the schema of params"),
    ] {
        let refusal = bench.load(&guest.component()).await.unwrap_err();
        assert!(matches!(&refusal, LoadError::BadDescription(text) if text.contains(word)), "{word}: {refusal}");
    }
}

#[tokio::test]
async fn the_section_in_the_file_and_describe_must_agree_and_metadata_is_no_code() {
    let bench = Bench::new();
    let plain = Guest::default().component();
    let digests = bench.load(&plain).await.unwrap().digests();
    let stage = r#""stages": [{"name": "only", "source-hash": "abc"}]"#;
    let told = section(&plain, "tollgate:handler", &format!(r#"{{"name": "hostile", "version": "1.0.0", {stage}}}"#));
    let refusal = bench.load(&told).await.unwrap_err();
    assert!(matches!(&refusal, LoadError::BadDescription(text) if text.contains("source hash of stage only")));
    let named = bench.load(&section(&plain, "note", "built on a Monday")).await.unwrap().digests();
    assert_eq!(named.code, digests.code);
    assert_ne!(named.artifact, digests.artifact);
    let other = Guest { process: "(i32.const 600)", ..Guest::default() }.component();
    assert_ne!(bench.load(&other).await.unwrap().digests().code, digests.code);
}

#[tokio::test]
async fn compiled_code_is_kept_and_what_is_damaged_is_compiled_again() {
    let bench = Bench::new();
    let process = format!("(i32.const {EMPTY})");
    let component = Guest { process: &process, ..Guest::default() }.component();
    bench.load(&component).await.unwrap();
    let cached = bench.cached();
    let changed = || fs::metadata(&cached).unwrap().modified().unwrap();
    let first = changed();
    bench.load(&component).await.unwrap();
    assert_eq!(changed(), first);
    // One byte of its machine code: wasmtime itself would not see it.
    let mut code = fs::read(&cached).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 0xff;
    fs::write(&cached, &code).unwrap();
    let handler = bench.load(&component).await.unwrap();
    assert_ne!(fs::read(&cached).unwrap(), code);
    assert!(handler.run_stage(task(), no_gates(), &CallLimits::default()).await.result.unwrap().is_ok());
}

#[tokio::test]
async fn trap22_a_child_compiles_under_limits_and_its_end_is_a_refusal() {
    let child = compile_component();
    let limits = CompileLimits::default();
    let bench = Bench::with(Compiler::Child { program: child, args: Vec::new(), limits });
    let report = bench.outcomes().await.run_stage(first("done"), no_gates(), &CallLimits::default()).await;
    assert_eq!(report.result.unwrap().unwrap().fields["text"], "done");
    for (script, word) in
        [("exit 3", "exit code 3"), ("echo too hard >&2; exit 1", "too hard"), ("kill -9 $$", "limits")]
    {
        let args = vec!["-c".to_owned(), script.to_owned()];
        let bench = Bench::with(Compiler::Child { program: PathBuf::from("/bin/sh"), args, limits });
        let refusal = bench.load(&Guest::default().component()).await.unwrap_err();
        assert!(matches!(&refusal, LoadError::Compile(text) if text.contains(word)), "{script}: {refusal}");
    }
}

#[tokio::test]
async fn s13_a_broken_handler_is_shown_with_its_reason_and_the_others_run() {
    let bench = Bench::new();
    bench.file("bad.wasm", b"\x7fELF");
    fs::copy(outcomes(), bench.folder.path().join("good.wasm")).unwrap();
    let names: Vec<_> = ["bad", "good", "absent"].iter().map(|name| HandlerName::new(name).unwrap()).collect();
    let set = HandlerSet::load(&bench.sandbox, bench.folder.path(), names.clone()).await;
    assert!(matches!(set.broken().get(&names[0]), Some(LoadError::NativeCode(_))));
    assert!(set.get(&names[0]).is_none() && set.get(&names[2]).is_none());
    let good = set.get(&names[1]).unwrap();
    let report = good.run_stage(first("done"), no_gates(), &CallLimits::default()).await;
    assert!(report.result.unwrap().is_ok());
}

impl Bench {
    /// The compiled code of the one handler that was loaded.
    fn cached(&self) -> PathBuf {
        let files = fs::read_dir(self.folder.path().join("cache")).unwrap().map(|entry| entry.unwrap().path());
        files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap()
    }

    /// What wasmtime compiled: code that this very engine would take.
    async fn sandbox_code(&self) -> Vec<u8> {
        self.load(&Guest::default().component()).await.unwrap();
        fs::read(self.cached()).unwrap()
    }
}

/// A component with one more custom section.
fn section(component: &[u8], name: &str, data: &str) -> Vec<u8> {
    let length = u8::try_from(1 + name.len() + data.len()).unwrap();
    // Two bytes of LEB128, so that more than 127 fit.
    let mut with = component.to_vec();
    with.extend([0, length | 0x80, length >> 7, u8::try_from(name.len()).unwrap()]);
    with.extend(name.as_bytes());
    with.extend(data.as_bytes());
    with
}

/// The child that compiles, which cargo builds as an example beside the tests.
fn compile_component() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let child = program.ancestors().nth(2).unwrap().join("examples/compile-component");
    assert!(child.is_file(), "{} isn't built: `cargo build --workspace --all-targets`", child.display());
    child
}
