//! Speech as OpenAI's and Groq's services answer and refuse it, in one piece and in several, and what it comes to.

use std::sync::Mutex;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tollgate_core::{
    ledger::{How, NoRoom},
    outcome::{Refusal, RefusalKind},
};

use super::*;
use crate::{
    Models,
    hosting::SendError,
    testing::{Host, Reply, Row, deployment, lock, usd},
};

const MINUTE: Duration = Duration::from_mins(1);

/// An hour at 3.6 USD: a second costs a tenth of a cent.
fn spec(name: &str) -> String {
    format!(
        "[speech.ear]\nprovider = \"openai\"\nname = \"{name}\"\nurl = \"http://127.0.0.1:9/v1\"\n\
         price = \"3.6 USD/h\"\npart = \"1min\"\n"
    )
}

fn speech(host: &Arc<Host>, text: &str) -> Arc<Speech> {
    let (deployment, prices) = (deployment(text), Prices::pinned().unwrap());
    let models = Models::new(&deployment, &prices, host.clone(), host.clock.clone(), host.clone(), Vec::new());
    Speech::new(deployment.speech("ear").unwrap(), &prices, models.calls())
}

fn audio(length: Option<Duration>) -> SpeechInput {
    let (content_type, name) = ("audio/x-wav".to_owned(), "talk\".wav".to_owned());
    SpeechInput { bytes: Bytes::from_static(b"RIFF\r\n--x"), content_type, name, length }
}

/// Cuts into pieces of so many seconds, whatever it is given, and keeps how often.
struct Scissors {
    seconds: Vec<u64>,
    cuts: Mutex<u32>,
}

impl Scissors {
    fn of(seconds: &[u64]) -> Self {
        Self { seconds: seconds.to_vec(), cuts: Mutex::default() }
    }
}

impl AudioCutter for Scissors {
    fn cut(&self, _audio: SpeechInput, part: Duration) -> BoxFuture<'_, Result<Box<dyn AudioPieces>, CutError>> {
        assert_eq!(part, MINUTE);
        *lock(&self.cuts) += 1;
        let cut = *lock(&self.cuts);
        let (mut begin, mut pieces, mut contents) = (Duration::ZERO, Vec::new(), Vec::new());
        for seconds in &self.seconds {
            let length = Duration::from_secs(*seconds);
            // Another version of ffmpeg may make other bytes.
            let content = Bytes::from(format!("flac {seconds} {cut}"));
            let (bytes, content_type) = (content.len() as u64, "audio/flac".to_owned());
            pieces.push(AudioPiece { bytes, content_type, begin, length });
            contents.push(content);
            begin += length;
        }
        Box::pin(async { Ok(Box::new(Snippets { pieces, contents }) as Box<dyn AudioPieces>) })
    }
}

/// What the scissors leave.
struct Snippets {
    pieces: Vec<AudioPiece>,
    contents: Vec<Bytes>,
}

impl AudioPieces for Snippets {
    fn pieces(&self) -> &[AudioPiece] {
        &self.pieces
    }

    fn read(&self, at: usize) -> BoxFuture<'_, Result<Bytes, CutError>> {
        Box::pin(async move { Ok(self.contents[at].clone()) })
    }
}

fn heard(text: &str, duration: f64) -> Value {
    json!({"task": "transcribe", "language": "english", "duration": duration, "text": text,
        "segments": [{"id": 0, "start": 0.0, "end": 1.1, "text": format!(" {text}")}],
        "usage": {"type": "duration", "seconds": duration.ceil()}})
}

fn segment(start_ms: u64, end_ms: u64, text: &str, speaker: Option<&str>) -> Segment {
    Segment { start_ms, end_ms, text: text.to_owned(), speaker: speaker.map(str::to_owned) }
}

async fn listen(speech: &Speech, host: &Arc<Host>, length: Option<Duration>) -> Result<Transcript, Refused> {
    speech.transcribe(audio(length), None, false, &host.purse(), &Scissors::of(&[])).await
}

#[tokio::test]
async fn audio_that_fits_is_one_form_and_paid_by_the_second_that_its_provider_counts() {
    let host = Host::answers([Reply::of(200, heard("We grew.", 12.3))]);
    let speech = speech(&host, &spec("whisper-1"));
    let audio = audio(Some(Duration::from_millis(12_345)));
    let transcript =
        speech.transcribe(audio.clone(), Some("en-US"), false, &host.purse(), &Scissors::of(&[])).await.unwrap();
    assert_eq!(
        transcript,
        Transcript {
            text: "We grew.".to_owned(),
            segments: vec![segment(0, 1_100, "We grew.", None)],
            seconds: 12.3,
            model: "whisper-1".to_owned(),
            cost: Some("0.013 USD".parse().unwrap()),
        }
    );
    let sent = &host.sent()[0];
    let (_, content_type) = sent.body.clone().unwrap();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    let field = |name: &str, value: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let wanted = [
        field("model", "whisper-1"),
        field("response_format", "verbose_json"),
        field("timestamp_granularities[]", "segment"),
        field("language", "en"),
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"audio.wav\"\r\n\
             Content-Type: audio/wav\r\n\r\nRIFF\r\n--x\r\n--{boundary}--\r\n"
        ),
    ];
    assert_eq!(host.body(0), wanted.concat());
    assert_eq!((&*sent.path, sent.key.prefix), ("audio/transcriptions", "Bearer "));
    let row = &host.rows()[0];
    assert_eq!((row.estimate, row.told()), (usd("0.013 USD"), (How::Answered, usd("0.013 USD"), false)));
    assert_eq!(row.end.as_ref().unwrap().units.audio_ms, 13_000);
    let again = speech.transcribe(audio, Some("en-US"), false, &host.purse(), &Scissors::of(&[])).await.unwrap();
    assert_eq!((again, host.sent().len()), (transcript, 1), "what was paid for isn't sent again");
}

#[tokio::test]
async fn long_audio_goes_piece_by_piece_and_what_failed_goes_on_where_it_was() {
    let failed = Reply::of(500, json!({"error": {"message": "Error.", "type": "server_error"}}));
    let second = Reply::of(200, heard("two", 60.0));
    let host = Host::answers([Reply::of(200, heard("one", 60.0)), failed, second, Reply::of(200, heard("", 30.5))]);
    let (speech, cutter) = (speech(&host, &spec("whisper-1")), Scissors::of(&[60, 60, 31]));
    let long = audio(Some(151 * Duration::from_secs(1)));
    let refused = speech.transcribe(long.clone(), None, false, &host.purse(), &cutter).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Unavailable(_)), "{refused:?}");
    assert_eq!(host.sent().len(), 2, "one after the other");
    // The same attempt, which runs again.
    let transcript = speech.transcribe(long, None, false, &host.purse(), &cutter).await.unwrap();
    assert_eq!((transcript.text.as_str(), transcript.seconds), ("one two", 151.0));
    let segments =
        [segment(0, 1_100, "one", None), segment(60_000, 61_100, "two", None), segment(120_000, 121_100, "", None)];
    assert_eq!(transcript.segments, segments);
    assert_eq!(transcript.cost, Some("0.151 USD".parse().unwrap()));
    assert_eq!((host.sent().len(), *lock(&cutter.cuts)), (4, 2), "the first piece was kept, whoever cut it anew");
    let zero = Cost::Known(NanoUsd::ZERO);
    let (minute, rest) = (usd("0.06 USD"), usd("0.031 USD"));
    let told = [
        (How::Answered, minute, false),
        (How::Refused, zero, false),
        (How::Answered, minute, false),
        (How::Answered, rest, false),
    ];
    assert_eq!(host.rows().iter().map(Row::told).collect::<Vec<_>>(), told);
}

#[tokio::test]
async fn trap06_a_piece_that_is_paid_for_is_not_sent_again_by_the_next_attempt_and_a_whole_is_asked_for_anew() {
    let failed = || Reply::of(500, json!({"error": {"message": "Error.", "type": "server_error"}}));
    let heard = |text| Reply::of(200, heard(text, 30.0));
    let host = Host::answers([heard("one"), failed(), heard("two"), heard("whole"), heard("anew")]);
    let speech = speech(&host, &spec("whisper-1"));
    for (attempt, text) in [(1, None), (2, Some("one two")), (3, Some("one two"))] {
        let cutter = Scissors::of(&[30, 30]);
        let heard = speech.transcribe(audio(Some(2 * MINUTE)), None, false, &host.purse_of(attempt), &cutter).await;
        assert_eq!(heard.as_ref().ok().map(|heard| heard.text.as_str()), text, "{heard:?}");
    }
    assert_eq!(host.sent().len(), 3, "each piece but for the one that failed is sent once");
    // An answer that is all there is to it may be why its attempt failed.
    for (attempt, text) in [(3, "whole"), (4, "anew")] {
        let cutter = Scissors::of(&[30]);
        let heard = speech.transcribe(audio(None), None, false, &host.purse_of(attempt), &cutter).await.unwrap();
        assert_eq!(heard.text, text);
    }
}

#[tokio::test]
async fn speakers_are_told_apart_within_a_piece_by_the_models_that_can() {
    let said = json!({"text": "Hi. Ho.", "usage": {"type": "tokens", "total_tokens": 9}, "segments": [
        {"type": "transcript.text.segment", "id": "seg_1", "start": 2, "end": 1.5, "text": "Ho.", "speaker": "B"},
        {"type": "transcript.text.segment", "id": "seg_0", "start": 0.5, "end": 1, "text": "Hi.", "speaker": "A"}]});
    let replies = || [Reply::of(200, &said), Reply::of(200, &said)];
    for (seconds, speakers, names) in [
        (&[10][..], true, vec![Some("A"), Some("B")]),
        (&[10], false, vec![None, None]),
        (&[60, 10], true, vec![Some("1:A"), Some("1:B"), Some("2:A"), Some("2:B")]),
    ] {
        let host = Host::answers(replies());
        let (speech, cutter) = (speech(&host, &spec("gpt-4o-transcribe-diarize")), Scissors::of(seconds));
        let transcript = speech.transcribe(audio(None), None, speakers, &host.purse(), &cutter).await.unwrap();
        let told: Vec<_> = transcript.segments.iter().map(|segment| segment.speaker.as_deref()).collect();
        assert_eq!(told, names);
        assert_eq!(transcript.segments[1], segment(2_000, 2_000, "Ho.", names[1]), "by rising time");
        let body = host.body(0);
        assert!(body.contains("\r\n\r\ndiarized_json\r\n") && body.contains("name=\"chunking_strategy\"\r\n\r\nauto"));
        assert!(!body.contains("granularities"), "{body}");
    }
}

#[tokio::test]
async fn a_model_that_gives_words_alone_makes_one_segment() {
    let host =
        Host::answers([Reply::of(200, json!({"text": "We grew.", "usage": {"type": "duration", "seconds": 9}}))]);
    let transcript =
        listen(&speech(&host, &spec("gpt-4o-transcribe")), &host, Some(Duration::from_secs(9))).await.unwrap();
    assert_eq!(transcript.segments, [segment(0, 9_000, "We grew.", None)]);
    let body = host.body(0);
    assert!(
        body.contains("\r\n\r\njson\r\n") && !body.contains("granularities") && !body.contains("chunking"),
        "{body}"
    );
}

#[tokio::test]
async fn trap04_seconds_that_are_not_told_are_the_audios_own_and_marked() {
    let (length, own) = (Some(Duration::from_secs(20)), usd("0.02 USD"));
    for (answer, cost, is_estimate) in [
        (json!({"text": "a"}), own, true),
        (json!({"text": "a", "usage": null, "duration": 0.0}), own, true),
        (json!({"text": "a", "usage": {"type": "duration", "seconds": 0}, "duration": 12.5}), own, true),
        (json!({"text": "a", "usage": {"type": "duration", "seconds": 0}, "duration": 22.5}), usd("0.023 USD"), true),
        (json!({"text": "a", "duration": 12.5}), usd("0.013 USD"), false),
        (json!({"text": "a", "duration": "12.5", "x_groq": {"id": "req_9"}}), usd("0.013 USD"), false),
    ] {
        let host = Host::answers([Reply::of(200, &answer)]);
        listen(&speech(&host, &spec("whisper-1")), &host, length).await.unwrap();
        let row = &host.rows()[0];
        assert_eq!(row.told(), (How::Answered, cost, is_estimate), "{answer}");
        let id = answer.pointer("/x_groq/id").and_then(Value::as_str);
        assert_eq!(row.end.as_ref().unwrap().provider_request.as_deref(), id);
    }
}

#[tokio::test]
async fn trap04_speech_without_a_price_is_unpriced_and_refused_where_there_is_a_budget() {
    let host = Host::answers([Reply::of(200, heard("a", 3.0))]);
    let speech = speech(&host, &spec("whisper-9").replace("price = \"3.6 USD/h\"\n", ""));
    assert_eq!(listen(&speech, &host, Some(MINUTE)).await.unwrap().cost, None);
    assert_eq!(host.rows()[0].told(), (How::Answered, Cost::Unpriced, false));
    *lock(&host.no_room) = Some(NoRoom::Unpriced);
    let refused = listen(&speech, &host, Some(MINUTE / 2)).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Budget(_)) && host.sent().len() == 1, "{refused:?}");
}

#[tokio::test]
async fn groq_bills_ten_seconds_at_least_whoever_says_what_an_hour_costs() {
    let groq = "[speech.ear]\nprovider = \"openai\"\nname = \"whisper-large-v3-turbo\"\nkey = { env = \"K\" }\n\
                url = \"https://api.groq.com/openai/v1\"\n";
    for (price, cost) in [("", usd("0.000111112 USD")), ("price = \"3.6 USD/h\"\n", usd("0.01 USD"))] {
        let host = Host::answers([Reply::of(200, json!({"text": "a", "duration": 2.0, "segments": []}))]);
        listen(&speech(&host, &format!("{groq}{price}")), &host, Some(2 * Duration::from_secs(1))).await.unwrap();
        let row = &host.rows()[0];
        assert_eq!((row.estimate, row.told()), (cost, (How::Answered, cost, false)));
        assert_eq!(row.paid.provider, "groq");
    }
}

#[tokio::test]
async fn trap08_a_spent_quota_of_speech_is_asked_once() {
    let error = json!({"message": "You exceeded your current quota.", "type": "insufficient_quota",
        "code": "insufficient_quota"});
    let host = Host::answers([Reply::of(429, json!({ "error": error }))]);
    let speech = speech(&host, &spec("whisper-1"));
    for _ in 0..2 {
        let refused = listen(&speech, &host, Some(MINUTE)).await.unwrap_err();
        let refusal = refused.refusal.unwrap();
        assert_eq!((refusal.kind, refusal.about.as_str()), (RefusalKind::Budget, "speech ear"));
    }
    assert_eq!((host.sent().len(), host.rows().len()), (1, 1));
}

#[tokio::test]
async fn an_answer_that_is_lost_or_broken_costs_what_the_audio_was_held_to() {
    for reply in [
        Err(SendError::Lost("reset".to_owned())),
        Ok(Reply::of(200, heard("a", 3.0)).cut(30, None)),
        Ok(Reply::of(200, json!({"segments": []}))),
        Ok(Reply::of(200, json!({"text": "a", "segments": [{"start": -1, "end": 2, "text": "a"}]}))),
    ] {
        let host = Host::new([reply]);
        listen(&speech(&host, &spec("whisper-1")), &host, Some(MINUTE)).await.unwrap_err();
        let row = &host.rows()[0];
        assert_eq!((row.told(), row.answer.as_ref()), ((How::Lost, usd("0.06 USD"), true), None));
    }
    let error = Reply::of(200, json!({"error": {"message": "no", "type": "invalid_request_error"}}));
    let host = Host::answers([error]);
    listen(&speech(&host, &spec("whisper-1")), &host, Some(MINUTE)).await.unwrap_err();
    assert_eq!(host.rows()[0].told(), (How::Refused, Cost::Known(NanoUsd::ZERO), false));
}

#[tokio::test]
async fn audio_that_does_not_fit_is_cut_or_said_to_need_it() {
    let host = Host::answers([Reply::of(200, heard("a", 3.0))]);
    let speech = speech(&host, &spec("whisper-1"));
    let purse = host.purse();
    let odd = SpeechInput { content_type: "audio/amr".to_owned(), name: "a.amr".to_owned(), ..audio(Some(MINUTE)) };
    let empty = SpeechInput { bytes: Bytes::new(), ..audio(Some(MINUTE)) };
    let large = SpeechInput { bytes: vec![0; AUDIO_BYTES_MAX + 1].into(), ..audio(Some(MINUTE)) };
    let none = Blunt(CutError::Denied("jobs.toml has no tool ffmpeg; add it".to_owned()));
    for input in [odd, large, audio(None), audio(Some(2 * MINUTE))] {
        let refused = speech.transcribe(input, None, false, &purse, &none).await.unwrap_err();
        assert!(matches!(&refused.error, ServiceError::Denied(text) if text.contains("add it")), "{refused:?}");
    }
    let failed = Blunt(CutError::Failed("exit status 1".to_owned()));
    let refused = speech.transcribe(audio(None), None, false, &purse, &failed).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Other(_)), "counted: {refused:?}");
    let refused = speech.transcribe(empty, None, false, &purse, &none).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::InvalidRequest(_)), "{refused:?}");
    for pieces in [vec![], vec![1; PIECES_MAX + 1]] {
        let refused = speech.transcribe(audio(None), None, false, &purse, &Scissors::of(&pieces)).await.unwrap_err();
        assert!(matches!(refused.error, ServiceError::InvalidRequest(_)), "{refused:?}");
    }
    let refusal = Refusal { kind: RefusalKind::Down, about: "tool".into(), message: "no ffmpeg".into(), after: None };
    let broken = Blunt(CutError::Tool { message: "no ffmpeg".to_owned(), refusal: Some(refusal.clone()) });
    let refused = speech.transcribe(audio(None), None, false, &purse, &broken).await.unwrap_err();
    assert_eq!(refused.refusal, Some(refusal.clone()));
    // No place for cutting is told as it is, whoever found none: who reads it, or who cuts it.
    let error = ServiceError::RateLimited { after: Some(MINUTE) };
    let waits = Refusal { kind: RefusalKind::RateLimited, after: Some(MINUTE), ..refusal };
    let full = Blunt(CutError::NoPlace(Refused { error: error.clone(), refusal: Some(waits.clone()) }));
    let refused = speech.transcribe(audio(None), None, false, &purse, &full).await.unwrap_err();
    assert_eq!((refused.error, refused.refusal), (error, Some(waits)));
    assert_eq!(host.log(), [""; 0], "nothing was reserved for it");
    // A name tells the format where the type doesn't, and nothing is cut that fits.
    let named = SpeechInput { content_type: "application/octet-stream".to_owned(), ..audio(Some(MINUTE)) };
    let named = SpeechInput { name: "a.OPUS".to_owned(), ..named };
    let cutter = Scissors::of(&[]);
    speech.transcribe(named, None, false, &purse, &cutter).await.unwrap();
    assert!(host.body(0).contains("filename=\"audio.ogg\"") && *lock(&cutter.cuts) == 0);
}

/// Can't cut.
struct Blunt(CutError);

impl AudioCutter for Blunt {
    fn cut(&self, _: SpeechInput, _: Duration) -> BoxFuture<'_, Result<Box<dyn AudioPieces>, CutError>> {
        Box::pin(async { Err(self.0.clone()) })
    }
}
