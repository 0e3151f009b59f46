//! Speech to text, as OpenAI speaks it, and Groq and local servers after it; paid by the second. Long audio goes in
//! pieces, one after the other: each is a call of its own, and what was heard of it is kept.

mod form;
mod read;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use tollgate_core::{
    Digest, Timestamp,
    ledger::{Cost, PaidKind, Units},
    model::{Dialect, Tokens},
    money::NanoUsd,
    service::{Segment, ServiceError, Transcript},
    spec::{AudioPrice, SpeechSpec},
};

use crate::{
    Cooling, Prices, ProviderError, WireError,
    call::{self, Bill, Calls, Ended, Exchange, Payee, Request, Whole},
    hosting::{AudioCutter, AudioPiece, AudioPieces, CutError, Kept, Purse, Refused, Sending, SpeechInput},
    refusal,
    wire::KeyHeader,
};
use form::{Format, ending};
use read::Heard;

/// Largest file in one request: OpenAI's and Groq's bound on a whole request is 25 MiB, its form included.
pub const AUDIO_BYTES_MAX: usize = (25 << 20) - (64 << 10);
/// Most bytes of an answer: words with their times, of a piece of hours.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Most pieces of one audio: two days of the default's.
const PIECES_MAX: usize = 300;
const PATH: &str = "audio/transcriptions";

/// One speech of jobs.toml.
pub struct Speech {
    spec: SpeechSpec,
    /// Absent: it is unpriced.
    price: Option<AudioPrice>,
    payee: Arc<Payee>,
    calls: Arc<Calls>,
}

fn cost_of(price: Option<AudioPrice>, audio: Duration) -> Cost {
    price.map_or(Cost::Unpriced, |price| Cost::Known(price.of(audio)))
}

impl Speech {
    /// `calls`: those of the host's models, of which speech is a part ([`Models::calls`](crate::Models::calls)).
    #[must_use]
    pub fn new(spec: &SpeechSpec, prices: &Prices, calls: &Arc<Calls>) -> Arc<Self> {
        let host = spec.service.url.host_str().unwrap_or_default();
        let provider = prices.provider_at(Dialect::OpenAi, host);
        let known = provider.and_then(|provider| prices.speech(provider, &spec.name)).copied();
        let paid = call::paid(PaidKind::Speech, provider.unwrap_or(host), &spec.alias, &spec.name);
        // The shortest audio that is billed holds for a price of jobs.toml too: it is the provider's rule.
        let seconds_min = known.map_or(0, |known| known.seconds_min);
        let own = spec.price.map(|own| AudioPrice { seconds_min, ..own });
        Arc::new(Self {
            price: own.or(known),
            payee: Arc::new(Payee::new(paid, &spec.service, None)),
            calls: calls.clone(),
            spec: spec.clone(),
        })
    }

    /// Until when it is left alone, and why; absent: it isn't.
    #[must_use]
    pub fn left_alone(&self) -> Option<Cooling> {
        self.calls.left_alone(&self.payee)
    }

    /// Writes speech down. `language`: BCP 47; absent: detected. With `speakers`, they are told apart where the model
    /// can; of audio in several pieces, a speaker is named with the piece (`2:A`), since no service knows them from
    /// another one. Audio that is known to fit is sent as it is, and any other is cut first. Of several pieces, those
    /// that the task has paid for since it was opened aren't sent again, also where an attempt has failed since: a
    /// piece is no reason for that.
    ///
    /// # Errors
    /// The audio can't be cut, sent or paid for, a piece was refused, or an answer can't be read.
    pub async fn transcribe(
        &self,
        audio: SpeechInput,
        language: Option<&str>,
        speakers: bool,
        purse: &Arc<dyn Purse>,
        cutter: &dyn AudioCutter,
    ) -> Result<Transcript, Refused> {
        let (name, whole) = (audio.name.clone(), Digest::of(&audio.bytes));
        let cut = self.pieces(audio, cutter).await?;
        let pieces = cut.pieces();
        let has_one = pieces.len() == 1;
        let (mut texts, mut segments, mut end) = (Vec::new(), Vec::new(), Duration::ZERO);
        let mut cost = Some(NanoUsd::ZERO);
        for (at, piece) in pieces.iter().enumerate() {
            let (begin, length) = (piece.begin, piece.length);
            let kept = if has_one { Kept::Safe } else { Kept::Part };
            let request = {
                let bytes = cut.read(at).await.map_err(|error| uncut(&name, error))?;
                Request { kept, ..self.request(piece, &bytes, whole, language)? }
            };
            let exchange = SpeechExchange { price: self.price, length, body: Whole::up_to(ANSWER_BYTES_MAX) };
            let ended = call::run(&self.calls, &self.payee, request, exchange, purse).await;
            let Ended { answer: heard, cost: paid } = ended.map_err(|unanswered| unanswered.refused)?;
            cost = cost.zip(paid.known()).map(|(cost, paid)| cost.saturating_add(paid));
            end = begin.saturating_add(heard.length.filter(|_| has_one).unwrap_or(length));
            let of_piece = |segment| shifted(segment, begin, speakers, (!has_one).then_some(at + 1));
            segments.extend(heard.segments_in(length).map(of_piece));
            texts.push(heard.text);
        }
        texts.retain(|text| !text.is_empty());
        let (text, seconds) = (texts.join(" "), end.as_secs_f64());
        Ok(Transcript { text, segments, seconds, model: self.spec.name.clone(), cost })
    }

    async fn pieces(&self, audio: SpeechInput, cutter: &dyn AudioCutter) -> Result<Box<dyn AudioPieces>, Refused> {
        let wrong = |text: String| Refused::plain(ServiceError::InvalidRequest(text));
        if audio.bytes.is_empty() {
            return Err(wrong(format!("{} is empty", audio.name)));
        }
        let format = ending(&audio.content_type).or_else(|| form::known_ending(&audio.name));
        let fits = audio.length.or_else(|| wav::length(&audio.bytes)).filter(|length| *length <= self.spec.part);
        if let (Some(length), Some(format), true) = (fits, format, audio.bytes.len() <= AUDIO_BYTES_MAX) {
            let (content_type, bytes) = (form::content_type(format).to_owned(), audio.bytes.len() as u64);
            let piece = AudioPiece { bytes, content_type, begin: Duration::ZERO, length };
            return Ok(Box::new(AsItIs { piece, bytes: audio.bytes }));
        }
        let name = audio.name.clone();
        let cut = cutter.cut(audio, self.spec.part).await.map_err(|error| uncut(&name, error))?;
        let pieces = cut.pieces();
        if pieces.is_empty() || pieces.len() > PIECES_MAX {
            let of = format!("{name} makes {} pieces; 1 to {PIECES_MAX} can be sent", pieces.len());
            return Err(wrong(format!("{of}: set a longer `part` in [speech.{}]", self.spec.alias)));
        }
        if let Some(large) = pieces.iter().find(|piece| piece.bytes > AUDIO_BYTES_MAX as u64) {
            let of = format!("a piece of {name} has {} bytes; {AUDIO_BYTES_MAX} can be sent", large.bytes);
            return Err(wrong(format!("{of}: set a shorter `part` in [speech.{}]", self.spec.alias)));
        }
        Ok(cut)
    }

    /// `whole`: the digest of the audio that it is a piece of. An answer depends on that and on where it is cut, and
    /// not on which version of ffmpeg has cut it.
    fn request(
        &self,
        piece: &AudioPiece,
        bytes: &[u8],
        whole: Digest,
        language: Option<&str>,
    ) -> Result<Request, Refused> {
        let Some(ending) = ending(&piece.content_type) else {
            let text = format!("audio of type {:?} can't be sent", piece.content_type);
            return Err(Refused::plain(ServiceError::InvalidRequest(text)));
        };
        let fields = form::fields(&self.spec.name, Format::of(&self.spec.name), language);
        let (service, length) = (&self.spec.service, piece.length);
        let cut = format!("{whole} {} {}", piece.begin.as_millis(), length.as_millis());
        let digest = call::digest(service, PATH, &format!("{fields:?}\n{cut}"));
        let (body, content_type) = form::body(&fields, bytes, ending, &digest);
        let sending = Sending {
            service: self.payee.service.clone(),
            path: PATH.into(),
            headers: vec![("accept", "application/json")],
            key: KeyHeader::of(Dialect::OpenAi),
            body: Some((body, content_type.into())),
            time: service.timeout,
            time_min: call::time_min(service.timeout),
            body_max: ANSWER_BYTES_MAX as u64,
        };
        Ok(Request { sending, digest, estimate: cost_of(self.price, length), tokens: 0, kept: Kept::Safe })
    }
}

/// Audio that needs no cutting.
struct AsItIs {
    piece: AudioPiece,
    bytes: Bytes,
}

impl AudioPieces for AsItIs {
    fn pieces(&self) -> &[AudioPiece] {
        std::slice::from_ref(&self.piece)
    }

    fn read(&self, _at: usize) -> BoxFuture<'_, Result<Bytes, CutError>> {
        Box::pin(std::future::ready(Ok(self.bytes.clone())))
    }
}

/// What a call of audio of that name is refused with that can't be cut.
fn uncut(name: &str, error: CutError) -> Refused {
    match error {
        CutError::Audio(text) => Refused::plain(ServiceError::InvalidRequest(format!("{name} can't be cut: {text}"))),
        CutError::Denied(text) => {
            let why = "how long it is isn't known, or it is too long, too large or of a format that no service takes";
            Refused::plain(ServiceError::Denied(format!("{name} has to be cut or converted first ({why}), and {text}")))
        }
        CutError::NoPlace(refused) => refused,
        CutError::Failed(text) => Refused::plain(ServiceError::Other(format!("{name} can't be cut: {text}"))),
        CutError::Tool { message, refusal } => {
            Refused { error: ServiceError::Unavailable(format!("{name} can't be cut: {message}")), refusal }
        }
    }
}

/// A segment of a piece that begins at `begin`; `piece`: its number, where there are several.
fn shifted(segment: Segment, begin: Duration, speakers: bool, piece: Option<usize>) -> Segment {
    let begin_ms = u64::try_from(begin.as_millis()).unwrap_or(u64::MAX);
    let speaker = segment.speaker.filter(|_| speakers);
    Segment {
        start_ms: segment.start_ms.saturating_add(begin_ms),
        end_ms: segment.end_ms.saturating_add(begin_ms),
        text: segment.text,
        speaker: speaker.map(|speaker| piece.map_or_else(|| speaker.clone(), |piece| format!("{piece}:{speaker}"))),
    }
}

struct SpeechExchange {
    price: Option<AudioPrice>,
    /// By the audio itself.
    length: Duration,
    body: Whole,
}

impl Exchange for SpeechExchange {
    type Answer = Heard;

    fn refusal(&self, status: u16, headers: &[(&str, &str)], said: &[u8], now: Timestamp) -> ProviderError {
        refusal::read(Dialect::OpenAi, status, headers, said, now)
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.body.feed(bytes)
    }

    fn end(&mut self) -> Result<Heard, WireError> {
        let answer = self.body.json()?;
        match refusal::in_body(Dialect::OpenAi, &answer) {
            Some(error) => Err(WireError::Provider(error)),
            None => Heard::read(&answer),
        }
    }

    /// The answer comes in one piece: a refusal is all of it.
    fn has_begun(&self) -> bool {
        false
    }

    /// It comes in one piece: nothing is known of a part.
    fn cost_of_part(&self) -> Cost {
        Cost::Unpriced
    }

    /// By the provider's own count of seconds, or by the audio's own length where it has none that can be (trap 4).
    fn bill(&self, heard: &Heard, _estimate: Cost) -> Bill {
        let billed = heard.billed.or(heard.length).filter(|billed| !billed.is_zero());
        let is_estimate = billed.is_none() || heard.is_doubtful;
        let audio = if heard.is_doubtful { billed.max(Some(self.length)) } else { billed }.unwrap_or(self.length);
        let audio_ms = u64::try_from(audio.as_millis()).unwrap_or(u64::MAX);
        Bill {
            cost: cost_of(self.price, audio),
            is_estimate,
            tokens: Tokens::default(),
            units: Units { audio_ms, ..Units::default() },
            provider_request: heard.request_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
mod wav;
