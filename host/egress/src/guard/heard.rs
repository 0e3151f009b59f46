//! What is heard in a text: meanings, by line, and where in it they stand. One pass over it for all words.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::{
    markup::Line,
    meanings::{Meaning, words},
    text::{is_unparted, unquoted},
};

/// A set of meanings.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meanings(u64);

impl Meanings {
    fn add(&mut self, meaning: Meaning) {
        self.0 |= 1 << meaning as u8;
    }

    pub(super) fn has(self, meaning: Meaning) -> bool {
        self.0 & (1 << meaning as u8) != 0
    }

    pub(super) fn has_all(self, all: &[Meaning]) -> bool {
        all.iter().all(|meaning| self.has(*meaning))
    }
}

/// A line, and what it says.
#[derive(Debug, Default)]
pub(super) struct HeardLine {
    pub(super) text: String,
    pub(super) heading: bool,
    pub(super) says: Meanings,
    pub(super) begins: Meanings,
    pub(super) is_just: Meanings,
}

/// Lines, and what they say together.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) lines: Vec<HeardLine>,
    pub(super) says: Meanings,
}

/// All words in one automaton.
struct Ears {
    words: AhoCorasick,
    /// By pattern: what it means, and whether it is the beginning of a word alone.
    known: Vec<(Meaning, bool)>,
}

/// Built once. That the words can be built stands in a test: they are constants.
static EARS: LazyLock<Option<Ears>> = LazyLock::new(Ears::new);

impl Ears {
    fn new() -> Option<Self> {
        let words_of = || words().map(|(_, word)| word.trim_end_matches('*'));
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(words_of()).ok()?;
        let known = words().map(|(meaning, word)| (meaning, word.ends_with('*'))).collect();
        Some(Self { words: automaton, known })
    }
}

impl Heard {
    /// Listens to lines, leaving out what is quoted. The title, if any, comes first and counts as a heading.
    pub(super) fn of<'a>(title: &'a str, lines: impl IntoIterator<Item = &'a Line>) -> Self {
        let title = Some(title).filter(|title| !title.is_empty()).map(|title| (title, true));
        let lines = title.into_iter().chain(lines.into_iter().map(|line| (line.text.as_str(), line.heading)));
        let mut heard = Self::default();
        for (text, heading) in lines {
            let line = listen(unquoted(text), heading);
            heard.says.0 |= line.says.0;
            heard.lines.push(line);
        }
        heard
    }

    /// What was shown, as far as anything was: for excerpts.
    pub(super) fn first_line(&self) -> &str {
        self.lines.first().map_or("", |line| &line.text)
    }
}

fn listen(text: String, heading: bool) -> HeardLine {
    let mut line = HeardLine { text, heading, ..HeardLine::default() };
    let Some(ears) = &*EARS else {
        return line;
    };
    for found in ears.words.find_overlapping_iter(&line.text) {
        let (meaning, is_beginning) = ears.known[found.pattern().as_usize()];
        let (before, after) = (&line.text[..found.start()], &line.text[found.end()..]);
        let word = &line.text[found.start()..found.end()];
        let parts = |outside: Option<char>, inside: Option<char>| match (outside, inside) {
            (Some(outside), Some(inside)) => {
                !outside.is_alphanumeric() || is_unparted(inside) || is_unparted(outside) || !inside.is_alphanumeric()
            }
            _ => true,
        };
        let is_word = parts(before.chars().next_back(), word.chars().next())
            && (is_beginning || parts(after.chars().next(), word.chars().next_back()));
        if !is_word {
            continue;
        }
        line.says.add(meaning);
        if is_filler(before) {
            line.begins.add(meaning);
            if !after.contains(char::is_alphanumeric) {
                line.is_just.add(meaning);
            }
        }
    }
    line
}

/// Whether nothing is said before: figures, marks, a word of regret.
fn is_filler(before: &str) -> bool {
    let mut words = before.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty());
    words.all(|word| {
        matches!(word, "error" | "http" | "sorry" | "oops") || word.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(line: &str) -> HeardLine {
        Heard::of("", &[Line { text: line.to_owned(), heading: false }]).lines.remove(0)
    }

    #[test]
    fn words_are_whole_and_stand_where_they_stand() {
        assert!(EARS.is_some());
        let line = heard("403 access denied!");
        assert!(line.begins.has(Meaning::Denied) && line.is_just.has(Meaning::Denied));
        let line = heard("what access denied means");
        assert!(line.says.has(Meaning::Refusing) && !line.begins.has(Meaning::Denied));
        assert!(!heard("the bottom").says.has(Meaning::Robot) && heard("robotics").says.has(Meaning::Robot));
        assert!(heard("短時間に多くのアクセスがあった").says.has_all(&[Meaning::TooMany, Meaning::Requests]));
        assert!(!heard("it says \"access denied\"").says.has(Meaning::Denied), "quoted");
    }
}
