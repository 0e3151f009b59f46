//! What both readers of pages have in common: the text as html5gum takes it, in runs as long as may be.

use std::convert::Infallible;

use html5gum::Reader;

/// A page's bytes on their way into html5gum. Its own reader asks for each byte whether it ends a run by a call, which is
/// what a parse in wasm spent a tenth of its time on.
pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn new(page: &'a [u8]) -> Self {
        Self(page)
    }
}

impl Reader for Bytes<'_> {
    type Error = Infallible;

    #[inline(always)]
    fn read_byte(&mut self) -> Result<Option<u8>, Infallible> {
        let Some((first, rest)) = self.0.split_first() else {
            return Ok(None);
        };
        self.0 = rest;
        Ok(Some(*first))
    }

    #[inline(always)]
    fn try_read_string(&mut self, text: &[u8], case_sensitive: bool) -> Result<bool, Infallible> {
        let Some((head, rest)) = self.0.split_at_checked(text.len()) else {
            return Ok(false);
        };
        let is_there = if case_sensitive { head == text } else { head.eq_ignore_ascii_case(text) };
        if is_there {
            self.0 = rest;
        }
        Ok(is_there)
    }

    /// The run up to a byte of `ends`; where it begins with one, that byte alone.
    #[inline(always)]
    fn read_until<'b>(&'b mut self, ends: &[u8], _: &'b mut [u8; 4]) -> Result<Option<&'b [u8]>, Infallible> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let length = position_of_any(self.0, ends).unwrap_or(self.0.len()).max(1);
        let (run, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(Some(run))
    }
}

/// Where the first byte is that is one of `ends`; eight bytes at a time, for `ends` are few and known where this is
/// inlined.
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
