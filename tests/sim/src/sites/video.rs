//! `video.example`: a channel of videos about companies' results, with captions by hand, by machine
//! or none, and their audio.
//!
//! | address | what is there |
//! |---|---|
//! | `/@earnings/videos` | the listing, the newest first; `a.video`, `time.published` |
//! | `/feeds/videos.xml?channel_id=…` | the newest 15, as YouTube's feed has them |
//! | `/watch?v=ID` | a video's page |
//! | `/api/channel` | what the stand-in for yt-dlp lists: `{"entries": [{"id", "title", "url", …}]}` |
//! | `/api/player?v=ID` | what it prints of a video, as yt-dlp: `subtitles` and `automatic_captions` apart |
//! | `/captions/ID/manual/en.vtt`, `/captions/ID/automatic/en.vtt` | WebVTT, where there are some |
//! | `/audio/ID.wav` | the audio, in whose comment stands what [`transcription`](super::transcription) hears |
//!
//! `tests/tools/yt-dlp-stand-in` asks this site, through the proxy that it is given, for any address of it. Everything
//! is made from the seed: [`Videos::catalogue`] says which video has what.

mod facts;
mod words;

pub use facts::{Captions, VideoFacts, VideoKind, facts};

use crate::answer::Answer;
use crate::site::{Answering, Request, Site};
use crate::sites::transcription::{RATE, wav_of};
use http::StatusCode;
use maud::{DOCTYPE, Markup, html};
use serde_json::{Value, json};

/// The site's host name.
pub const HOST: &str = "video.example";
/// The channel's name, as it stands in its address.
pub const CHANNEL: &str = "@earnings";
/// The channel's id.
pub const CHANNEL_ID: &str = "UCsimEarningsCallsOfAllXx";
/// Videos in the feed.
const FEED: usize = 15;
/// How long a caption stays, in seconds.
const CAPTION_S: u64 = 5;

/// The site.
pub struct Videos {
    videos: Vec<VideoFacts>,
    rate: u32,
}

impl Videos {
    /// So many videos of a seed. From 40 on there is each kind with each sort of captions.
    pub fn seeded(seed: u64, count: u32) -> Self {
        Self { videos: (0..count).map(|number| facts(seed, number)).collect(), rate: RATE }
    }

    /// The same, with audio of so many samples in a second, a byte each: large files, where that matters.
    #[must_use]
    pub fn sampled(self, rate: u32) -> Self {
        Self { rate, ..self }
    }

    /// Every video, the newest first, and what it has.
    pub fn catalogue(&self) -> &[VideoFacts] {
        &self.videos
    }

    fn of_query(&self, request: &Request) -> Option<&VideoFacts> {
        let query = request.http.uri().query().unwrap_or_default();
        self.by_id(query.split('&').find_map(|pair| pair.strip_prefix("v="))?)
    }

    fn by_id(&self, id: &str) -> Option<&VideoFacts> {
        self.videos.iter().find(|video| video.id == id)
    }

    fn listing(&self) -> Markup {
        page(
            "Earnings calls of all",
            &html! {
                ul {
                    @for video in &self.videos {
                        li {
                            a.video href=(format!("/watch?v={}", video.id)) { (video.title) }
                            " " time.published { (video.published) }
                        }
                    }
                }
            },
        )
    }

    fn feed(&self) -> String {
        let mut feed = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feed xmlns:yt=\"http://www.youtube.com/xml/schemas/2015\" \
             xmlns=\"http://www.w3.org/2005/Atom\">\n <yt:channelId>{CHANNEL_ID}</yt:channelId>\n \
             <title>Earnings calls of all</title>\n"
        );
        for video in self.videos.iter().take(FEED) {
            let title = html! { (video.title) }.into_string();
            feed += &format!(
                " <entry>\n  <id>yt:video:{id}</id>\n  <yt:videoId>{id}</yt:videoId>\n  <title>{title}</title>\n  \
                 <link rel=\"alternate\" href=\"https://{HOST}/watch?v={id}\"/>\n  \
                 <published>{date}T14:00:00+00:00</published>\n </entry>\n",
                id = video.id,
                date = video.published,
            );
        }
        feed + "</feed>\n"
    }

    /// Captions or audio, by the rest of the path.
    fn file(&self, path: &str) -> Option<Answer> {
        if let Some(id) = path.strip_prefix("/audio/").and_then(|name| name.strip_suffix(".wav")) {
            let video = self.by_id(id)?;
            let file = wav_of(self.rate, video.duration_s * 1_000, &video.said);
            return Some(Answer::whole(StatusCode::OK, "audio/wav", file));
        }
        let (id, sort) = path.strip_prefix("/captions/")?.split_once('/')?;
        let video = self.by_id(id)?;
        let text = match sort {
            "manual/en.vtt" if video.captions.has_manual() => vtt(video, str::to_owned),
            "automatic/en.vtt" if video.captions.has_automatic() => vtt(video, by_machine),
            _ => return None,
        };
        Some(Answer::whole(StatusCode::OK, "text/vtt; charset=utf-8", text))
    }
}

impl Site for Videos {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            let none = || Answer::text(StatusCode::NOT_FOUND, "no such video\n");
            let path = request.path();
            match path {
                "/" => Answer::redirect(StatusCode::FOUND, &format!("/{CHANNEL}/videos")),
                "/feeds/videos.xml" => Answer::whole(StatusCode::OK, "text/xml; charset=UTF-8", self.feed()),
                "/watch" => self.of_query(&request).map_or_else(none, |video| {
                    Answer::html(page(&video.title, &html! { p.published { (video.published) } }).into_string())
                }),
                "/api/channel" => {
                    let entries: Value = self.videos.iter().map(entry).collect();
                    json_answer(&json!({"id": CHANNEL_ID, "channel": CHANNEL, "entries": entries}))
                }
                "/api/player" => self.of_query(&request).map_or_else(none, |video| json_answer(&info(video))),
                _ if path
                    .strip_prefix('/')
                    .is_some_and(|path| path == CHANNEL || path == format!("{CHANNEL}/videos")) =>
                {
                    Answer::html(self.listing().into_string())
                }
                _ => self.file(path).unwrap_or_else(none),
            }
        })
    }
}

fn json_answer(value: &Value) -> Answer {
    Answer::whole(StatusCode::OK, "application/json", value.to_string())
}

fn page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (title) } }
            body { h1 { (title) } (body) }
        }
    }
}

fn watch(video: &VideoFacts) -> String {
    format!("https://{HOST}/watch?v={}", video.id)
}

/// A video as a listing names it.
fn entry(video: &VideoFacts) -> Value {
    json!({
        "_type": "url", "ie_key": "Youtube", "id": video.id, "url": watch(video), "title": video.title,
        "duration": video.duration_s, "channel": CHANNEL, "channel_id": CHANNEL_ID, "live_status": null,
    })
}

/// A video as yt-dlp prints it.
fn info(video: &VideoFacts) -> Value {
    let captions = |sort: &str| {
        let url = format!("https://{HOST}/captions/{}/{sort}/en.vtt", video.id);
        json!([{"ext": "vtt", "url": url, "name": "English"}])
    };
    let of = |has: bool, sort: &str| if has { json!({"en": captions(sort)}) } else { json!({}) };
    let audio = json!({
        "format_id": "139", "ext": "wav", "acodec": "pcm_u8", "vcodec": "none", "format_note": "low",
        "url": format!("https://{HOST}/audio/{}.wav", video.id),
    });
    json!({
        "_type": "video", "extractor": "youtube", "extractor_key": "Youtube", "id": video.id, "display_id": video.id,
        "title": video.title, "fulltitle": video.title, "description": video.description,
        "channel": "Earnings calls of all", "uploader_id": CHANNEL, "channel_id": CHANNEL_ID, "language": "en",
        "duration": video.duration_s, "upload_date": video.published.replace('-', ""), "webpage_url": watch(video),
        "original_url": watch(video), "live_status": "not_live", "is_live": false, "availability": "public",
        "subtitles": of(video.captions.has_manual(), "manual"),
        "automatic_captions": of(video.captions.has_automatic(), "automatic"), "formats": [audio],
    })
}

/// As a machine writes down what it hears.
fn by_machine(words: &str) -> String {
    words.to_lowercase().replace(['.', ',', ':'], "")
}

fn vtt(video: &VideoFacts, write: fn(&str) -> String) -> String {
    let words: Vec<&str> = video.said.split_whitespace().collect();
    let count = video.duration_s.div_ceil(CAPTION_S).max(1);
    let per = words.len().div_ceil(usize::try_from(count).unwrap_or(usize::MAX)).max(1);
    let time = |seconds: u64| format!("00:{:02}:{:02}.000", seconds / 60, seconds % 60);
    let mut text = "WEBVTT\nKind: captions\nLanguage: en\n\n".to_owned();
    for (words, at) in words.chunks(per).zip(0..) {
        let (begin, end) = (at * CAPTION_S, ((at + 1) * CAPTION_S).min(video.duration_s));
        text += &format!("{} --> {}\n{}\n\n", time(begin), time(end), write(&words.join(" ")));
    }
    text
}
