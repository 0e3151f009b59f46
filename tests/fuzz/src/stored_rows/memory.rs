//! The store's files in memory, for the store as for redb itself.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use redb::{Builder, Database, StorageBackend};
use tollgate_store::{Disk, DiskFile};

use super::CACHE_BYTES;

/// A disk that has the two databases and the ledger's log, and makes no other file.
pub(super) struct MemoryDisk {
    pub(super) queue: MemoryFile,
    pub(super) content: MemoryFile,
    pub(super) wal: MemoryFile,
}

/// A file; its copies are the same file.
#[derive(Debug, Clone)]
pub(super) struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl MemoryDisk {
    pub(super) fn new(queue: &[u8], content: &[u8], wal: &[u8]) -> Self {
        let file = |bytes: &[u8]| MemoryFile(Arc::new(Mutex::new(bytes.to_vec())));
        Self { queue: file(queue), content: file(content), wal: file(wal) }
    }
}

impl Disk for MemoryDisk {
    fn file(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        match name {
            "queue.redb" => Ok(Box::new(self.queue.clone())),
            "content.redb" => Ok(Box::new(self.content.clone())),
            "ledger.wal" => Ok(Box::new(self.wal.clone())),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        Ok(self.file(name).is_ok())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl MemoryFile {
    pub(super) fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap()
    }

    /// Opens it by redb itself.
    pub(super) fn database(&self) -> Database {
        Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(self.clone()).unwrap()
    }
}

impl DiskFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        let bytes = self.bytes();
        out.copy_from_slice(bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes().resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (start, mut bytes) = (offset as usize, self.bytes());
        let end = start + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(data);
        Ok(())
    }
}

impl StorageBackend for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        DiskFile::read(self, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        DiskFile::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        DiskFile::write(self, offset, data)
    }
}
