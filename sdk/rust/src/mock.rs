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
    artifacts::Artifact,
    error::HttpError,
    http::Request,
    log::Level,
    state::Entry,
};

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
    stage: String,
    artifacts: BTreeMap<(String, String), (String, Vec<u8>)>,
    state: BTreeMap<String, Entry>,
    log: Vec<Logged>,
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

    /// Answers `url` with a status and no body.
    #[must_use]
    pub fn status(self, url: &str, status: u16) -> Self {
        self.answer(url, Ok(Page { status, headers: Vec::new(), body: Vec::new() }))
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

    /// Runs as this stage: what it puts is found under that name. Without it the stage is called `stage`.
    #[must_use]
    pub fn stage(self, stage: &str) -> Self {
        stage.clone_into(&mut self.0.borrow_mut().stage);
        self
    }

    /// Has an entry of the job's state, as JSON.
    #[must_use]
    pub fn state(self, key: &str, value: &Value) -> Self {
        let entry = Entry { value: value.to_string().into_bytes(), version: 1 };
        self.0.borrow_mut().state.insert(key.to_owned(), entry);
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

    /// The body of an artifact.
    #[must_use]
    pub fn artifact_body(&self, stage: &str, name: &str) -> Option<Vec<u8>> {
        let world = self.0.borrow();
        world.artifacts.get(&(stage.to_owned(), name.to_owned())).map(|(_, body)| body.clone())
    }

    /// All events so far.
    #[must_use]
    pub fn logged(&self) -> Vec<Logged> {
        self.0.borrow().log.clone()
    }
}

struct Restore(Option<Host>);

impl Drop for Restore {
    fn drop(&mut self) {
        let before = self.0.take();
        CURRENT.with(|current| *current.borrow_mut() = before);
    }
}

/// What the SDK calls in place of the host.
pub(crate) mod backend {
    use super::{Artifact, CURRENT, Host, HttpError, Level, Logged, Page, Request, Value, World};
    use crate::{
        error::{ArtifactError, StateError},
        state::{Change, Entry, Keys},
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
            Ok(self.page.body.clone())
        }

        pub(crate) fn save(&self, name: &str) -> Result<Artifact, HttpError> {
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
            Ok(RawResponse { url, page })
        })
    }

    pub(crate) fn fetch_all(requests: Vec<Request>) -> Vec<Result<RawResponse, HttpError>> {
        requests.into_iter().map(fetch).collect()
    }

    pub(crate) fn artifact_put(name: &str, content_type: &str, body: &[u8]) -> Result<Artifact, ArtifactError> {
        world(|world| {
            let stage = if world.stage.is_empty() { "stage".to_owned() } else { world.stage.clone() };
            let value = (content_type.to_owned(), body.to_vec());
            let artifact = describe(&stage, name, &value);
            world.artifacts.insert((stage, name.to_owned()), value);
            Ok(artifact)
        })
    }

    /// The mock's digest is no BLAKE3: it only tells bodies apart.
    fn describe(stage: &str, name: &str, (content_type, body): &(String, Vec<u8>)) -> Artifact {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Artifact {
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

    pub(crate) fn artifact_list() -> Vec<Artifact> {
        world(|world| world.artifacts.iter().map(|((stage, name), value)| describe(stage, name, value)).collect())
    }

    pub(crate) fn state_get(key: &str) -> Result<Option<Entry>, StateError> {
        world(|world| Ok(world.state.get(key).cloned()))
    }

    pub(crate) fn state_apply(changes: &[Change]) -> Result<(), StateError> {
        world(|world| {
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
}
