//! jobs.toml while a host runs by it: it is read again when it changes. What a request looks up holds at once, the rest
//! waits for the next start, and a file with a mistake changes nothing (R02).

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tollgate_core::{
    Clock, Timestamp,
    spec::{Diagnostic, ReadSpec, Reloaded},
};
use tollgate_egress::Gate;

/// How jobs.toml stands to what the host goes on by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationStatus {
    /// The file.
    pub file: String,
    /// When what holds now was read.
    pub read_at: Timestamp,
    /// Sections of which something holds since then.
    pub taken: Vec<String>,
    /// Sections of which something waits for the next start.
    pub waiting: Vec<String>,
    /// Why the file as it is now isn't gone by, with all that is wrong with it; absent: it is.
    pub error: Option<String>,
    /// Why nobody sees it change; absent: somebody does.
    pub unwatched: Option<String>,
}

impl ConfigurationStatus {
    /// What a person should do about it.
    pub(crate) fn attention(&self) -> impl Iterator<Item = String> {
        let Self { file, waiting, error, unwatched, .. } = self;
        let error = error.as_ref().map(|error| format!("{file} was changed and isn't gone by: {error}"));
        let waits = (!waiting.is_empty())
            .then(|| format!("{file} was changed: {} waits for the host's next start", waiting.join(", ")));
        let unwatched = unwatched.as_ref();
        let unwatched =
            unwatched.map(|why| format!("{file} isn't watched: {why}; `tollgate reload` has it read again"));
        error.into_iter().chain(waits).chain(unwatched)
    }
}

/// The jobs.toml of a host that runs.
pub struct Configuration {
    path: PathBuf,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    /// As it was read at the start.
    started: ReadSpec,
    last: Mutex<Last>,
    status: watch::Sender<ConfigurationStatus>,
}

/// The last look at the file.
struct Last {
    text: String,
    /// The last one that was read without a mistake.
    spec: ReadSpec,
}

impl Configuration {
    /// That of `gate`, which was set up by `spec`, read from `text`.
    #[must_use]
    pub fn new(path: PathBuf, text: String, spec: ReadSpec, gate: Arc<Gate>, clock: Arc<dyn Clock>) -> Self {
        let status = watch::Sender::new(ConfigurationStatus {
            file: path.display().to_string(),
            read_at: clock.now(),
            taken: Vec::new(),
            waiting: Vec::new(),
            error: None,
            unwatched: None,
        });
        Self { path, gate, clock, started: spec.clone(), last: Mutex::new(Last { text, spec }), status }
    }

    /// How it stands, and each time that it is read anew.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<ConfigurationStatus> {
        self.status.subscribe()
    }

    /// Nobody will see the file change, for this reason.
    pub fn unwatched(&self, why: &str) {
        tracing::warn!(file = %self.path.display(), why, "jobs.toml isn't watched");
        self.status.send_modify(|status| status.unwatched = Some(why.to_owned()));
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> ConfigurationStatus {
        self.status.borrow().clone()
    }

    /// Looks at the file, and goes on by it as far as a running host can. A file that is as it was is left alone. Reads
    /// from the disk, so it belongs beside the workers.
    pub fn reload(&self) -> ConfigurationStatus {
        let mut last = self.last();
        match fs::read_to_string(&self.path) {
            Ok(text) if text == last.text => {}
            Ok(text) => {
                match ReadSpec::parse(&text, &self.path.display().to_string()) {
                    Ok(spec) => self.take(&mut last.spec, spec),
                    Err(wrong) => self.refuse(Diagnostic::all(&wrong)),
                }
                last.text = text;
            }
            // It is looked at again, however it comes back.
            Err(error) => {
                last.text.clear();
                self.refuse(error.to_string());
            }
        }
        self.status()
    }

    fn take(&self, last: &mut ReadSpec, spec: ReadSpec) {
        let Reloaded { deployment, taken, waiting } = self.started.reload(last, &spec);
        self.gate.reload(deployment);
        tracing::info!(file = %self.path.display(), ?taken, ?waiting, "jobs.toml was read again");
        *last = spec;
        let read_at = self.clock.now();
        self.status.send_modify(|status| {
            let (file, unwatched) = (status.file.clone(), status.unwatched.take());
            *status = ConfigurationStatus { file, read_at, taken, waiting, error: None, unwatched };
        });
    }

    fn refuse(&self, error: String) {
        tracing::error!(file = %self.path.display(), error, "jobs.toml was changed and isn't gone by");
        self.status.send_modify(|status| status.error = Some(error));
    }

    // A panic of the reader leaves what was there.
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
