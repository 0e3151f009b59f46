//! What a service heard, read from its answer and kept as it was.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_core::service::Segment;

use crate::WireError;

/// What was heard of one piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heard {
    pub(super) text: String,
    /// In the piece's own time; absent: the model gives none.
    segments: Option<Vec<Segment>>,
    /// How long the audio is, by the service.
    pub(super) length: Option<Duration>,
    /// Seconds that are billed, by the service.
    pub(super) billed: Option<Duration>,
    /// It says something of its bill that can't be.
    pub(super) is_doubtful: bool,
    pub(super) request_id: Option<String>,
}

impl Heard {
    /// Reads `{"text", "segments", "duration", "usage"}`: of these, the text is always there.
    pub(super) fn read(answer: &Value) -> Result<Self, WireError> {
        let Some(text) = answer.get("text").and_then(Value::as_str) else {
            return Err(WireError::Malformed("it has no text".to_owned()));
        };
        let segments = answer.get("segments").filter(|segments| !segments.is_null()).map(segments).transpose()?;
        let usage = answer.get("usage");
        // Newer models tell tokens besides; what they cost is reckoned by the second all the same.
        let told = usage.and_then(|usage| usage.get("seconds"));
        let billed = told.and_then(duration).filter(|billed| !billed.is_zero());
        Ok(Self {
            text: text.trim().to_owned(),
            segments,
            length: answer.get("duration").and_then(duration),
            billed,
            is_doubtful: told.is_some() && billed.is_none(),
            request_id: answer.pointer("/x_groq/id").and_then(Value::as_str).map(str::to_owned),
        })
    }

    /// Its segments by rising time; all of its text is one where the model gives none. `length`: of the piece.
    pub(super) fn segments_in(&self, length: Duration) -> impl Iterator<Item = Segment> + use<> {
        let end_ms = u64::try_from(self.length.unwrap_or(length).as_millis()).unwrap_or(u64::MAX);
        let all = || Segment { start_ms: 0, end_ms, text: self.text.clone(), speaker: None };
        let mut segments = self
            .segments
            .clone()
            .unwrap_or_else(|| Some(all()).filter(|all| !all.text.is_empty()).into_iter().collect());
        segments.sort_by_key(|segment| segment.start_ms);
        segments.into_iter()
    }
}

fn segments(list: &Value) -> Result<Vec<Segment>, WireError> {
    let wrong = || WireError::Malformed("its segments have no begin, end or text".to_owned());
    let segment = |segment: &Value| {
        let millis = |field: &str| {
            let time = segment.get(field).and_then(duration)?;
            u64::try_from(time.as_millis()).ok()
        };
        let start_ms = millis("start")?;
        Some(Segment {
            start_ms,
            end_ms: millis("end")?.max(start_ms),
            text: segment.get("text")?.as_str()?.trim().to_owned(),
            speaker: segment.get("speaker").and_then(Value::as_str).map(str::to_owned),
        })
    };
    let list = list.as_array().ok_or_else(wrong)?;
    list.iter().map(segment).collect::<Option<_>>().ok_or_else(wrong)
}

/// Seconds, as a number or, of some local servers, a text.
fn duration(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    // Whole milliseconds, so that 0.1 isn't 0.100000001.
    let micros = Duration::try_from_secs_f64(seconds).ok()?.as_micros();
    u64::try_from((micros + 500) / 1_000).ok().map(Duration::from_millis)
}
