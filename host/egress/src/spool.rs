//! Bodies: in memory while small, in a scratch file when not, complete before anyone sees them.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::{Bytes, BytesMut};
use tempfile::{NamedTempFile, TempPath};
use tollgate_core::http::HttpError;

/// Largest body kept in memory, in bytes: most pages, and nothing that hundreds of them side by side would mind.
const MEMORY_BYTES_MAX: usize = 1 << 20;
/// How scratch files are named, so that those of a process that was killed can be swept.
const PREFIX: &str = "body-";

/// A complete body. A scratch file goes with it.
#[derive(Debug)]
pub struct Spooled {
    place: Place,
    size: u64,
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

/// A body on its way in.
pub(crate) struct Spooling<'a> {
    folder: &'a Path,
    memory: BytesMut,
    file: Option<NamedTempFile>,
    size: u64,
}

impl<'a> Spooling<'a> {
    pub(crate) fn new(folder: &'a Path) -> Self {
        Self { folder, memory: BytesMut::new(), file: None, size: 0 }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.size += chunk.len() as u64;
        if let Some(file) = &mut self.file {
            return file.write_all(chunk);
        }
        if self.memory.len() + chunk.len() <= MEMORY_BYTES_MAX {
            self.memory.extend_from_slice(chunk);
            return Ok(());
        }
        let mut file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(self.folder)?;
        file.write_all(&self.memory)?;
        file.write_all(chunk)?;
        self.memory = BytesMut::new();
        self.file = Some(file);
        Ok(())
    }

    pub(crate) fn end(self) -> Spooled {
        let place = match self.file {
            Some(file) => Place::File(file.into_temp_path()),
            None => Place::Memory(self.memory.freeze()),
        };
        Spooled { place, size: self.size }
    }
}

/// Makes the scratch folder, and sweeps what a killed process left there.
pub(crate) fn prepare(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            std::fs::remove_file(entry.path())?;
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
        let mut spooling = Spooling::new(folder.path());
        let chunk = vec![7; 700_000];
        spooling.take(&chunk).unwrap();
        spooling.take(&chunk).unwrap();
        let spooled = spooling.end();
        assert_eq!(spooled.size(), 1_400_000);
        let SpooledBody::File(path) = spooled.source() else {
            panic!("a large body stayed in memory");
        };
        assert_eq!(spooled.bytes().await.unwrap().len(), 1_400_000);
        drop(spooled);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("body-old"), "x").unwrap();
        std::fs::write(folder.path().join("other"), "x").unwrap();
        prepare(folder.path()).unwrap();
        assert!(!folder.path().join("body-old").exists());
        assert!(folder.path().join("other").exists());
    }
}
