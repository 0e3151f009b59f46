//! Companies in titles: whether a title is that of a company's own earnings call, and of which company's.
//!
//! A title is one where it names exactly one company and says "earnings", and is no commentary. By what a company may
//! be named:
//!
//! | in the title | for the symbol AA, Arlen Alloys | |
//! |---|---|---|
//! | `$SYM` | `$AA`, `$aa`; not `$AAL`, not `US$AA` | always |
//! | the name | `Arlen Alloys' Q3`; not `Arlen Alloyset` | with [`Titles::by_name`] |
//! | the bare symbol | never: it has three letters or fewer. Of MRDN: `MRDN`, not `mrdn`, not `MRDNX` | with [`Titles::by_symbol`] |
//!
//! Commentary is what says one of [`COMMENTARY`], or what [`Titles::reject`] adds, outside of the company's name. Two
//! companies, or a `$SYM` of one that isn't known beside one that is, are a round-up.
//!
//! ```
//! use tollgate_sdk::tickers::{Company, Titles};
//!
//! let companies = [Company::new("AA", "Arlen Alloys Inc.")];
//! let titles = Titles::of(&companies).by_name();
//! assert_eq!(titles.call_of("Arlen Alloys Q3 2025 Earnings Call").unwrap().symbol, "AA");
//! assert_eq!(titles.call_of("$AA earnings SHOCK!").unwrap_err().to_string(), "commentary: \"shock\"");
//! ```

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quarters::FiscalYear;

/// Words of titles that talk about a call and are none. Their forms count too: `shocking`, `reactions`, `squeezed`.
pub const COMMENTARY: [&str; 6] = ["shock", "breakdown", "reaction", "crash", "moon", "squeeze"];

/// Letters of a symbol from which on it can stand bare: shorter ones are English words (LOW, CAT, GE).
const BARE_LETTERS: usize = 4;
/// Letters of the longest symbol, without what stands behind a point.
const SYMBOL_LETTERS: usize = 6;
/// Letters of a share's class: the B of `$BRK.B`.
const CLASS_LETTERS: usize = 2;
/// What may follow a name and is left out where it is looked for.
const LEGAL_SUFFIXES: [&str; 20] = [
    "ab",
    "ag",
    "asa",
    "co",
    "company",
    "corp",
    "corporation",
    "gmbh",
    "inc",
    "incorporated",
    "limited",
    "llc",
    "ltd",
    "nv",
    "oyj",
    "plc",
    "sa",
    "se",
    "spa",
    "the",
];

/// A company, as params of jobs.toml name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Company {
    /// Its symbol, without `$`.
    pub symbol: String,
    /// Its name; what follows it for the law (Inc., plc) may be left out.
    pub name: String,
    /// Other names and, with `$`, other symbols of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The month in which its fiscal year ends: [`quarters`](crate::quarters) says what follows from it.
    #[serde(default = "december")]
    #[schemars(range(min = 1, max = 12))]
    pub fiscal_year_end: u8,
    /// Whether that year is named by the one in which it begins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fiscal_year_named_by_beginning: bool,
}

fn december() -> u8 {
    12
}

impl Company {
    /// A company whose fiscal year is the calendar's.
    pub fn new(symbol: &str, name: &str) -> Self {
        Self {
            symbol: symbol.to_owned(),
            name: name.to_owned(),
            also: Vec::new(),
            fiscal_year_end: december(),
            fiscal_year_named_by_beginning: false,
        }
    }

    /// Its fiscal year; none where the month in which it ends is no month.
    #[must_use]
    pub fn fiscal_year(&self) -> Option<FiscalYear> {
        let year = FiscalYear::ending_in(self.fiscal_year_end)?;
        Some(if self.fiscal_year_named_by_beginning { year.named_by_beginning() } else { year })
    }
}

/// Why a title is none of a company's own call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCall {
    /// It doesn't say "earnings".
    NoEarnings,
    /// It names none of the companies.
    NoCompany,
    /// It talks about a call, by this word.
    Commentary(String),
    /// It names several: their symbols.
    RoundUp(Vec<String>),
}

impl fmt::Display for NoCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEarnings => f.write_str("no word of earnings"),
            Self::NoCompany => f.write_str("none of the companies"),
            Self::Commentary(word) => write!(f, "commentary: {word:?}"),
            Self::RoundUp(symbols) => write!(f, "a round-up of {}", symbols.join(", ")),
        }
    }
}

impl std::error::Error for NoCall {}

/// Which titles are those of calls.
#[derive(Debug, Clone)]
pub struct Titles<'a> {
    known: Vec<Known<'a>>,
    is_by_name: bool,
    is_by_symbol: bool,
    /// Phrases, as words in lower case.
    rejected: Vec<Vec<String>>,
}

/// A company with its symbols and names as they are looked for.
#[derive(Debug, Clone)]
struct Known<'a> {
    company: &'a Company,
    symbols: Vec<String>,
    names: Vec<Vec<String>>,
}

/// A stretch of a title's words that names a company.
struct Named {
    of: usize,
    from: usize,
    to: usize,
}

impl<'a> Titles<'a> {
    /// Calls of these companies, named by `$SYM` alone.
    #[must_use]
    pub fn of(companies: &'a [Company]) -> Self {
        let known = companies.iter().map(|company| {
            let (symbols, names): (Vec<&str>, Vec<&str>) =
                company.also.iter().map(String::as_str).partition(|also| also.starts_with('$'));
            let symbols = symbols.iter().map(|symbol| &symbol[1..]).chain([company.symbol.as_str()]);
            let names = names.into_iter().chain([company.name.as_str()]).map(name_words);
            Known {
                company,
                symbols: symbols.map(normal_symbol).collect(),
                names: names.filter(|name| !name.is_empty()).collect(),
            }
        });
        let rejected = COMMENTARY.iter().map(|word| vec![(*word).to_owned()]).collect();
        Self { known: known.collect(), is_by_name: false, is_by_symbol: false, rejected }
    }

    /// Lets a company's name stand for its `$SYM`.
    #[must_use]
    pub fn by_name(mut self) -> Self {
        self.is_by_name = true;
        self
    }

    /// Lets a bare symbol of four letters or more, in capitals, stand for `$SYM`.
    #[must_use]
    pub fn by_symbol(mut self) -> Self {
        self.is_by_symbol = true;
        self
    }

    /// Rejects titles with these words or phrases too.
    #[must_use]
    pub fn reject(mut self, phrases: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let phrases = phrases.into_iter().map(|phrase| lower_words(phrase.as_ref()));
        self.rejected.extend(phrases.filter(|phrase| !phrase.is_empty()));
        self
    }

    /// The company whose own call this is the title of.
    ///
    /// # Errors
    /// It is none: says why.
    pub fn call_of(&self, title: &str) -> Result<&'a Company, NoCall> {
        let words = lower_words(title);
        if !words.iter().any(|word| word == "earnings") {
            return Err(NoCall::NoEarnings);
        }
        let names = self.names_in(&words);
        let mut subjects: Vec<Subject> = cash_tags(title).into_iter().map(|symbol| self.subject(symbol)).collect();
        if self.is_by_name {
            subjects.extend(names.iter().map(|named| Subject::Known(named.of)));
        }
        if self.is_by_symbol {
            let bare =
                split_words(title).filter(|word| word.len() >= BARE_LETTERS).map(|word| self.subject(word.to_owned()));
            subjects.extend(bare.filter(|subject| matches!(subject, Subject::Known(_))));
        }
        subjects.sort_unstable();
        subjects.dedup();
        let of = match subjects.as_slice() {
            [Subject::Known(of)] => *of,
            [] | [Subject::Unknown(_)] => return Err(NoCall::NoCompany),
            several => return Err(NoCall::RoundUp(several.iter().map(|subject| self.symbol(subject)).collect())),
        };
        // A company may be called by such a word itself.
        let is_of_name = |at: usize| names.iter().any(|named| named.of == of && (named.from..named.to).contains(&at));
        let is_said = |phrase: &[String]| {
            words.windows(phrase.len()).enumerate().any(|(at, there)| {
                !is_of_name(at) && phrase.iter().zip(there).all(|(phrase, word)| is_form_of(word, phrase))
            })
        };
        match self.rejected.iter().find(|phrase| is_said(phrase)) {
            Some(phrase) => Err(NoCall::Commentary(phrase.join(" "))),
            None => Ok(self.known[of].company),
        }
    }

    fn subject(&self, symbol: String) -> Subject {
        let of = self.known.iter().position(|known| known.symbols.contains(&symbol));
        of.map_or(Subject::Unknown(symbol), Subject::Known)
    }

    fn symbol(&self, subject: &Subject) -> String {
        match subject {
            Subject::Known(of) => self.known[*of].company.symbol.clone(),
            Subject::Unknown(symbol) => symbol.clone(),
        }
    }

    /// The companies that are named; one whose name is a part of another's that is there isn't.
    fn names_in(&self, words: &[String]) -> Vec<Named> {
        let mut all: Vec<Named> = Vec::new();
        for (of, known) in self.known.iter().enumerate() {
            for name in &known.names {
                let found = words.windows(name.len()).enumerate().filter(|(_, there)| there == name);
                all.extend(found.map(|(from, _)| Named { of, from, to: from + name.len() }));
            }
        }
        let is_within = |one: &Named, other: &Named| {
            one.from >= other.from && one.to <= other.to && one.to - one.from < other.to - other.from
        };
        let outer = |one: &Named| !all.iter().any(|other| is_within(one, other));
        let kept: Vec<bool> = all.iter().map(outer).collect();
        all.into_iter().zip(kept).filter_map(|(named, is_kept)| is_kept.then_some(named)).collect()
    }
}

/// What a title is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// A company of the list, by its place.
    Known(usize),
    /// A symbol that isn't in the list.
    Unknown(String),
}

/// The words of a text; what joins them is left out.
fn split_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn lower_words(text: &str) -> Vec<String> {
    split_words(text).map(str::to_lowercase).collect()
}

/// The words of a company's name, without what follows it for the law.
fn name_words(name: &str) -> Vec<String> {
    let mut words = lower_words(name);
    while words.len() > 1 && words.last().is_some_and(|last| LEGAL_SUFFIXES.contains(&last.as_str())) {
        words.pop();
    }
    words
}

/// As symbols are compared: in capitals, a share's class behind a point.
fn normal_symbol(symbol: &str) -> String {
    symbol.to_ascii_uppercase().replace('-', ".")
}

/// The symbols behind a `$`, whole ones only: `$AAL` is no AA.
fn cash_tags(title: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let tags = title.match_indices('$').filter_map(|(at, _)| {
        if title[..at].chars().next_back().is_some_and(is_word) {
            return None;
        }
        let rest = &title[at + 1..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (symbol, behind) = rest.split_at(end);
        let has_letter_first = symbol.starts_with(|c: char| c.is_ascii_alphabetic());
        if !has_letter_first || symbol.len() > SYMBOL_LETTERS || !symbol.chars().all(|c| c.is_ascii_alphanumeric()) {
            return None;
        }
        let class = behind.strip_prefix(['.', '-']).map(|behind| {
            let end = behind.find(|c| !is_word(c)).unwrap_or(behind.len());
            &behind[..end]
        });
        // In capitals: "$AA-up" says no class.
        let is_class =
            |class: &&str| (1..=CLASS_LETTERS).contains(&class.len()) && class.bytes().all(|b| b.is_ascii_uppercase());
        Some(match class.filter(is_class) {
            Some(class) => normal_symbol(&format!("{symbol}.{class}")),
            None => normal_symbol(symbol),
        })
    });
    tags.collect()
}

/// Whether a word is another or a form of it: `crashes` and `squeezing` are, `moonlight` isn't of `moon`.
fn is_form_of(word: &str, of: &str) -> bool {
    let ends = |stem: &str, endings: &[&str]| word.strip_prefix(stem).is_some_and(|ending| endings.contains(&ending));
    ends(of, &["", "s", "es", "d", "ed", "er", "ers", "ing"])
        || of.strip_suffix('e').is_some_and(|stem| ends(stem, &["ing"]))
}

#[cfg(test)]
mod tests;
