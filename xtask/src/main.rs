//! Chores: `cargo xtask demo | test | build-handlers | bench | soak | lines`.
//!
//! Each does its own set-up, says what it does, and where it fails says what to do.

mod bench;
mod demo;
mod handlers;
mod lines;
mod netns;
mod run;
mod setup;
mod soak;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask CHORE

  demo             builds everything and shows the main job at work on a small internet of its own
  test [netns]     format, lints, docs, dependency rules and all tests; what CI runs. `netns`, a part of it: the demo, tools,
                   guests' own clients and the gate's tests in a network namespace with no way but to the proxy, all packets
                   captured
  build-handlers   compiles the reference and test handlers to components
  bench [WHAT]     figures beside their reference, in one run: figures [NAME…], crawl, small, peers; the first two where
                   nothing is named
  soak [WHAT]      long campaigns, bounded and seeded: `kills` during a crawl, `paid` at each step of a paid call,
                   `fuzz` of all that comes from outside
  lines            the crates with their lines";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let chore = args.first().map(String::as_str).unwrap_or_default();
    let rest = args.get(1..).unwrap_or_default();
    let result = match chore {
        "demo" => demo::demo(),
        "test" => test::test(rest),
        // Parts of `test netns`, which runs this program again where the network is another.
        netns::WITHIN => netns::within(rest),
        netns::LEAK => netns::leak(rest),
        "build-handlers" => setup::wasm_target().and_then(|()| handlers::build()),
        "bench" => bench::bench(rest),
        "soak" => soak::soak(rest),
        "lines" => lines::lines(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {chore}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
