//! A test handler that does harm: what a guest can do to its host, by the word with which its item's key begins.
//!
//! It is written against the interface alone: the SDK would not let it. How it describes itself stands in a text that
//! tests overwrite in the file, since `describe` is given nothing.
#![cfg(target_family = "wasm")]

mod bindings {
    wit_bindgen::generate!({ path: "../../../wit/0.1.0", world: "handler" });
}

use std::{hint::black_box, time::Duration};

use bindings::{
    exports::tollgate::handler::stages::{
        DiscoverContext, Discovery, Guest, HandlerInfo, Output, StageError, StageInfo, Task,
    },
    tollgate::handler::{http, log},
};

/// Tests put another word behind the `=`.
static DESCRIBES: &str = "hostile describes=well      ";

/// Where its requests go.
const PAGE: &str = "http://site.example/page";
const HANGS: &str = "http://hangs.example/";
/// Requests of `fetches`.
const AT_ONCE: usize = 1_000;
/// Bytes of the answer of `huge`.
const HUGE_BYTES: usize = 100 << 20;
/// Bytes that `allocate` takes at a time.
const CHUNK_BYTES: usize = 1 << 20;

struct Hostile;

impl Guest for Hostile {
    fn describe() -> HandlerInfo {
        let produces = r#"{"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}"#;
        let produces = match black_box(DESCRIBES).split_once('=').map_or("", |(_, word)| word.trim()) {
            "trap" => panic!("asked to"),
            "spin" => spin(),
            "text" => "{",
            "schema" => r#"{"type": 12}"#,
            "doubles" => &doubling(),
            _ => produces,
        };
        HandlerInfo {
            name: "hostile".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "Does harm.".to_owned(),
            stages: vec![StageInfo {
                name: "harm".to_owned(),
                summary: "Does what its item's key says.".to_owned(),
                needs: None,
                reads: Vec::new(),
                produces: produces.to_owned(),
                source_hash: None,
            }],
            params: r#"{"type": "object"}"#.to_owned(),
            discovers: false,
        }
    }

    fn discover(_: DiscoverContext) -> Result<Discovery, StageError> {
        Err(StageError::Permanent("there is nothing to find".to_owned()))
    }

    fn process_stage(task: Task) -> Result<Output, StageError> {
        // As it stands in JSON.
        let text = match task.item_key.split('-').next().unwrap_or_default() {
            "spin" => spin(),
            "allocate" => allocate(),
            "recurse" => recurse(0).to_string(),
            "handles" => hold_pages(),
            "log" => flood(),
            "forge" => {
                log::event(log::Level::Info, "one\u{1b}[2J\u{1b}]0;mine\u{7}\r\nERROR job=other failed", &[]);
                println!("two\u{1b}[31m\u{9b}1m red");
                r"forged\u001b[2J".to_owned()
            }
            "huge" => "x".repeat(HUGE_BYTES),
            "nojson" => return Ok(output("{\"text\": ".to_owned())),
            "noobject" => return Ok(output("[1, 2]".to_owned())),
            "breach" => return Ok(output("{\"text\": 7}".to_owned())),
            "sleep" => {
                std::thread::sleep(Duration::from_secs(86_400));
                "slept".to_owned()
            }
            "hang" => page(HANGS).map_or_else(|_| "refused".to_owned(), |_| "answered".to_owned()),
            "fetches" => {
                let answers = http::fetch_all(&vec![request(PAGE); AT_ONCE]);
                answers.iter().filter(|answer| answer.is_ok()).count().to_string()
            }
            "panic" => panic!("asked to"),
            other => return Err(StageError::Permanent(format!("no such harm: {other}"))),
        };
        Ok(output(format!("{{\"text\": \"{text}\"}}")))
    }
}

/// A schema of some kilobytes whose parts each name the next one twice.
fn doubling() -> String {
    let links: String = (0..60)
        .map(|link| {
            let next = format!(r##"{{"$ref": "#/$defs/a{}"}}"##, link + 1);
            format!(r#""a{link}": {{"allOf": [{next}, {next}]}}, "#)
        })
        .collect();
    format!(r##"{{"type": "object", "$ref": "#/$defs/a0", "$defs": {{{links}"a60": {{"type": "object"}}}}}}"##)
}

fn output(fields: String) -> Output {
    Output { fields, found: Vec::new(), quality_flags: Vec::new() }
}

fn request(url: &str) -> http::Request {
    http::Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: None,
        timeout: None,
        options: None,
    }
}

fn page(url: &str) -> Result<http::Response, http::HttpError> {
    http::fetch(&request(url))
}

/// Never ends, and the compiler can't know.
fn spin() -> ! {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

/// Takes memory until there is none, and touches it.
fn allocate() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1_u8; CHUNK_BYTES]));
    }
}

fn recurse(depth: u64) -> u64 {
    let below = black_box([depth; 64]);
    if black_box(false) { 0 } else { recurse(depth + 1) + below[7] }
}

/// Opens responses without end, and lets none go.
fn hold_pages() -> ! {
    let mut held = Vec::new();
    loop {
        held.extend(http::fetch_all(&vec![request(PAGE); 100]));
        black_box(&held);
    }
}

fn flood() -> ! {
    loop {
        log::event(log::Level::Error, "", &[]);
    }
}

#[expect(unsafe_code, reason = "the component's exports are what wit-bindgen makes of them")]
mod exported {
    use super::Hostile;

    super::bindings::export!(Hostile with_types_in super::bindings);
}
