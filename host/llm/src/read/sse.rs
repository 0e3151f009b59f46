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
    /// Takes the next bytes, and gives the data of each event that they end.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLarge> {
        let mut events = Vec::new();
        for &byte in bytes {
            let was_cr = std::mem::replace(&mut self.was_cr, byte == b'\r');
            match byte {
                b'\n' if was_cr => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ if self.line.len() + self.data.len() >= EVENT_BYTES_MAX => return Err(TooLarge),
                byte => self.line.push(byte),
            }
        }
        Ok(events)
    }

    /// The data of an event that no empty line ended: some servers close after their last line.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        self.end_of_line().or_else(|| self.dispatch())
    }

    fn end_of_line(&mut self) -> Option<Vec<u8>> {
        if self.line.is_empty() {
            return self.dispatch();
        }
        let line = std::mem::take(&mut self.line);
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (&line[..], &line[line.len()..]),
        };
        if field.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(field) == b"data" {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.has_data = true;
        }
        None
    }

    fn dispatch(&mut self) -> Option<Vec<u8>> {
        let data = std::mem::take(&mut self.data);
        std::mem::take(&mut self.has_data).then_some(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::default();
        let mut events: Vec<_> = pieces.iter().flat_map(|piece| parser.feed(piece).unwrap()).collect();
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
        let mut parser = Parser::default();
        let piece = vec![b'x'; EVENT_BYTES_MAX / 2 + 1];
        assert!(parser.feed(b"data: ").is_ok() && parser.feed(&piece).is_ok());
        assert_eq!(parser.feed(&piece), Err(TooLarge));
        let mut parser = Parser::default();
        let lines = b"data: 0123456789\n".repeat(EVENT_BYTES_MAX / 10);
        assert_eq!(parser.feed(&lines), Err(TooLarge), "many lines of one event");
    }
}
