//! What the SDK calls in place of the host, natively: the same functions as the guest's backend has.

use std::cell::Cell;

use serde_json::Value;

use super::{CURRENT, Host, Logged, Page, World};
use crate::{
    artifacts::Saved,
    error::{ArtifactError, HttpError, ServiceError, StateError, ToolError},
    http::Request,
    llm,
    log::Level,
    search, speech,
    state::{Change, Entry, Keys},
    tools,
};

fn world<T>(f: impl FnOnce(&mut World) -> T) -> T {
    let host: Option<Host> = CURRENT.with(|current| current.borrow().clone());
    let host = host.expect("a host call outside of wasm needs a mock host: wrap it in tollgate_sdk::mock::Host::run");
    let mut world = host.0.borrow_mut();
    f(&mut world)
}

pub(crate) struct RawResponse {
    url: String,
    page: Page,
    is_kept: Cell<bool>,
}

impl RawResponse {
    pub(crate) fn status(&self) -> u16 {
        self.page.status
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let found = self.page.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }

    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        self.page.headers.clone()
    }

    pub(crate) fn size(&self) -> u64 {
        self.page.body.len() as u64
    }

    pub(crate) fn bytes(&self) -> Result<Vec<u8>, HttpError> {
        // As the host does it: what a stage reads is kept before the stage can parse it (M05).
        if !self.is_kept.get() {
            let number = world(|world| {
                world.raw_count += 1;
                world.raw_count
            });
            self.save(&format!("raw-{number}"))?;
        }
        Ok(self.page.body.clone())
    }

    pub(crate) fn save(&self, name: &str) -> Result<Saved, HttpError> {
        self.is_kept.set(true);
        let content_type = self.header("content-type").unwrap_or_default();
        artifact_put(name, &content_type, &self.page.body).map_err(|error| HttpError::Storage(error.to_string()))
    }
}

pub(crate) fn fetch(request: Request) -> Result<RawResponse, HttpError> {
    world(|world| {
        let url = request.url.clone();
        world.requests.push(request);
        let unknown = || HttpError::Denied(format!("the mock host has no answer for {url}"));
        let answers = world.answers.get_mut(&url).ok_or_else(unknown)?;
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let page = answer.ok_or_else(unknown)??;
        Ok(RawResponse { url, page, is_kept: Cell::new(false) })
    })
}

pub(crate) fn fetch_all(requests: Vec<Request>) -> Vec<Result<RawResponse, HttpError>> {
    requests.into_iter().map(fetch).collect()
}

/// The mock knows no archives: a member is answered at `url!member`, and the list at `url!` with a line for each.
pub(crate) fn zip_members(url: &str) -> Result<Vec<String>, HttpError> {
    let list = fetch(Request::new("GET", &format!("{url}!")))?;
    Ok(String::from_utf8_lossy(&list.page.body).lines().map(ToOwned::to_owned).collect())
}

pub(crate) fn zip_member(url: &str, member: &str) -> Result<RawResponse, HttpError> {
    fetch(Request::new("GET", &format!("{url}!{member}")))
}

pub(crate) fn llm_complete(request: llm::Request) -> Result<llm::Completion, ServiceError> {
    world(|world| {
        world.llm_calls.push(request);
        world.llm_answers.pop_front().unwrap_or_else(|| Err(ServiceError::Denied(no_answer("llm"))))
    })
}

pub(crate) fn search_web(_query: &str, limit: u32) -> Result<Vec<search::Hit>, ServiceError> {
    let answer = world(|world| world.search_answers.pop_front());
    let mut hits = answer.unwrap_or_else(|| Err(ServiceError::Denied(no_answer("search"))))?;
    hits.truncate(limit as usize);
    Ok(hits)
}

pub(crate) fn speech_transcribe(of: speech::Transcription) -> Result<speech::Transcript, ServiceError> {
    world(|world| {
        world.speech_calls.push(of);
        world.speech_answers.pop_front().unwrap_or_else(|| Err(ServiceError::Denied(no_answer("speech"))))
    })
}

pub(crate) fn tools_run(run: tools::Run) -> Result<tools::Output, ToolError> {
    world(|world| {
        world.tool_runs.push(run);
        world.tool_answers.pop_front().unwrap_or_else(|| Err(ToolError::Denied(no_answer("tool"))))
    })
}

fn no_answer(what: &str) -> String {
    format!("the mock host has no answer left: give one with `.{what}(…)`")
}

pub(crate) fn artifact_put(name: &str, content_type: &str, body: &[u8]) -> Result<Saved, ArtifactError> {
    world(|world| {
        let running = || (*world.running.last().unwrap_or(&"stage")).to_owned();
        let stage = world.stage.clone().unwrap_or_else(running);
        let value = (content_type.to_owned(), body.to_vec());
        let artifact = describe(&stage, name, &value);
        world.artifacts.insert((stage, name.to_owned()), value);
        Ok(artifact)
    })
}

/// The mock's digest is no BLAKE3: it only tells bodies apart.
fn describe(stage: &str, name: &str, (content_type, body): &(String, Vec<u8>)) -> Saved {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    Saved {
        stage: stage.to_owned(),
        name: name.to_owned(),
        content_type: content_type.clone(),
        size: body.len() as u64,
        digest: format!("mock:{:016x}", hasher.finish()),
    }
}

pub(crate) fn artifact_get(stage: &str, name: &str) -> Result<Vec<u8>, ArtifactError> {
    world(|world| {
        let found = world.artifacts.get(&(stage.to_owned(), name.to_owned()));
        let found = found.map(|(_, body)| body.clone());
        found.ok_or_else(|| ArtifactError::Missing(format!("{stage}/{name}")))
    })
}

pub(crate) fn artifact_range(stage: &str, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, ArtifactError> {
    let body = artifact_get(stage, name)?;
    let size = body.len();
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(size);
    let end = usize::try_from(offset.saturating_add(length)).unwrap_or(usize::MAX).min(size);
    Ok(body[start..end].to_vec())
}

pub(crate) fn artifact_list() -> Vec<Saved> {
    world(|world| world.artifacts.iter().map(|((stage, name), value)| describe(stage, name, value)).collect())
}

pub(crate) fn state_get(key: &str) -> Result<Option<Entry>, StateError> {
    world(|world| Ok(world.state.get(key).cloned()))
}

pub(crate) fn state_apply(changes: &[Change]) -> Result<(), StateError> {
    world(|world| {
        if let (Some(change), true) = (changes.first(), world.conflicts > 0) {
            world.conflicts -= 1;
            return Err(StateError::Conflict(change.key.clone()));
        }
        for change in changes {
            let version = world.state.get(&change.key).map_or(0, |entry| entry.version);
            if change.expect.is_some_and(|expect| expect != version) {
                return Err(StateError::Conflict(change.key.clone()));
            }
        }
        for change in changes {
            let version = world.state.get(&change.key).map_or(0, |entry| entry.version) + 1;
            match &change.value {
                Some(value) => {
                    world.state.insert(change.key.clone(), Entry { value: value.clone(), version });
                }
                None => {
                    world.state.remove(&change.key);
                }
            }
        }
        Ok(())
    })
}

pub(crate) fn state_keys(prefix: &str, cursor: Option<&str>) -> Result<Keys, StateError> {
    let after = |key: &str| cursor.is_none_or(|cursor| key > cursor);
    world(|world| {
        let keys = world.state.keys().filter(|key| key.starts_with(prefix) && after(key)).cloned().collect();
        Ok(Keys { keys, cursor: None })
    })
}

pub(crate) fn log_event(level: Level, message: &str, fields: Vec<(String, Value)>) {
    world(|world| world.log.push(Logged { level, message: message.to_owned(), fields }));
}
