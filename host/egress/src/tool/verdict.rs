//! What a run came to: the rules of its entry, over its output first and its stderr next (S08, S16, R11).

use std::time::Duration;

use serde::de::IgnoredAny;
use tollgate_core::{
    spec::{
        ToolSpec,
        tools::{OutputKind, ToolOutcome, ToolRule, fold},
    },
    task::clean_message,
};

use super::scratch::Left;

/// Lines of stderr that stand for a failure which no rule knows.
const LAST_LINES: usize = 5;
/// Warnings kept of one run.
const WARNINGS_MAX: usize = 50;

/// A run, as it is judged. Its texts hold no secret any more.
pub(super) struct Said<'a> {
    pub(super) exit_code: i32,
    pub(super) stdout: &'a [u8],
    pub(super) stderr: &'a str,
    pub(super) left: &'a Left,
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its output can be used.
    Usable {
        /// What it complained of all the same.
        warnings: Vec<String>,
    },
    /// It can't.
    Not(Trouble),
}

/// Why a run gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) outcome: ToolOutcome,
    pub(super) wait: Option<Duration>,
    /// In the tool's words, where it has any.
    pub(super) text: String,
}

/// Judges a run of which `wanted` had to come.
pub(super) fn judge(tool: &ToolSpec, wanted: &[OutputKind], said: &Said<'_>) -> Verdict {
    if let Some(text) = &said.left.too_much {
        return Verdict::Not(Trouble { outcome: ToolOutcome::Failed, wait: None, text: text.clone() });
    }
    let stdout = fold(&String::from_utf8_lossy(said.stdout));
    let stderr = fold(said.stderr);
    let deciding = tool.rules.iter().filter(|rule| rule.outcome != ToolOutcome::Warning);
    let (of_output, others): (Vec<&ToolRule>, Vec<&ToolRule>) = deciding.partition(|rule| !rule.output.is_empty());
    if let Some(rule) = of_output.into_iter().find(|rule| holds(rule, said.exit_code, &stdout, &stderr)) {
        return Verdict::Not(trouble(rule, said));
    }
    let mut missing: Vec<&str> = wanted.iter().filter_map(|kind| what_is_missing(*kind, said)).collect();
    if missing.is_empty() && tool.strict_exit && said.exit_code != 0 {
        missing.push("what it left can't be trusted");
    }
    if missing.is_empty() {
        return Verdict::Usable { warnings: warnings(tool, said) };
    }
    // What it says beside its warnings comes first: a warning may name what was got over.
    let plain = without_warnings(tool, &stderr);
    let find = |stderr: &str| others.iter().find(|rule| holds(rule, said.exit_code, &stdout, stderr));
    match find(&plain).or_else(|| find(&stderr)) {
        Some(rule) => Verdict::Not(trouble(rule, said)),
        None => Verdict::Not(unknown(&missing, said)),
    }
}

fn holds(rule: &ToolRule, exit_code: i32, stdout: &str, stderr: &str) -> bool {
    (rule.output.is_empty() || rule.output.iter().any(|text| text.is_in(stdout)))
        && (rule.stderr.is_empty() || rule.stderr.iter().any(|text| text.is_in(stderr)))
        && rule.exit.is_none_or(|exit| exit == exit_code)
}

/// The lines of a folded stderr that no rule knows as warnings.
fn without_warnings(tool: &ToolSpec, stderr: &str) -> String {
    let warnings = tool.rules.iter().filter(|rule| rule.outcome == ToolOutcome::Warning);
    let texts: Vec<_> = warnings.flat_map(|rule| &rule.stderr).collect();
    let lines = stderr.lines().filter(|line| !texts.iter().any(|text| text.is_in(line)));
    lines.collect::<Vec<_>>().join("\n")
}

/// What is said of a rule that holds: the line that it was found in, or the last ones.
fn trouble(rule: &ToolRule, said: &Said<'_>) -> Trouble {
    let found = |line: &&str| {
        let line = fold(line);
        rule.stderr.iter().any(|text| text.is_in(&line))
    };
    let last = said.stderr.lines().rfind(found);
    let text = match last {
        Some(line) => line.trim().to_owned(),
        None => last_lines(said.stderr).unwrap_or_else(|| format!("exit status {}", said.exit_code)),
    };
    Trouble { outcome: rule.outcome, wait: rule.wait, text: clean_message(&text) }
}

fn unknown(missing: &[&str], said: &Said<'_>) -> Trouble {
    let missing = missing.join(" and ");
    let head = format!("exit status {}, and {missing}", said.exit_code);
    let text = match last_lines(said.stderr) {
        Some(lines) => format!("{head}: {lines}"),
        None => head,
    };
    Trouble { outcome: ToolOutcome::Failed, wait: None, text: clean_message(&text) }
}

/// The last lines that say anything; absent: none does.
fn last_lines(stderr: &str) -> Option<String> {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    (!last.is_empty()).then(|| last.join("\n"))
}

/// Lines that a rule knows, whatever it says of them: the output is there, so they decide nothing. Where the status is
/// not zero and no line is known, the last ones.
fn warnings(tool: &ToolSpec, said: &Said<'_>) -> Vec<String> {
    let known = |line: &&str| {
        let line = fold(line);
        tool.rules.iter().any(|rule| rule.stderr.iter().any(|text| text.is_in(&line)))
    };
    let mut warnings: Vec<String> = said.stderr.lines().map(str::trim).filter(known).map(clean_message).collect();
    if warnings.is_empty() && said.exit_code != 0 {
        warnings.push(match last_lines(said.stderr) {
            Some(lines) => clean_message(&format!("exit status {}: {lines}", said.exit_code)),
            None => format!("exit status {}", said.exit_code),
        });
    }
    warnings.extend(said.left.left_out.iter().cloned());
    if warnings.len() > WARNINGS_MAX {
        let more = warnings.len() - WARNINGS_MAX;
        warnings.truncate(WARNINGS_MAX);
        warnings.push(format!("{more} more"));
    }
    warnings
}

/// What a wanted output lacks; absent: it is there.
fn what_is_missing(kind: OutputKind, said: &Said<'_>) -> Option<&'static str> {
    match kind {
        OutputKind::Text => said.stdout.trim_ascii().is_empty().then_some("no output"),
        OutputKind::Files => said.left.files.is_empty().then_some("no file"),
        OutputKind::Json if said.stdout.trim_ascii().is_empty() => Some("no output"),
        OutputKind::Json => (!is_json(said.stdout)).then_some("no JSON in its output, or nothing in it"),
    }
}

/// Whether it is JSON, one value or several, of which one is not empty.
fn is_json(bytes: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    let (mut begins, mut says_something) = (0, false);
    while let Some(value) = values.next() {
        if value.is_err() {
            return false;
        }
        let ends = values.byte_offset();
        let value: Vec<u8> = bytes[begins..ends].iter().copied().filter(|b| !b.is_ascii_whitespace()).take(6).collect();
        says_something |= !matches!(&*value, b"" | b"null" | b"{}" | b"[]" | b"\"\"");
        begins = ends;
    }
    says_something
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s08_json_that_says_nothing_is_no_output() {
        for empty in ["", " \n", "null\n", "{ }", "[\n]", "\"\"", "null\n{}\n"] {
            assert!(!is_json(empty.as_bytes()), "{empty:?}");
        }
        for broken in ["{\"a\": 1", "[download] 3%\n{\"a\": 1}", "{\"a\": 1}\nERROR"] {
            assert!(!is_json(broken.as_bytes()), "{broken:?}");
        }
        for good in ["{\"a\": 1}", "null\n{\"a\": null}\n", "[0]", "0"] {
            assert!(is_json(good.as_bytes()), "{good:?}");
        }
    }
}
