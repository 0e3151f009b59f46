//! The shape of the workspace: arrows one way, and who may name what.

use std::process::Command;

use serde_json::Value;

use crate::world::files;

/// Each crate of the host, with those of ours that it may depend on.
const ARROWS: [(&str, &[&str]); 9] = [
    ("tollgate-core", &[]),
    ("tollgate-store", &["tollgate-core"]),
    ("tollgate-egress", &["tollgate-core"]),
    ("tollgate-llm", &["tollgate-core"]),
    ("tollgate-sandbox", &["tollgate-core"]),
    ("tollgate-engine", &["tollgate-core", "tollgate-egress", "tollgate-llm", "tollgate-sandbox", "tollgate-store"]),
    ("tollgate-web", &["tollgate-core", "tollgate-engine", "tollgate-store"]),
    ("tollgate-cli", &["tollgate-core", "tollgate-engine", "tollgate-store", "tollgate-web"]),
    (
        "tollgate",
        &[
            "tollgate-core",
            "tollgate-egress",
            "tollgate-llm",
            "tollgate-sandbox",
            "tollgate-store",
            "tollgate-engine",
            "tollgate-web",
            "tollgate-cli",
        ],
    ),
];

/// Who alone may depend on what.
const OWNED: [(&str, &[&str]); 6] = [
    // The bench has the bare thing beside ours.
    ("wasmtime", &["tollgate-sandbox", "tollgate-bench"]),
    ("wasmtime-wasi", &["tollgate-sandbox", "tollgate-bench"]),
    ("wasmtime-wasi-http", &["tollgate-sandbox"]),
    // The fuzz target of stored rows puts its bytes into the tables past the store.
    ("redb", &["tollgate-store", "tollgate-bench", "tollgate-fuzz"]),
    ("reqwest", &["tollgate-egress", "tollgate-bench"]),
    // Browsers' stores of cookies, and nothing else.
    ("rusqlite", &["tollgate-egress"]),
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// What a package depends on when it is built, not when it is tested.
fn dependencies(package: &Value) -> Vec<String> {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    dependencies
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn i03_arrows_run_one_way() {
    let packages = packages();
    for (name, allowed) in ARROWS {
        let package = packages.iter().find(|package| package["name"] == name).unwrap();
        for dependency in dependencies(package) {
            let is_ours = dependency.starts_with("tollgate");
            assert!(!is_ours || allowed.contains(&dependency.as_str()), "{name} depends on {dependency}");
        }
    }
}

#[test]
fn each_foundation_is_named_in_one_crate() {
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        for dependency in dependencies(&package) {
            if let Some((_, owners)) = OWNED.iter().find(|(owned, _)| *owned == dependency) {
                assert!(owners.contains(&name), "{name} depends on {dependency}");
            }
        }
    }
}

#[test]
fn core_reads_no_clock_and_does_no_io() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/core/src");
    for path in files(folder.as_ref()) {
        let text = std::fs::read_to_string(&path).unwrap();
        for forbidden in
            ["std::fs", "std::net::Tcp", "SystemTime", "Instant::now", "getrandom", "std::env", "std::process"]
        {
            assert!(!text.contains(forbidden), "{} names {forbidden}", path.display());
        }
    }
}
