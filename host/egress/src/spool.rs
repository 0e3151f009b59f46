//! Bodies: in memory while small, in a scratch file when not, complete before anyone sees them.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::{Bytes, BytesMut};
use tempfile::{NamedTempFile, TempPath};
use tokio::io::AsyncReadExt as _;
use tollgate_core::http::HttpError;

use crate::tool::scratch;

/// Largest body kept in memory, in bytes: most pages, and nothing that hundreds of them side by side would mind.
const MEMORY_BYTES_MAX: usize = 1 << 20;
/// Bytes of bodies that one attempt may hold at once, in memory and in files: as much as it may take over the border at
/// all. A larger `body-max` of the site raises it, so that any body that policy allows can be had by itself.
const HELD_BYTES_MAX: u64 = 256 << 20;
/// Bytes that one attempt may hold in memory: what is more goes to files, however small each body is.
const HELD_MEMORY_MAX: u64 = 16 << 20;
/// How scratch files are named, so that those of a process that was killed can be swept.
const PREFIX: &str = "body-";

/// What the bodies of one attempt take, as long as they live. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Held {
    bytes: Arc<AtomicU64>,
    memory: Arc<AtomicU64>,
}

impl Held {
    /// Tells one attempt from all others that are under way.
    pub(crate) fn attempt(&self) -> usize {
        Arc::as_ptr(&self.bytes).addr()
    }
}

/// A share of what an attempt holds; given back when dropped.
#[derive(Debug)]
struct Share {
    of: Arc<AtomicU64>,
    bytes: u64,
}

impl Share {
    fn none(of: &Arc<AtomicU64>) -> Self {
        Self { of: of.clone(), bytes: 0 }
    }

    /// Takes more, if all shares together stay within `most`; else says how much is left.
    fn grow(&mut self, more: u64, most: u64) -> Result<(), u64> {
        let within = |held: u64| held.checked_add(more).filter(|held| *held <= most);
        let grown = self.of.fetch_update(Relaxed, Relaxed, within);
        grown.map_err(|held| most.saturating_sub(held))?;
        self.bytes += more;
        Ok(())
    }

    fn give_back(&mut self) {
        self.of.fetch_sub(std::mem::take(&mut self.bytes), Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A complete body. A scratch file goes with it, and so does its share of what the attempt may hold.
#[derive(Debug)]
pub struct Spooled {
    place: Place,
    size: u64,
    _held: Share,
    _memory: Share,
}

#[derive(Debug)]
enum Place {
    Memory(Bytes),
    File(TempPath),
}

/// Where a body's bytes are, for those who keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpooledBody {
    /// In memory.
    Memory(Bytes),
    /// In a file, as long as the [`Spooled`] lives.
    File(PathBuf),
}

impl Spooled {
    /// Bytes, unpacked.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where the bytes are.
    #[must_use]
    pub fn source(&self) -> SpooledBody {
        match &self.place {
            Place::Memory(bytes) => SpooledBody::Memory(bytes.clone()),
            Place::File(path) => SpooledBody::File(path.to_path_buf()),
        }
    }

    /// The whole body in memory.
    ///
    /// # Errors
    /// The scratch file can't be read.
    pub async fn bytes(&self) -> Result<Bytes, HttpError> {
        match &self.place {
            Place::Memory(bytes) => Ok(bytes.clone()),
            Place::File(path) => {
                let read = tokio::fs::read(&**path).await;
                read.map(Bytes::from).map_err(|error| HttpError::Storage(format!("the scratch file: {error}")))
            }
        }
    }
}

impl Spooled {
    /// The first bytes of the body, `most` at most; what is in memory isn't copied.
    pub(crate) async fn head(&self, most: usize) -> io::Result<Bytes> {
        match &self.place {
            Place::Memory(bytes) => Ok(bytes.slice(..most.min(bytes.len()))),
            Place::File(path) => {
                let mut head = Vec::new();
                let file = tokio::fs::File::open(&**path).await?;
                file.take(most as u64).read_to_end(&mut head).await?;
                Ok(head.into())
            }
        }
    }
}

/// A body on its way in.
pub(crate) struct Spooling<'a> {
    folder: &'a Path,
    memory: BytesMut,
    file: Option<NamedTempFile>,
    size: u64,
    held: Share,
    in_memory: Share,
}

impl<'a> Spooling<'a> {
    pub(crate) fn new(folder: &'a Path, held: &Held) -> Self {
        let (held, in_memory) = (Share::none(&held.bytes), Share::none(&held.memory));
        Self { folder, memory: BytesMut::new(), file: None, size: 0, held, in_memory }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Makes room for `more` bytes in what the attempt may hold; `body_max` is what its site allows for one body. An
    /// error is how many bytes this body could have had.
    pub(crate) fn reserve(&mut self, more: u64, body_max: u64) -> Result<(), u64> {
        self.held.grow(more, HELD_BYTES_MAX.max(body_max)).map_err(|left| self.size.saturating_add(left))
    }

    pub(crate) fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.size += chunk.len() as u64;
        if let Some(file) = &mut self.file {
            return file.write_all(chunk);
        }
        let is_small = self.memory.len() + chunk.len() <= MEMORY_BYTES_MAX;
        if is_small && self.in_memory.grow(chunk.len() as u64, HELD_MEMORY_MAX).is_ok() {
            self.memory.extend_from_slice(chunk);
            return Ok(());
        }
        let mut file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(self.folder)?;
        file.write_all(&self.memory)?;
        file.write_all(chunk)?;
        self.memory = BytesMut::new();
        self.in_memory.give_back();
        self.file = Some(file);
        Ok(())
    }

    pub(crate) fn end(self) -> Spooled {
        let place = match self.file {
            Some(file) => Place::File(file.into_temp_path()),
            None => Place::Memory(self.memory.freeze()),
        };
        Spooled { place, size: self.size, _held: self.held, _memory: self.in_memory }
    }
}

/// Makes the scratch folder, and sweeps what a killed process left there.
pub(crate) fn prepare(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) {
            std::fs::remove_file(entry.path())?;
        } else if name.starts_with(scratch::PREFIX)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            // A tool may leave what even its owner can't remove: no reason for the gate to stay shut.
            tracing::warn!(folder = %entry.path().display(), %error, "a killed tool's scratch folder can't be removed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_bodies_go_to_a_file_that_goes_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut spooling = Spooling::new(folder.path(), &Held::default());
        let chunk = vec![7; 700_000];
        spooling.take(&chunk).unwrap();
        spooling.take(&chunk).unwrap();
        let spooled = spooling.end();
        assert_eq!(spooled.size(), 1_400_000);
        let SpooledBody::File(path) = spooled.source() else {
            panic!("a large body stayed in memory");
        };
        assert_eq!(spooled.bytes().await.unwrap().len(), 1_400_000);
        assert_eq!(spooled.head(9).await.unwrap().len(), 9);
        drop(spooled);
        assert!(!path.exists());
    }

    #[test]
    fn what_an_attempt_holds_is_bounded_and_given_back() {
        let (folder, held) = (tempfile::tempdir().unwrap(), Held::default());
        let mut first = Spooling::new(folder.path(), &held);
        first.reserve(HELD_BYTES_MAX - 10, 1).unwrap();
        let first = first.end();
        let mut second = Spooling::new(folder.path(), &held);
        second.reserve(4, 1).unwrap();
        second.take(b"1234").unwrap();
        assert_eq!(second.reserve(7, 1), Err(10), "this body could have had ten bytes");
        drop(first);
        second.reserve(7, 1).unwrap();
        drop(second);
        let mut alone = Spooling::new(folder.path(), &held);
        alone.reserve(HELD_BYTES_MAX * 2, HELD_BYTES_MAX * 2).unwrap();
        assert!(Spooling::new(folder.path(), &held).reserve(1, HELD_BYTES_MAX * 2).is_err());
    }

    #[test]
    fn many_small_bodies_go_to_files_once_they_are_much() {
        let (folder, held) = (tempfile::tempdir().unwrap(), Held::default());
        let spooled = |bytes: usize| {
            let mut spooling = Spooling::new(folder.path(), &held);
            spooling.take(&vec![7; bytes]).unwrap();
            spooling.end()
        };
        let in_memory = |spooled: &Spooled| matches!(spooled.source(), SpooledBody::Memory(_));
        let mut all: Vec<Spooled> = (0..16).map(|_| spooled(1 << 20)).collect();
        assert!(all.iter().all(in_memory));
        assert!(!in_memory(&spooled(1)));
        all.pop();
        assert!(in_memory(&spooled(1)));
    }

    #[test]
    fn what_a_killed_process_left_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("body-old"), "x").unwrap();
        std::fs::create_dir_all(folder.path().join("tool-old/files")).unwrap();
        std::fs::write(folder.path().join("tool-old/files/x"), "x").unwrap();
        std::fs::write(folder.path().join("other"), "x").unwrap();
        prepare(folder.path()).unwrap();
        assert!(!folder.path().join("body-old").exists() && !folder.path().join("tool-old").exists());
        assert!(folder.path().join("other").exists());
    }
}
