//! A session as it is kept over a restart: a file of its owner's alone, written beside and renamed.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tollgate_core::Timestamp;

use super::cookie::Jar;

/// Largest file that is read, in bytes: all cookies that a session may have.
const FILE_BYTES_MAX: u64 = 2 << 20;
/// The form of the files. Another one is made anew, which costs an exchange.
const VERSION: u32 = 1;

/// Where a session's cookies came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// The file that a person dropped.
    File,
    /// A browser's store.
    Browser,
}

/// A session on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    version: u32,
    pub(super) from: Origin,
    /// What it was made from, by its digest.
    pub(super) print: String,
    pub(super) since: Timestamp,
    pub(super) cookies: Jar,
}

impl Kept {
    pub(super) fn new(from: Origin, print: String, since: Timestamp, cookies: Jar) -> Self {
        Self { version: VERSION, from, print, since, cookies }
    }
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

/// Reads a session. One that can't be read is none, and says why: it is made anew. Blocks.
pub(super) fn read(folder: &Path, name: &str) -> Option<Kept> {
    let path = path(folder, name);
    let text = match fs::metadata(&path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => Err(io::Error::other("it is too large")),
        Ok(_) => fs::read(&path),
        Err(error) => Err(error),
    };
    let kept = match text {
        // serde's own message may show a value.
        Ok(text) => serde_json::from_slice::<Kept>(&text).map_err(|_| "it is no session".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Err(error.to_string()),
    };
    match kept {
        Ok(kept) if kept.version == VERSION => Some(kept),
        Ok(kept) => {
            tracing::info!(session = name, version = kept.version, "a kept session is of another form, and made anew");
            None
        }
        Err(reason) => {
            tracing::warn!(
                session = name, file = %path.display(), reason,
                "a kept session can't be read, and is made anew"
            );
            None
        }
    }
}

/// Keeps a session. Blocks.
pub(super) fn write(folder: &Path, name: &str, kept: &Kept) -> io::Result<()> {
    let text = serde_json::to_vec(kept).map_err(io::Error::other)?;
    prepare(folder)?;
    // Such a file is its owner's alone from the moment it is there. It isn't synced: lost, it costs an exchange.
    let mut file = tempfile::Builder::new().prefix(".session-").tempfile_in(folder)?;
    file.write_all(&text)?;
    file.persist(path(folder, name)).map_err(|error| error.error)?;
    Ok(())
}

/// Forgets a session. Blocks.
pub(super) fn remove(folder: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(path(folder, name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the folder, for its owner alone.
fn prepare(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::session::netscape;

    #[test]
    fn r10_a_kept_session_is_its_owner_s_alone_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("sessions");
        let jar = netscape::read("ideas.example\tFALSE\t/\tFALSE\t0\ta\tsecret\n", |_| true).unwrap();
        let kept = Kept::new(Origin::Browser, "print".to_owned(), Timestamp(7), jar);
        assert_eq!(read(&folder, "ideas"), None);
        write(&folder, "ideas", &kept).unwrap();
        assert_eq!(read(&folder, "ideas"), Some(kept));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder.join("ideas.json")), mode(&folder)), (0o600, 0o700));
        fs::write(folder.join("ideas.json"), "{").unwrap();
        assert_eq!(read(&folder, "ideas"), None);
        remove(&folder, "ideas").unwrap();
        remove(&folder, "ideas").unwrap();
        assert!(fs::read_dir(&folder).unwrap().next().is_none());
    }
}
