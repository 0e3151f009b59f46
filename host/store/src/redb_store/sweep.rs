//! The sweep at a start: blobs that no row names are removed, behind the start.
//!
//! It has a safe ground to stand on: whoever kept a blob before this opening and hasn't named it is no more, and what
//! has been kept since is remembered until the sweep has ended. A blob that it takes was kept before, and stood in no
//! row after.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::{mpsc, oneshot};
use tollgate_core::Digest;

use super::{
    Shared,
    content::{ContentMessage, blobs_folder},
    fault::Fault,
    files::each_named,
    ledger_tables::ANSWERS,
    listed::listed,
    tables::ARTIFACTS,
    unnamed::remove_file,
};
use crate::StoreError;

/// Blobs that the content writer removes in one transaction: at most 64 MiB of rows, and nobody waits for long.
const REMOVED_PER_TRANSACTION: usize = 64;

/// What a sweep has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Blobs that were rows of `content.redb`, whose room is used again.
    pub rows: u64,
    /// Blobs that were files.
    pub files: u64,
    /// Bytes of both, rows as they were packed.
    pub bytes: u64,
}

/// Why a sweep has ended before its end.
enum Cut {
    /// The store closes.
    Closing,
    Failed(StoreError),
}

impl<E: Into<Fault>> From<E> for Cut {
    fn from(error: E) -> Self {
        Self::Failed(StoreError::from(error.into()))
    }
}

/// Sweeps, and says what has gone; absent: it was cut short. Blocks for as long as it takes, but nobody else does.
pub(super) fn run(shared: &Shared, content: &mpsc::Sender<ContentMessage>, closing: &AtomicBool) -> Option<Swept> {
    let began = Instant::now();
    let mut swept = Swept::default();
    let ended = sweep(shared, content, closing, &mut swept);
    shared.unnamed().has_swept();
    let Swept { rows, files, bytes } = swept;
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    match &ended {
        Ok(()) if swept == Swept::default() => tracing::debug!(ms, "every blob is named by a row"),
        Ok(()) => tracing::info!(rows, files, bytes, ms, "blobs that no row names were removed"),
        Err(Cut::Closing) => {
            tracing::info!(
                rows,
                files,
                bytes,
                ms,
                "blobs that no row names were removed; the next start removes the rest"
            );
        }
        Err(Cut::Failed(error)) => {
            tracing::warn!(%error, rows, files, bytes, ms, "blobs that no row names stay until the next start");
        }
    }
    ended.is_ok().then_some(swept)
}

fn sweep(
    shared: &Shared,
    content: &mpsc::Sender<ContentMessage>,
    closing: &AtomicBool,
    swept: &mut Swept,
) -> Result<(), Cut> {
    let named = Named::read(shared, closing)?;
    files(shared, &named, closing, swept)?;
    rows(shared, content, &named, closing, swept)
}

fn go_on(closing: &AtomicBool) -> Result<(), Cut> {
    if closing.load(Relaxed) { Err(Cut::Closing) } else { Ok(()) }
}

/// The blobs that rows name, by the first eight bytes of their digests, sorted: 8 MB for a million. A blob that shares
/// them with another stays with it.
struct Named(Vec<u64>);

fn short(digest: Digest) -> u64 {
    let mut short = [0; 8];
    short.copy_from_slice(&digest.0[..8]);
    u64::from_be_bytes(short)
}

impl Named {
    fn read(shared: &Shared, closing: &AtomicBool) -> Result<Self, Cut> {
        let snapshot = shared.begin_read()?;
        let (artifacts, answers) = (snapshot.open_table(ARTIFACTS)?, snapshot.open_table(ANSWERS)?);
        let mut named = Vec::new();
        let all = each_named(&artifacts, &answers, |blob| {
            named.push(short(blob?.digest));
            if closing.load(Relaxed) { Err(StoreError::Closed.into()) } else { Ok(()) }
        });
        go_on(closing)?;
        all?;
        named.sort_unstable();
        named.dedup();
        Ok(Self(named))
    }

    fn has(&self, digest: Digest) -> bool {
        self.0.binary_search(&short(digest)).is_ok()
    }
}

/// Files, folder by folder. What isn't named as a blob is, is somebody else's, and stays.
fn files(shared: &Shared, named: &Named, closing: &AtomicBool, swept: &mut Swept) -> Result<(), Cut> {
    for folder in fs::read_dir(blobs_folder(&shared.folder))? {
        let folder = folder?;
        if folder.file_name().len() != 2 || !folder.file_type()?.is_dir() {
            continue;
        }
        for digest in unnamed_in(&folder.path(), named)? {
            go_on(closing)?;
            if let Some(size) = remove_file(shared, digest)? {
                swept.files += 1;
                swept.bytes += size;
            }
        }
    }
    Ok(())
}

fn unnamed_in(folder: &Path, named: &Named) -> io::Result<Vec<Digest>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let digest = name.to_str().and_then(|name| format!("blake3:{name}").parse().ok());
        found.extend(digest.filter(|digest| !named.has(*digest)));
    }
    Ok(found)
}

/// Rows of `content.redb`, some a transaction of its writer's.
fn rows(
    shared: &Shared,
    content: &mpsc::Sender<ContentMessage>,
    named: &Named,
    closing: &AtomicBool,
    swept: &mut Swept,
) -> Result<(), Cut> {
    let mut after = None;
    loop {
        go_on(closing)?;
        let found = listed(shared, after, REMOVED_PER_TRANSACTION, |digest| !named.has(digest))?;
        after = found.last;
        if !found.rows.is_empty() {
            let (reply, answer) = oneshot::channel();
            content.blocking_send(ContentMessage::Sweep(found.rows, reply)).map_err(|_| Cut::Closing)?;
            let (rows, bytes) = answer.blocking_recv().map_err(|_| Cut::Closing)??;
            swept.rows += rows;
            swept.bytes += bytes;
        }
        if found.is_end {
            return Ok(());
        }
    }
}

/// Sweeps in a thread of its own.
pub(super) fn work(
    shared: Arc<Shared>,
    content: mpsc::Sender<ContentMessage>,
    closing: Arc<AtomicBool>,
    told: tokio::sync::watch::Sender<Option<Swept>>,
) -> impl FnOnce() + Send {
    move || {
        let swept = run(&shared, &content, &closing);
        // Who waits is told by the end of the channel where there is nothing to say.
        if swept.is_some() {
            told.send_replace(swept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BlobSource, RedbStore, Store as _, StoreOptions,
        redb_store::{content::BLOB_ROW_BYTES_MAX, unnamed::Unnamed},
    };

    async fn keep(store: &RedbStore, bytes: &[u8]) -> Digest {
        store.put_blob(BlobSource::Bytes(bytes.to_vec().into())).await.unwrap().digest
    }

    #[tokio::test]
    async fn p06_what_is_kept_while_a_sweep_is_under_way_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
        let large = |byte| vec![byte; usize::try_from(BLOB_ROW_BYTES_MAX).unwrap() + 1];
        // Left by an earlier process, each once.
        for byte in [1, 2] {
            keep(&store, &[byte]).await;
            keep(&store, &large(byte)).await;
        }
        *store.shared.unnamed() = Unnamed::new(true);
        // Kept anew by an attempt that hasn't named them yet.
        let again = [keep(&store, &[1]).await, keep(&store, &large(1)).await];
        let (shared, content) = (store.shared.clone(), store.content.clone());
        let sweep = move |closes| run(&shared, &content, &AtomicBool::new(closes));
        let cut = sweep.clone();
        assert_eq!(tokio::task::spawn_blocking(move || cut(true)).await.unwrap(), None);
        *store.shared.unnamed() = Unnamed::new(true);
        for digest in again {
            store.shared.unnamed().kept(digest);
        }
        let swept = tokio::task::spawn_blocking(move || sweep(false)).await.unwrap().unwrap();
        assert_eq!((swept.rows, swept.files), (1, 1));
        for digest in again {
            store.read_blob(digest, None).await.unwrap();
        }
    }
}
