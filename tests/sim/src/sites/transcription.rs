//! Speech to text, as OpenAI speaks it, and Groq and local servers after it; billed by the second.
//!
//! POST `…/audio/transcriptions`, multipart: `file`, `model`, `language`, `response_format` (`json`, `text`,
//! `verbose_json`; `diarized_json` of a model that tells speakers apart), `timestamp_granularities[]`,
//! `chunking_strategy`. What is heard is, in this order, what a test said by [`Transcription::answer`], what stands in
//! the file's own comment (the sim's audio has what is said in it there), or words that are always the same for the
//! same file. How long it is, its header says ([`duration_ms`]).

mod audio;
mod form;

pub(crate) use audio::RATE;
pub use audio::{comment, duration_ms, wav, wav_of};

use crate::answer::Answer;
use crate::site::{Answering, Request, Site};
use crate::sites::bill::{Amount, Billed};
use crate::sites::desk::{Desk, Met};
use crate::sites::models::{ModelFault, Refusal, Trouble, UsageLie, header, openai_refusal};
use form::Form;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use tollgate_core::money::NanoUsd;

/// The largest request, in bytes.
const BODY_MAX: usize = 26_214_400;
/// How long a segment is, in milliseconds.
const SEGMENT_MS: u64 = 5_000;
/// What no chunking is needed for, in milliseconds.
const UNCHUNKED_MAX_MS: u64 = 30_000;
/// Milliseconds in an hour.
const HOUR_MS: u64 = 3_600_000;
const FIELDS: [&str; 14] = [
    "file",
    "model",
    "language",
    "prompt",
    "response_format",
    "temperature",
    "timestamp_granularities[]",
    "include[]",
    "chunking_strategy",
    "stream",
    "keywords[]",
    "languages[]",
    "known_speaker_names[]",
    "known_speaker_references[]",
];
const ENDINGS: [&str; 10] = ["flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm"];

/// One model of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SpeechFacts {
    /// As it stands in requests.
    pub name: String,
    /// What an hour costs.
    pub per_hour: NanoUsd,
    /// Seconds that are billed at least.
    #[serde(default)]
    pub least_s: u64,
    /// Whether it gives segments (`verbose_json`).
    #[serde(default)]
    pub has_segments: bool,
    /// Whether it tells speakers apart (`diarized_json`).
    #[serde(default)]
    pub has_speakers: bool,
}

/// Models by which the program answers; the prices are round numbers, nobody's.
pub fn usual_speech() -> Vec<SpeechFacts> {
    let model = |name: &str, cents: u64, least_s, has_segments, has_speakers| SpeechFacts {
        name: name.to_owned(),
        per_hour: NanoUsd(cents * 10_000_000),
        least_s,
        has_segments,
        has_speakers,
    };
    vec![
        model("whisper-1", 36, 0, true, false),
        model("gpt-4o-transcribe", 36, 0, false, false),
        model("gpt-4o-transcribe-diarize", 36, 0, false, true),
        model("whisper-large-v3-turbo", 4, 10, true, false),
    ]
}

/// The service.
pub struct Transcription {
    facts: Vec<SpeechFacts>,
    says: Mutex<Option<String>>,
    /// What goes wrong next, and what was billed: a row for each file that was heard.
    pub desk: Desk,
}

impl Transcription {
    /// A service of these models, which takes any key.
    pub fn new(facts: impl IntoIterator<Item = SpeechFacts>) -> Self {
        Self { facts: facts.into_iter().collect(), says: Mutex::default(), desk: Desk::default() }
    }

    /// The same, which takes these keys alone.
    #[must_use]
    pub fn keys<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.desk.set_keys(keys);
        self
    }

    /// From now on this is heard, whatever is sent.
    pub fn answer(&self, text: &str) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
    }

    async fn transcribe(&self, request: &Request) -> Answer {
        let (form, facts, key) = match self.read(request) {
            Ok(read) => read,
            Err(refusal) => return refusal.answer(),
        };
        let fault = match self.desk.met().await {
            Met::Trouble(trouble) => return openai_refusal(&trouble, &facts.name).answer(),
            Met::Answer(answer) => return answer,
            Met::Fault(fault) => fault,
        };
        let length_ms = duration_ms(form.file());
        let seconds = length_ms.div_ceil(1_000).max(facts.least_s);
        let said = self.says.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let said = said.or_else(|| comment(form.file())).unwrap_or_else(|| audio::words(form.file(), length_ms));
        let row = Billed {
            host: request.host.to_string(),
            model: facts.name.clone(),
            key,
            amount: Amount::Millis(seconds * 1_000),
            cost: facts.per_hour.for_part(seconds * 1_000, HOUR_MS),
            is_whole: false,
        };
        let format = form.field("response_format").unwrap_or("json");
        if format == "text" {
            return self.desk.send(row, fault, "text/plain; charset=utf-8", (said + "\n").into()).await;
        }
        let lie = fault.as_ref().and_then(ModelFault::lie);
        let answer = heard(&said, length_ms, seconds, &form, lie, request.host.contains("groq"));
        self.desk.send_json(row, fault, &answer).await
    }

    fn read(&self, request: &Request) -> Result<(Form, &SpeechFacts, String), Refusal> {
        if request.http.method() != Method::POST || !request.path().ends_with("/audio/transcriptions") {
            return Err(openai_refusal(&Trouble::NoSuchPath, ""));
        }
        let bearer = header(request, "authorization").and_then(|value| value.strip_prefix("Bearer "));
        let Some(key) = bearer.filter(|key| !key.is_empty()) else {
            return Err(openai_refusal(&Trouble::NoKey, ""));
        };
        if !self.desk.takes(key) {
            return Err(openai_refusal(&Trouble::WrongKey(key.to_owned()), ""));
        }
        let size = request.http.body().len();
        if size > BODY_MAX {
            return Err(too_large(size, request.host.contains("groq")));
        }
        let kind = header(request, "content-type").unwrap_or_default();
        let Some(form) = Form::read(kind, request.http.body()) else {
            return Err(invalid("Could not parse multipart form", None));
        };
        if let Some(name) = form.names().find(|name| !FIELDS.contains(name)) {
            return Err(invalid(&format!("Unrecognized request argument supplied: {name}"), None));
        }
        let Some(name) = form.field("model") else {
            return Err(invalid("you must provide a model parameter", None));
        };
        let unknown = || openai_refusal(&Trouble::UnknownModel(name.to_owned()), name);
        let facts = self.facts.iter().find(|facts| facts.name == name).ok_or_else(unknown)?;
        check(&form, facts)?;
        Ok((form, facts, key.to_owned()))
    }
}

impl Site for Transcription {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move { self.transcribe(&request).await })
    }

    fn reset(&self) {
        self.desk.reset();
    }

    fn bill(&self) -> Vec<Billed> {
        self.desk.bill()
    }
}

fn check(form: &Form, facts: &SpeechFacts) -> Result<(), Refusal> {
    let Some(file) = form.file_name() else {
        return Err(invalid("Missing required parameter: 'file'.", Some("file")));
    };
    let ending = file.rsplit('.').next().unwrap_or_default().to_lowercase();
    if !ENDINGS.contains(&ending.as_str()) {
        let message = format!("Invalid file format. Supported formats: {ENDINGS:?}").replace('"', "'");
        return Err(invalid(&message, Some("file")));
    }
    if form.file().is_empty() {
        return Err(invalid("Audio file is too short. Minimum audio length is 0.1 seconds.", Some("file")));
    }
    let format = form.field("response_format").unwrap_or("json");
    let is_taken = match format {
        "json" | "text" => true,
        "verbose_json" => facts.has_segments,
        "diarized_json" => facts.has_speakers,
        _ => false,
    };
    if !is_taken {
        let message = format!(
            "response_format '{format}' is not compatible with model '{}'. Use 'json' or 'text' instead.",
            facts.name
        );
        return Err(invalid(&message, Some("response_format")));
    }
    if form.field("timestamp_granularities[]").is_some() && format != "verbose_json" {
        let message = "Timestamp granularities are only supported with response_format=verbose_json";
        return Err(invalid(message, Some("timestamp_granularities")));
    }
    if facts.has_speakers && form.field("chunking_strategy").is_none() && duration_ms(form.file()) > UNCHUNKED_MAX_MS {
        return Err(invalid("chunking_strategy is required for diarization models", Some("chunking_strategy")));
    }
    Ok(())
}

fn invalid(message: &str, param: Option<&str>) -> Refusal {
    let error = json!({"message": message, "type": "invalid_request_error", "param": param, "code": null});
    Refusal::new(400, json!({ "error": error }))
}

fn too_large(size: usize, is_groq: bool) -> Refusal {
    if is_groq {
        let error = json!({
            "message": "Request Entity Too Large", "type": "invalid_request_error", "code": "request_too_large",
        });
        return Refusal::new(413, json!({ "error": error }));
    }
    let message = format!("413: Maximum content size limit ({BODY_MAX}) exceeded ({size} bytes read)");
    let error = json!({"message": message, "type": "server_error", "param": null, "code": null});
    Refusal::new(413, json!({"error": error, "usage": {"type": "duration", "seconds": 0}}))
}

/// The answer in the form that was asked for.
fn heard(said: &str, length_ms: u64, billed_s: u64, form: &Form, lie: Option<UsageLie>, is_groq: bool) -> Value {
    let format = form.field("response_format").unwrap_or("json");
    let seconds = |ms: u64| ms as f64 / 1_000.0;
    let mut answer = json!({ "text": said });
    if format != "json" {
        answer["task"] = json!("transcribe");
        answer["duration"] = json!(seconds(length_ms));
        let parts = segments(said, length_ms);
        let parts = parts.iter().enumerate().map(|(at, (begin, end, text))| {
            let (begin, end) = (seconds(*begin), seconds(*end));
            if format == "diarized_json" {
                let speaker = ["A", "B"][at / 2 % 2];
                return json!({
                    "type": "transcript.text.segment", "id": format!("seg_{at:03}"), "start": begin, "end": end,
                    "text": text, "speaker": speaker,
                });
            }
            json!({
                "id": at, "seek": 0, "start": begin, "end": end, "text": format!(" {text}"), "tokens": [],
                "temperature": 0.0, "avg_logprob": -0.2, "compression_ratio": 1.4, "no_speech_prob": 0.01,
            })
        });
        answer["segments"] = parts.collect();
    }
    if format == "verbose_json" {
        answer["language"] = json!(match form.field("language") {
            None | Some("en") => "english",
            Some(other) => other,
        });
    }
    match (is_groq, lie) {
        (true, _) => answer["x_groq"] = json!({"id": "req_sim"}),
        (_, Some(UsageLie::Missing)) => {}
        (_, Some(UsageLie::Null)) => answer["usage"] = Value::Null,
        (_, Some(UsageLie::Zero)) => answer["usage"] = json!({"type": "duration", "seconds": 0}),
        (_, Some(UsageLie::CachedOverInput) | None) => {
            answer["usage"] = json!({"type": "duration", "seconds": billed_s});
        }
    }
    answer
}

/// What is said when: its words spread evenly, `(begin, end, text)` in milliseconds.
fn segments(said: &str, length_ms: u64) -> Vec<(u64, u64, String)> {
    let words: Vec<&str> = said.split_whitespace().collect();
    let count = length_ms.div_ceil(SEGMENT_MS).clamp(1, words.len().max(1) as u64);
    let per = words.len().div_ceil(usize::try_from(count).unwrap_or(usize::MAX)).max(1);
    let parts = words
        .chunks(per)
        .zip(0..)
        .map(|(words, at)| (length_ms * at / count, (length_ms * (at + 1) / count).min(length_ms), words.join(" ")));
    parts.collect()
}
