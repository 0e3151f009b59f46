//! Secrets, read where they live at the moment they are used. A file that is asked for often is read again once it is
//! another.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tollgate_core::spec::Secret;

/// Longest file of a secret, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// A file that was changed less long ago than this when it was read may be changed again without a trace: file systems
/// tell times no finer than in two seconds, some of them.
const SETTLED_TIME: Duration = Duration::from_secs(3);

/// Reads a secret; absent: it isn't set.
///
/// # Errors
/// A file is there and can't be read, or a variable is no text. The secret itself is in no message.
pub(crate) fn read(secret: &Secret, base: &Path) -> Result<Option<String>, String> {
    let text = match secret {
        Secret::Literal(text) => Some(text.clone()),
        Secret::Env(name) => match std::env::var(name) {
            Ok(text) => Some(text),
            Err(std::env::VarError::NotPresent) => None,
            Err(std::env::VarError::NotUnicode(_)) => return Err(format!("the variable {name} is no text")),
        },
        Secret::File(path) => {
            let path = base.join(path);
            match found(&path)? {
                Some(_) => Some(text_of(&path)?),
                None => None,
            }
        }
    };
    Ok(text.and_then(|text| tidy(&text)))
}

/// What is known of a file; absent: there is none.
fn found(path: &Path) -> Result<Option<Metadata>, String> {
    match fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => Err(format!("{} is too large", path.display())),
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn tidy(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Files of keys, which each call of a service asks for: looked at each time, and read where they aren't what they
/// were.
#[derive(Default)]
pub(crate) struct KeyFiles(Mutex<BTreeMap<PathBuf, KeyFile>>);

/// A file as it was read.
struct KeyFile {
    stamp: Stamp,
    text: Option<String>,
}

/// By what a file is known to be what it was: where it lies, how long it is, when it was last written and changed.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    bytes: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            place: (found.dev(), found.ino()),
            bytes: found.size(),
            written: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Whether it is so old by now that a change would show.
    fn has_settled(&self, now: SystemTime) -> bool {
        let seconds = u64::try_from(self.written.0.max(self.changed.0)).unwrap_or(u64::MAX);
        let settled = Duration::from_secs(seconds).checked_add(SETTLED_TIME);
        settled.and_then(|settled| UNIX_EPOCH.checked_add(settled)).is_some_and(|settled| settled < now)
    }
}

impl KeyFiles {
    /// The same as [`read`].
    ///
    /// # Errors
    /// Those of [`read`].
    pub(crate) fn read(&self, secret: &Secret, base: &Path) -> Result<Option<String>, String> {
        match secret {
            Secret::File(path) => self.file(base.join(path), SystemTime::now()),
            Secret::Literal(_) | Secret::Env(_) => read(secret, base),
        }
    }

    fn file(&self, path: PathBuf, now: SystemTime) -> Result<Option<String>, String> {
        // Before it is read: what changes in between shows the next time.
        let Some(found) = found(&path)? else { return Ok(None) };
        let stamp = Stamp::of(&found);
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = known().get(&path).filter(|file| file.stamp == stamp) {
            return Ok(file.text.clone());
        }
        let text = tidy(&text_of(&path)?);
        if stamp.has_settled(now) {
            known().insert(path, KeyFile { stamp, text: text.clone() });
        } else {
            known().remove(&path);
        }
        Ok(text)
    }
}

/// How a person sets it.
pub(crate) fn how_to_set(secret: &Secret) -> String {
    match secret {
        Secret::Literal(_) => "write its address there".to_owned(),
        Secret::Env(name) => format!("set the variable {name}"),
        Secret::File(path) => format!("write it to the file {}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_key_is_read_again_once_it_is_another() {
        let (folder, files) = (tempfile::tempdir().unwrap(), KeyFiles::default());
        let path = folder.path().join("key");
        let (now, later) = (SystemTime::now(), SystemTime::now() + 2 * SETTLED_TIME);
        let is_known = || files.0.lock().unwrap().contains_key(&path);
        assert_eq!(files.file(path.clone(), later), Ok(None));
        fs::write(&path, " one\n").unwrap();
        assert_eq!(files.file(path.clone(), now), Ok(Some("one".to_owned())));
        assert!(!is_known(), "it was written just now, and may be written again in the same moment");
        assert_eq!(files.file(path.clone(), later), Ok(Some("one".to_owned())));
        assert!(is_known());
        // As long as before, and in its place, as people do who write one beside it first.
        let beside = folder.path().join("beside");
        fs::write(&beside, " two\n").unwrap();
        fs::rename(&beside, &path).unwrap();
        assert_eq!(files.file(path.clone(), later), Ok(Some("two".to_owned())));
        fs::write(&path, "a third").unwrap();
        assert_eq!(files.file(path.clone(), later), Ok(Some("a third".to_owned())));
        fs::write(&path, "\n").unwrap();
        assert_eq!(files.file(path.clone(), later), Ok(None), "an empty one is none");
        fs::remove_file(&path).unwrap();
        assert_eq!(files.file(path.clone(), later), Ok(None), "one that is gone isn't remembered");
    }

    #[test]
    fn what_is_known_of_a_file_is_taken_and_not_read_again() {
        let (folder, files) = (tempfile::tempdir().unwrap(), KeyFiles::default());
        let path = folder.path().join("key");
        fs::write(&path, "one").unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let text = Some("known".to_owned());
        files.0.lock().unwrap().insert(path.clone(), KeyFile { stamp, text: text.clone() });
        assert_eq!(files.file(path, SystemTime::now()), Ok(text));
    }
}
