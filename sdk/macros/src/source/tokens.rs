//! Token streams of sources: without comments, in one form, and what they name.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Keywords after which a parenthesis holds a value, so that its trailing comma makes a tuple of it.
const BEFORE_VALUES: [&str; 9] = ["return", "in", "match", "if", "while", "else", "break", "let", "mut"];

/// The tokens as text, in the form that formatting leaves alone: trailing commas that change nothing are dropped, and
/// so are `#[doc = "…"]`, which is what comments on items become, unless `keep_docs`.
pub(super) fn text(tokens: TokenStream, keep_docs: bool) -> String {
    normal(tokens, keep_docs).to_string()
}

fn normal(tokens: TokenStream, keep_docs: bool) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    for token in tokens {
        let TokenTree::Group(group) = token else {
            kept.push(token);
            continue;
        };
        if !keep_docs && is_attribute(&kept, &group) && first_ident(&group).as_deref() == Some("doc") {
            while matches!(kept.last(), Some(TokenTree::Punct(punct)) if matches!(punct.as_char(), '#' | '!')) {
                kept.pop();
            }
            continue;
        }
        let mut inner: Vec<TokenTree> = normal(group.stream(), keep_docs).into_iter().collect();
        let commas = inner.iter().filter(|token| is_punct(Some(token), ',')).count();
        let may_be_tuple = group.delimiter() == Delimiter::Parenthesis && commas == 1 && !follows_a_name(&kept);
        if is_punct(inner.last(), ',') && !may_be_tuple {
            inner.pop();
        }
        kept.push(TokenTree::Group(Group::new(group.delimiter(), inner.into_iter().collect())));
    }
    kept.into_iter().collect()
}

/// Whether a group after these tokens is a call's or a macro's: `f(…)`, `f::<T>(…)`, `m!(…)`.
fn follows_a_name(before: &[TokenTree]) -> bool {
    match before.last() {
        Some(TokenTree::Ident(ident)) => !BEFORE_VALUES.contains(&ident.to_string().as_str()),
        Some(TokenTree::Punct(punct)) => matches!(punct.as_char(), '>' | '!'),
        _ => false,
    }
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

/// Whether a group after these tokens is `#[…]` or `#![…]`.
fn is_attribute(before: &[TokenTree], group: &Group) -> bool {
    let before = match before {
        [before @ .., last] if is_punct(Some(last), '!') => before,
        before => before,
    };
    group.delimiter() == Delimiter::Bracket && is_punct(before.last(), '#')
}

fn first_ident(group: &Group) -> Option<String> {
    match group.stream().into_iter().next() {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

/// What tokens name.
#[derive(Default)]
pub(super) struct Named {
    /// Names that may mean an item of the crate.
    pub(super) names: BTreeSet<String>,
    /// Arguments of `include_str!` and its kin: the macro, and what stands in its parentheses.
    pub(super) includes: Vec<(String, TokenStream)>,
}

/// Collects what tokens name. `is_local` says whether the first part of a path may lead into the crate: what stands
/// behind a foreign one, as in `llm::extract`, is none of the crate's items.
pub(super) fn named(tokens: TokenStream, is_local: &dyn Fn(&str) -> bool) -> Named {
    let mut named = Named::default();
    walk(tokens, is_local, false, false, &mut named);
    named
}

fn walk(tokens: TokenStream, is_local: &dyn Fn(&str) -> bool, in_macro: bool, in_attribute: bool, named: &mut Named) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (place, token) in tokens.iter().enumerate() {
        let before = &tokens[..place];
        match token {
            TokenTree::Ident(ident) => {
                let is_member = !in_macro && is_member(before);
                if !is_member && !is_behind_foreign(before, is_local) {
                    named.names.insert(plain(&ident.to_string()));
                }
            }
            TokenTree::Group(group) => {
                let called = macro_called(before);
                if let Some(name @ ("include" | "include_str" | "include_bytes")) = called.as_deref() {
                    named.includes.push((name.to_owned(), group.stream()));
                }
                let in_attribute = in_attribute || is_attribute(before, group);
                walk(group.stream(), is_local, in_macro || called.is_some(), in_attribute, named);
            }
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if in_attribute {
                    // `#[serde(default = "ten")]` names a function.
                    named.names.extend(identifiers(&text));
                } else {
                    // `format!("{LIMIT}")` names a constant.
                    let captures = text.split('{').skip(1).filter_map(|rest| rest.split('}').next());
                    named.names.extend(captures.flat_map(identifiers));
                }
            }
            TokenTree::Punct(_) => {}
        }
    }
}

/// The identifier without `r#`.
fn plain(ident: &str) -> String {
    ident.strip_prefix("r#").unwrap_or(ident).to_owned()
}

fn identifiers(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_')).map(ToOwned::to_owned)
}

/// Whether a name after these tokens is a field or a method: `.name`, but not `..NAME`.
fn is_member(before: &[TokenTree]) -> bool {
    match before {
        [.., earlier, last] => is_punct(Some(last), '.') && !is_punct(Some(earlier), '.'),
        _ => false,
    }
}

/// Whether a name after these tokens stands in a path that begins outside of the crate.
fn is_behind_foreign(before: &[TokenTree], is_local: &dyn Fn(&str) -> bool) -> bool {
    let mut rest = before;
    let mut first = None;
    while let [shorter @ .., TokenTree::Ident(ident), one, two] = rest {
        if !is_punct(Some(one), ':') || !is_punct(Some(two), ':') {
            break;
        }
        first = Some(plain(&ident.to_string()));
        rest = shorter;
    }
    // A path that goes on to the left, as `<T as Trait>::name` does, isn't known.
    let goes_on = matches!(rest, [.., one, two] if is_punct(Some(one), ':') && is_punct(Some(two), ':'));
    !goes_on && first.is_some_and(|first| !is_local(&first))
}

/// The macro whose parentheses a group after these tokens is.
fn macro_called(before: &[TokenTree]) -> Option<String> {
    match before {
        [.., TokenTree::Ident(ident), bang] if is_punct(Some(bang), '!') => Some(ident.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(source: &str) -> String {
        text(source.parse().unwrap(), false)
    }

    fn names(source: &str) -> Vec<String> {
        named(source.parse().unwrap(), &|first| first == "crate" || first == "here").names.into_iter().collect()
    }

    #[test]
    fn trap28_what_formatting_does_leaves_the_text() {
        assert_eq!(text_of("f(a, b)"), text_of("f(\n    a,\n    b,\n)"));
        assert_eq!(text_of("f(a)"), text_of("f(\n    a,\n)"));
        assert_eq!(text_of("[1, 2]"), text_of("[1, 2,]"));
        assert_eq!(text_of("struct A { b: u8 }"), text_of("/// Why.\nstruct A {\n  // So.\n  b: u8,\n}"));
        assert_ne!(text_of("return (a)"), text_of("return (a,)"), "a tuple of one");
        assert_ne!(text_of("a & &b"), text_of("a && b"));
    }

    #[test]
    fn names_stand_in_code_attributes_and_format_strings() {
        assert_eq!(names("x.extract(LIMIT)"), ["LIMIT", "x"]);
        assert_eq!(names("0..LIMIT"), ["LIMIT"]);
        assert_eq!(names("#[serde(default = \"here::ten\")]"), ["default", "here", "serde", "ten"]);
        assert_eq!(names("f!(\"{LIMIT:>WIDTH$} text\")"), ["LIMIT", "WIDTH", "f"]);
        assert_eq!(names("f(\"text\")"), ["f"]);
    }

    #[test]
    fn what_stands_behind_a_foreign_name_is_none_of_ours() {
        assert_eq!(names("llm::extract()"), ["llm"]);
        assert_eq!(
            names("::std::fmt::extract()"),
            Vec::<String>::new().into_iter().chain(["extract", "fmt", "std"].map(Into::into)).collect::<Vec<_>>()
        );
        assert_eq!(names("here::extract()"), ["extract", "here"]);
        assert_eq!(names("crate::a::extract()"), ["a", "crate", "extract"]);
        assert_eq!(names("<T as U>::extract()"), ["T", "U", "as", "extract"]);
    }
}
