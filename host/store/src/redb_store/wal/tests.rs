//! The log by itself: what is found again, what is told, and where it ends.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::*;

/// A folder with an empty log.
struct Folder {
    folder: tempfile::TempDir,
    known: Known,
}

impl Folder {
    fn new() -> (Self, Wal) {
        let folder = tempfile::tempdir().unwrap();
        let (wal, frames) = Wal::open(Place::Folder(folder.path()), None).unwrap();
        assert!(frames.is_empty());
        (Self { folder, known: wal.known }, wal)
    }

    fn place(&self) -> Place<'_> {
        Place::Folder(self.folder.path())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    fn open(&self, generation: u64) -> (Wal, Vec<Vec<u8>>) {
        Wal::open(self.place(), Some(Known { generation, ..self.known })).unwrap()
    }

    /// What it is refused for.
    fn refused(&self, known: Option<Known>) -> String {
        let before = fs::read(self.path()).ok();
        let refused = StoreError::from(Wal::open(self.place(), known).unwrap_err());
        assert_eq!(fs::read(self.path()).ok(), before, "it is left as it is");
        assert!(matches!(refused, StoreError::DamagedLog(_)), "{refused}");
        refused.to_string()
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn frames_are_read_again_in_their_order_while_their_generation_lasts() {
    let (folder, mut wal) = Folder::new();
    let first = folder.known.generation;
    let contents = [b"one".to_vec(), Vec::new(), vec![3; 3 * PAGE_BYTES], b"four".to_vec()];
    contents[..3].iter().for_each(|content| wal.write(content).unwrap());
    let (mut wal, found) = folder.open(first);
    assert_eq!(found, contents[..3]);
    wal.write(&contents[3]).unwrap();
    assert_eq!(folder.open(first).1, contents);
    wal.begin(wal.next());
    assert!(folder.open(first + 1).1.is_empty());
    wal.write(b"new").unwrap();
    // What the generation before left behind it doesn't count.
    assert_eq!(folder.open(first + 1).1, [b"new"]);
    assert_ne!(wal.anew().generation, wal.anew().generation);
}

#[test]
fn a_last_frame_that_is_torn_was_never_answered_and_any_other_is_damage() {
    let (folder, mut wal) = Folder::new();
    let (generation, path) = (folder.known.generation, folder.path());
    wal.write(b"one").unwrap();
    wal.write(b"two").unwrap();
    let two = fs::read(&path).unwrap();
    wal.write(b"three").unwrap();
    let three = fs::read(&path).unwrap();
    let second = 2 * PAGE_BYTES;
    for at in second..second + FRAME_HEAD_BYTES + 3 {
        fs::write(&path, &two).unwrap();
        flip(&path, at);
        let (mut wal, found) = folder.open(generation);
        assert_eq!(found, [b"one"], "{at}");
        wal.write(b"two again").unwrap();
        assert_eq!(folder.open(generation).1, [&b"one"[..], b"two again"]);
        fs::write(&path, &three).unwrap();
        flip(&path, at);
        assert!(folder.refused(Some(folder.known)).contains("in its middle"), "{at}");
    }
}

#[test]
fn no_frame_shares_a_page_with_another() {
    let (folder, mut wal) = Folder::new();
    let contents: Vec<_> =
        [0, PAGE_BYTES - FRAME_HEAD_BYTES, PAGE_BYTES - FRAME_HEAD_BYTES + 1, 9].map(|n| vec![1; n]).into();
    contents.iter().for_each(|content| wal.write(content).unwrap());
    let bytes = fs::read(folder.path()).unwrap();
    let begins = [1, 2, 3, 5].map(|page| page * PAGE_BYTES);
    let found = begins.map(|at| frame(&bytes[at..], Some(folder.known.generation)).unwrap().to_vec());
    assert_eq!(found.to_vec(), contents);
    assert_eq!(wal.end, 6 * PAGE_BYTES);
}

#[test]
fn one_that_is_gone_cut_short_or_another_ones_is_told() {
    let (folder, mut wal) = Folder::new();
    wal.write(b"one").unwrap();
    let whole = fs::read(folder.path()).unwrap();
    for bytes in [0, BYTES - 1, BYTES + 1] {
        fs::File::options().write(true).open(folder.path()).unwrap().set_len(bytes as u64).unwrap();
        assert!(folder.refused(Some(folder.known)).contains("cut short"), "{bytes}");
    }
    fs::write(folder.path(), &whole).unwrap();
    let other = Known { log: folder.known.log ^ 1, ..folder.known };
    assert!(folder.refused(Some(other)).contains("another store's"));
    fs::write(folder.path(), vec![0; BYTES]).unwrap();
    assert!(folder.refused(Some(folder.known)).contains("written over"));
    fs::write(folder.path(), &whole).unwrap();
    assert!(folder.refused(None).contains("a later queue.redb"), "it isn't laid anew over what was paid");
    fs::remove_file(folder.path()).unwrap();
    assert!(folder.refused(Some(folder.known)).contains("gone"));
    assert!(!folder.path().exists(), "it isn't made anew in silence");
}

#[test]
fn one_that_nothing_was_written_to_is_laid_anew_for_a_store_without_one() {
    let (folder, wal) = Folder::new();
    drop(wal);
    // The first start ended before it could say that there is a log.
    fs::write(folder.folder.path().join(NEW), b"half").unwrap();
    let (wal, _) = Wal::open(folder.place(), None).unwrap();
    assert_ne!(wal.known.log, folder.known.log);
    assert!(!folder.folder.path().join(NEW).exists());
}

#[test]
fn one_that_is_set_aside_gives_what_stands_before_its_damage_and_another_takes_its_place() {
    let (folder, mut wal) = Folder::new();
    for content in [&b"one"[..], b"two", b"three", b"four"] {
        wal.write(content).unwrap();
    }
    flip(&folder.path(), 2 * PAGE_BYTES);
    let damaged = fs::read(folder.path()).unwrap();
    let still = |known| rescue(folder.place(), Some(known)).map(|found| (found.whole, found.behind_damage)).unwrap();
    assert_eq!(still(folder.known), (vec![b"one".to_vec()], 2));
    let known = Known::new();
    assert_eq!(still(known), (Vec::new(), 0), "another store's says nothing");
    let aside = |name: &str| fs::read(folder.folder.path().join(name)).ok();
    let (_, file) = Wal::replace(folder.place(), known).unwrap();
    assert_eq!(file.as_deref(), Some("ledger.wal.aside"));
    assert_eq!(aside("ledger.wal.aside"), Some(damaged.clone()));
    assert!(Wal::open(folder.place(), Some(known)).unwrap().1.is_empty());
    drop(Wal::replace(folder.place(), Known::new()).unwrap());
    assert!(aside("ledger.wal.aside-2").is_some());
    assert_eq!(aside("ledger.wal.aside"), Some(damaged), "what was set aside before stays");
    fs::remove_file(folder.path()).unwrap();
    assert_eq!(still(known), (Vec::new(), 0));
    let (wal, file) = Wal::replace(folder.place(), known).unwrap();
    assert_eq!((wal.known, file), (known, None));
}

#[test]
fn it_is_full_at_its_end_and_never_larger() {
    let (folder, mut wal) = Folder::new();
    let most = BYTES - PAGE_BYTES - FRAME_HEAD_BYTES;
    assert!(wal.has_room(most) && !wal.has_room(most + 1));
    wal.write(&vec![7; most - PAGE_BYTES]).unwrap();
    let last = PAGE_BYTES - FRAME_HEAD_BYTES;
    assert!(wal.has_room(last) && !wal.has_room(last + 1));
    wal.write(&vec![8; last]).unwrap();
    assert!(!wal.has_room(0));
    let (mut wal, found) = folder.open(folder.known.generation);
    assert_eq!(found.len(), 2);
    assert!(!wal.has_room(0));
    wal.begin(wal.next());
    assert!(wal.has_room(most));
    assert_eq!(fs::metadata(folder.path()).unwrap().len(), BYTES as u64);
}
