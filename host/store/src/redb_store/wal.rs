//! The ledger's write-ahead log, `ledger.wal`: what was paid since the last transaction of `queue.redb`.
//!
//! A call is durable twice before its guest goes on: reserved, then settled. A transaction of redb writes a dozen pages
//! for that, the log one, in place. Frames stand one after the other, each with the number of its generation; the next
//! transaction takes what they say into the tables and begins the next generation in the same step. So a frame counts
//! exactly as long as the tables don't have it.
//!
//! The first page says which log it is. Frames have pages of their own: a loss of power tears the one that is being
//! written, and none that was answered.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
};

use serde::{Deserialize, Serialize};
use tollgate_core::Digest;

use super::{
    disk::{DiskFile, Place},
    fault::Fault,
};
use crate::StoreError;

/// Its name in the data folder.
pub(crate) const FILE: &str = "ledger.wal";
/// While it is laid.
const NEW: &str = "ledger.wal.new";
/// What disks and file systems write at one go.
const PAGE_BYTES: usize = 4 << 10;
/// Its size in bytes. It never grows: a page that is there already costs least to make durable, and a full disk refuses
/// none.
const BYTES: usize = 1 << 20;
/// Digest, generation and length of a frame, before its content.
const FRAME_HEAD_BYTES: usize = 32 + 8 + 4;
/// What the first page begins with, before the number of the log.
const MARK: [u8; 16] = *b"tollgate wal 1\0\0";

/// What `queue.redb` knows of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// The log's number.
    pub(crate) log: u64,
    /// Frames of any other one don't count.
    pub(crate) generation: u64,
}

/// What became of a log that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSetAside {
    /// Steps of calls, or of several at once, that stood in it before any damage: the ledger has them.
    pub frames: u64,
    /// Steps that stood behind damage, and are lost to the ledger.
    pub behind_damage: u64,
    /// The name that the file has now; absent: there was none.
    pub file: Option<String>,
}

impl Known {
    /// Of a log that is to be laid.
    pub(crate) fn new() -> Self {
        let any_number = || RandomState::new().build_hasher().finish();
        Self { log: any_number(), generation: any_number() }
    }
}

/// The log, as its writer has it.
#[derive(Debug)]
pub(crate) struct Wal {
    file: Box<dyn DiskFile>,
    known: Known,
    /// Where the next frame goes.
    end: usize,
}

impl Wal {
    /// Opens the log that the store knows; absent: it has none yet, and one is laid. Answers what its frames hold, in
    /// order.
    ///
    /// # Errors
    /// The file is gone, cut short, or another one's, or a frame that was durable isn't whole any more. Nothing is
    /// changed.
    pub(crate) fn open(place: Place<'_>, known: Option<Known>) -> Result<(Self, Vec<Vec<u8>>), Fault> {
        let Some(known) = known else {
            if place.has(FILE)? && holds_frames(&read(&*place.file(FILE)?)?) {
                return Err(damaged("it is of a later queue.redb than the one beside it"));
            }
            return Ok((Self::lay(place, Known::new())?, Vec::new()));
        };
        if !place.has(FILE)? {
            return Err(damaged("it is gone"));
        }
        let file = place.file(FILE)?;
        if file.length()? != BYTES as u64 {
            return Err(damaged("it is cut short, or another file"));
        }
        let bytes = read(&*file).map_err(|error| damaged(format_args!("it can't be read: {error}")))?;
        if bytes[..PAGE_BYTES] != head(known.log) {
            return Err(damaged("it is another store's, or was written over"));
        }
        let Frames { whole, end, behind_damage } = frames(&bytes, known.generation);
        if behind_damage > 0 {
            return Err(damaged("a frame in its middle isn't what was written"));
        }
        Ok((Self { file, known, end }, whole))
    }

    /// Sets the file aside as it is, if there is one, and lays the log in its place that the store knows by now.
    /// Answers the name that the file has then.
    pub(crate) fn replace(place: Place<'_>, known: Known) -> Result<(Self, Option<String>), Fault> {
        let mut set_aside = None;
        if place.has(FILE)? {
            let mut aside = format!("{FILE}.aside");
            let mut number = 1;
            while place.has(&aside)? {
                number += 1;
                aside = format!("{FILE}.aside-{number}");
            }
            place.rename(FILE, &aside)?;
            set_aside = Some(aside);
        }
        Ok((Self::lay(place, known)?, set_aside))
    }

    fn lay(place: Place<'_>, known: Known) -> Result<Self, Fault> {
        let file = place.file(NEW)?;
        let mut bytes = head(known.log);
        bytes.resize(BYTES, 0);
        file.set_len(BYTES as u64)?;
        file.write(0, &bytes)?;
        file.sync()?;
        drop(file);
        place.rename(NEW, FILE)?;
        Ok(Self { file: place.file(FILE)?, known, end: PAGE_BYTES })
    }

    /// What the store has to know of it with the next transaction of an opening. A generation unlike those of any other
    /// opening: a log beside another `queue.redb` than its own, as a person may lay them together, counts for nothing.
    pub(crate) fn anew(&self) -> Known {
        Known { log: self.known.log, ..Known::new() }
    }

    /// The generation that begins with the next transaction.
    pub(crate) fn next(&self) -> u64 {
        self.known.generation.wrapping_add(1)
    }

    /// The transaction is durable with which that generation begins.
    pub(crate) fn begin(&mut self, generation: u64) {
        (self.known.generation, self.end) = (generation, PAGE_BYTES);
    }

    /// Whether a frame of so many bytes goes in before the next generation.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        pages_of(bytes).saturating_add(self.end) <= BYTES
    }

    /// Writes a frame for which there is room, and makes it durable. After an error nobody knows what is on the disk:
    /// the store has to be opened anew.
    pub(crate) fn write(&mut self, content: &[u8]) -> Result<(), StoreError> {
        let io = |error: io::Error| StoreError::of_io(FILE, &error);
        let length = u32::try_from(content.len()).map_err(|_| StoreError::TooLarge {
            what: "a frame of the ledger's log",
            bytes: content.len() as u64,
            max: BYTES as u64,
        })?;
        let mut frame = Vec::with_capacity(pages_of(content.len()));
        frame.resize(32, 0);
        frame.extend_from_slice(&self.known.generation.to_le_bytes());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(content);
        let digest = Digest::of(&frame[32..]);
        frame[..32].copy_from_slice(&digest.0);
        // Whole pages, so that none has to be read for it.
        frame.resize(pages_of(content.len()), 0);
        self.file.write(self.end as u64, &frame).map_err(io)?;
        self.file.sync().map_err(io)?;
        self.end += frame.len();
        Ok(())
    }
}

/// What a log still holds that is to be set aside: nothing, if it is gone or another one's.
pub(crate) fn rescue(place: Place<'_>, known: Option<Known>) -> Result<Frames, Fault> {
    let nothing = Frames { whole: Vec::new(), end: PAGE_BYTES, behind_damage: 0 };
    let (Some(known), true) = (known, place.has(FILE)?) else {
        return Ok(nothing);
    };
    let bytes = read_all_that_can_be(&*place.file(FILE)?)?;
    Ok(if bytes.starts_with(&head(known.log)) { frames(&bytes, known.generation) } else { nothing })
}

pub(crate) fn damaged(message: impl std::fmt::Display) -> Fault {
    StoreError::DamagedLog(message.to_string()).into()
}

/// The first page of the log of that number.
fn head(log: u64) -> Vec<u8> {
    let mut head = MARK.to_vec();
    head.extend(log.to_le_bytes());
    head.resize(PAGE_BYTES, 0);
    head
}

/// Bytes of the pages that a frame of so much content takes.
fn pages_of(content: usize) -> usize {
    content.saturating_add(FRAME_HEAD_BYTES).div_ceil(PAGE_BYTES).saturating_mul(PAGE_BYTES)
}

fn read(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.length()?).unwrap_or(BYTES).min(BYTES)];
    file.read(0, &mut bytes)?;
    Ok(bytes)
}

/// Pages that the disk doesn't give are zero.
fn read_all_that_can_be(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.length()?).unwrap_or(BYTES).min(BYTES)];
    for (page, bytes) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
        if let Err(error) = file.read((page * PAGE_BYTES) as u64, bytes) {
            tracing::warn!(page, %error, "a page of the ledger's log can't be read");
            bytes.fill(0);
        }
    }
    Ok(bytes)
}

/// What a log's pages hold of a generation.
pub(crate) struct Frames {
    /// What each holds, in order.
    pub(crate) whole: Vec<Vec<u8>>,
    /// Where they end.
    end: usize,
    /// Frames behind a place where none is whole. What a loss of power has torn was never answered, and nothing was
    /// written behind it: there are none then.
    pub(crate) behind_damage: usize,
}

fn frames(bytes: &[u8], generation: u64) -> Frames {
    let (mut whole, mut end) = (Vec::new(), PAGE_BYTES);
    while let Some(content) = bytes.get(end..).and_then(|rest| frame(rest, Some(generation))) {
        whole.push(content.to_vec());
        end += pages_of(content.len());
    }
    let behind = bytes.get(end..).unwrap_or_default().chunks(PAGE_BYTES).enumerate();
    let behind = behind.filter(|(page, _)| frame(&bytes[end + page * PAGE_BYTES..], Some(generation)).is_some());
    Frames { behind_damage: behind.count(), whole, end }
}

/// Whether there is a frame of any generation.
fn holds_frames(bytes: &[u8]) -> bool {
    (0..bytes.len()).step_by(PAGE_BYTES).any(|at| frame(&bytes[at..], None).is_some())
}

/// The content of the frame that stands first, if it is whole and of that generation; absent: of any.
fn frame(bytes: &[u8], generation: Option<u64>) -> Option<&[u8]> {
    let (digest, summed) = bytes.split_first_chunk::<32>()?;
    let (of, rest) = summed.split_first_chunk::<8>()?;
    if generation.is_some_and(|generation| u64::from_le_bytes(*of) != generation) {
        return None;
    }
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let content = rest.get(..length)?;
    (Digest::of(&summed[..8 + 4 + length]).0 == *digest).then_some(content)
}

#[cfg(test)]
mod tests;
