//! How a blob stands in its row: a byte for the packing, eight for its size, then its bytes, by
//! zstd where that is less.

use std::sync::{Mutex, PoisonError};

use tollgate_core::Digest;
use zstd::bulk::{Compressor, Decompressor};

use super::content::BLOB_ROW_BYTES_MAX;
use crate::{StoreError, stored::corrupt};

/// zstd's quickest level but one: text shrinks to a third at 300 MB/s and more.
const ZSTD_LEVEL: i32 = 1;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const HEAD_BYTES: usize = 9;
/// Contexts of zstd that are kept for the next blob: each is some hundred KiB, and to make one costs more than to
/// pack a small page with it.
const IDLE_MAX: usize = 8;

static COMPRESSORS: Idle<Compressor<'static>> = Idle(Mutex::new(Vec::new()));
static DECOMPRESSORS: Idle<Decompressor<'static>> = Idle(Mutex::new(Vec::new()));

/// Contexts that nobody uses now.
struct Idle<C>(Mutex<Vec<C>>);

impl<C> Idle<C> {
    /// Lends a context. One whose work failed isn't lent again.
    fn with<T>(
        &self,
        make: impl FnOnce() -> std::io::Result<C>,
        work: impl FnOnce(&mut C) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut context = idle.map_or_else(make, Ok)?;
        let done = work(&mut context)?;
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(context);
        }
        Ok(done)
    }
}

/// The row of a blob.
pub(super) fn pack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let packed = COMPRESSORS.with(|| Compressor::new(ZSTD_LEVEL), |zstd| zstd.compress(bytes))?;
    let (packing, kept) = if packed.len() < bytes.len() { (ZSTD, packed.as_slice()) } else { (PLAIN, bytes) };
    let mut row = Vec::with_capacity(HEAD_BYTES + kept.len());
    row.push(packing);
    row.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    row.extend_from_slice(kept);
    Ok(row)
}

/// Whether a row says that its blob has so many bytes.
pub(super) fn has_size(row: &[u8], size: u64) -> bool {
    row.get(1..HEAD_BYTES) == Some(size.to_le_bytes().as_slice())
}

/// The blob of a row, held against its digest.
pub(super) fn unpack(digest: Digest, row: &[u8]) -> Result<Vec<u8>, StoreError> {
    let bad = |why: &str| corrupt(format!("blob {digest}: {why}"));
    let (head, kept) = row.split_at_checked(HEAD_BYTES).ok_or_else(|| bad("cut short"))?;
    let (packing, size) = head.split_first().ok_or_else(|| bad("cut short"))?;
    let size = size.try_into().map(u64::from_le_bytes).map_err(|_| bad("cut short"))?;
    if size > BLOB_ROW_BYTES_MAX {
        return Err(bad("larger than a row may be"));
    }
    let bytes = match *packing {
        PLAIN => kept.to_vec(),
        ZSTD => {
            let capacity = usize::try_from(size).map_err(|_| bad("larger than memory"))?;
            let unpacked = DECOMPRESSORS.with(Decompressor::new, |zstd| zstd.decompress(kept, capacity));
            unpacked.map_err(|error| bad(&error.to_string()))?
        }
        _ => return Err(bad("packed in an unknown way")),
    };
    if bytes.len() as u64 == size && Digest::of(&bytes) == digest {
        Ok(bytes)
    } else {
        Err(bad("other bytes than its digest says"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_come_back_as_they_were_and_damage_is_told() {
        for bytes in [Vec::new(), b"x".to_vec(), b"page ".repeat(1_000), (0..=255).collect()] {
            let row = pack(&bytes).unwrap();
            assert!(has_size(&row, bytes.len() as u64));
            assert_eq!(unpack(Digest::of(&bytes), &row).unwrap(), bytes);
            for cut in [0, HEAD_BYTES - 1, row.len() - 1] {
                assert!(unpack(Digest::of(&bytes), &row[..cut]).is_err());
            }
        }
        // A context whose work failed spoils nothing for the next.
        let bytes = b"page ".repeat(1_000);
        let mut row = pack(&bytes).unwrap();
        let whole = row.clone();
        row[HEAD_BYTES] ^= 0xff;
        assert!(unpack(Digest::of(&bytes), &row).is_err());
        assert_eq!(unpack(Digest::of(&bytes), &whole).unwrap(), bytes);
    }
}
