//! A mock host for native unit tests of handlers: pages, artifacts and state in memory, every call recorded.
//!
//! ```
//! use tollgate_sdk::{http, mock};
//!
//! let host = mock::Host::new().page("https://a.example/", "<h1>Hello</h1>");
//! let title = host.run(|| http::get("https://a.example/").unwrap().text().unwrap());
//! assert_eq!(title, "<h1>Hello</h1>");
//! assert_eq!(host.requests()[0].url, "https://a.example/");
//! ```

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use serde_json::Value;

use crate::{
    error::{HttpError, ServiceError, ToolError},
    http::Request,
    llm,
    log::Level,
    search, speech,
    state::Entry,
    tools,
};

pub(crate) mod backend;

thread_local! {
    static CURRENT: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// An answer that the mock host gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The status code.
    pub status: u16,
    /// Headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Default for Page {
    /// Status 200, and nothing else.
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body: Vec::new() }
    }
}

/// An event that a handler logged.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// Its level.
    pub level: Level,
    /// Its message.
    pub message: String,
    /// Its fields.
    pub fields: Vec<(String, Value)>,
}

#[derive(Default)]
struct World {
    answers: BTreeMap<String, VecDeque<Result<Page, HttpError>>>,
    requests: Vec<Request>,
    /// What `.stage(…)` said.
    stage: Option<String>,
    /// The stage functions that are running, the innermost last.
    running: Vec<&'static str>,
    artifacts: BTreeMap<(String, String), (String, Vec<u8>)>,
    state: BTreeMap<String, Entry>,
    conflicts: u32,
    log: Vec<Logged>,
    raw_count: u32,
    llm_answers: VecDeque<Result<llm::Completion, ServiceError>>,
    llm_calls: Vec<llm::Request>,
    search_answers: VecDeque<Result<Vec<search::Hit>, ServiceError>>,
    speech_answers: VecDeque<Result<speech::Transcript, ServiceError>>,
    speech_calls: Vec<speech::Transcription>,
    tool_answers: VecDeque<Result<tools::Output, ToolError>>,
    tool_runs: Vec<tools::Run>,
}

/// A mock host. Clones share one world.
#[derive(Clone, Default)]
pub struct Host(Rc<RefCell<World>>);

impl Host {
    /// An empty one: every address is denied.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers `url` with an HTML page, status 200. Several answers for one address are given in turn, the last again
    /// and again.
    #[must_use]
    pub fn page(self, url: &str, body: &str) -> Self {
        let headers = vec![("content-type".to_owned(), "text/html; charset=utf-8".to_owned())];
        self.answer(url, Ok(Page { status: 200, headers, body: body.as_bytes().to_vec() }))
    }

    /// Answers `url` with JSON, status 200.
    #[must_use]
    pub fn json(self, url: &str, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        self.answer(url, Ok(Page { status: 200, headers, body: body.to_string().into_bytes() }))
    }

    /// Answers `url` with a status and no body.
    #[must_use]
    pub fn status(self, url: &str, status: u16) -> Self {
        self.answer(url, Ok(Page { status, headers: Vec::new(), body: Vec::new() }))
    }

    /// Answers `url` with bytes of a media type, status 200: an image, an archive, a gzipped sitemap.
    #[must_use]
    pub fn bytes(self, url: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), media_type.to_owned())];
        self.answer(url, Ok(Page { headers, body: body.into(), ..Page::default() }))
    }

    /// Refuses `url` as the gate would.
    #[must_use]
    pub fn refuse(self, url: &str, error: HttpError) -> Self {
        self.answer(url, Err(error))
    }

    /// Answers `url` with anything.
    #[must_use]
    pub fn answer(self, url: &str, answer: Result<Page, HttpError>) -> Self {
        self.0.borrow_mut().answers.entry(url.to_owned()).or_default().push_back(answer);
        self
    }

    /// Has an artifact of a stage.
    #[must_use]
    pub fn artifact(self, stage: &str, name: &str, body: &[u8]) -> Self {
        let value = ("application/octet-stream".to_owned(), body.to_vec());
        self.0.borrow_mut().artifacts.insert((stage.to_owned(), name.to_owned()), value);
        self
    }

    /// Runs as this stage: what is put is found under that name. A `#[stage]` function needs no such word, what it puts
    /// is found under its own name; outside of one, the stage is called `stage`.
    #[must_use]
    pub fn stage(self, stage: &str) -> Self {
        self.0.borrow_mut().stage = Some(stage.to_owned());
        self
    }

    /// Has an entry of the job's state, as JSON.
    #[must_use]
    pub fn state(self, key: &str, value: &Value) -> Self {
        let entry = Entry { value: value.to_string().into_bytes(), version: 1 };
        self.0.borrow_mut().state.insert(key.to_owned(), entry);
        self
    }

    /// Lets other writers come first at the next `times` writes of state.
    #[must_use]
    pub fn conflicts(self, times: u32) -> Self {
        self.0.borrow_mut().conflicts = times;
        self
    }

    /// Answers the next call of a model with this text. Answers are given in turn, each once.
    #[must_use]
    pub fn llm(self, text: &str) -> Self {
        self.llm_answer(Ok(llm::Completion { text: text.to_owned(), model: "mock".to_owned(), ..Default::default() }))
    }

    /// Answers the next call of a model with anything.
    #[must_use]
    pub fn llm_answer(self, answer: Result<llm::Completion, ServiceError>) -> Self {
        self.0.borrow_mut().llm_answers.push_back(answer);
        self
    }

    /// Answers the next web search.
    #[must_use]
    pub fn search(self, answer: Result<Vec<search::Hit>, ServiceError>) -> Self {
        self.0.borrow_mut().search_answers.push_back(answer);
        self
    }

    /// Answers the next transcription.
    #[must_use]
    pub fn speech(self, answer: Result<speech::Transcript, ServiceError>) -> Self {
        self.0.borrow_mut().speech_answers.push_back(answer);
        self
    }

    /// Answers the next run of a tool.
    #[must_use]
    pub fn tool(self, answer: Result<tools::Output, ToolError>) -> Self {
        self.0.borrow_mut().tool_answers.push_back(answer);
        self
    }

    /// Runs `f` with this host: the handler's calls come here.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        let before = CURRENT.with(|current| current.borrow_mut().replace(self.clone()));
        let restore = Restore(before);
        let result = f();
        drop(restore);
        result
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.0.borrow().requests.clone()
    }

    /// All calls of models so far.
    #[must_use]
    pub fn llm_calls(&self) -> Vec<llm::Request> {
        self.0.borrow().llm_calls.clone()
    }

    /// All transcriptions so far: each equals what `speech::transcribe(…)` made of the same words.
    #[must_use]
    pub fn speech_calls(&self) -> Vec<speech::Transcription> {
        self.0.borrow().speech_calls.clone()
    }

    /// All runs of tools so far: each equals what `tools::run(…)` made of the same words.
    #[must_use]
    pub fn tool_runs(&self) -> Vec<tools::Run> {
        self.0.borrow().tool_runs.clone()
    }

    /// A value of the job's state, as JSON.
    #[must_use]
    pub fn state_value(&self, key: &str) -> Option<Value> {
        serde_json::from_slice(&self.0.borrow().state.get(key)?.value).ok()
    }

    /// The body of an artifact.
    #[must_use]
    pub fn artifact_body(&self, stage: &str, name: &str) -> Option<Vec<u8>> {
        let world = self.0.borrow();
        world.artifacts.get(&(stage.to_owned(), name.to_owned())).map(|(_, body)| body.clone())
    }

    /// Names of all artifacts, as (stage, name).
    #[must_use]
    pub fn artifacts(&self) -> Vec<(String, String)> {
        self.0.borrow().artifacts.keys().cloned().collect()
    }

    /// All events so far.
    #[must_use]
    pub fn logged(&self) -> Vec<Logged> {
        self.0.borrow().log.clone()
    }
}

/// A stage function begins; it ends where the value is dropped. `#[stage]` calls it.
#[doc(hidden)]
#[must_use]
pub fn running(stage: &'static str) -> RunningStage {
    let host = CURRENT.with(|current| current.borrow().clone());
    if let Some(host) = &host {
        host.0.borrow_mut().running.push(stage);
    }
    RunningStage(host)
}

/// A stage function that is running.
#[doc(hidden)]
pub struct RunningStage(Option<Host>);

impl Drop for RunningStage {
    fn drop(&mut self) {
        if let Some(host) = &self.0 {
            host.0.borrow_mut().running.pop();
        }
    }
}

struct Restore(Option<Host>);

impl Drop for Restore {
    fn drop(&mut self) {
        let before = self.0.take();
        CURRENT.with(|current| *current.borrow_mut() = before);
    }
}
