//! The ledger's write-ahead log, `ledger.wal`: what was paid since the last transaction of `queue.redb`.
//!
//! A call is durable twice before its guest goes on: reserved, then settled. A transaction of redb writes a dozen pages for
//! that, the log one, in place. Frames stand one after the other, each with the number of its generation; the next
//! transaction takes what they say into the tables and begins the next generation in the same step. So a frame counts
//! exactly as long as the tables don't have it.
//!
//! Frames aren't aligned: the sector in which one begins has the end of the one before, which is written again as it was.
//! A disk that loses power in the middle of a sector and then has neither what was there nor what was to be there would
//! lose it; none that tells of itself does so.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use tollgate_core::Digest;

use super::{
    disk::{DiskFile, Place},
    fault::Fault,
};
use crate::StoreError;

/// Its name in the data folder.
pub(crate) const FILE: &str = "ledger.wal";
/// Its size in bytes. It never grows: a page that is there already costs least to make durable, and a full disk refuses
/// none.
const BYTES: usize = 512 << 10;
/// Digest, generation and length of a frame, before its content.
const HEAD_BYTES: usize = 32 + 8 + 4;

/// The log, as its writer has it.
#[derive(Debug)]
pub(crate) struct Wal {
    file: Box<dyn DiskFile>,
    /// Frames of any other one don't count.
    generation: u64,
    /// Where the next frame goes.
    end: usize,
}

impl Wal {
    /// Opens the file for that generation; absent: the store has none yet, and one is made. Answers what its frames hold, in
    /// order.
    ///
    /// # Errors
    /// The file is gone or cut short, or a frame that was durable isn't whole any more. Nothing is changed.
    pub(crate) fn open(place: Place<'_>, generation: Option<u64>) -> Result<(Self, Vec<Vec<u8>>), Fault> {
        let Some(generation) = generation else {
            let file = place.file(FILE)?;
            file.write(0, &vec![0; BYTES])?;
            file.sync()?;
            return Ok((Self { file, generation: 0, end: 0 }, Vec::new()));
        };
        if !place.has(FILE)? {
            return Err(damaged("it is gone"));
        }
        let file = place.file(FILE)?;
        if file.length()? != BYTES as u64 {
            return Err(damaged("it is cut short, or another file"));
        }
        let mut bytes = vec![0; BYTES];
        file.read(0, &mut bytes)?;
        let mut frames = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((content, after)) = frame(rest, generation) {
            frames.push(content.to_vec());
            rest = after;
        }
        // What a loss of power has torn was never answered, and nothing was written behind it.
        if (1..rest.len()).any(|at| frame(&rest[at..], generation).is_some()) {
            return Err(damaged("a frame in its middle isn't what was written"));
        }
        let end = BYTES - rest.len();
        Ok((Self { file, generation, end }, frames))
    }

    /// The generation that begins with the next transaction.
    pub(crate) fn next(&self) -> u64 {
        self.generation.wrapping_add(1)
    }

    /// The transaction is durable with which that generation begins.
    pub(crate) fn begin(&mut self, generation: u64) {
        (self.generation, self.end) = (generation, 0);
    }

    /// Whether a frame of so many bytes goes in before the next generation.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        bytes.saturating_add(HEAD_BYTES + self.end) <= BYTES
    }

    /// Writes a frame for which there is room, and makes it durable. After an error nobody knows what is on the disk: the
    /// store has to be opened anew.
    pub(crate) fn write(&mut self, content: &[u8]) -> Result<(), StoreError> {
        let io = |error: std::io::Error| StoreError::of_io(FILE, &error);
        let length = u32::try_from(content.len()).map_err(|_| StoreError::TooLarge {
            what: "a frame of the ledger's log",
            bytes: content.len() as u64,
            max: BYTES as u64,
        })?;
        let mut frame = vec![0; 32];
        frame.extend_from_slice(&self.generation.to_le_bytes());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(content);
        let digest = Digest::of(&frame[32..]);
        frame[..32].copy_from_slice(&digest.0);
        self.file.write(self.end as u64, &frame).map_err(io)?;
        self.file.sync().map_err(io)?;
        self.end += frame.len();
        Ok(())
    }
}

/// A generation for an opening, unlike those of any other one: a log beside another `queue.redb` than its own, as a person
/// may lay them together, counts for nothing.
pub(crate) fn any_generation() -> u64 {
    RandomState::new().build_hasher().finish()
}

pub(crate) fn damaged(message: impl std::fmt::Display) -> Fault {
    let message = format!("{message}, and up to some hundred paid calls stand in it alone");
    StoreError::Damaged { file: FILE.to_owned(), message }.into()
}

/// The content of the frame that stands first, if it is one of that generation and whole, and what stands behind it.
fn frame(bytes: &[u8], generation: u64) -> Option<(&[u8], &[u8])> {
    let (digest, summed) = bytes.split_first_chunk::<32>()?;
    let (of, rest) = summed.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*of) != generation {
        return None;
    }
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (content, after) = rest.split_at_checked(length)?;
    let summed = &summed[..8 + 4 + length];
    (Digest::of(summed).0 == *digest).then_some((content, after))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// An empty one of that generation.
    fn new(folder: &Path, generation: u64) -> Wal {
        let (mut wal, found) = Wal::open(Place::Folder(folder), None).unwrap();
        assert!(found.is_empty());
        wal.begin(generation);
        wal
    }

    fn open(folder: &Path, generation: u64) -> (Wal, Vec<Vec<u8>>) {
        Wal::open(Place::Folder(folder), Some(generation)).unwrap()
    }

    #[test]
    fn frames_are_read_again_in_their_order_while_their_generation_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = new(folder.path(), 7);
        for content in [&b"one"[..], b"", b"three"] {
            wal.write(content).unwrap();
        }
        let (mut wal, found) = open(folder.path(), 7);
        assert_eq!(found, [&b"one"[..], b"", b"three"]);
        wal.write(b"four").unwrap();
        assert_eq!(open(folder.path(), 7).1.len(), 4);
        assert_eq!(wal.next(), 8);
        wal.begin(8);
        assert!(open(folder.path(), 8).1.is_empty());
        wal.write(b"new").unwrap();
        // What the generation before left behind it doesn't count.
        assert_eq!(open(folder.path(), 8).1, [b"new"]);
    }

    #[test]
    fn a_last_frame_that_is_torn_was_never_answered_and_any_other_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = new(folder.path(), 1);
        let path = folder.path().join(FILE);
        wal.write(b"one").unwrap();
        wal.write(b"two").unwrap();
        let two = fs::read(&path).unwrap();
        wal.write(b"three").unwrap();
        let three = fs::read(&path).unwrap();
        let second = HEAD_BYTES + 3;
        for at in second..second + HEAD_BYTES + 3 {
            let mut torn = two.clone();
            torn[at] ^= 1;
            fs::write(&path, torn).unwrap();
            let (mut wal, found) = open(folder.path(), 1);
            assert_eq!(found, [b"one"], "{at}");
            wal.write(b"two again").unwrap();
            assert_eq!(open(folder.path(), 1).1, [&b"one"[..], b"two again"]);
            let mut damaged = three.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let refused = StoreError::from(Wal::open(Place::Folder(folder.path()), Some(1)).unwrap_err());
            assert!(matches!(&refused, StoreError::Damaged { file, .. } if file == FILE), "{at}: {refused}");
            assert_eq!(fs::read(&path).unwrap(), damaged, "it is left as it is");
        }
    }

    #[test]
    fn one_that_is_gone_or_cut_short_is_told() {
        let folder = tempfile::tempdir().unwrap();
        new(folder.path(), 1).write(b"one").unwrap();
        let path = folder.path().join(FILE);
        for bytes in [0, BYTES - 1] {
            fs::File::options().write(true).open(&path).unwrap().set_len(bytes as u64).unwrap();
            assert!(Wal::open(Place::Folder(folder.path()), Some(1)).is_err(), "{bytes}");
        }
        fs::remove_file(&path).unwrap();
        assert!(Wal::open(Place::Folder(folder.path()), Some(1)).is_err());
        assert!(!path.exists(), "it isn't made anew in silence");
    }

    #[test]
    fn it_is_full_at_its_end_and_never_larger() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = new(folder.path(), 1);
        let most = BYTES - HEAD_BYTES;
        assert!(wal.has_room(most) && !wal.has_room(most + 1));
        wal.write(&vec![7; most - HEAD_BYTES]).unwrap();
        assert!(wal.has_room(0) && !wal.has_room(1));
        wal.write(b"").unwrap();
        assert!(!wal.has_room(0));
        let (mut wal, found) = open(folder.path(), 1);
        assert_eq!(found.len(), 2);
        assert!(!wal.has_room(0));
        wal.begin(2);
        assert!(wal.has_room(most));
        assert_eq!(fs::metadata(folder.path().join(FILE)).unwrap().len(), BYTES as u64);
    }
}
