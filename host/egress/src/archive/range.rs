//! One range of a remote file: what is asked, what an answer says of itself, and the bytes (trap 15).
//!
//! Nothing is believed before its headers are: a body is read where status, `Content-Range`, length and validators fit
//! what was asked, and no further than that. Section numbers are those of RFC 9110.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_RANGE, InvalidHeaderValue, LAST_MODIFIED, RANGE,
};

use super::unpack::Unpacking;
use crate::{exchange::ExchangeError, receive::Receive};

/// A range as it is asked for (14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The last bytes, all of them where the file has fewer.
    Last(u64),
    /// From the first to the last of these, both included.
    Bytes(u64, u64),
}

impl Asked {
    fn header(self) -> String {
        match self {
            Self::Last(count) => format!("bytes=-{count}"),
            Self::Bytes(first, last) => format!("bytes={first}-{last}"),
        }
    }

    /// The bytes that a file of this length has of it.
    fn of(self, total: u64) -> (u64, u64) {
        let last = total.saturating_sub(1);
        match self {
            Self::Last(count) => (total.saturating_sub(count), last),
            Self::Bytes(first, wanted) => (first, wanted.min(last)),
        }
    }

    /// Headers of the request. `known`: the file that the range must be of.
    pub(super) fn headers(self, known: Option<&Version>) -> Result<HeaderMap, InvalidHeaderValue> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(RANGE, HeaderValue::from_str(&self.header())?);
        if let Some(condition) = known.and_then(Version::condition) {
            headers.insert(IF_RANGE, HeaderValue::from_str(condition)?);
        }
        Ok(headers)
    }
}

/// Which file it is: its length, and what its server tells it apart by.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) total: u64,
    etag: Option<String>,
    last_modified: Option<String>,
    /// The server sends the whole file for a condition that holds: it isn't given one.
    fails_conditions: AtomicBool,
}

impl Version {
    fn of(headers: &HeaderMap, total: u64) -> Self {
        let (etag, last_modified) = (text(headers, ETAG), text(headers, LAST_MODIFIED));
        Self { total, etag, last_modified, fails_conditions: AtomicBool::new(false) }
    }

    /// Whether its server says more of it than its length.
    pub(super) fn has_validator(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// What stands in `If-Range` (13.1.5): a weak tag must not.
    fn condition(&self) -> Option<&str> {
        let condition = match &self.etag {
            Some(etag) => Some(etag.as_str()).filter(|etag| !etag.starts_with("W/")),
            None => self.last_modified.as_deref(),
        };
        condition.filter(|_| !self.fails_conditions.load(Relaxed))
    }

    /// Gives the server no conditions any more. False: it was given none.
    fn drop_condition(&self) -> bool {
        let had_one = self.condition().is_some();
        self.fails_conditions.store(true, Relaxed);
        had_one
    }

    /// Whether the other is another file, as far as both say. A 206 may leave out what 200 has (15.3.7).
    fn differs(&self, other: &Self) -> bool {
        let differ = |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
        self.total != other.total
            || differ(&self.etag, &other.etag)
            || differ(&self.last_modified, &other.last_modified)
    }

    /// Whether the other is the same file beyond doubt: by a validator too.
    fn is_surely(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        let is_same = same(&self.etag, &other.etag) || same(&self.last_modified, &other.last_modified);
        !self.differs(other) && is_same
    }
}

/// What an answer turned out to be.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing came yet.
    None,
    /// The range, or the whole file where it is no longer than that.
    Range { first: u64, version: Version },
    /// The whole file, which wasn't read, though the condition holds or none was given.
    Whole,
    /// Another file than the known one.
    Changed,
    /// It contradicts itself, or what was asked for; says how.
    Wrong(String),
    /// Another status.
    Status(u16),
}

/// Where a range's bytes go.
pub(super) enum Sink<'a> {
    /// Into memory: the directory, and the end that tells where it is.
    Memory(Vec<u8>),
    /// Unpacked, into the scratch folder.
    Member(Box<Unpacking<'a>>),
}

/// Takes the answer to one range.
pub(super) struct Receiver<'a> {
    asked: Asked,
    known: Option<&'a Version>,
    pub(super) sink: Sink<'a>,
    /// What the bytes are of, for errors.
    about: &'a str,
    pub(super) verdict: Verdict,
    /// Bytes still to come.
    pub(super) left: u64,
    /// The bytes came as they should, and aren't the member that they should be.
    pub(super) is_unfit: bool,
    /// The answer calls itself a page.
    pub(super) is_html: bool,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(asked: Asked, known: Option<&'a Version>, sink: Sink<'a>, about: &'a str) -> Self {
        Self { asked, known, sink, about, verdict: Verdict::None, left: 0, is_unfit: false, is_html: false }
    }

    fn judge(&self, status: u16, headers: &HeaderMap) -> (Verdict, u64) {
        match status {
            206 => self.part(headers).unwrap_or_else(|wrong| (Verdict::Wrong(wrong), 0)),
            200 => self.whole(headers),
            other => (Verdict::Status(other), 0),
        }
    }

    /// 15.3.7: a part.
    fn part(&self, headers: &HeaderMap) -> Result<(Verdict, u64), String> {
        let range = text(headers, CONTENT_RANGE).ok_or("it answered 206 without a Content-Range of one part")?;
        let asked = self.asked.header();
        let (first, last, total) =
            content_range(&range).ok_or_else(|| format!("it answered {asked} with Content-Range: {range}"))?;
        let version = Version::of(headers, total);
        if self.known.is_some_and(|known| known.differs(&version)) {
            return Ok((Verdict::Changed, 0));
        }
        if (first, last) != self.asked.of(total) {
            return Err(format!("it answered {asked} with Content-Range: {range}"));
        }
        let bytes = last - first + 1;
        if let Some(coding) = text(headers, CONTENT_ENCODING).filter(|coding| coding != "identity") {
            return Err(format!("it answered {asked} in the coding {coding}, and was asked for none"));
        }
        if let Some(length) = length(headers).filter(|length| *length != bytes) {
            return Err(format!("it answered {asked} with {length} bytes, and calls them {range}"));
        }
        Ok((Verdict::Range { first, version }, bytes))
    }

    /// 15.3.1: the whole. It is taken where it is no more than was asked for: of a short file, some servers give all.
    fn whole(&self, headers: &HeaderMap) -> (Verdict, u64) {
        let length = length(headers);
        if let Some(known) = self.known {
            let answered = Version::of(headers, length.unwrap_or(known.total));
            let had_condition = known.condition().is_some();
            let is_changed = known.differs(&answered) || (had_condition && !known.is_surely(&answered));
            return (if is_changed { Verdict::Changed } else { Verdict::Whole }, 0);
        }
        match (self.asked, length) {
            (Asked::Last(count), Some(length)) if length > 0 && length <= count => {
                (Verdict::Range { first: 0, version: Version::of(headers, length) }, length)
            }
            _ => (Verdict::Whole, 0),
        }
    }

    /// Whether the same is worth asking without a condition: the server gave the whole of the very file.
    pub(super) fn fails_conditions(&self) -> bool {
        matches!(self.verdict, Verdict::Whole) && self.known.is_some_and(Version::drop_condition)
    }
}

impl Receive for Receiver<'_> {
    fn begin(&mut self, status: u16, headers: &HeaderMap, body_max: u64) -> Result<bool, ExchangeError> {
        (self.verdict, self.left) = self.judge(status, headers);
        self.is_html = text(headers, CONTENT_TYPE).is_some_and(|media| media.starts_with("text/html"));
        // A whole page is no archive, however short: guards look at it.
        let is_page = self.is_html && status != 206;
        let is_wanted = matches!(self.verdict, Verdict::Range { .. }) && !is_page;
        match &mut self.sink {
            Sink::Member(member) if is_wanted => member.begin(body_max)?,
            _ => {}
        }
        Ok(is_wanted)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        let about = self.about;
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| {
            ExchangeError::Unfit(format!("{about}: it answered {} with more bytes than that", self.asked.header()))
        })?;
        match &mut self.sink {
            Sink::Memory(memory) => memory.extend_from_slice(bytes),
            Sink::Member(member) => member.take(bytes).map_err(|error| match error {
                ExchangeError::Unfit(text) => {
                    self.is_unfit = true;
                    ExchangeError::Unfit(format!("{about}: {text}"))
                }
                other => other,
            })?,
        }
        Ok(())
    }
}

/// A header that stands there once, as text.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    Some(value.to_str().ok()?.trim().to_owned())
}

fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH)?.parse().ok()
}

/// 14.4: `bytes 0-99/1000`. A file whose length isn't told can't be read from its end.
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (unit, range) = text.split_once(' ')?;
    let (range, total) = range.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (first.trim().parse().ok()?, last.trim().parse().ok()?, total.trim().parse().ok()?);
    (unit.eq_ignore_ascii_case("bytes") && first <= last && last < total).then_some((first, last, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(HeaderName, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_content_range_is_read_strictly() {
        assert_eq!(content_range("bytes 0-99/1000"), Some((0, 99, 1_000)));
        for wrong in ["bytes 0-99/*", "bytes */1000", "bytes 9-1/10", "bytes 0-10/10", "items 0-1/2", "0-1/2", ""] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn trap15_a_weak_tag_is_compared_and_never_a_condition() {
        let of = |etag: &str| Version::of(&headers(&[(ETAG, etag), (LAST_MODIFIED, "yesterday")]), 10);
        assert_eq!(of("W/\"a\"").condition(), None);
        assert_eq!(of("\"a\"").condition(), Some("\"a\""));
        assert!(of("W/\"a\"").differs(&of("W/\"b\"")));
        let bare = Version::of(&HeaderMap::new(), 10);
        assert!(!bare.differs(&of("\"a\"")) && !bare.is_surely(&of("\"a\"")));
    }

    #[test]
    fn trap15_what_was_asked_for_is_what_is_taken() {
        let judge = |asked: Asked, range: &str| {
            Receiver::new(asked, None, Sink::Memory(Vec::new()), "").judge(206, &headers(&[(CONTENT_RANGE, range)])).0
        };
        let is_range = |verdict: Verdict| matches!(verdict, Verdict::Range { .. });
        assert!(is_range(judge(Asked::Last(10), "bytes 90-99/100")));
        assert!(is_range(judge(Asked::Last(10), "bytes 0-4/5")));
        assert!(is_range(judge(Asked::Bytes(5, 200), "bytes 5-99/100")));
        for (asked, range) in [
            (Asked::Last(10), "bytes 0-9/100"),
            (Asked::Bytes(5, 9), "bytes 5-8/100"),
            (Asked::Bytes(5, 9), "bytes 4-9/100"),
            (Asked::Bytes(5, 9), "bytes 5-99/100"),
        ] {
            assert!(matches!(judge(asked, range), Verdict::Wrong(_)), "{asked:?} {range}");
        }
    }
}
