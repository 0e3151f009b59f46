//! Server-sent events, as they come: bytes in, whole events out, whatever the pieces are.

/// Largest event, in bytes: far above what any provider puts into one, and it bounds what a broken stream can hold.
pub const EVENT_BYTES_MAX: usize = 4 << 20;

/// An event is larger than [`EVENT_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

/// A parser of server-sent events. Only their data counts: all three formats say in it what an event is.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was CR: an LF that follows ends no other line.
    was_cr: bool,
}

impl Parser {
    /// Takes the next bytes, and gives the data of each event that they end to `event`.
    pub(super) fn feed<E: From<TooLarge>>(
        &mut self,
        mut bytes: &[u8],
        mut event: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.was_cr && !bytes.is_empty() {
            self.was_cr = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(at) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.keep(&bytes[..at])?;
            if self.end_of_line() {
                event(&self.data)?;
                self.data.clear();
            }
            let (end, rest) = (bytes[at], &bytes[at + 1..]);
            self.was_cr = end == b'\r' && rest.is_empty();
            bytes = if end == b'\r' { rest.strip_prefix(b"\n").unwrap_or(rest) } else { rest };
        }
        Ok(self.keep(bytes)?)
    }

    /// The data of an event that no empty line ended: some servers close after their last line.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        let has_ended = self.end_of_line() || std::mem::take(&mut self.has_data);
        has_ended.then(|| std::mem::take(&mut self.data))
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), TooLarge> {
        if self.line.len() + part.len() + self.data.len() > EVENT_BYTES_MAX {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// Takes the line that has ended. True: an event has ended with it.
    fn end_of_line(&mut self) -> bool {
        if self.line.is_empty() {
            return std::mem::take(&mut self.has_data);
        }
        let (field, value) = match self.line.iter().position(|&byte| byte == b':') {
            Some(at) => (&self.line[..at], &self.line[at + 1..]),
            None => (&self.line[..], &[][..]),
        };
        if field.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(field) == b"data" {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.has_data = true;
        }
        self.line.clear();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in pieces {
            let add = |data: &[u8]| {
                events.push(data.to_vec());
                Ok::<_, TooLarge>(())
            };
            parser.feed(piece, add).unwrap();
        }
        events.extend(parser.end());
        events.into_iter().map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn events_are_the_same_however_they_are_cut_up() {
        let stream = b"\xEF\xBB\xBFdata: one\r\n\r\n: comment\n\nevent: x\ndata:two\ndata\ndata: three\r\rid: 9\n\ndata: \xC3\xA4";
        let expected = ["one", "two\n\nthree", "\u{e4}"];
        assert_eq!(events(&[stream]), expected);
        for at in 0..stream.len() {
            assert_eq!(events(&[&stream[..at], &stream[at..]]), expected, "cut at {at}");
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(events(&bytes), expected);
    }

    #[test]
    fn an_event_without_end_is_refused_and_not_held() {
        let feed = |parser: &mut Parser, bytes: &[u8]| parser.feed(bytes, |_| Ok(()));
        let mut parser = Parser::default();
        let piece = vec![b'x'; EVENT_BYTES_MAX / 2 + 1];
        assert!(feed(&mut parser, b"data: ").is_ok() && feed(&mut parser, &piece).is_ok());
        assert_eq!(feed(&mut parser, &piece), Err(TooLarge));
        let mut parser = Parser::default();
        let lines = b"data: 0123456789\n".repeat(EVENT_BYTES_MAX / 10);
        assert_eq!(feed(&mut parser, &lines), Err(TooLarge), "many lines of one event");
    }
}
