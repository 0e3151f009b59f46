//! P06: what attempts of a killed host have kept, and nothing names, goes with the next start, and not what was kept
//! well.

use std::fs;

use tollgate_core::Digest;
use tollgate_store::{BLOB_ROW_BYTES_MAX, BlobSource, RedbStore, Store as _, StoreOptions};

use crate::world::{World, first, item, outcomes, run_items, stop};

#[tokio::test]
async fn p06_what_a_killed_host_left_without_a_name_goes_with_the_next_start() {
    let world = World::new(vec![]).await;
    let (file, data) = (world.jobs(&outcomes("")), world.path("data"));
    let host = world.start(&file).await;
    run_items(&host, vec![item("a", &first("put hello"))]).await;
    assert_eq!(host.swept().await.map(|swept| swept.bytes), Some(0), "there was nothing");
    let kept = crate::world::detail(&host, "a").await.artifacts;
    stop(host).await;

    // A row of the database, and a file, as a kill between keeping and settling leaves them.
    let store = RedbStore::open(&data, StoreOptions::default()).unwrap();
    store.put_blob(BlobSource::Bytes("half of an attempt".into())).await.unwrap();
    store.close().await.unwrap();
    let large = vec![7; usize::try_from(BLOB_ROW_BYTES_MAX).unwrap() + 1];
    let name = Digest::of(&large).to_hex();
    let folder = data.join("blobs").join(&name[..2]);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&name), &large).unwrap();

    let host = world.start(&file).await;
    let swept = host.swept().await.unwrap();
    assert_eq!((swept.rows, swept.files), (1, 1), "{swept:?}");
    assert!(!folder.join(&name).exists());
    run_items(&host, vec![item("b", &first("put hello"))]).await;
    stop(host).await;
    let store = RedbStore::open(&data, StoreOptions::default()).unwrap();
    assert_eq!(store.verify().await.unwrap().problems, [""; 0]);
    assert_eq!(store.read_blob(kept[0].artifact.digest, None).await.unwrap(), b"hello");
    store.close().await.unwrap();
}
