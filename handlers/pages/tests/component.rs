//! The compiled component: it imports what it uses and no more, and says of itself without running what `describe`
//! says.
#![expect(clippy::unwrap_used, reason = "a test that can't go on says so by panicking")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use tollgate_sdk::{Value, serde_json};
use wasmparser::{Parser, Payload};

/// The component that `cargo xtask build-handlers` made.
fn component() -> PathBuf {
    // The test's own program lies in TARGET/PROFILE/deps.
    let program = env::current_exe().unwrap();
    let component = program.ancestors().nth(3).unwrap().join("handlers/pages.wasm");
    assert!(component.is_file(), "handlers aren't built: run `cargo xtask build-handlers`");
    component
}

/// Names of the component's own imports, and its custom sections of that name, however deep they stand.
fn read(file: &Path, section: &str) -> (BTreeSet<String>, Vec<Vec<u8>>) {
    let bytes = fs::read(file).unwrap();
    let (mut imports, mut sections) = (BTreeSet::new(), Vec::new());
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload.unwrap() {
            Payload::ComponentImportSection(reader) => {
                imports.extend(reader.into_iter().map(|import| import.unwrap().name.name.to_owned()));
            }
            Payload::CustomSection(custom) if custom.name() == section => sections.push(custom.data().to_vec()),
            _ => {}
        }
    }
    (imports, sections)
}

#[test]
fn the_component_imports_what_it_uses_and_describes_itself() {
    let (imports, sections) = read(&component(), "tollgate:handler");

    let own: Vec<_> = imports.iter().filter(|name| name.starts_with("tollgate:")).map(String::as_str).collect();
    assert_eq!(
        own,
        ["tollgate:handler/artifacts@0.1.0", "tollgate:handler/http@0.1.0", "tollgate:handler/types@0.1.0"],
        "a capability that no code uses must not be asked for"
    );

    let section = sections.last().expect("the custom section survives linking and componentising");
    let section: Value = serde_json::from_slice(section).unwrap();
    let handler = pages::handler();
    assert_eq!(section["name"], handler.name);
    assert_eq!(section["version"], handler.version);
    let stages: Vec<_> = handler
        .stages
        .iter()
        .map(|stage| serde_json::json!({"name": stage.name, "source-hash": stage.source_hash}))
        .collect();
    assert_eq!(section["stages"], Value::Array(stages), "hashes are the same, whatever the code is built for");
}
