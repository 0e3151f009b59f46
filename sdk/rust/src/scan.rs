//! Searching in pages, eight bytes at a time.

/// Where the first byte is that is one of `ends`, which are few, and known where this is inlined.
#[inline(always)]
pub(crate) fn position_of_any(bytes: &[u8], ends: &[u8]) -> Option<usize> {
    const LOW: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte that is an end; above the first one there may be more, which don't count.
        let hits = ends.iter().fold(0, |hits, end| {
            let other = word ^ (LOW * u64::from(*end));
            hits | (other.wrapping_sub(LOW) & !other & HIGH)
        });
        if hits != 0 {
            return Some(index * 8 + hits.trailing_zeros() as usize / 8);
        }
    }
    let position = rest.iter().position(|byte| ends.iter().any(|end| end == byte))?;
    Some(bytes.len() - rest.len() + position)
}
