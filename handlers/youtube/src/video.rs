//! A video, and how yt-dlp is asked about it.

use tollgate_sdk::prelude::*;

/// What a listing says of a video.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Video {
    /// As the site names it.
    #[key]
    pub(crate) id: String,
    /// Its page.
    pub(crate) url: String,
    /// As the listing has it; `meta` has its own.
    #[serde(default)]
    pub(crate) title: String,
}

/// A run of yt-dlp. What it may be given stands under `accepts` of its entry in jobs.toml.
pub(crate) fn yt_dlp(url: &str, args: &[&str]) -> tools::Run {
    args.iter().fold(tools::run("yt-dlp").url(url), |run, arg| run.arg(*arg))
}
