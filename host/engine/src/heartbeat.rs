//! The heartbeat: a plain file that says the host lives, for readers outside the process (D02).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tollgate_core::{Clock, Timestamp};

use crate::EngineError;

/// Its name in the data folder.
pub const HEARTBEAT_FILE: &str = "heartbeat.json";
/// Time between two beats.
const BEAT: Duration = Duration::from_secs(1);
/// Age from which a heartbeat means that the host has stopped or hangs: five beats missed.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// One beat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Rises by one with each beat of a process.
    pub sequence: u64,
    /// The process.
    pub pid: u32,
    /// When the process began.
    pub started_at: Timestamp,
    /// When this beat was written.
    pub at: Timestamp,
    /// Version of the host.
    pub version: String,
    /// It has stopped in good order.
    pub stopped: bool,
}

/// Whether a host lives, with the age of what says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "liveness", rename_all = "kebab-case")]
pub enum Liveness {
    /// Its heart beats.
    Running {
        /// Milliseconds since the last beat.
        age_ms: u64,
        /// The last beat.
        heartbeat: Heartbeat,
    },
    /// It has stopped, was killed, or hangs.
    Stopped {
        /// Milliseconds since the last beat.
        age_ms: u64,
        /// The last beat.
        heartbeat: Heartbeat,
    },
    /// No host ever ran on this data folder.
    Never,
}

impl Heartbeat {
    /// Reads the heartbeat of a data folder.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub fn liveness(data: &Path, now: Timestamp) -> Result<Liveness, EngineError> {
        let path = data.join(HEARTBEAT_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Liveness::Never),
            Err(error) => return Err(EngineError::File { what: format!("reading {}", path.display()), error }),
        };
        let heartbeat: Self = serde_json::from_str(&text).map_err(|error| EngineError::File {
            what: format!("reading {}", path.display()),
            error: std::io::Error::other(error),
        })?;
        let age = now.since(heartbeat.at);
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Ok(if heartbeat.stopped || age > STALE_AFTER {
            Liveness::Stopped { age_ms, heartbeat }
        } else {
            Liveness::Running { age_ms, heartbeat }
        })
    }
}

/// Writes the heartbeat of this process.
pub struct HeartbeatWriter {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    beat: Heartbeat,
}

impl HeartbeatWriter {
    /// Writes the first beat.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn start(data: &Path, clock: Arc<dyn Clock>) -> Result<Self, EngineError> {
        let now = clock.now();
        let beat = Heartbeat {
            sequence: 0,
            pid: std::process::id(),
            started_at: now,
            at: now,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stopped: false,
        };
        let mut writer = Self { path: data.join(HEARTBEAT_FILE), clock, beat };
        writer.write()?;
        Ok(writer)
    }

    /// Beats until dropped. A beat that can't be written is logged, and the next one tried.
    pub async fn run(mut self) {
        loop {
            self.clock.sleep_until(self.beat.at.after(BEAT)).await;
            if let Err(error) = self.write() {
                tracing::warn!(%error, "the heartbeat can't be written");
            }
        }
    }

    fn write(&mut self) -> Result<(), EngineError> {
        self.beat.sequence += 1;
        self.beat.at = self.clock.now();
        write_beat(&self.path, &self.beat)
    }

    /// Marks a data folder's heartbeat as stopped in good order.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn stopped(data: &Path, now: Timestamp) -> Result<(), EngineError> {
        match Heartbeat::liveness(data, now)? {
            Liveness::Running { heartbeat, .. } | Liveness::Stopped { heartbeat, .. } => {
                let beat = Heartbeat { sequence: heartbeat.sequence + 1, at: now, stopped: true, ..heartbeat };
                write_beat(&data.join(HEARTBEAT_FILE), &beat)
            }
            Liveness::Never => Ok(()),
        }
    }
}

/// Writes beside and renames, so that a reader never sees half a beat.
fn write_beat(path: &Path, beat: &Heartbeat) -> Result<(), EngineError> {
    let file = |error| EngineError::File { what: format!("writing {}", path.display()), error };
    let text = serde_json::to_string(beat).map_err(|error| file(std::io::Error::other(error)))?;
    let beside = path.with_extension("json.new");
    std::fs::write(&beside, text).map_err(file)?;
    std::fs::rename(&beside, path).map_err(file)
}
