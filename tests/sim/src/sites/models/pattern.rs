//! A text that a simple pattern matches: what stands in schemas of tickers, dates and codes.

use std::iter::Peekable;
use std::str::Chars;

/// How often something stands that may stand without end.
const TIMES: usize = 1;

/// A text that matches `pattern`, the first of all choices. Look-around, back-references and classes that only exclude
/// are taken for what they aren't: the text may not match then.
pub(super) fn example(pattern: &str) -> String {
    choice(&mut pattern.chars().peekable())
}

/// The first of the choices up to the group's end, which is taken.
fn choice(rest: &mut Peekable<Chars<'_>>) -> String {
    let (mut made, mut is_first) = (String::new(), true);
    while let Some(char) = rest.next() {
        let piece = match char {
            ')' => break,
            '|' => {
                is_first = false;
                continue;
            }
            '^' | '$' => continue,
            '(' => {
                if rest.next_if_eq(&'?').is_some() {
                    rest.next_if_eq(&':');
                }
                choice(rest)
            }
            '[' => class(rest).to_string(),
            '.' => "x".to_owned(),
            '\\' => escaped(rest.next()).to_string(),
            other => other.to_string(),
        };
        let times = times(rest);
        if is_first {
            made += &piece.repeat(times);
        }
    }
    made
}

fn escaped(char: Option<char>) -> char {
    match char {
        Some('d') => '4',
        Some('w') => 'w',
        Some('s') | None => ' ',
        Some(other) => other,
    }
}

/// The first of a class.
fn class(rest: &mut Peekable<Chars<'_>>) -> char {
    let is_negated = rest.next_if_eq(&'^').is_some();
    let mut first = None;
    while let Some(char) = rest.next() {
        match char {
            ']' if first.is_some() => break,
            '\\' => {
                let char = escaped(rest.next());
                first.get_or_insert(char);
            }
            other => {
                first.get_or_insert(other);
            }
        }
    }
    // Something that hardly any class excludes.
    if is_negated { 'q' } else { first.unwrap_or('q') }
}

/// How often what was read stands.
fn times(rest: &mut Peekable<Chars<'_>>) -> usize {
    let times = match rest.peek() {
        Some('*' | '+') => TIMES,
        Some('?') => 1,
        Some('{') => {
            let bounds: String = rest.by_ref().skip(1).take_while(|char| *char != '}').collect();
            let mut bounds = bounds.split(',').map(|bound| bound.trim().parse::<usize>());
            let least = bounds.next().and_then(Result::ok).unwrap_or(1);
            // None at all is a poor example where there may be one.
            return if least == 0 && !matches!(bounds.next(), Some(Ok(0))) { 1 } else { least };
        }
        _ => return 1,
    };
    rest.next();
    times
}

#[cfg(test)]
mod tests {
    use super::example;

    #[test]
    fn simple_patterns_are_matched() {
        for (pattern, expected) in [
            ("^[A-Z]{1,5}$", "A"),
            ("^\\d{4}-\\d{2}-\\d{2}$", "4444-44-44"),
            ("^(buy|sell)( now)?$", "buy now"),
            ("Q[1-4] 20\\d\\d", "Q1 2044"),
            ("^[^,]+,.*$", "q,x"),
            ("^(?:a|b){2}[]x]$", "aa]"),
        ] {
            assert_eq!(example(pattern), expected, "{pattern}");
        }
    }
}
