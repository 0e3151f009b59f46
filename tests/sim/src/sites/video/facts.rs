//! What each video is and has: everything from its number and the site's seed alone.

use super::words::{COMPANIES, OPENINGS, SENTENCES, WALKS};
use crate::faults::{beginning, fraction};

/// The sorts of videos, by what their titles try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VideoKind {
    /// A company's own call, with `$SYM` in its title.
    Call,
    /// A company's own call, by the company's name.
    CallByName,
    /// A company's own call whose title names no quarter.
    CallBare,
    /// Somebody talks about the results (Q01).
    Commentary,
    /// Somebody reacts to them (Q01).
    Reaction,
    /// Several companies at once (Q01).
    RoundUp,
    /// A ticker as an English word, or as part of another (Q02, Q03).
    LookAlike,
    /// Nothing to do with any of it.
    Other,
}

/// Which captions a video has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Captions {
    /// Made by hand.
    Manual,
    /// Made by a machine.
    Automatic,
    /// Both.
    Both,
    /// None.
    None,
}

impl Captions {
    /// Whether there are some made by hand.
    pub fn has_manual(self) -> bool {
        matches!(self, Self::Manual | Self::Both)
    }

    /// Whether there are some made by a machine.
    pub fn has_automatic(self) -> bool {
        matches!(self, Self::Automatic | Self::Both)
    }
}

const KINDS: [VideoKind; 8] = [
    VideoKind::Call,
    VideoKind::Commentary,
    VideoKind::CallByName,
    VideoKind::Reaction,
    VideoKind::CallBare,
    VideoKind::RoundUp,
    VideoKind::LookAlike,
    VideoKind::Other,
];
const CAPTIONS: [Captions; 4] = [Captions::Manual, Captions::Automatic, Captions::None, Captions::Both];
/// The newest is of this month, counted from year 0.
const NEWEST_MONTH: u32 = 2025 * 12 + 10;

/// What a test may hold a video against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoFacts {
    /// Its id: eleven characters, as YouTube's.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What sort it is of.
    pub kind: VideoKind,
    /// The company that it is about, or pretends to be.
    pub company: &'static str,
    /// That company's ticker.
    pub ticker: &'static str,
    /// When it was published, as `2025-01-25`.
    pub published: String,
    /// The quarter that a call published then is about, as year and number (Q04: one in January is the fourth of the
    /// year before); of a call alone.
    pub quarter: Option<(u32, u32)>,
    /// How long it is, in seconds: one to three minutes.
    pub duration_s: u64,
    /// Its captions.
    pub captions: Captions,
    /// The text under it.
    pub description: String,
    /// What is said in it.
    pub said: String,
}

impl VideoFacts {
    /// Whether it is a company's own call.
    pub fn is_call(&self) -> bool {
        self.quarter.is_some()
    }
}

/// The facts of a video, 0 being the newest.
pub fn facts(seed: u64, number: u32) -> VideoFacts {
    let mut state = beginning(seed, *b"video", number.into());
    let mut below = |end: usize| (fraction(&mut state) * end as f64) as usize;
    let kind = KINDS[(number % 8) as usize];
    let captions = CAPTIONS[((number / 8 + number) % 4) as usize];
    let at = below(COMPANIES.len());
    let (ticker, company, _) = COMPANIES[at];
    let (other, ..) = COMPANIES[(at + 1 + below(COMPANIES.len() - 1)) % COMPANIES.len()];
    let month = NEWEST_MONTH - number / 3;
    let (year, month) = (month / 12, month % 12 + 1);
    let published = format!("{year}-{month:02}-{:02}", 25 - number % 3 * 8);
    let (of_year, quarter) = if month <= 3 { (year - 1, 4) } else { (year, (month - 1) / 3) };
    let title = match kind {
        VideoKind::Call => format!("{company} (${ticker}) Q{quarter} {of_year} Earnings Call"),
        VideoKind::CallByName => format!("{company} Q{quarter} {of_year} Earnings Conference Call"),
        VideoKind::CallBare => format!("${ticker} Earnings Call"),
        VideoKind::Commentary => {
            let word = ["SHOCK", "Breakdown", "explained: the squeeze"][below(3)];
            format!("${ticker} Earnings {word}! What nobody tells you about {company}")
        }
        VideoKind::Reaction => {
            let word = ["CRASH", "to the MOON", "SQUEEZE"][below(3)];
            format!("{company} earnings: {word}? My live reaction")
        }
        VideoKind::RoundUp => format!("${ticker}, ${other} and $NWLL earnings this week"),
        VideoKind::LookAlike => look_alike(ticker),
        VideoKind::Other => WALKS[below(WALKS.len())].to_owned(),
    };
    let is_call = matches!(kind, VideoKind::Call | VideoKind::CallByName | VideoKind::CallBare);
    let opening = OPENINGS[usize::from(!is_call)];
    let mut said = opening.replace("{c}", company).replace("{q}", &format!("quarter {quarter} of {of_year}"));
    let first = below(SENTENCES.len());
    for nth in 0..6 {
        let sentence = SENTENCES[(first + nth * 5) % SENTENCES.len()].replace("{c}", company);
        said = format!("{said} {}", sentence.replace('#', &(3 + below(95)).to_string()));
    }
    VideoFacts {
        id: id(seed, number),
        title,
        kind,
        company,
        ticker,
        published,
        quarter: is_call.then_some((of_year, quarter)),
        duration_s: 60 + below(120) as u64,
        captions,
        description: format!("Recorded for those who follow {company}."),
        said,
    }
}

/// A title in which the ticker is a word or a part of another's.
fn look_alike(ticker: &str) -> String {
    let word = COMPANIES.iter().find(|(known, ..)| *known == ticker).map_or("", |(.., word)| *word);
    format!("{word}, and other things to know before earnings season")
}

fn id(seed: u64, number: u32) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = beginning(seed, *b"id", number.into());
    let mut letter = || char::from(LETTERS[(fraction(&mut state) * 64.0) as usize]);
    // No id begins like an option.
    std::iter::once('v').chain(std::iter::repeat_with(&mut letter).take(10)).collect()
}
