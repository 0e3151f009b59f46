//! The child that compiles, as a program of its own: `tollgate compile-component` does the same.

use std::{env, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, output] = paths.as_slice() else {
        eprintln!("compile-component INPUT OUTPUT");
        return ExitCode::FAILURE;
    };
    match tollgate_sandbox::compile_child::main(input, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
