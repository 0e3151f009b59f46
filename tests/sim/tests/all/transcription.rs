//! Speech, held against what OpenAI's and Groq's documentation says of it.

use crate::client::Reply;
use crate::service::{Asker, KEY, OPENAI, json_of, models};
use http::Method;
use serde_json::json;
use std::sync::Arc;
use tollgate_core::model::Dialect;
use tollgate_core::money::NanoUsd;
use tollgate_sim::sites::bill::Amount;
use tollgate_sim::sites::joined::Joined;
use tollgate_sim::sites::models::ModelFault;
use tollgate_sim::sites::transcription::{Transcription, usual_speech, wav};

const PATH: &str = "/v1/audio/transcriptions";
const GROQ: &str = "api.groq.com";

fn form(name: &str, file: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, value) in fields {
        body.extend_from_slice(
            format!("--b\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n").as_bytes(),
        );
    }
    let head = format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--b--\r\n");
    body
}

async fn ask(asker: &Asker, host: &str, key: &str, body: Vec<u8>) -> Reply {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=b")];
    asker.send(Method::POST, host, PATH, &headers, body).await.unwrap()
}

async fn speech() -> (Arc<Transcription>, Asker) {
    let speech = Arc::new(Transcription::new(usual_speech()).keys([KEY]));
    let asker = Asker::new(vec![(OPENAI, speech.clone()), (GROQ, speech.clone())]).await;
    (speech, asker)
}

#[tokio::test]
async fn what_is_said_comes_in_segments_and_is_billed_by_the_second() {
    let (speech, asker) = speech().await;
    let file = wav(12_400, "Revenue grew by twelve percent and we expect more of it next year.");
    let fields = [
        ("model", "whisper-1"),
        ("response_format", "verbose_json"),
        ("language", "en"),
        ("timestamp_granularities[]", "segment"),
    ];
    let reply = json_of(&ask(&asker, OPENAI, KEY, form("a.wav", &file, &fields)).await);
    assert!(reply["text"].as_str().unwrap().starts_with("Revenue grew"));
    assert_eq!(
        (&reply["duration"], &reply["language"], &reply["usage"]["seconds"]),
        (&json!(12.4), &json!("english"), &json!(13))
    );
    let segments = reply["segments"].as_array().unwrap();
    assert_eq!((segments.len(), &segments[0]["start"], &segments[2]["end"]), (3, &json!(0.0), &json!(12.4)));
    assert_eq!(segments[1]["start"], segments[0]["end"]);
    let text: String = segments.iter().map(|segment| segment["text"].as_str().unwrap()).collect();
    assert_eq!(text.trim(), reply["text"].as_str().unwrap());
    let [row] = speech.desk.bill().try_into().unwrap();
    // 36 cents an hour.
    assert_eq!((row.amount, row.cost, row.is_whole), (Amount::Millis(13_000), NanoUsd(1_300_000), true));
    let fields = [("model", "whisper-large-v3-turbo"), ("response_format", "verbose_json")];
    let groq = json_of(&ask(&asker, GROQ, KEY, form("a.wav", &wav(2_000, "short"), &fields)).await);
    assert_eq!(groq["x_groq"]["id"], "req_sim");
    assert_eq!(speech.desk.bill()[1].amount, Amount::Millis(10_000), "ten seconds at least");
}

#[tokio::test]
async fn speakers_are_told_apart_by_the_model_that_can() {
    let (speech, asker) = speech().await;
    speech.answer("Good morning and welcome. Thank you. First question please.");
    let mut fields = vec![("model", "gpt-4o-transcribe-diarize"), ("response_format", "diarized_json")];
    let file = wav(40_000, "");
    let unchunked = ask(&asker, OPENAI, KEY, form("a.flac", &file, &fields)).await;
    assert!(unchunked.status == 400 && unchunked.text().contains("chunking_strategy is required"));
    fields.push(("chunking_strategy", "auto"));
    let reply = json_of(&ask(&asker, OPENAI, KEY, form("a.flac", &file, &fields)).await);
    let speakers: Vec<&str> =
        reply["segments"].as_array().unwrap().iter().map(|one| one["speaker"].as_str().unwrap()).collect();
    assert!(speakers.contains(&"A") && speakers.contains(&"B"), "{reply}");
    let plain =
        ask(&asker, OPENAI, KEY, form("a.ogg", &file, &[("model", "whisper-1"), ("response_format", "text")])).await;
    assert_eq!(plain.text(), "Good morning and welcome. Thank you. First question please.\n");
}

#[tokio::test]
async fn what_is_refused_costs_nothing() {
    let (speech, asker) = speech().await;
    let file = wav(1_000, "x");
    assert_eq!(ask(&asker, OPENAI, "other", form("a.wav", &file, &[("model", "whisper-1")])).await.status, 401);
    for (name, fields, status, says) in [
        ("a.wav", vec![], 400, "model parameter"),
        ("a.wav", vec![("model", "whisper-9")], 404, "does not exist"),
        ("a.txt", vec![("model", "whisper-1")], 400, "Invalid file format"),
        (
            "a.wav",
            vec![("model", "gpt-4o-transcribe"), ("response_format", "verbose_json")],
            400,
            "not compatible with model",
        ),
        ("a.wav", vec![("model", "whisper-1"), ("speakers", "2")], 400, "Unrecognized request argument"),
        ("a.wav", vec![("model", "whisper-1"), ("timestamp_granularities[]", "word")], 400, "only supported with"),
    ] {
        let reply = ask(&asker, OPENAI, KEY, form(name, &file, &fields)).await;
        assert!(reply.status == status && reply.text().contains(says), "{fields:?}: {}", reply.text());
    }
    let large = vec![0; 27 << 20];
    let openai = ask(&asker, OPENAI, KEY, form("a.wav", &large, &[("model", "whisper-1")])).await;
    assert!(openai.status == 413 && openai.text().contains("Maximum content size limit (26214400) exceeded"));
    let groq = ask(&asker, GROQ, KEY, form("a.wav", &large, &[("model", "whisper-1")])).await;
    assert_eq!((groq.status.as_u16(), &json_of(&groq)["error"]["code"]), (413, &json!("request_too_large")));
    speech.desk.next([ModelFault::busy_s(2), ModelFault::Quota]);
    let busy = ask(&asker, OPENAI, KEY, form("a.wav", &file, &[("model", "whisper-1")])).await;
    assert_eq!((busy.status.as_u16(), busy.header("retry-after")), (429, "2"));
    let quota = ask(&asker, OPENAI, KEY, form("a.wav", &file, &[("model", "whisper-1")])).await;
    assert_eq!(json_of(&quota)["error"]["code"], "insufficient_quota");
    assert!(speech.desk.bill().is_empty());
}

#[tokio::test]
async fn chat_and_speech_stand_under_one_name() {
    let (models, speech) = (models(), Arc::new(Transcription::new(usual_speech())));
    let joined = Arc::new(Joined::new(models.site(Dialect::OpenAi)).with("/audio/", speech.clone()));
    let asker = Asker::new(vec![(OPENAI, joined)]).await;
    let chat = json!({"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(asker.chat(&chat).await.status, 200);
    let heard = ask(&asker, OPENAI, KEY, form("a.wav", &wav(3_000, ""), &[("model", "whisper-1")])).await;
    assert_eq!(json_of(&heard)["text"].as_str().unwrap().split(' ').count(), 6, "words of its own, two a second");
    let rows = asker.sim.bill();
    assert_eq!(rows.len(), 2);
    assert!(models.sum().saturating_add(speech.desk.sum()) == tollgate_sim::sites::bill::sum(&rows));
}
