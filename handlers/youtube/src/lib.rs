//! Earnings calls among the videos of channels, playlists and searches: what is said in them, by captions or by ear,
//! and what it comes to.
//!
//! | stage | does | paid |
//! |---|---|---|
//! | `meta` | looks at the video, and rejects what is no company's own call | nothing |
//! | `score` | asks a cheap model how much it promises, 0 to 10 | a few hundred tokens |
//! | `captions` | takes the captions, those by hand before those by machine; `nothing-here` where there are none | nothing |
//! | `whisper` | where there are no captions: fetches the audio and has it heard | by the second |
//! | `digest`, `figures` | two questions to a model, about one transcript | a transcript each, the second from the cache |
//!
//! Everything comes through the tool yt-dlp. Where nothing is to be paid for what promises little, both `captions` and
//! `whisper` bear the condition: `whisper` is the alternative of `captions`, and stands in for one that was skipped
//! too.
//!
//! ```toml
//! [job.youtube]
//! kind = "monitor"
//! handler = "youtube"
//! grant = ["http www.youtube.com", "tools yt-dlp", "artifacts", "llm cheap", "speech whisper"]
//! discover = { every = "6h" }
//!
//! [job.youtube.params]
//! listings = ["https://www.youtube.com/@NAME/videos", "https://www.youtube.com/results?search_query=earnings+call"]
//! companies = [{ symbol = "MRDN", name = "Marden Optics plc" }, { symbol = "AA", name = "Arlen Alloys", fiscal-year-end = 9 }]
//!
//! [job.youtube.stage.captions]
//! when = "score.value >= 6"
//!
//! [job.youtube.stage.whisper]
//! when = "score.value >= 6"
//! timeout = "30min"
//! ```

mod listing;
mod metadata;
mod questions;
mod transcript;
mod video;
mod vtt;
mod wanted;

use listing::list;
use metadata::{meta, score};
use questions::{digest, figures};
use tollgate_sdk::prelude::*;
use transcript::{captions, whisper};

handler!(discover: list, stages: [meta, score, captions, whisper, digest, figures]);
