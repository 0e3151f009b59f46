//! Runs of a page's text: a piece of the page as it stands there wherever that is what is meant, a copy elsewhere.

use std::ops::Range;

use html5ever::tendril::StrTendril;

/// Text that comes in pieces. Pieces that follow each other on the page are one span of it, which costs neither a copy
/// nor a second look at its encoding; what a character reference or a folded line end makes of them is copied.
#[derive(Default)]
pub(super) struct Run {
    /// Where it stands on the page, as long as nothing is copied.
    span: Range<usize>,
    /// The whole of it, once anything is copied: a piece may end within a character.
    copied: Vec<u8>,
}

impl Run {
    pub(super) fn of(page: &str, bytes: &[u8]) -> Self {
        let mut run = Self::default();
        run.push(page, bytes);
        run
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.span.is_empty() && self.copied.is_empty()
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.span = 0..0;
        self.copied.clear();
    }

    #[inline]
    pub(super) fn push(&mut self, page: &str, bytes: &[u8]) {
        if !self.copied.is_empty() {
            self.copied.extend_from_slice(bytes);
            return;
        }
        match span_in(page, bytes) {
            Some(span) if self.span.is_empty() => self.span = span,
            Some(span) if self.span.end == span.start => self.span.end = span.end,
            _ => self.copy(page, bytes),
        }
    }

    #[cold]
    fn copy(&mut self, page: &str, bytes: &[u8]) {
        let span = std::mem::take(&mut self.span);
        self.copied.extend_from_slice(&page.as_bytes()[span]);
        self.copied.extend_from_slice(bytes);
    }

    /// Its text, which on the page shares the page's memory; it is empty then.
    pub(super) fn take(&mut self, page: &StrTendril) -> StrTendril {
        let text = if self.copied.is_empty() {
            let shared = u32::try_from(self.span.start).ok().zip(u32::try_from(self.span.len()).ok());
            let shared = shared.and_then(|(start, length)| page.try_subtendril(start, length).ok());
            shared.unwrap_or_else(|| text(&page.as_bytes()[self.span.clone()]))
        } else {
            text(&self.copied)
        };
        self.clear();
        text
    }
}

/// A copy, with a replacement where a character was parted.
fn text(bytes: &[u8]) -> StrTendril {
    match str::from_utf8(bytes) {
        Ok(text) => StrTendril::from_slice(text),
        Err(_) => StrTendril::from_slice(&String::from_utf8_lossy(bytes)),
    }
}

/// Where bytes stand on a page, if they are a piece of it and not merely equal to one.
#[inline]
fn span_in(page: &str, bytes: &[u8]) -> Option<Range<usize>> {
    let start = bytes.as_ptr().addr().wrapping_sub(page.as_ptr().addr());
    let end = start.checked_add(bytes.len())?;
    (end <= page.len()).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_the_page_are_shared_and_others_are_copied() {
        let page = StrTendril::from_slice("a long line of text, and another one");
        let bytes = page.as_bytes();
        let mut run = Run::of(&page, &bytes[2..11]);
        run.push(&page, &bytes[11..19]);
        assert!(run.copied.is_empty());
        assert_eq!(&*run.take(&page), "long line of text");
        assert!(run.is_empty());
        let mut run = Run::of(&page, &bytes[2..6]);
        run.push(&page, b"&");
        run.push(&page, &bytes[7..11]);
        assert_eq!(&*run.take(&page), "long&line");
        let mut run = Run::of(&page, &bytes[2..6]);
        run.push(&page, &bytes[0..1]);
        assert_eq!(&*run.take(&page), "longa", "another place of the page");
    }

    #[test]
    fn a_run_that_parts_a_character_is_mended() {
        let page = StrTendril::from_slice("x\u{e9}y");
        let mut run = Run::of(&page, &page.as_bytes()[..2]);
        assert_eq!(&*run.take(&page), "x\u{fffd}");
    }
}
