//! How long a page asks to be left alone, in its own words: "try again in 5 minutes", "10分後に".
//!
//! A time of day, "later" and "tomorrow" are no length, and neither is a number without one of the words before it.

use std::time::Duration;

use super::heard::HeardLine;

/// Units by how their names begin, in seconds; the longer name first where one begins another.
const UNITS: &[(&str, u64)] = &[
    ("second", 1),
    ("sec", 1),
    ("sekund", 1),
    ("segund", 1),
    ("секунд", 1),
    ("minut", 60),
    ("mins", 60),
    ("min", 60),
    ("минут", 60),
    ("dakika", 60),
    ("hour", 3_600),
    ("stund", 3_600),
    ("heure", 3_600),
    ("hora", 3_600),
    ("ora", 3_600),
    ("ore", 3_600),
    ("час", 3_600),
    ("godzin", 3_600),
    ("uur", 3_600),
    ("uren", 3_600),
    ("saat", 3_600),
    ("timm", 3_600),
    ("timer", 3_600),
    ("day", 86_400),
    ("tag", 86_400),
    ("jour", 86_400),
    ("día", 86_400),
    ("dia", 86_400),
    ("giorn", 86_400),
    ("день", 86_400),
    ("дня", 86_400),
    ("дней", 86_400),
    ("dag", 86_400),
    ("dni", 86_400),
];
/// Units of scripts that part no words, after the number.
const UNPARTED_UNITS: &[(&str, u64)] = &[
    ("秒", 1),
    ("분", 60),
    ("分", 60),
    ("時間", 3_600),
    ("小时", 3_600),
    ("小時", 3_600),
    ("시간", 3_600),
    ("초", 1),
    ("天", 86_400),
    ("日", 86_400),
];
/// Words, of which one stands shortly before a wait.
const BEFORE: &[&str] = &[
    "in",
    "wait",
    "for",
    "within",
    "after",
    "another",
    "till",
    "until",
    "dans",
    "en",
    "em",
    "tra",
    "fra",
    "через",
    "za",
    "over",
    "om",
    "etwa",
    "about",
];
/// One, as a word.
const ONE: &[&str] =
    &["a", "an", "one", "einer", "einem", "einen", "eine", "une", "un", "una", "uma", "um", "один", "одну", "een"];
/// Words between [`BEFORE`] and the number at most: "in about 5 minutes".
const APART_MAX: usize = 2;

/// The longest wait that any of the lines names.
pub(super) fn named_in(lines: &[HeardLine]) -> Option<Duration> {
    lines.iter().filter_map(|line| in_line(&line.text)).max()
}

/// The longest wait that a line names.
pub(super) fn in_line(line: &str) -> Option<Duration> {
    let words: Vec<&str> = line.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let parted = (0..words.len()).filter_map(|at| {
        let (seconds, next) = amount(&words, at)?;
        let is_wait = words[at.saturating_sub(APART_MAX + 1)..at].iter().any(|word| BEFORE.contains(word));
        // "1 hour and 30 minutes".
        let next = if words.get(next) == Some(&"and") { next + 1 } else { next };
        let more = amount(&words, next).map_or(0, |(seconds, _)| seconds);
        is_wait.then(|| seconds.saturating_add(more))
    });
    parted.chain(unparted(line)).max().map(Duration::from_secs)
}

/// A number and a unit, and what stands after them.
fn amount(words: &[&str], at: usize) -> Option<(u64, usize)> {
    let number = words.get(at)?;
    let count: u64 = if ONE.contains(number) { 1 } else { number.parse().ok()? };
    let unit = words.get(at + 1)?;
    let (_, seconds) = UNITS.iter().find(|(name, _)| unit.starts_with(name))?;
    Some((count.saturating_mul(*seconds), at + 2))
}

/// Waits such as `10分後`.
fn unparted(line: &str) -> Option<u64> {
    let starts = line.char_indices().filter(|(_, char)| char.is_ascii_digit()).map(|(at, _)| at);
    let starts = starts.filter(|at| !line[..*at].ends_with(|char: char| char.is_ascii_digit()));
    let waits = starts.filter_map(|at| {
        let end = line[at..].find(|char: char| !char.is_ascii_digit())? + at;
        let count: u64 = line[at..end].parse().ok()?;
        let rest = line[end..].trim_start();
        let (unit, seconds) = UNPARTED_UNITS.iter().find(|(name, _)| rest.starts_with(name))?;
        let rest = rest[unit.len()..].trim_start_matches(['钟', '鐘', '間', '간']).trim_start();
        let is_wait = ["後", "后", "以后", "之后", "후", "뒤", "お待ち"].iter().any(|word| rest.starts_with(word));
        is_wait.then(|| count.saturating_mul(*seconds))
    });
    waits.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r01_waits_are_read_in_the_words_that_pages_have_for_them() {
        for (line, seconds) in [
            ("please try again in 5 minutes.", Some(300)),
            ("please wait 24 hours before you open more", Some(86_400)),
            ("you must wait 1 hour 30 minutes till the next", Some(5_400)),
            ("versuchen sie es in einer stunde noch einmal", Some(3_600)),
            ("versuchen sie es bitte in etwa 45 minuten wieder", Some(2_700)),
            ("réessayez dans 10 minutes", Some(600)),
            ("повторите попытку через 15 минут.", Some(900)),
            ("10分後にもう一度", Some(600)),
            ("请在30秒后重试", Some(30)),
            ("a film of 14 minutes", None),
            ("come back tomorrow, from 9 to 12", None),
            ("open topics 20 minutes old", None),
            ("in 99999999999999999999 hours", None),
        ] {
            assert_eq!(in_line(line), seconds.map(Duration::from_secs), "{line}");
        }
    }
}
