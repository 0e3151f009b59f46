//! The program tollgate.

use std::process::ExitCode;

/// Small things that come and go by the thousand, as calls and requests are made of, cost it less than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tollgate_cli::main(&tollgate::Tollgate)
}
