//! Files made to harm whoever compiles them: refused with a reason or compiled, within limits; the host lives.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use tollgate_core::ids::HandlerName;
use tollgate_sandbox::{CompileLimits, Compiler, LoadError, Sandbox, SandboxOptions, compile_child::ChildLimits};

use crate::{
    ended::{run, tollgate},
    world::{World, program},
};

/// Memory that a host may take while it looks at such files, in KiB: the largest file a few times over.
const HOST_KIB: u64 = 700 << 10;

/// A number as wasm writes it: seven bits a byte, the low ones first.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A section: its number, its length, what is in it.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

/// So many of the same, with their number before them.
fn many(count: usize, one: &[u8]) -> Vec<u8> {
    [leb(count), one.repeat(count)].concat()
}

const CORE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A core module of these sections.
fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [CORE.to_vec(), sections.concat()].concat()
}

/// A module of functions without parameters, each with that body.
fn functions(count: usize, body: &[u8]) -> Vec<u8> {
    let code = [&[0][..], body, &[0x0b]].concat();
    let code = [leb(code.len()), code].concat();
    module(&[section(1, &many(1, &[0x60, 0, 0])), section(3, &many(count, &[0])), section(10, &many(count, &code))])
}

/// A component that looks like a handler from outside and has these sections inside.
fn handler(sections: &[Vec<u8>]) -> Vec<u8> {
    let shell = "(component (instance $i) (export \"tollgate:handler/stages@0.1.0\" (instance $i)))";
    let shell = wat::parse_str(shell).unwrap();
    [COMPONENT, &sections.concat(), &shell[COMPONENT.len()..]].concat()
}

/// A handler with a core module in it.
fn with_module(module: &[u8]) -> Vec<u8> {
    handler(&[section(1, module)])
}

/// `(block (block …))`, so deep.
fn blocks(depth: usize) -> Vec<u8> {
    [[0x02, 0x40].repeat(depth), vec![0x0b; depth]].concat()
}

/// Components within one another, so deep.
fn nested(depth: usize) -> Vec<u8> {
    // From the innermost out: each is a header and a section of what is in it. Heads are collected, and turned around.
    let (mut heads, mut length) = (Vec::new(), COMPONENT.len());
    for _ in 1..depth {
        let head = [COMPONENT, &[4], &leb(length)].concat();
        length += head.len();
        heads.push(head);
    }
    let inside: Vec<u8> = heads.into_iter().rev().flatten().chain(COMPONENT.iter().copied()).collect();
    handler(&[section(4, &inside)])
}

/// Types of records, each of two fields of the type before: its size doubles with each.
fn doubling(count: usize) -> Vec<u8> {
    let first = [0x72, 2, 1, b'a', 0x79, 1, b'b', 0x79].to_vec();
    let next = |before: usize| [&[0x72, 2, 1, b'a'][..], &leb(before), &[1, b'b'], &leb(before)].concat();
    let types: Vec<u8> = first.into_iter().chain((0..count - 1).flat_map(next)).collect();
    handler(&[section(7, &[leb(count), types].concat())])
}

/// Hostile files by name, each with what may be said of it; the last words are those of one that was compiled, and is
/// still no handler.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    const COMPILED: &str = "it can't be linked";
    const LIMITS: &str = "ended by its limits";
    let add: Vec<u8> = [0x41, 1, 0x41, 2, 0x6a, 0x1a].repeat(500_000);
    vec![
        ("blocks", with_module(&functions(1, &blocks(50_000))), &[COMPILED, LIMITS]),
        ("long-function", with_module(&functions(1, &add)), &[COMPILED, LIMITS]),
        ("too-long-function", with_module(&functions(1, &add.repeat(3))), &["size"]),
        ("functions", with_module(&functions(100_000, &[])), &[COMPILED, LIMITS]),
        ("types", with_module(&module(&[section(1, &many(100_000, &[0x60, 0, 0]))])), &[COMPILED, LIMITS]),
        ("component-types", handler(&[section(7, &many(100_000, &[0x70, 0x79]))]), &[COMPILED, LIMITS, "types"]),
        ("doubling-types", doubling(60), &["type size"]),
        ("siblings", handler(&[section(4, COMPONENT).repeat(100_000)]), &["components"]),
        ("nested", nested(10_000), &["more than 32 components within one another"]),
        ("deep-nested", nested(1_000_000), &["more than 32 components within one another"]),
        ("imports", handler(&[section(10, &many(1_000_000, b"\0\x01a\x05\0"))]), &["more than 1000 imports"]),
    ]
}

/// Most memory that a process has taken so far, in KiB.
fn memory_peak_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn trap22_a_hostile_file_is_refused_or_compiled_within_limits_and_the_host_lives() {
    let world = World::new(vec![]).await;
    let (handlers, data) = (world.path("drop"), world.path("data"));
    fs::create_dir(&handlers).unwrap();
    let hostile = hostile();
    let mut jobs = format!("[host]\nlisten = \"127.0.0.1:0\"\nhandlers = {:?}\n", handlers.display().to_string());
    for (name, bytes, _) in &hostile {
        fs::write(handlers.join(format!("{name}.wasm")), bytes).unwrap();
        jobs.push_str(&format!("[job.{name}]\nkind = \"backfill\"\nhandler = \"{name}\"\n"));
    }
    fs::write(world.path("jobs.toml"), jobs).unwrap();

    // Behind all else: tests beside this one have limits of time.
    let (program, mut nice) = (tollgate(&world, &data, &["run"]), Command::new("nice"));
    nice.arg(program.get_program()).args(program.get_args()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut host = nice.spawn().unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(host.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.starts_with("running; ") {
            break;
        }
        said.push(line);
    }
    for (name, _, words) in hostile {
        let of_it = |line: &&String| line.contains("can't be loaded") && line.contains(&format!("\"{name}\""));
        let line = said.iter().find(of_it).unwrap_or_else(|| panic!("nothing is said of {name}: {said:#?}"));
        assert!(words.iter().any(|word| line.contains(word)), "{name}: {line}");
    }
    assert!(said.iter().all(|line| !line.contains("panicked")), "{said:#?}");
    // It has looked at all of them, and serves.
    let peak = memory_peak_kib(host.id());
    assert!(peak < HOST_KIB, "the host took {peak} KiB");
    run(&world, &data, &["status"]).is("status", 0, &[]);
    host.kill().unwrap();
    host.wait().unwrap();
}

#[tokio::test]
async fn trap22_a_compilation_beyond_its_limits_is_ended_and_the_refusal_names_them() {
    let folder = tempfile::tempdir().unwrap();
    // Nested as deeply as a function has room for: the compiler's time grows with the square of it.
    let file = folder.path().join("deep.wasm");
    fs::write(&file, with_module(&functions(1, &blocks(1_000_000)))).unwrap();
    let usual = CompileLimits::default();
    let of_child =
        |cpu_seconds, memory_bytes| CompileLimits { child: ChildLimits { cpu_seconds, memory_bytes }, ..usual };
    let short = CompileLimits { wall_time: Duration::from_millis(1), ..usual };
    for (what, limits, words) in [
        ("memory", of_child(300, 16 << 20), ["ended by its limits", "16 MiB of memory"]),
        ("processor time", of_child(1, 4 << 30), ["ended by its limits", "1.0 s of processor time"]),
        ("wall-clock time", short, ["took too long", "may take 1 ms"]),
    ] {
        let args = vec!["compile-component".to_owned()];
        let compiler = Compiler::Child { program: program("tollgate"), args, limits };
        let mut options = SandboxOptions::new(folder.path().join("cache"), compiler);
        options.instances_max = 1;
        let sandbox = Sandbox::new(options).unwrap();
        let refused = sandbox.load(&HandlerName::new("deep").unwrap(), &file).await.unwrap_err();
        let LoadError::Compile(said) = &refused else { panic!("{what}: {refused}") };
        assert!(words.iter().all(|word| said.contains(word)), "{what}: {said}");
        assert!(said.contains("make it smaller"), "{what}: {said}");
    }
}
