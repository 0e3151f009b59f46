//! A page's text as html5gum takes it, in runs as long as may be.

use std::convert::Infallible;

use html5gum::Reader;

use crate::scan::position_of_any;

/// A page's bytes on their way into html5gum. Its own reader asks for each byte whether it ends a run by a call, which
/// is what a parse in wasm spent a tenth of its time on.
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn new(page: &'a [u8]) -> Self {
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
