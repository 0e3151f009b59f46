//! The child that compiles, as a program of its own: `tollgate compile-component` does the same.

use std::{env, path::Path, process::ExitCode};

use tollgate_sandbox::compile_child::{self, ChildLimits};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let limits = |cpu: &str, memory: &str| {
        Some(ChildLimits { cpu_seconds: cpu.parse().ok()?, memory_bytes: memory.parse().ok()? })
    };
    let (Some(limits), [_, _, input, output]) =
        (args.first().zip(args.get(1)).and_then(|(cpu, memory)| limits(cpu, memory)), args.as_slice())
    else {
        eprintln!("compile-component CPU_SECONDS MEMORY_BYTES INPUT OUTPUT");
        return ExitCode::FAILURE;
    };
    match compile_child::main(limits, Path::new(input), Path::new(output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
