//! What can be told of a file without compiling it: whether it is a component, what it imports, its digests, and the
//! section that the SDK leaves in it.

use std::collections::BTreeSet;

use serde::Deserialize;
use tollgate_core::{
    Digest,
    handler::{Capability, HandlerDigests},
};
use wasmparser::{CanonicalFunction, Encoding, Parser, Payload};
use wasmtime::Engine;

use crate::LoadError;

/// The package that this host speaks, and the version it offers.
const PACKAGE: &str = "tollgate:handler/";
pub(crate) const OFFERED: &str = "0.1.0";
/// The interface that a handler exports.
const EXPORT: &str = "stages";
/// Interfaces of the package that are linked.
const LINKED: [&str; 9] = ["types", "http", "artifacts", "state", "llm", "search", "speech", "tools", "log"];
/// WASI packages that are linked. Files and sockets are there, and refuse everything.
const WASI_LINKED: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
/// What a guest with a client of its own asks for: the capability `http` by another name.
const OWN_CLIENT: &str = "wasi:http/outgoing-handler";
/// Interfaces of WASI's http that are linked. Types alone reach nothing.
const WASI_HTTP_LINKED: [&str; 2] = [OWN_CLIENT, "wasi:http/types"];
/// The custom section in which the SDK repeats names and source hashes.
const SECTION: &str = "tollgate:handler";

/// What a component shows from outside.
pub(crate) struct Inspected {
    pub(crate) digests: HandlerDigests,
    pub(crate) imports: BTreeSet<Capability>,
    pub(crate) section: Option<Section>,
}

/// Components and modules within one another: what links several handlers makes two or three.
const DEPTH_MAX: usize = 32;
/// Imports, and exports: a handler has some dozen.
const NAMES_MAX: usize = 1_000;
/// Bytes of the SDK's section: a hundred for each stage.
const SECTION_BYTES_MAX: usize = 1 << 20;
/// Names shown in a refusal: a foreign component may have thousands.
const NAMES_SHOWN: usize = 10;

/// A name from a file that nobody has looked at yet, fit to show.
fn clean(name: &str) -> String {
    tollgate_core::task::clean_message(name)
}

/// The SDK's custom section.
#[derive(Debug, Deserialize)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) stages: Vec<SectionStage>,
}

/// A stage in the SDK's custom section.
#[derive(Debug, Deserialize)]
pub(crate) struct SectionStage {
    pub(crate) name: String,
    #[serde(rename = "source-hash")]
    pub(crate) source_hash: String,
}

/// Looks at a file's bytes.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Inspected, LoadError> {
    refuse_native(bytes)?;
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm);
    }
    let mut code = blake3::Hasher::new();
    let (mut imports, mut exports, mut section) = (Vec::new(), Vec::new(), None);
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| LoadError::Malformed(error.to_string()))?;
        match &payload {
            Payload::Version { encoding, .. } if depth == 0 && *encoding == Encoding::Module => {
                return Err(LoadError::CoreModule);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                at_most(DEPTH_MAX, depth, "components within one another")?;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(reader) if depth == 0 => {
                at_most(NAMES_MAX, imports.len().saturating_add(reader.count() as usize), "imports")?;
                for import in reader.clone() {
                    imports.push(import.map_err(|error| LoadError::Malformed(error.to_string()))?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(reader) if depth == 0 => {
                at_most(NAMES_MAX, exports.len().saturating_add(reader.count() as usize), "exports")?;
                for export in reader.clone() {
                    exports.push(export.map_err(|error| LoadError::Malformed(error.to_string()))?.name.name.to_owned());
                }
            }
            Payload::ComponentCanonicalSection(reader) => {
                for function in reader.clone() {
                    let function = function.map_err(|error| LoadError::Malformed(error.to_string()))?;
                    if matches!(function, CanonicalFunction::ResourceNew { .. }) {
                        return Err(LoadError::OwnResources);
                    }
                }
            }
            Payload::CustomSection(reader) if reader.name() == SECTION => {
                at_most(SECTION_BYTES_MAX, reader.data().len(), "bytes in its section tollgate:handler")?;
                let parsed = serde_json::from_slice(reader.data());
                let parsed = parsed.map_err(|error| LoadError::Malformed(format!("section {SECTION}: {error}")))?;
                section = Some(parsed);
            }
            _ => {}
        }
        hash_section(&payload, bytes, &mut code);
    }
    check_exports(&exports)?;
    let imports = check_imports(&imports)?;
    let digests = HandlerDigests { artifact: Digest::of(bytes), code: Digest(*code.finalize().as_bytes()) };
    Ok(Inspected { digests, imports, section })
}

fn at_most(max: usize, count: usize, what: &'static str) -> Result<(), LoadError> {
    if count > max { Err(LoadError::Excess { what, max }) } else { Ok(()) }
}

/// All but custom sections counts. A nested module counts by its own sections, which come next.
fn hash_section(payload: &Payload<'_>, bytes: &[u8], code: &mut blake3::Hasher) {
    // Where a nested one begins and ends counts too. No section has these numbers.
    match payload {
        Payload::Version { encoding: Encoding::Module, .. } => drop(code.update(&[0xfd])),
        Payload::Version { encoding: Encoding::Component, .. } => drop(code.update(&[0xfe])),
        Payload::End(_) => drop(code.update(&[0xff])),
        _ => {}
    }
    if matches!(
        payload,
        Payload::Version { .. }
            | Payload::CustomSection(_)
            | Payload::ModuleSection { .. }
            | Payload::ComponentSection { .. }
    ) {
        return;
    }
    if let Some((id, range)) = payload.as_section() {
        let content = bytes.get(range).unwrap_or_default();
        code.update(&[id]);
        code.update(&(content.len() as u64).to_le_bytes());
        code.update(content);
    }
}

fn refuse_native(bytes: &[u8]) -> Result<(), LoadError> {
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(LoadError::NativeCode("compiled by wasmtime for some machine"));
    }
    let known: [(&[u8], &str); 6] = [
        (b"\x7fELF", "a program for Linux"),
        (b"MZ", "a program for Windows"),
        (b"\xcf\xfa\xed\xfe", "a program for macOS"),
        (b"\xca\xfe\xba\xbe", "a program for macOS"),
        (b"\xce\xfa\xed\xfe", "a program for macOS"),
        (b"#!", "a script"),
    ];
    match known.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, what)) => Err(LoadError::NativeCode(what)),
        None => Ok(()),
    }
}

fn check_exports(exports: &[String]) -> Result<(), LoadError> {
    let expected = format!("{PACKAGE}{EXPORT}@{OFFERED}");
    for export in exports {
        if let Some((EXPORT, version)) = export.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')) {
            return check_version(export, version);
        }
    }
    let shown = exports.iter().take(NAMES_SHOWN).map(|export| clean(export)).collect::<Vec<_>>().join(", ");
    let found = if exports.is_empty() { "nothing".to_owned() } else { shown };
    Err(LoadError::WrongWorld { expected, found })
}

/// Versions fit up to the first figure that isn't zero, as semantic versioning has it.
fn check_version(wanted: &str, version: &str) -> Result<(), LoadError> {
    let track = |version: &str| version.split('.').take(2).collect::<Vec<_>>().join(".");
    if track(version) == track(OFFERED) {
        Ok(())
    } else {
        Err(LoadError::OtherVersion { wanted: clean(wanted), offered: OFFERED })
    }
}

fn check_imports(imports: &[String]) -> Result<BTreeSet<Capability>, LoadError> {
    let mut capabilities = BTreeSet::new();
    for import in imports {
        let unknown = || LoadError::UnknownImport(clean(import));
        let (interface, version) = import.split_once('@').ok_or_else(unknown)?;
        if let Some(name) = interface.strip_prefix(PACKAGE) {
            check_version(import, version)?;
            match (LINKED.contains(&name), Capability::from_word(name)) {
                (true, capability) => capabilities.extend(capability),
                (false, Some(capability)) => {
                    return Err(LoadError::NotGranted(capability.as_str().to_owned()));
                }
                (false, None) => return Err(unknown()),
            }
        } else if let Some(package) = interface.strip_prefix("wasi:").and_then(|rest| rest.split('/').next()) {
            let linked = WASI_LINKED.contains(&package) || WASI_HTTP_LINKED.contains(&interface);
            match (linked && version.starts_with("0.2."), package) {
                (true, _) => capabilities.extend((interface == OWN_CLIENT).then_some(Capability::Http)),
                (false, "http") => return Err(LoadError::NotGranted(clean(import))),
                (false, _) => return Err(unknown()),
            }
        } else {
            return Err(unknown());
        }
    }
    Ok(capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap21_native_code_is_refused() {
        assert!(matches!(inspect(b"\x7fELF\x02\x01").err(), Some(LoadError::NativeCode(_))));
        assert!(matches!(inspect(b"MZ\x90").err(), Some(LoadError::NativeCode(_))));
        assert!(matches!(inspect(b"#!/bin/sh").err(), Some(LoadError::NativeCode(_))));
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert_eq!(inspect(b"").err(), Some(LoadError::NotWasm));
        assert_eq!(inspect(b"hello").err(), Some(LoadError::NotWasm));
        assert_eq!(inspect(b"\0asm\x01\0\0\0").err(), Some(LoadError::CoreModule));
        assert!(matches!(inspect(b"\0asm\x0d\0\x01\0\x0a\xff").err(), Some(LoadError::Malformed(_))));
        assert!(matches!(inspect(b"\0asm\x0d\0\x01\0").err(), Some(LoadError::WrongWorld { .. })));
    }

    #[test]
    fn trap22_what_no_handler_has_so_many_of_is_refused_before_it_is_compiled() {
        let header = b"\0asm\x0d\0\x01\0";
        let nested = |depth: usize| {
            (1..depth).fold(header.to_vec(), |inside, _| {
                let length = u8::try_from(inside.len()).unwrap();
                // Two bytes of LEB128, so that more than 127 fit.
                [header, &[4, length & 0x7f | 0x80, length >> 7][..], &inside].concat()
            })
        };
        let excess = |bytes: &[u8]| match inspect(bytes) {
            Err(LoadError::Excess { what, max }) => Some((what, max)),
            _ => None,
        };
        assert_eq!(excess(&nested(20)), None);
        let imports = [header, &[10, 5, 0xe9, 0x07, 0, 0, 0][..]].concat();
        assert_eq!(excess(&imports), Some(("imports", NAMES_MAX)));
        let exports = [header, &[11, 5, 0xe9, 0x07, 0, 0, 0][..]].concat();
        assert_eq!(excess(&exports), Some(("exports", NAMES_MAX)));
    }

    fn imports(name: &str) -> Result<BTreeSet<Capability>, LoadError> {
        check_imports(&[name.to_owned()])
    }

    #[test]
    fn i04_a_client_of_its_own_is_the_capability_http() {
        let of = |name| imports(name).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(of("wasi:http/outgoing-handler@0.2.6"), [Capability::Http]);
        assert_eq!(of("wasi:http/types@0.2.6"), []);
    }

    #[test]
    fn i04_what_is_not_offered_is_refused_by_name() {
        assert!(imports("tollgate:handler/http@0.1.0").unwrap().contains(&Capability::Http));
        assert!(imports("wasi:sockets/tcp@0.2.6").unwrap().is_empty());
        assert!(imports("tollgate:handler/speech@0.1.0").unwrap().contains(&Capability::Speech));
        assert!(matches!(imports("wasi:http/incoming-handler@0.2.6"), Err(LoadError::NotGranted(_))));
        assert!(matches!(imports("wasi:http/handler@0.3.0"), Err(LoadError::NotGranted(_))));
        assert!(matches!(imports("wasi:keyvalue/store@0.2.0"), Err(LoadError::UnknownImport(_))));
        assert!(matches!(imports("env"), Err(LoadError::UnknownImport(_))));
        assert!(matches!(imports("tollgate:handler/http@0.2.0"), Err(LoadError::OtherVersion { .. })));
    }
}
