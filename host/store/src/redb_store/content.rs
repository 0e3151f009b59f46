//! Blobs: up to 1 MiB packed in `content.redb`, bigger ones as files named by their digest. Equal content is kept once.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Database, Durability, ReadableTable as _, TableDefinition, WriteTransaction};
use tokio::sync::{mpsc, oneshot};
use tollgate_core::{Digest, artifact::SMALL_BYTES_MAX};

use super::{
    Shared,
    company::Company,
    fault::Fault,
    listed::{self, LISTED},
    packing,
    unnamed::{self, Until},
};
use crate::{BlobPart, BlobSource, StoreError, StoredBlob, stored::corrupt};

/// Blobs up to this many bytes are rows, larger ones files: pages of text stay together, audio doesn't swell a
/// database.
pub const BLOB_ROW_BYTES_MAX: u64 = SMALL_BYTES_MAX;
/// Most bytes that are read at once; more is read in parts.
pub const BLOB_READ_BYTES_MAX: u64 = 64 << 20;
/// Packed blobs that may wait for the content writer: at most 64 MiB of memory.
pub(crate) const QUEUE_BLOBS_MAX: usize = 64;
/// Packed bytes of one transaction.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Bytes that are copied at a time.
const COPY_BYTES: usize = 256 << 10;

/// By digest, as `packing` makes them.
pub(super) const BLOBS: TableDefinition<'static, &'static [u8; 32], &'static [u8]> = TableDefinition::new("blobs");
const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const SCHEMA: &str = "schema";
/// Version of `content.redb`. 2: it lists its digests.
const SCHEMA_VERSION: u32 = 2;

/// Makes folder and tables, and removes what a killed process left half-written.
pub(crate) fn prepare(folder: &Path, content: &Database) -> Result<(), Fault> {
    let scratch = scratch_folder(folder);
    fs::create_dir_all(&scratch)?;
    // Files are durable in it once its own name is.
    File::open(folder)?.sync_all()?;
    for entry in fs::read_dir(&scratch)? {
        fs::remove_file(entry?.path())?;
    }
    let transaction = begin(content)?;
    let is_changed = migrate(&transaction)?;
    // A disk that is full has room for no change that is none.
    if is_changed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(())
}

/// Makes the tables or brings them to today's schema; answers whether there was anything to do.
fn migrate(transaction: &WriteTransaction) -> Result<bool, Fault> {
    let blobs = transaction.open_table(BLOBS)?;
    let mut listed = transaction.open_table(LISTED)?;
    let mut meta = transaction.open_table(META)?;
    let found = meta.get(SCHEMA)?.map(|row| row.value());
    match found.map(|found| u32::try_from(found).unwrap_or(u32::MAX)) {
        Some(SCHEMA_VERSION) => return Ok(false),
        None => {}
        Some(1) => {
            tracing::info!("listing the blobs of an older store; each is read once");
            listed::list_all(&blobs, &mut listed)?;
        }
        Some(found) => {
            return Err(Fault::Refused(StoreError::NewerVersion { found, known: SCHEMA_VERSION }));
        }
    }
    meta.insert(SCHEMA, u64::from(SCHEMA_VERSION))?;
    Ok(true)
}

pub(super) fn begin(content: &Database) -> Result<redb::WriteTransaction, Fault> {
    let mut transaction = content.begin_write()?;
    transaction.set_durability(Durability::Immediate).map_err(|error| StoreError::Io(error.to_string()))?;
    // Content grows without end: a repair that walks all of it would hold up every start after a kill.
    transaction.set_quick_repair(true);
    Ok(transaction)
}

pub(super) fn blobs_folder(folder: &Path) -> PathBuf {
    folder.join("blobs")
}

pub(super) fn scratch_folder(folder: &Path) -> PathBuf {
    blobs_folder(folder).join("scratch")
}

pub(super) fn file_of(folder: &Path, digest: Digest) -> PathBuf {
    let hex = digest.to_hex();
    blobs_folder(folder).join(&hex[..2]).join(hex)
}

/// What the content writer is sent.
pub(crate) enum ContentMessage {
    /// Keep it.
    Keep(Packed, oneshot::Sender<Result<StoredBlob, StoreError>>),
    /// There may be files that nobody needs any more: remove them.
    Forget,
    /// Remove these rows, each list by its number, but for what has been kept since the store was opened. Answers how
    /// many have gone, and their bytes.
    Sweep(Vec<(u64, Vec<Digest>)>, oneshot::Sender<Result<(u64, u64), StoreError>>),
    /// Keep what came before, then end. To be sent once nothing is named any more.
    Close,
}

/// A blob, packed for its row.
pub(crate) struct Packed {
    blob: StoredBlob,
    row: Vec<u8>,
}

impl Packed {
    pub(crate) fn blob(&self) -> StoredBlob {
        self.blob
    }
}

/// A blob on its way.
pub(crate) enum Prepared {
    /// To be written as a row.
    Row(Packed),
    /// A file already, and durable.
    Done(StoredBlob),
}

/// Hashes and packs a blob; a big one is written to its file. Blocks.
pub(crate) fn prepare_blob(shared: &Shared, body: &BlobSource) -> Result<Prepared, StoreError> {
    let io = |error: std::io::Error| StoreError::of_io("a blob can't be kept", &error);
    match body {
        BlobSource::Bytes(bytes) if bytes.len() as u64 <= BLOB_ROW_BYTES_MAX => {
            Ok(Prepared::Row(pack(bytes).map_err(io)?))
        }
        BlobSource::Bytes(bytes) => write_file(shared, &mut bytes.as_ref()).map(Prepared::Done).map_err(io),
        BlobSource::File(path) => {
            let mut file = File::open(path).map_err(io)?;
            if file.metadata().map_err(io)?.len() > BLOB_ROW_BYTES_MAX {
                return write_file(shared, &mut file).map(Prepared::Done).map_err(io);
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(io)?;
            Ok(Prepared::Row(pack(&bytes).map_err(io)?))
        }
    }
}

fn pack(bytes: &[u8]) -> std::io::Result<Packed> {
    let blob = StoredBlob { digest: Digest::of(bytes), size: bytes.len() as u64 };
    Ok(Packed { blob, row: packing::pack(bytes)? })
}

/// Writes a blob's file: scratch file, fsync, rename, fsync of the folders.
fn write_file(shared: &Shared, body: &mut dyn std::io::Read) -> std::io::Result<StoredBlob> {
    let folder = &shared.folder;
    let mut file = tempfile::NamedTempFile::new_in(scratch_folder(folder))?;
    let (mut hasher, mut size, mut buffer) = (blake3::Hasher::new(), 0, vec![0; COPY_BYTES]);
    loop {
        let read = body.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        file.write_all(&buffer[..read])?;
        size += read as u64;
    }
    let blob = StoredBlob { digest: Digest(*hasher.finalize().as_bytes()), size };
    let is_time = unnamed::put(shared, blob.digest);
    let path = file_of(folder, blob.digest);
    let parent = path.parent().unwrap_or(folder);
    // A file of that name and length is that blob: names are given by rename, after an fsync.
    if !fs::metadata(&path).is_ok_and(|known| known.len() == size) {
        file.as_file().sync_all()?;
        fs::create_dir_all(parent)?;
        file.persist(&path).map_err(|error| error.error)?;
    }
    // For a known file too: who renamed it may not have come this far yet.
    File::open(parent)?.sync_all()?;
    File::open(blobs_folder(folder))?.sync_all()?;
    if is_time {
        unnamed::forget(shared, Until::Claims);
    }
    Ok(blob)
}

/// Runs the content writer until it is closed, nobody is left to ask, or the database refuses.
pub(crate) fn run(shared: &Arc<Shared>, mut inbox: mpsc::Receiver<ContentMessage>) {
    let ended = catch_unwind(AssertUnwindSafe(|| serve(shared, &mut inbox)));
    let reason = match ended {
        Ok(Ok(())) => {
            unnamed::forget(shared, Until::Closed);
            StoreError::Closed
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "the content writer has ended; no artifact can be kept until the host is restarted");
            error
        }
        Err(_) => {
            let error = StoreError::Io("the content writer panicked; restart the host".to_owned());
            tracing::error!(%error, "the content writer has ended; no artifact can be kept until the host is restarted");
            error
        }
    };
    shared.end_content(reason.clone());
    inbox.close();
    while let Some(message) = inbox.blocking_recv() {
        if let ContentMessage::Keep(_, reply) = message {
            drop(reply.send(Err(reason.clone())));
        }
    }
}

fn serve(shared: &Arc<Shared>, inbox: &mut mpsc::Receiver<ContentMessage>) -> Result<(), StoreError> {
    let (mut company, mut waiting) = (Company::default(), None);
    while let Some(message) = waiting.take().or_else(|| inbox.blocking_recv()) {
        let (packed, reply) = match message {
            ContentMessage::Keep(packed, reply) => (packed, reply),
            ContentMessage::Forget => {
                unnamed::forget(shared, Until::Claims);
                continue;
            }
            ContentMessage::Sweep(rows, reply) => {
                let (removed, goes_on) = outcome(shared.with_content(|content| listed::remove(shared, content, rows)));
                // The sweep may have been cut short; what has gone is gone.
                drop(reply.send(removed));
                goes_on?;
                continue;
            }
            ContentMessage::Close => return Ok(()),
        };
        company.wait(inbox);
        let mut bytes = packed.row.len();
        let (mut batch, mut closing) = (vec![(packed, reply)], false);
        while bytes < BATCH_BYTES_MAX && batch.len() < QUEUE_BLOBS_MAX {
            match inbox.try_recv() {
                Ok(ContentMessage::Keep(packed, reply)) => {
                    bytes += packed.row.len();
                    batch.push((packed, reply));
                }
                Ok(ContentMessage::Close) => {
                    closing = true;
                    break;
                }
                Ok(other) => {
                    waiting = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let together = batch.len();
        let (outcome, goes_on) = outcome(shared.with_content(|content| commit(content, &batch)));
        company.was(together);
        for (packed, reply) in batch {
            // Who asked may have gone; the blob is kept all the same.
            drop(reply.send(outcome.clone().map(|()| packed.blob)));
        }
        goes_on?;
        if closing {
            return Ok(());
        }
    }
    Ok(())
}

/// What to tell, and whether the writer goes on: what a damaged row makes impossible ends none.
fn outcome<T>(done: Result<T, Fault>) -> (Result<T, StoreError>, Result<(), StoreError>) {
    match done {
        Ok(done) => (Ok(done), Ok(())),
        Err(Fault::Broken(error)) => (Err(error), Ok(())),
        Err(fault) => {
            let error = StoreError::from(fault);
            (Err(error.clone()), Err(error))
        }
    }
}

fn commit(
    content: &Database,
    batch: &[(Packed, oneshot::Sender<Result<StoredBlob, StoreError>>)],
) -> Result<(), Fault> {
    let transaction = begin(content)?;
    let mut new = Vec::new();
    {
        let mut table = transaction.open_table(BLOBS)?;
        for (packed, _) in batch {
            if table.get(&packed.blob.digest.0)?.is_none() {
                table.insert(&packed.blob.digest.0, packed.row.as_slice())?;
                new.push(packed.blob.digest);
            }
        }
    }
    // Known content is durable since it was first kept.
    if new.is_empty() {
        return Ok(transaction.abort()?);
    }
    listed::list(&mut transaction.open_table(LISTED)?, &new)?;
    Ok(transaction.commit()?)
}

/// What blobs there are, without reading them.
pub(crate) struct Kept<'s> {
    folder: &'s Path,
    rows: redb::ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    listed: redb::ReadOnlyTable<u64, &'static [u8]>,
}

impl<'s> Kept<'s> {
    pub(crate) fn open(shared: &'s Shared) -> Result<Self, Fault> {
        let snapshot = shared.begin_read_content()?;
        Ok(Self { folder: &shared.folder, rows: snapshot.open_table(BLOBS)?, listed: snapshot.open_table(LISTED)? })
    }

    /// What is wrong with their list, in a sentence.
    pub(crate) fn problem(&self) -> Result<Option<String>, Fault> {
        listed::problem(&self.rows, &self.listed)
    }

    /// Whether a blob of that digest and size is there.
    pub(crate) fn has(&self, digest: Digest, size: u64) -> Result<bool, Fault> {
        if let Some(row) = self.rows.get(&digest.0)? {
            return Ok(packing::has_size(row.value(), size));
        }
        Ok(fs::metadata(file_of(self.folder, digest)).is_ok_and(|file| file.len() == size))
    }
}

/// Reads a blob or a part of it. Blocks.
pub(crate) fn read(shared: &Shared, digest: Digest, part: Option<BlobPart>) -> Result<Vec<u8>, Fault> {
    let row = shared.begin_read_content()?.open_table(BLOBS)?.get_owned(&digest.0)?;
    match row {
        Some(row) => {
            let bytes = packing::unpack(digest, row.value())?;
            let Some(part) = part else {
                return Ok(bytes);
            };
            let range = bounds(part, bytes.len() as u64)?;
            let (from, to) = (usize::try_from(range.start), usize::try_from(range.end));
            let (Ok(from), Ok(to)) = (from, to) else {
                return Err(corrupt(format!("blob {digest} is larger than memory")).into());
            };
            Ok(bytes[from..to].to_vec())
        }
        None => read_file(&file_of(&shared.folder, digest), digest, part),
    }
}

/// The bytes that a part means, no further than the end.
fn bounds(part: BlobPart, size: u64) -> Result<std::ops::Range<u64>, StoreError> {
    let start = part.offset.min(size);
    let end = part.offset.saturating_add(part.length).min(size);
    if end - start > BLOB_READ_BYTES_MAX {
        return Err(StoreError::TooLarge { what: "a part of a blob", bytes: end - start, max: BLOB_READ_BYTES_MAX });
    }
    Ok(start..end.max(start))
}

fn read_file(path: &Path, digest: Digest, part: Option<BlobPart>) -> Result<Vec<u8>, Fault> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::NotFound(format!("blob {digest}")),
        _ => StoreError::Io(format!("blob {digest}: {error}")),
    };
    let mut file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let range = bounds(part.unwrap_or(BlobPart { offset: 0, length: size }), size)?;
    file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(range.end - range.start).read_to_end(&mut bytes).map_err(failed)?;
    // Only the whole can be held against its digest.
    if part.is_none() && Digest::of(&bytes) != digest {
        return Err(corrupt(format!("blob {digest}: other bytes than its digest says")).into());
    }
    Ok(bytes)
}
