//! Actions: what a script may ask of a stage.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tollgate_sdk::prelude::*;

use crate::stages::{Done, Script};

/// What `allocate` takes at a time.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Calls of `count` in this instance.
static CALLS: AtomicU32 = AtomicU32::new(0);

/// Does what `action` says.
///
/// | action | what the stage does |
/// |---|---|
/// | `done [TEXT]` | is done; its `text` is TEXT |
/// | `retry-later [MS]`, `nothing`, `reject`, `blocked`, `login`, `permanent`, `failed` | ends with that error |
/// | `heal N` | fails until attempt N, then is done |
/// | `empty-string`, `empty-list`, `breach` | breaks its contract |
/// | `panic`, `spin`, `allocate` | traps, never ends, takes memory without end |
/// | `found N`, `flag TEXT` | is done, with N items or a quality flag |
/// | `fetch URL`, `status URL` | asks for a page; any status is fine for `status` |
/// | `status-then URL ACTION` | asks for a page, and does ACTION whatever the status |
/// | `save URL`, `bytes URL` | keeps the body as `page.html`, or reads it without keeping it |
/// | `save-as NAME URL` | tries to keep the body under NAME, whatever the host says to that, and reads it |
/// | `save-again URL URL` | tries to keep the first body, whatever is said to that, asks for the second, reads the first |
/// | `read-all URL …` | reads each body |
/// | `read-all-guarded URL …` | asks for each, whatever comes, and fails |
/// | `post URL TEXT` | sends TEXT by POST; `text` is the address that answered |
/// | `fetch-then WORD URL` | asks for a page, then ends with the error WORD |
/// | `fetch-swallow URL` | asks, swallows the error and ends with `failed` |
/// | `fetch-panic URL`, `fetch-breach URL` | asks, and panics at an error or makes an output that breaks its contract |
/// | `fetch-past URL URL` | asks for the first, gets past its error by the second |
/// | `fetch-all URL …` | asks for all at once; `text` says how many answered |
/// | `put TEXT`, `get`, `read-back` | keeps an artifact; reads one that nobody made; reads what `put` kept |
/// | `state KEY` | adds one to a counter |
/// | `count` | `text` says which call of this instance it is |
/// | `log TEXT`, `log-flood N` | logs an event, or N of 1 KiB |
pub(crate) fn act<T: From<Done> + OutputExt>(action: &str, attempt: u32) -> Result<With<T>> {
    let (word, rest) = action.split_once(' ').unwrap_or((action, ""));
    let done = |text: &str| Done { text: text.into(), attempt, grade: 1, list: vec![word.into()], tags: Vec::new() };
    let end = |text: String| Ok(With::from(T::from(done(&text))));
    match word {
        "done" => end(if rest.is_empty() { word.into() } else { rest.into() }),
        "heal" if attempt >= number(rest)? => end(rest.into()),
        "empty-string" => end(String::new()),
        "empty-list" => Ok(T::from(Done { list: Vec::new(), ..done(word) }).into()),
        "breach" => Ok(T::from(Done { grade: 11, ..done(word) }).into()),
        "count" => end((CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string()),
        "found" => Ok(T::from(done(rest)).found((0..number(rest)?).map(found))),
        "flag" => Ok(T::from(done(word)).flag(rest)),
        "panic" => panic!("asked to"),
        "spin" => spin(),
        "allocate" => allocate(),
        "fetch" => end(http::get(rest)?.status().to_string()),
        "status" => end(http::request("GET", rest).send()?.status().to_string()),
        "status-then" => {
            let (url, then) = rest.split_once(' ').or_permanent("status-then takes an address and an action")?;
            http::request("GET", url).send()?;
            act(then, attempt)
        }
        "save" => end(http::get(rest)?.save("page.html")?.size.to_string()),
        "zip" => {
            let (member, url) = rest.split_once(' ').or_permanent("zip takes a member and an address")?;
            end(String::from_utf8_lossy(&http::zip_member(url, member)?.bytes()?).into_owned())
        }
        "zip-list" => end(http::zip_members(rest)?.len().to_string()),
        "bytes" => end(http::get(rest)?.bytes()?.len().to_string()),
        "save-as" => {
            let (name, url) = rest.split_once(' ').or_permanent("save-as takes a name and an address")?;
            let page = http::get(url)?;
            let saved = page.save(name).is_ok();
            end(format!("{saved} {}", page.bytes()?.len()))
        }
        "save-again" => {
            let (url, other) = rest.split_once(' ').or_permanent("save-again takes two addresses")?;
            let page = http::get(url)?;
            let saved = page.save("page.html").is_ok();
            http::get(other)?;
            end(format!("{saved} {}", page.bytes()?.len()))
        }
        "read-all" => {
            let mut read = 0;
            for url in rest.split(' ') {
                read += http::get(url)?.bytes()?.len();
            }
            end(read.to_string())
        }
        "read-all-guarded" => {
            let guarded = rest.split(' ').filter(|url| http::get(url).is_err()).count();
            Err(StageError::failed(format!("{guarded} were guarded")))
        }
        "post" => {
            let (url, text) = rest.split_once(' ').or_permanent("post takes an address and a text")?;
            end(http::request("POST", url).body("text/plain", text).send()?.ok()?.url())
        }
        "fetch-then" => {
            let (word, url) = rest.split_once(' ').or_permanent("fetch-then takes a word and an address")?;
            http::get(url)?;
            Err(error(word, "")?)
        }
        "fetch-swallow" => match http::get(rest) {
            Ok(_) => end(word.into()),
            Err(_) => Err(StageError::failed("something went wrong")),
        },
        "fetch-panic" => match http::get(rest) {
            Ok(_) => end(word.into()),
            Err(error) => panic!("it expected a page: {error:?}"),
        },
        "fetch-breach" => end(http::get(rest).map_or_else(|_| String::new(), |_| word.into())),
        "fetch-past" => {
            let (one, other) = rest.split_once(' ').or_permanent("fetch-past takes two addresses")?;
            end(http::get(one).or_else(|_| http::get(other))?.url())
        }
        "fetch-all" => end(http::get_all(rest.split(' ')).iter().filter(|answer| answer.is_ok()).count().to_string()),
        "put" => end(Artifacts.put("note.txt", "text/plain", rest.as_bytes())?.size.to_string()),
        "get" => end(Artifact::of("first", "nobody-made-it").text()?),
        "read-back" => end(Artifact::of("first", "note.txt").text()?),
        "state" => end(state::update(rest, |count: Option<u64>| count.unwrap_or(0) + 1)?.to_string()),
        "log" => {
            log::info!(rest, attempt = attempt);
            end(word.into())
        }
        "log-flood" => {
            (0..number(rest)?).for_each(|count| log::info!("x".repeat(1024), count = count));
            end(word.into())
        }
        _ => Err(error(word, rest)?),
    }
}

/// The error that a word asks for.
fn error(word: &str, rest: &str) -> Result<StageError> {
    let reason = || format!("asked to: {word}");
    Ok(match word {
        "retry-later" if rest.is_empty() => StageError::retry_later(reason()),
        "retry-later" => {
            let after = Some(Duration::from_millis(number(rest)?.into()));
            StageError::RetryLater { reason: reason(), after }
        }
        "nothing" => StageError::nothing_here(reason()),
        "reject" => StageError::reject(reason()),
        "blocked" => StageError::Blocked(reason()),
        "login" => StageError::LoginRequired(reason()),
        "failed" | "heal" => StageError::failed(reason()),
        "permanent" => StageError::permanent(reason()),
        _ => StageError::permanent(format!("no such action: {word:?}")),
    })
}

fn number(text: &str) -> Result<u32> {
    text.parse().or_permanent("an action's argument isn't a number")
}

fn found(number: u32) -> NewItem {
    NewItem::new(format!("found-{number}"), &Script { number: Some(number.into()), ..Script::default() })
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
