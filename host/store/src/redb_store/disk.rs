//! Where the bytes of the databases and the ledger's log lie: in files, or on a disk that somebody else brings, such as
//! one that fails in a test.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use redb::{Builder, Database, DatabaseError, StorageBackend, StorageError};

use super::fault::Fault;
use crate::StoreError;

/// A disk of the caller's for the databases and the ledger's log. Large blobs are files in the data folder all the
/// same.
pub trait Disk: Send + Sync {
    /// The file of that name, made if it isn't there.
    ///
    /// # Errors
    /// As the disk refuses.
    fn file(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Whether there is a file of that name.
    ///
    /// # Errors
    /// As the disk refuses.
    fn has(&self, name: &str) -> io::Result<bool>;
    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// As the disk refuses.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Renames a file, wholly or not at all, and for good.
    ///
    /// # Errors
    /// As the disk refuses.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
}

/// A file of a [`Disk`]. What is written is there for readers at once, and outlives a loss of power once `sync` has
/// answered.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the disk refuses.
    fn length(&self) -> io::Result<u64>;
    /// Reads all of `out` from `offset`.
    ///
    /// # Errors
    /// As the disk refuses; also where the file ends before that.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Cuts or lengthens it; what is new is zero.
    ///
    /// # Errors
    /// As the disk refuses.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes all that was written durable.
    ///
    /// # Errors
    /// As the disk refuses.
    fn sync(&self) -> io::Result<()>;
    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// As the disk refuses.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
}

#[derive(Debug)]
struct Backend(Box<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// A file in the data folder.
#[derive(Debug)]
struct FolderFile(File);

impl DiskFile for FolderFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// Where a store's databases and its ledger's log are.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// Files in the data folder.
    Folder(&'a Path),
    /// Somebody's disk.
    Disk(&'a dyn Disk),
}

impl Place<'_> {
    /// Opens or makes the database of that name; redb repairs by itself what a killed process left.
    pub(crate) fn database(self, name: &str, cache_bytes: usize) -> Result<Database, Fault> {
        let named = |error: io::Error| StoreError::of_io(name, &error);
        if !self.has(name).map_err(named)? {
            // redb marks a new file as its own at the end of making it: cut short in between, it would be a file that
            // nobody opens. So it gets its name when it is whole.
            let beside = format!("{name}.new");
            self.remove(&beside).map_err(named)?;
            self.open(&beside, cache_bytes)?.close()?;
            self.rename(&beside, name).map_err(named)?;
        } else if self.is_empty(name).map_err(named)? {
            // redb would make a new one of it, as if there had been nothing.
            let message = "it is empty".to_owned();
            return Err(StoreError::Damaged { file: name.to_owned(), message }.into());
        }
        self.open(name, cache_bytes)
    }

    fn open(self, name: &str, cache_bytes: usize) -> Result<Database, Fault> {
        let mut builder = Builder::new();
        builder.set_cache_size(cache_bytes);
        let opened = match self {
            Self::Folder(folder) => builder.create(folder.join(name)),
            Self::Disk(disk) => builder.create_with_backend(Backend(disk.file(name)?)),
        };
        opened.map_err(|error| unopened(name, error))
    }

    /// The file of that name beside the databases, made if it isn't there; its name isn't durable yet.
    pub(crate) fn file(self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        match self {
            Self::Folder(folder) => {
                let mut options = File::options();
                let file = options.create(true).truncate(false).read(true).write(true).open(folder.join(name))?;
                Ok(Box::new(FolderFile(file)))
            }
            Self::Disk(disk) => disk.file(name),
        }
    }

    fn is_empty(self, name: &str) -> io::Result<bool> {
        match self {
            Self::Folder(folder) => Ok(fs::metadata(folder.join(name))?.len() == 0),
            Self::Disk(disk) => Ok(disk.file(name)?.length()? == 0),
        }
    }

    pub(crate) fn has(self, name: &str) -> io::Result<bool> {
        match self {
            Self::Folder(folder) => folder.join(name).try_exists(),
            Self::Disk(disk) => disk.has(name),
        }
    }

    fn remove(self, name: &str) -> io::Result<()> {
        match self {
            Self::Folder(folder) => match fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
            Self::Disk(disk) => disk.remove(name),
        }
    }

    /// Renames a file, for good.
    pub(crate) fn rename(self, from: &str, to: &str) -> io::Result<()> {
        match self {
            Self::Folder(folder) => {
                fs::rename(folder.join(from), folder.join(to))?;
                // A name is durable once its folder is.
                File::open(folder)?.sync_all()
            }
            Self::Disk(disk) => disk.rename(from, to),
        }
    }
}

fn unopened(name: &str, error: DatabaseError) -> Fault {
    let is_damaged = match &error {
        DatabaseError::Storage(StorageError::Corrupted(_)) | DatabaseError::UpgradeRequired(_) => true,
        DatabaseError::Storage(StorageError::Io(error)) => {
            matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    };
    if is_damaged {
        StoreError::Damaged { file: name.to_owned(), message: error.to_string() }.into()
    } else {
        error.into()
    }
}
