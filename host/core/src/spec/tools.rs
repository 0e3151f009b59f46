//! `[tool.NAME]`: a program that the host runs for handlers, what they may ask of it, and how its word is taken.

use std::time::Duration;

use super::{Place, Secret};

/// Wall-clock time of one run where jobs.toml names none, all its profiles together.
pub const TOOL_TIMEOUT_DEFAULT: Duration = Duration::from_mins(2);
/// Bytes of stdout, and of the files left, where jobs.toml names none.
pub const TOOL_OUTPUT_DEFAULT: u64 = 20 << 20;
/// Name of the profile of a tool that declares none.
pub const PROFILE_DEFAULT: &str = "default";
/// Longest argument of a handler, in bytes.
const ARG_BYTES_MAX: usize = 4 << 10;
/// Longest name of a file in the scratch folder, in bytes.
const FILE_NAME_BYTES_MAX: usize = 128;

/// `[tool.NAME]`, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// A program's name, looked up on the host's `PATH`, or a path relative to the folder of jobs.toml.
    pub command: String,
    /// Arguments of every run: the one place for them (R04).
    pub args: Vec<String>,
    /// What a handler may add to them; nothing else.
    pub accepts: Vec<ArgForm>,
    /// All of its environment beside the proxy, `HOME` and `TMPDIR`.
    pub env: Vec<(String, Secret)>,
    /// How it reaches the network; absent: it must not, and is given no address.
    pub network: Option<ToolNetwork>,
    /// What it must give, where the handler's arguments don't say otherwise.
    pub output: OutputKind,
    /// An output counts at exit status 0 alone: what the program leaves when it fails looks whole.
    pub strict_exit: bool,
    /// Names of files that a run which broke off leaves: they count for nothing. `*` stands for anything.
    pub unfinished: Vec<String>,
    /// Arguments to try in turn, at least one.
    pub profiles: Vec<ToolProfile>,
    /// What sends a run on to the next profile.
    pub try_next_on: Vec<ToolOutcome>,
    /// How its word is taken, the first that fits deciding.
    pub rules: Vec<ToolRule>,
    /// Wall-clock time of one run, all its profiles together.
    pub timeout: Duration,
    /// Bytes of stdout, and of the files left together; more is a failure.
    pub output_max: u64,
    /// How a person installs it, for when it is missing.
    pub install: Option<String>,
    /// Where it stands.
    pub at: Place,
}

/// How a tool that reaches the network takes its address and its proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolNetwork {
    /// Variables that hold the proxy's address: only the same user can read them.
    pub proxy_env: Vec<String>,
    /// Arguments with `{proxy}` in one of them: everyone on the machine can read those.
    pub proxy_args: Vec<String>,
    /// Variables that hold the path of the proxy's certificates, where it has some.
    pub ca_env: Vec<String>,
    /// The last arguments, with `{url}` in one of them.
    pub url_args: Vec<String>,
    /// Arguments with `{cookies}` in one of them, the path of a file with the cookies of the site's session. Empty: a
    /// run for a site with a session goes without it. Absent: there is no such run.
    pub cookies_args: Option<Vec<String>>,
}

/// Arguments to try a run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolProfile {
    /// Its name, recorded with what it gave.
    pub name: String,
    /// Its arguments, after the fixed ones.
    pub args: Vec<String>,
}

/// What a usable output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OutputKind {
    /// Each line of stdout that isn't blank, or stdout as a whole, is JSON; not all of it is empty.
    Json,
    /// Stdout isn't blank.
    Text,
    /// At least one new file with something in it.
    Files,
}

impl OutputKind {
    /// All of them, by their words.
    pub const ALL: [(&'static str, Self); 3] = [("json", Self::Json), ("text", Self::Text), ("files", Self::Files)];
}

/// What a rule says of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ToolOutcome {
    /// The site refuses us: it is left alone, whichever job asks.
    Blocked,
    /// The site wants a session.
    LoginRequired,
    /// The site asks us to slow down: it is left alone, whichever job asks.
    RateLimited,
    /// One address failed to answer; the proxy is asked whether it is its fault.
    Connection,
    /// Not yet: this address alone is tried again later, and no attempt is used.
    Later,
    /// It will never be there.
    Permanent,
    /// Anything else.
    Failed,
    /// Its lines are warnings. They decide nothing where another line does.
    Warning,
}

impl ToolOutcome {
    /// All of them, by their words.
    pub const ALL: [(&'static str, Self); 8] = [
        ("blocked", Self::Blocked),
        ("login-required", Self::LoginRequired),
        ("rate-limited", Self::RateLimited),
        ("connection", Self::Connection),
        ("later", Self::Later),
        ("permanent", Self::Permanent),
        ("failed", Self::Failed),
        ("warning", Self::Warning),
    ];

    /// Whether `for` says something of it.
    #[must_use]
    pub fn has_wait(self) -> bool {
        matches!(self, Self::Blocked | Self::RateLimited | Self::Later)
    }

    /// Whether its site is left alone for it.
    #[must_use]
    pub fn cools_the_site(self) -> bool {
        matches!(self, Self::Blocked | Self::RateLimited)
    }

    /// Whether it is about a site, or the way to one.
    #[must_use]
    pub fn is_about_a_site(self) -> bool {
        matches!(self, Self::Blocked | Self::LoginRequired | Self::RateLimited | Self::Connection)
    }
}

/// One rule. What it names must all be so: one of `output` in stdout, one of `stderr` there, the exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRule {
    /// Texts in stdout. A rule that has some is looked at first, whatever else the output is.
    pub output: Vec<Pattern>,
    /// Texts in stderr. Without an output that can be used, they say what went wrong.
    pub stderr: Vec<Pattern>,
    /// The exit status.
    pub exit: Option<i32>,
    /// What it says.
    pub outcome: ToolOutcome,
    /// For how long.
    pub wait: Option<Duration>,
}

/// A text to look for: capitals and the kind of apostrophe make no difference, since the same message comes both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Takes the text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(fold(text))
    }

    /// Whether it stands in a text that [`fold`] gave.
    #[must_use]
    pub fn is_in(&self, folded: &str) -> bool {
        folded.contains(&self.0)
    }
}

/// A text as patterns are looked for in it.
#[must_use]
pub fn fold(text: &str) -> String {
    text.replace(['\u{2019}', '\u{2018}'], "'").to_lowercase()
}

/// Arguments that a handler may pass, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgForm {
    /// As written: words apart by blanks.
    pub parts: Vec<ArgPart>,
    /// What must come of it, in place of the entry's `output`.
    pub output: Option<OutputKind>,
}

/// One argument of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgPart {
    /// This word.
    Word(String),
    /// `{file}`: the name of a file in the scratch folder.
    File,
    /// `{number}`: digits, points and colons, as in `12`, `0.5`, `00:01:30`.
    Number,
    /// `{text}`: anything that can't be an option or an address.
    Text,
}

impl ArgPart {
    /// Placeholders, as they are written.
    pub const PLACEHOLDERS: [(&'static str, Self); 3] =
        [("{file}", Self::File), ("{number}", Self::Number), ("{text}", Self::Text)];

    fn takes(&self, arg: &str) -> bool {
        match self {
            Self::Word(word) => word == arg,
            Self::File => is_plain_name(arg),
            Self::Number => {
                arg.starts_with(|c: char| c.is_ascii_digit())
                    && arg.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
            }
            Self::Text => {
                !arg.is_empty() && !arg.starts_with('-') && !arg.contains("://") && !arg.contains(char::is_control)
            }
        }
    }
}

impl ToolSpec {
    /// Whether a handler may pass these arguments, and what must come of them. Forms are tried in their order.
    ///
    /// # Errors
    /// The first argument that no form takes.
    pub fn accept<'a>(&self, args: &'a [String]) -> Result<Vec<OutputKind>, &'a str> {
        let mut wanted = Vec::new();
        let mut rest = args;
        while let Some(first) = rest.first() {
            let fits = |form: &&ArgForm| {
                rest.len() >= form.parts.len()
                    && form.parts.iter().zip(rest).all(|(part, arg)| arg.len() <= ARG_BYTES_MAX && part.takes(arg))
            };
            let form = self.accepts.iter().find(fits).ok_or(first.as_str())?;
            wanted.extend(form.output);
            rest = &rest[form.parts.len()..];
        }
        if wanted.is_empty() {
            wanted.push(self.output);
        }
        wanted.sort_unstable();
        wanted.dedup();
        Ok(wanted)
    }

    /// Whether a file of that name is what a run that broke off leaves.
    #[must_use]
    pub fn is_unfinished(&self, name: &str) -> bool {
        self.unfinished.iter().any(|pattern| fits(pattern, name))
    }
}

/// Whether a name fits a pattern in which `*` stands for anything.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let Some((front, behind)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut rest) = name.strip_prefix(front) else {
        return false;
    };
    let mut parts = behind.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

/// Whether a name stands for a file of the scratch folder and for nothing else, whoever reads it: no path, no option,
/// no hidden file, no protocol as `concat:` is to ffmpeg.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= FILE_NAME_BYTES_MAX
        && !name.starts_with(['-', '.', ' '])
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | ':' | '|' | '*' | '?' | '%' | '"' | '\''))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_read_as_more_are_no_plain_names() {
        for plain in ["audio.m4a", "a b.txt", "Überblick.vtt", "page"] {
            assert!(is_plain_name(plain), "{plain}");
        }
        for bad in
            ["", "-i", ".hidden", "..", "../x", "/etc/passwd", "a/b", "a\\b", "concat:a", "http://a", "a\nb", "%03d"]
        {
            assert!(!is_plain_name(bad), "{bad}");
        }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, wanted) in [
            ("*.part", "media.mp4.part", true),
            ("*.part", "media.part.mp4", false),
            ("*.part-Frag*", "media.mp4.part-Frag12", true),
            ("media.*.temp", "media.mp4.temp", true),
            ("media.temp", "media.temp", true),
            ("a*a", "a", false),
            ("*b*c*", "abc", true),
            ("*c*b*", "abc", false),
        ] {
            assert_eq!(fits(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn r03_both_apostrophes_are_one() {
        assert!(Pattern::new("you're NOT a bot").is_in(&fold("Sign in to confirm you\u{2019}re not a bot.")));
    }
}
