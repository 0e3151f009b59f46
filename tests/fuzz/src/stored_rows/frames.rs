//! The frames of the ledger's log, as `host/store/src/redb_store/wal.rs` lays them: behind a page that says which log
//! it is, each in pages of its own, with digest, generation, length, content.

use tollgate_core::Digest;

use super::memory::MemoryFile;

const PAGE_BYTES: usize = 4 << 10;
const GENERATION: std::ops::Range<usize> = 32..40;
/// Of the digest, the generation and the length.
const HEAD_BYTES: usize = 32 + 8 + 4;

/// What each frame holds that is of the first one's generation, in order.
pub(super) fn read(log: &MemoryFile) -> Vec<Vec<u8>> {
    let bytes = log.bytes();
    let generation = &bytes[PAGE_BYTES..][GENERATION];
    let (mut frames, mut rest) = (Vec::new(), &bytes[PAGE_BYTES..]);
    while rest.len() > HEAD_BYTES && &rest[GENERATION] == generation && generation != [0; 8] {
        let length = u32::from_le_bytes(rest[GENERATION.end..HEAD_BYTES].try_into().unwrap()) as usize;
        frames.push(rest[HEAD_BYTES..HEAD_BYTES + length].to_vec());
        rest = &rest[(HEAD_BYTES + length).next_multiple_of(PAGE_BYTES)..];
    }
    frames
}

/// Replaces what one of them holds, in a frame that is whole. False: there is none.
pub(super) fn replace(log: &MemoryFile, place: u8, content: &[u8]) -> bool {
    let mut frames = read(log);
    if frames.is_empty() {
        return false;
    }
    let place = usize::from(place) % frames.len();
    frames[place] = content.to_vec();
    let mut bytes = log.bytes();
    let generation = bytes[PAGE_BYTES..][GENERATION].to_vec();
    let (length, mut all) = (bytes.len(), bytes[..PAGE_BYTES].to_vec());
    for content in frames {
        let summed = [&generation[..], &(content.len() as u32).to_le_bytes(), &content].concat();
        all.extend(Digest::of(&summed).0);
        all.extend(summed);
        all.resize(all.len().next_multiple_of(PAGE_BYTES), 0);
    }
    all.resize(length, 0);
    *bytes = all;
    true
}

/// Lays bytes anywhere in the log's first pages: the first two say where. False: they don't.
pub(super) fn lay(log: &MemoryFile, input: &[u8]) -> bool {
    let Some((place, laid)) = input.split_first_chunk::<2>() else {
        return false;
    };
    let (mut bytes, from) = (log.bytes(), usize::from(u16::from_le_bytes(*place)));
    // An input is far shorter than the log.
    bytes[from..from + laid.len()].copy_from_slice(laid);
    true
}
