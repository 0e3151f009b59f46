//! A remote ZIP archive that gives ranges, and lies about them in each way in which real servers do.

mod file;

pub use file::{FILLER_BYTES, Member, ZipFile, filler_name};

use crate::answer::Answer;
use crate::body::AnswerBody;
use crate::site::{Answering, Request, Site};
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use http::{Response, StatusCode};
use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where the archive is.
pub const PATH: &str = "/archive.zip";
/// Where signed addresses lead to.
pub const SIGNED_PATH: &str = "/signed";
/// Bytes handed out at once.
const PIECE_BYTES: u64 = 64 << 10;

/// How a server lies about ranges.
#[derive(Clone, Debug)]
pub enum Lie {
    /// Not at all.
    None,
    /// The whole file for any range.
    Whole,
    /// Ranges are given, and no `Accept-Ranges` says so.
    Silent,
    /// This status for ranges that count from the end.
    NoSuffix(StatusCode),
    /// The whole file for ranges that count from the end; others are given.
    WholeForSuffix,
    /// Each request is sent to an address that works once.
    SignedUrl,
    /// `Content-Range` says one byte further than it was asked.
    Shifted,
    /// The body ends half-way, without a length.
    Short,
    /// The body has more bytes than its range, without a length.
    Long,
    /// `Content-Range` calls the file longer than it is by so many bytes.
    LongerTotal(u64),
    /// 206, and the bytes are a page's.
    Page,
    /// The bytes of the range, gzipped on their way.
    Gzip,
    /// The bytes of the range, called gzip.
    CallsItGzip,
    /// After so many requests it is the other file.
    ReplacedAfter(u64, Arc<ZipFile>),
    /// Each second request is answered from the other file.
    Flapping(Arc<ZipFile>),
    /// As `ReplacedAfter`, and `If-Range` isn't looked at.
    ReplacedBlindly(u64, Arc<ZipFile>),
    /// The whole file wherever there is an `If-Range`.
    ConditionsFail,
}

/// What tells one file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validator {
    /// An `ETag`.
    Etag,
    /// A weak one.
    WeakEtag,
    /// `Last-Modified`.
    LastModified,
    /// Nothing.
    None,
}

/// An archive as a site.
pub struct Archive {
    file: Arc<ZipFile>,
    lie: Lie,
    validator: Validator,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests for bytes.
    asked: u64,
    /// Signed addresses given and not yet used.
    signed: BTreeSet<String>,
    given: u64,
    ranges: Vec<String>,
}

impl Archive {
    /// An honest server of that file.
    pub fn new(file: Arc<ZipFile>) -> Self {
        Self { file, lie: Lie::None, validator: Validator::Etag, state: Mutex::default() }
    }

    /// The same server, lying.
    #[must_use]
    pub fn lying(mut self, lie: Lie) -> Self {
        self.lie = lie;
        self
    }

    /// The same server with another validator.
    #[must_use]
    pub fn validator(mut self, validator: Validator) -> Self {
        self.validator = validator;
        self
    }

    /// The ranges that were asked for, in order, as they stood in the header.
    pub fn ranges(&self) -> Vec<String> {
        self.state().ranges.clone()
    }

    // Nothing that could panic half-way happens under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file for the `nth` request, from 0, and which one it is.
    fn file(&self, nth: u64) -> (Arc<ZipFile>, u64) {
        match &self.lie {
            Lie::ReplacedAfter(after, other) | Lie::ReplacedBlindly(after, other) if nth >= *after => {
                (other.clone(), 1)
            }
            Lie::Flapping(other) if nth % 2 == 1 => (other.clone(), 1),
            _ => (self.file.clone(), 0),
        }
    }

    fn serve(&self, request: &Request) -> Answer {
        let path = request.path();
        let query = request.http.uri().query().unwrap_or_default();
        let is_signed = path == SIGNED_PATH;
        if path != PATH && !is_signed {
            return Answer::text(StatusCode::NOT_FOUND, "no such file\n");
        }
        let mut state = self.state();
        if matches!(self.lie, Lie::SignedUrl) && !is_signed {
            state.given += 1;
            let token = format!("token={}", state.given);
            state.signed.insert(token.clone());
            return Answer::redirect(StatusCode::FOUND, &request.url(&format!("{SIGNED_PATH}?{token}")));
        }
        if is_signed && !state.signed.remove(query) {
            return Answer::text(StatusCode::FORBIDDEN, "the signature has expired\n");
        }
        let nth = state.asked;
        state.asked += 1;
        let headers = request.http.headers();
        let asked = headers.get(RANGE).and_then(|range| range.to_str().ok());
        state.ranges.extend(asked.map(str::to_owned));
        drop(state);
        self.give(headers, asked, nth)
    }

    fn give(&self, headers: &HeaderMap, asked: Option<&str>, nth: u64) -> Answer {
        let (file, which) = self.file(nth);
        let validator = self.validator.header(which);
        let condition = headers.get(IF_RANGE);
        let is_blind = matches!(self.lie, Lie::ReplacedBlindly(..));
        let holds = condition.is_none() || is_blind || condition == validator.as_ref().map(|(_, value)| value);
        let holds = holds && !(condition.is_some() && matches!(self.lie, Lie::ConditionsFail));
        let is_suffix = asked.is_some_and(|range| range.starts_with("bytes=-"));
        let answer = match (asked, &self.lie) {
            (Some(_), Lie::NoSuffix(status)) if is_suffix => {
                return Answer::text(*status, "no suffix ranges\n");
            }
            (None, _) | (_, Lie::Whole) => whole(file),
            (_, Lie::WholeForSuffix) if is_suffix => whole(file),
            _ if !holds => whole(file),
            (Some(asked), _) => match range(asked, file.size()) {
                Some(range) => self.part(file, range),
                None => Answer::text(StatusCode::RANGE_NOT_SATISFIABLE, "no such range\n"),
            },
        };
        let answer = match validator {
            Some((name, value)) => answer.with(name, value),
            None => answer,
        };
        let media = if matches!(self.lie, Lie::Page) { "text/html; charset=utf-8" } else { "application/zip" };
        let answer = answer.with(CONTENT_TYPE, HeaderValue::from_static(media));
        match self.lie {
            Lie::Silent => answer,
            _ => answer.with(ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        }
    }

    fn part(&self, file: Arc<ZipFile>, range: Range<u64>) -> Answer {
        let (bytes, total) = (range.end - range.start, file.size());
        let (shift, longer) = match self.lie {
            Lie::Shifted => (1, 0),
            Lie::LongerTotal(by) => (0, by),
            _ => (0, 0),
        };
        let said = format!("bytes {}-{}/{}", range.start + shift, range.end - 1 + shift, total + longer);
        let body = match self.lie {
            Lie::Short => AnswerBody::computed(None, pieces(file, range.start..range.start + bytes / 2)),
            Lie::Long => {
                let mut all = pieces(file, range);
                let mut extra = Some(bytes::Bytes::from_static(b"and more"));
                AnswerBody::computed(None, move || all().or_else(|| extra.take()))
            }
            Lie::Page => AnswerBody::whole(vec![b' '; usize::try_from(bytes).unwrap_or(0)]),
            Lie::Gzip => AnswerBody::whole(gzipped(&file, range)),
            _ => AnswerBody::computed(Some(bytes), pieces(file, range)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let answer = Answer::Respond(response);
        let answer = match HeaderValue::from_str(&said) {
            Ok(said) => answer.with(CONTENT_RANGE, said),
            Err(_) => answer,
        };
        match self.lie {
            Lie::Gzip | Lie::CallsItGzip => answer.with(CONTENT_ENCODING, HeaderValue::from_static("gzip")),
            _ => answer,
        }
    }
}

impl Validator {
    fn header(self, which: u64) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self {
            Self::Etag => (ETAG, format!("\"v{which}\"")),
            Self::WeakEtag => (ETAG, format!("W/\"v{which}\"")),
            Self::LastModified => (LAST_MODIFIED, format!("Mon, 0{} Jan 2024 00:00:00 GMT", which + 1)),
            Self::None => return None,
        };
        HeaderValue::from_str(&value).ok().map(|value| (name, value))
    }
}

impl Site for Archive {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move { self.serve(&request) })
    }

    fn reset(&self) {
        *self.state() = State::default();
    }
}

/// The bytes that a range of a header names, in a file of `total` bytes.
fn range(asked: &str, total: u64) -> Option<Range<u64>> {
    let (first, last) = asked.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", count) => total.saturating_sub(count.parse().ok()?)..total,
        (first, "") => first.parse().ok()?..total,
        (first, last) => first.parse().ok()?..last.parse::<u64>().ok()?.saturating_add(1).min(total),
    };
    (range.start < range.end).then_some(range)
}

fn whole(file: Arc<ZipFile>) -> Answer {
    let size = file.size();
    Answer::Respond(Response::new(AnswerBody::computed(Some(size), pieces(file, 0..size))))
}

/// The bytes of a range, piece by piece.
fn pieces(file: Arc<ZipFile>, mut range: Range<u64>) -> impl FnMut() -> Option<bytes::Bytes> + Send {
    move || {
        if range.is_empty() {
            return None;
        }
        let piece = file.read(range.start..range.end.min(range.start + PIECE_BYTES));
        range.start += piece.len() as u64;
        Some(piece)
    }
}

/// # Panics
/// Never: memory takes all that is written.
fn gzipped(file: &Arc<ZipFile>, range: Range<u64>) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut pieces = pieces(file.clone(), range);
    while let Some(piece) = pieces() {
        packer.write_all(&piece).expect("memory takes all that is written");
    }
    packer.finish().expect("memory takes all that is written")
}
