//! Blobs: small ones as rows, big ones as files, equal ones once.

use std::{fs, path::Path};

use tollgate_core::Digest;
use tollgate_store::{BLOB_ROW_BYTES_MAX, BlobPart, BlobSource, NewArtifact, Store, StoreError};

use crate::{
    fixture::{Fixture, done},
    passing::fetch,
};

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn blobs_of_every_size_read_back_after_a_restart() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let row = usize::try_from(BLOB_ROW_BYTES_MAX).unwrap();
    let mut kept = Vec::new();
    for size in [0, 1, 5_000, row, row + 1, 3 * row] {
        let bytes: Vec<u8> = (0..size).map(|at| (at * at % 251) as u8).collect();
        let blob = fixture.store.put_blob(BlobSource::Bytes(bytes.clone().into())).await.unwrap();
        assert_eq!((blob.digest, blob.size), (Digest::of(&bytes), size as u64));
        let scratch = fixture.folder.path().join("body");
        fs::write(&scratch, &bytes).unwrap();
        assert_eq!(fixture.store.put_blob(BlobSource::File(scratch.clone())).await.unwrap(), blob);
        assert!(scratch.exists(), "a scratch file is left where it is");
        kept.push((blob, bytes));
    }
    let name = |at: usize, blob| NewArtifact { name: at.to_string(), content_type: "text/plain".to_owned(), blob };
    let artifacts = kept.iter().enumerate().map(|(at, (blob, _))| name(at, *blob)).collect();
    fetch(&fixture, &[], artifacts, done("kept")).await;
    let blobs = fixture.folder.path().join("blobs");
    assert_eq!(files(&blobs).len(), 2, "two were too big for a row; each is kept once, nothing is left over");
    let fixture = fixture.restart().await;
    for (blob, bytes) in kept {
        assert_eq!(fixture.store.read_blob(blob.digest, None).await.unwrap(), bytes);
        let part = BlobPart { offset: blob.size / 2, length: 7 };
        let end = (bytes.len() / 2 + 7).min(bytes.len());
        assert_eq!(fixture.store.read_blob(blob.digest, Some(part)).await.unwrap(), bytes[bytes.len() / 2..end]);
        let beyond = BlobPart { offset: blob.size + 1, length: 7 };
        assert!(fixture.store.read_blob(blob.digest, Some(beyond)).await.unwrap().is_empty());
    }
    let unknown = fixture.store.read_blob(Digest::of(b"unknown"), None).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
}

#[tokio::test]
async fn what_the_disk_changed_is_not_served_as_the_blob() {
    let fixture = Fixture::new().await;
    let size = usize::try_from(BLOB_ROW_BYTES_MAX).unwrap() + 1;
    let blob = fixture.store.put_blob(BlobSource::Bytes(vec![7; size].into())).await.unwrap();
    let file = files(&fixture.folder.path().join("blobs")).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    bytes[9] = 8;
    fs::write(&file, bytes).unwrap();
    assert!(matches!(fixture.store.read_blob(blob.digest, None).await, Err(StoreError::Corrupt(_))));
}
