//! The journal of paid calls, `ledger.journal`: what was done in the ledger since the last transaction of `queue.redb`.
//!
//! A call is durable twice before its guest goes on: reserved, then settled. A transaction of redb writes a dozen pages for
//! that, the journal one, in place. It is a ring of one turn: frames stand one after the other, each with the number of the
//! journal's turn, and the next transaction takes what they say into the tables and begins the next turn in the same step. So
//! what stands in the file counts exactly as long as the tables don't have it.

use crate::StoreError;

use super::{
    disk::{DiskFile, Place},
    fault::Fault,
};

/// Its name in the data folder.
pub(crate) const FILE: &str = "ledger.journal";
/// Its size in bytes. It never grows while calls are paid: a page that is there already costs least to make durable, and a
/// full disk can't refuse it.
pub(crate) const BYTES: usize = 512 << 10;
/// Digest, turn and length of a frame, before its content.
const HEAD_BYTES: usize = 32 + 8 + 4;

/// The journal, as its writer has it.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Box<dyn DiskFile>,
    /// Frames of any other turn don't count.
    turn: u64,
    /// Where the next frame goes.
    end: usize,
    /// All of its bytes are on the disk.
    is_laid_out: bool,
}

impl Journal {
    /// Opens the file, or makes it, for that turn. Answers what its frames hold, in order: each was durable, and what stands
    /// behind the last was never answered.
    pub(crate) fn open(place: Place<'_>, turn: u64) -> Result<(Self, Vec<Vec<u8>>), Fault> {
        let file = place.file(FILE)?;
        let length = usize::try_from(file.length()?).unwrap_or(usize::MAX).min(BYTES);
        let mut bytes = vec![0; length];
        file.read(0, &mut bytes)?;
        let mut frames = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((content, after)) = frame(rest, turn) {
            frames.push(content.to_vec());
            rest = after;
        }
        let end = length - rest.len();
        Ok((Self { file, turn, end, is_laid_out: length == BYTES }, frames))
    }

    /// The turn that begins with the next transaction.
    pub(crate) fn next_turn(&self) -> u64 {
        // A turn takes a commit: there is no end to them.
        self.turn.saturating_add(1)
    }

    /// The transaction that has begun the next turn is durable.
    pub(crate) fn turned(&mut self) {
        self.turn = self.next_turn();
        self.end = 0;
    }

    /// Whether a frame of so many bytes goes in before the next turn.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        bytes.saturating_add(HEAD_BYTES + self.end) <= BYTES
    }

    /// Writes a frame for which there is room, and makes it durable. After an error nobody knows what is on the disk: the
    /// store has to be opened anew.
    pub(crate) fn write(&mut self, content: &[u8]) -> Result<(), StoreError> {
        let io = |error: std::io::Error| StoreError::of_io(FILE, &error);
        if !self.is_laid_out {
            let from = self.file.length().map_err(io)?.min(BYTES as u64);
            let missing = BYTES - usize::try_from(from).unwrap_or(BYTES);
            self.file.write(from, &vec![0; missing]).map_err(io)?;
            self.file.sync().map_err(io)?;
            self.is_laid_out = true;
        }
        let length = u32::try_from(content.len()).map_err(|_| StoreError::TooLarge {
            what: "a frame of the ledger's journal",
            bytes: content.len() as u64,
            max: BYTES as u64,
        })?;
        let mut frame = vec![0; 32];
        frame.extend_from_slice(&self.turn.to_le_bytes());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(content);
        let digest = tollgate_core::Digest::of(&frame[32..]);
        frame[..32].copy_from_slice(&digest.0);
        self.file.write(self.end as u64, &frame).map_err(io)?;
        self.file.sync().map_err(io)?;
        self.end += frame.len();
        Ok(())
    }
}

/// The content of the frame that stands first, if it is one of that turn and whole, and what stands behind it.
fn frame(bytes: &[u8], turn: u64) -> Option<(&[u8], &[u8])> {
    let (digest, summed) = bytes.split_first_chunk::<32>()?;
    let (of, rest) = summed.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (content, after) = rest.split_at_checked(length)?;
    let summed = &summed[..8 + 4 + length];
    (u64::from_le_bytes(*of) == turn && tollgate_core::Digest::of(summed).0 == *digest).then_some((content, after))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn open(folder: &Path, turn: u64) -> (Journal, Vec<Vec<u8>>) {
        Journal::open(Place::Folder(folder), turn).unwrap()
    }

    #[test]
    fn frames_are_read_again_in_their_order_while_their_turn_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, found) = open(folder.path(), 7);
        assert!(found.is_empty());
        for content in [&b"one"[..], b"", b"three"] {
            journal.write(content).unwrap();
        }
        assert_eq!(fs::metadata(folder.path().join(FILE)).unwrap().len(), BYTES as u64);
        let (mut journal, found) = open(folder.path(), 7);
        assert_eq!(found, [&b"one"[..], b"", b"three"]);
        journal.write(b"four").unwrap();
        assert_eq!(open(folder.path(), 7).1.len(), 4);
        journal.turned();
        assert!(open(folder.path(), 8).1.is_empty());
        journal.write(b"new").unwrap();
        // What the turn before left behind it is of no turn that counts.
        assert_eq!(open(folder.path(), 8).1, [b"new"]);
        assert!(open(folder.path(), 7).1.is_empty());
    }

    #[test]
    fn a_frame_that_is_not_whole_ends_what_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open(folder.path(), 1).0;
        for content in [&b"one"[..], b"two", b"three"] {
            journal.write(content).unwrap();
        }
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        let second = HEAD_BYTES + 3;
        for at in second..second + HEAD_BYTES + 3 {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            fs::write(&path, torn).unwrap();
            assert_eq!(open(folder.path(), 1).1, [b"one"], "{at}");
        }
        fs::write(&path, &whole[..second + HEAD_BYTES]).unwrap();
        let (mut journal, found) = open(folder.path(), 1);
        assert_eq!(found, [b"one"]);
        journal.write(b"two again").unwrap();
        assert_eq!(open(folder.path(), 1).1, [&b"one"[..], b"two again"]);
    }

    #[test]
    fn it_is_full_at_its_end_and_never_larger() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open(folder.path(), 1).0;
        let most = BYTES - HEAD_BYTES;
        assert!(journal.has_room(most) && !journal.has_room(most + 1));
        journal.write(&vec![7; most - HEAD_BYTES]).unwrap();
        assert!(journal.has_room(0) && !journal.has_room(1));
        journal.write(b"").unwrap();
        assert!(!journal.has_room(0));
        let (mut journal, found) = open(folder.path(), 1);
        assert_eq!(found.len(), 2);
        assert!(!journal.has_room(0));
        journal.turned();
        assert!(journal.has_room(most));
        assert_eq!(fs::metadata(folder.path().join(FILE)).unwrap().len(), BYTES as u64);
    }
}
