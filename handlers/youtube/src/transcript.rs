//! What is said in a video: by its captions, or, where it has none, by ear.

use tollgate_sdk::{Value, artifacts::Saved, prelude::*, stage::Either};

use crate::{
    metadata::Meta,
    video::{Video, yt_dlp},
    vtt,
};

/// The sound of a run of yt-dlp: speech needs no more than the smallest, and each byte may pass a proxy that is paid
/// for.
const AUDIO: &str = "worstaudio/bestaudio";
/// The stem of the name under which yt-dlp leaves audio.
const AUDIO_STEM: &str = "media.";

/// In which language it is.
#[params]
pub(crate) struct Language {
    /// As BCP 47; variants of it (`en-GB` of `en`) are taken where it isn't there itself.
    #[serde(default = "english")]
    language: String,
}

fn english() -> String {
    "en".to_owned()
}

/// Who wrote captions.
#[part]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Captioner {
    /// A person: preferred.
    Manual,
    /// A machine.
    Automatic,
}

impl Captioner {
    /// Its word, which begins the artifact's name too.
    fn word(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Automatic => "automatic",
        }
    }

    /// What yt-dlp prints them under, and what asks it to write them.
    fn of_yt_dlp(self) -> (&'static str, &'static str) {
        match self {
            Self::Manual => ("subtitles", "--write-subs"),
            Self::Automatic => ("automatic_captions", "--write-auto-subs"),
        }
    }
}

/// What captions say.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Captions {
    /// Who wrote them.
    pub(crate) source: Captioner,
    /// The track's language.
    pub(crate) language: String,
    /// The artifact that they are kept as: `manual.en.vtt`, `automatic.en.vtt`.
    pub(crate) artifact: String,
    pub(crate) text: String,
    /// Words of `text`.
    pub(crate) words: u64,
}

/// What was heard.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Whisper {
    /// The model that heard it.
    pub(crate) model: String,
    /// Length of the audio.
    pub(crate) seconds: f64,
    pub(crate) text: String,
    /// Words of `text`.
    pub(crate) words: u64,
}

/// Takes the captions, those by hand before those by machine.
#[stage]
pub(crate) fn captions(
    video: &Video,
    language: &Language,
    #[reads("meta/info.json")] info: Artifact,
) -> Result<Captions> {
    let info: Value = info.json()?;
    let track = |by: Captioner| track(&info, by, &language.language).map(|track| (by, track));
    let (source, track) = track(Captioner::Manual)
        .or_else(|| track(Captioner::Automatic))
        .or_nothing(&format!("no captions in {}, by hand or by machine", language.language))?;
    let template = format!("subtitle:{}.%(ext)s", source.word());
    let (_, write) = source.of_yt_dlp();
    // In this order they are one form of `accepts`, of which files must come: without them it is looked at why.
    let args = ["--skip-download", write, "--sub-langs", &track, "--sub-format", "vtt", "--output", &template];
    let files = yt_dlp(&video.url, &args).call()?.files;
    let is_named = |file: &&Saved| file.name.starts_with(source.word()) && file.name.ends_with(".vtt");
    let file = files
        .iter()
        .find(is_named)
        .or_fail(&format!("yt-dlp left no {} captions, though it lists them", source.word()))?;
    let text = vtt::words(&Artifact::from(file).text()?);
    if text.is_empty() {
        return Err(StageError::nothing_here(format!("{} has no words", file.name)));
    }
    Ok(Captions { source, language: track, artifact: file.name.clone(), words: count(&text), text })
}

/// The track of a language: itself, else a variant of it.
fn track(info: &Value, by: Captioner, language: &str) -> Option<String> {
    let tracks = info[by.of_yt_dlp().0].as_object()?;
    if tracks.contains_key(language) {
        return Some(language.to_owned());
    }
    let is_variant = |track: &&String| track.strip_prefix(language).is_some_and(|rest| rest.starts_with('-'));
    tracks.keys().find(is_variant).cloned()
}

/// Where there are no captions: fetches the audio, and has it heard.
///
/// The audio is no other stage's need: it goes once it is heard. A second try takes what the first one fetched.
#[stage]
pub(crate) fn whisper(video: &Video, meta: &Meta, language: &Language, kept: &Artifacts) -> Result<With<Whisper>> {
    let is_audio = |file: &Saved| file.stage == "whisper" && file.name.starts_with(AUDIO_STEM) && file.size > 0;
    let audio = match kept.list().into_iter().find(is_audio) {
        Some(audio) => audio,
        None => {
            let files = yt_dlp(&video.url, &["--format", AUDIO]).call()?.files;
            files.into_iter().find(|file| file.name.starts_with(AUDIO_STEM)).or_fail("yt-dlp left no audio")?
        }
    };
    let heard = speech::transcribe(&Artifact::from(&audio)).language(&language.language).call()?;
    let text = heard.text.trim().to_owned();
    if text.is_empty() {
        return Err(StageError::nothing_here("nothing is said in it"));
    }
    let (seconds, words) = (heard.seconds, count(&text));
    let output = Whisper { model: heard.model, seconds, words, text };
    let whole = meta.duration_s as f64;
    if seconds < whole * HEARD_MIN {
        return Ok(output.flag(format!("{seconds:.0} s of {whole:.0} were heard")));
    }
    Ok(output.into())
}

/// The part of a video's length that has to be heard for nobody to wonder.
const HEARD_MIN: f64 = 0.95;

fn count(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// What the two have in common.
pub(crate) struct Transcript<'a> {
    /// By whom: `manual`, `automatic` or `whisper`.
    pub(crate) source: &'static str,
    pub(crate) text: &'a str,
}

impl<'a> From<&'a Either<Captions, Whisper>> for Transcript<'a> {
    fn from(of: &'a Either<Captions, Whisper>) -> Self {
        match of {
            Either::First(captions) => Self { source: captions.source.word(), text: &captions.text },
            Either::Second(whisper) => Self { source: "whisper", text: &whisper.text },
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_sdk::{ServiceError, ToolError, json, mock, serde_json};

    use super::*;

    const URL: &str = "https://video.example/watch?v=a";
    const VTT: &[u8] = b"WEBVTT\n\n00:00.000 --> 00:05.000\nGood morning, and welcome.\n";

    fn video() -> Video {
        Video { id: "a".to_owned(), url: URL.to_owned(), title: String::new() }
    }

    fn language() -> Language {
        serde_json::from_value(json!({})).unwrap()
    }

    fn saved(stage: &str, name: &str) -> Saved {
        let (stage, name) = (stage.to_owned(), name.to_owned());
        Saved { stage, name, content_type: String::new(), size: 9, digest: String::new() }
    }

    /// A host whose yt-dlp leaves that file.
    fn leaving(stage: &str, name: &str, body: &[u8]) -> mock::Host {
        let output = tools::Output { files: vec![saved(stage, name)], ..Default::default() };
        mock::Host::new().artifact(stage, name, body).tool(Ok(output))
    }

    fn captioned(host: &mock::Host, info: &Value) -> Result<Captions> {
        let host = host.clone().artifact("meta", "info.json", info.to_string().as_bytes());
        host.run(|| captions(&video(), &language(), Artifact::of("meta", "info.json")))
    }

    fn wanted(write: &str, track: &str, template: &str) -> tools::Run {
        let args = ["--skip-download", write, "--sub-langs", track, "--sub-format", "vtt", "--output", template];
        yt_dlp(URL, &args)
    }

    #[test]
    fn p10_captions_by_hand_are_preferred_and_the_artifact_says_whose_they_are() {
        let host = leaving("captions", "manual.en.vtt", VTT);
        let both = json!({"subtitles": {"en": []}, "automatic_captions": {"en": []}});
        let made = captioned(&host, &both).unwrap();
        assert_eq!((made.source, made.artifact.as_str(), made.words), (Captioner::Manual, "manual.en.vtt", 4));
        assert_eq!(made.text, "Good morning, and welcome.");
        assert_eq!(host.tool_runs(), [wanted("--write-subs", "en", "subtitle:manual.%(ext)s")]);
        assert_eq!(serde_json::to_value(made.source).unwrap(), "manual", "the output says it too");
    }

    #[test]
    fn p10_captions_by_machine_are_taken_where_there_are_none_by_hand_and_say_so() {
        let host = leaving("captions", "automatic.en.vtt", VTT);
        let made = captioned(&host, &json!({"subtitles": {"de": []}, "automatic_captions": {"en": []}})).unwrap();
        assert_eq!((made.source, made.artifact.as_str()), (Captioner::Automatic, "automatic.en.vtt"));
        assert_eq!(host.tool_runs(), [wanted("--write-auto-subs", "en", "subtitle:automatic.%(ext)s")]);
    }

    #[test]
    fn p10_a_variant_by_hand_comes_before_the_language_itself_by_machine() {
        let host = leaving("captions", "manual.en-GB.vtt", VTT);
        let info = json!({"subtitles": {"enm": [], "en-GB": []}, "automatic_captions": {"en": []}});
        let made = captioned(&host, &info).unwrap();
        assert_eq!((made.source, made.language.as_str()), (Captioner::Manual, "en-GB"));
    }

    #[test]
    fn p05_without_captions_there_is_nothing_here_and_nothing_is_fetched() {
        for info in [json!({}), json!({"subtitles": {}, "automatic_captions": {"de": []}})] {
            let host = mock::Host::new();
            assert!(matches!(captioned(&host, &info), Err(StageError::NothingHere(_))), "{info}");
            assert!(host.tool_runs().is_empty());
        }
        let wordless = leaving("captions", "manual.en.vtt", b"WEBVTT\n");
        let none = captioned(&wordless, &json!({"subtitles": {"en": []}}));
        assert!(matches!(none, Err(StageError::NothingHere(_))), "captions without a word are none");
    }

    #[test]
    fn p05_captions_that_did_not_come_are_no_reason_to_pay() {
        let there = json!({"subtitles": {"en": []}});
        let none = mock::Host::new().tool(Ok(tools::Output::default()));
        assert!(matches!(captioned(&none, &there), Err(StageError::Failed(_))));
        let limited = mock::Host::new().tool(Err(ToolError::RateLimited(None)));
        assert!(matches!(captioned(&limited, &there), Err(StageError::RetryLater { .. })));
    }

    fn known() -> Meta {
        serde_json::from_value(json!({
            "title": "$AA earnings call", "channel": null, "symbol": "AA", "company": "Arlen Alloys", "published": null,
            "quarter": null, "duration_s": 100, "description": "",
        }))
        .unwrap()
    }

    fn heard(text: &str, seconds: f64) -> Result<speech::Transcript, ServiceError> {
        Ok(speech::Transcript { text: text.to_owned(), seconds, model: "large".to_owned(), ..Default::default() })
    }

    fn listened(host: &mock::Host) -> Result<With<Whisper>> {
        host.run(|| whisper(&video(), &known(), &language(), &Artifacts))
    }

    #[test]
    fn p05_audio_is_fetched_and_heard() {
        let host = mock::Host::new().speech(heard(" Good morning. ", 100.0));
        let host = host.tool(Ok(tools::Output { files: vec![saved("whisper", "media.webm")], ..Default::default() }));
        let With { output, flags, .. } = listened(&host).unwrap();
        assert_eq!((output.model.as_str(), output.text.as_str(), output.words), ("large", "Good morning.", 2));
        assert!(flags.is_empty(), "{flags:?}");
        assert_eq!(host.tool_runs(), [yt_dlp(URL, &["--format", AUDIO])]);
        assert_eq!(host.speech_calls(), [speech::transcribe(&Artifact::of("whisper", "media.webm")).language("en")]);
    }

    #[test]
    fn p05_a_second_try_fetches_no_audio_again() {
        let host = leaving("whisper", "media.webm", b"sound").speech(Err(ServiceError::RateLimited(None)));
        assert!(matches!(listened(&host), Err(StageError::RetryLater { .. })));
        let host = host.speech(heard("Good morning.", 100.0));
        assert!(listened(&host).is_ok());
        assert!(host.tool_runs().is_empty(), "the audio of the first try was there");
        assert_eq!(host.speech_calls().len(), 2);
    }

    #[test]
    fn p05_half_of_it_is_flagged_and_silence_is_nothing() {
        let half = leaving("whisper", "media.wav", b"sound").speech(heard("Good morning.", 50.0));
        assert_eq!(listened(&half).unwrap().flags, ["50 s of 100 were heard"]);
        let silent = leaving("whisper", "media.wav", b"sound").speech(heard(" ", 100.0));
        assert!(matches!(listened(&silent), Err(StageError::NothingHere(_))));
    }

    #[test]
    fn p05_what_needs_a_transcript_takes_either_and_captions_come_first() {
        let handler = crate::handler();
        let needs = |stage: &str| (handler.stages.iter().find(|of| of.name == stage).unwrap().needs)();
        for stage in ["digest", "figures"] {
            assert!(needs(stage).contains(&"captions|whisper".to_owned()), "{stage}: {:?}", needs(stage));
        }
        assert_eq!(needs("captions"), ["meta"]);
        assert_eq!(needs("whisper"), ["meta"]);
    }
}
