//! The form that audio is sent with, written by hand: the same piece makes the same bytes.

use bytes::Bytes;
use tollgate_core::Digest;

/// Formats that the services take, as the ending of a file and its media type, the usual one first.
const FORMATS: [(&str, &str); 18] = [
    ("mp3", "audio/mpeg"),
    ("mp3", "audio/mp3"),
    ("mpga", "audio/mpga"),
    ("m4a", "audio/mp4"),
    ("m4a", "audio/m4a"),
    ("m4a", "audio/x-m4a"),
    ("mp4", "video/mp4"),
    ("wav", "audio/wav"),
    ("wav", "audio/x-wav"),
    ("wav", "audio/wave"),
    ("wav", "audio/vnd.wave"),
    ("flac", "audio/flac"),
    ("flac", "audio/x-flac"),
    ("ogg", "audio/ogg"),
    ("ogg", "application/ogg"),
    ("ogg", "audio/opus"),
    ("webm", "audio/webm"),
    ("webm", "video/webm"),
];

/// What a model is asked to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The text alone: all that OpenAI's newer models give.
    Plain,
    /// With segments.
    Segments,
    /// With segments, each of one speaker.
    Speakers,
}

impl Format {
    /// By the model's name: who tells speakers apart has it there (`gpt-4o-transcribe-diarize`). Only that one has
    /// segments among OpenAI's newer models (`gpt-…`); whisper, by whichever name, has them.
    pub(super) fn of(model: &str) -> Self {
        if model.contains("diarize") {
            Self::Speakers
        } else if model.starts_with("gpt-") {
            Self::Plain
        } else {
            Self::Segments
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "json",
            Self::Segments => "verbose_json",
            Self::Speakers => "diarized_json",
        }
    }
}

/// The fields beside the file. Of a language the services take its first part, in two or three letters.
pub(super) fn fields(model: &str, format: Format, language: Option<&str>) -> Vec<(&'static str, String)> {
    let mut fields = vec![("model", model.to_owned()), ("response_format", format.as_str().to_owned())];
    if format == Format::Segments {
        fields.push(("timestamp_granularities[]", "segment".to_owned()));
    }
    if format == Format::Speakers {
        // Demanded for more than half a minute.
        fields.push(("chunking_strategy", "auto".to_owned()));
    }
    if let Some(language) = language.and_then(|language| language.split(['-', '_']).next()) {
        fields.push(("language", language.to_ascii_lowercase()));
    }
    fields
}

/// The body with its media type. The boundary is of the digest, and no audio holds the digest of its own request.
pub(super) fn body(fields: &[(&'static str, String)], audio: &[u8], ending: &str, digest: &Digest) -> (Bytes, String) {
    let boundary = format!("tollgate-{}", &digest.to_hex()[..32]);
    let mut body = Vec::with_capacity(audio.len() + 2_048);
    for (name, value) in fields {
        // Nothing that a handler says may end its part.
        let value: String = value.chars().filter(|char| !char.is_control()).collect();
        let part = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"audio.{ending}\"\r\nContent-Type: {}\r\n\r\n",
        content_type(ending)
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(audio);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (body.into(), format!("multipart/form-data; boundary={boundary}"))
}

/// The ending of files of a media type; its parameters don't matter.
pub(super) fn ending(media_type: &str) -> Option<&'static str> {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    FORMATS.iter().find(|(_, known)| *known == essence).map(|(ending, _)| *ending)
}

/// The ending of a name, if services take such files.
pub(super) fn known_ending(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    let ending = if ending.eq_ignore_ascii_case("opus") { "ogg" } else { ending };
    FORMATS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(known, _)| *known)
}

/// The usual media type of files with that ending.
pub(super) fn content_type(ending: &str) -> &'static str {
    FORMATS.iter().find(|(known, _)| *known == ending).map_or("application/octet-stream", |(_, usual)| *usual)
}
