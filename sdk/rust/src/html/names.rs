//! Names of elements and attributes: few, and met again and again.

use html5ever::{LocalName, local_name};

/// Places for names that were met; a power of two.
const PLACES: usize = 128;

/// The names met last, so that a name is interned once and then only compared: interning hashes it, which in wasm took
/// more time than reading it.
pub(super) struct Names([LocalName; PLACES]);

impl Default for Names {
    fn default() -> Self {
        Self([const { local_name!("") }; PLACES])
    }
}

impl Names {
    /// The name of that spelling.
    pub(super) fn of(&mut self, name: &[u8]) -> LocalName {
        let known = &mut self.0[place(name)];
        if known.as_bytes() != name {
            *known = str::from_utf8(name).map_or_else(|_| String::from_utf8_lossy(name).into(), LocalName::from);
        }
        known.clone()
    }
}

/// Where a name has its place: the frequent ones have one each (a test counts).
fn place(name: &[u8]) -> usize {
    let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
    (usize::from(first) * 7 + usize::from(last) * 3 + name.len()) % PLACES
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_come_back_as_they_were() {
        let mut names = Names::default();
        for text in ["a", "", "href", "data-something-long", "a", "h1", "h2", "h\u{e9}"] {
            assert_eq!(&*names.of(text.as_bytes()), text);
        }
    }

    #[test]
    fn frequent_names_seldom_share_a_place() {
        let frequent = "a b i p br em li td th tr ul ol h1 h2 h3 h4 dl dt dd div img nav pre span code href class id \
            src alt rel style script link meta title table tbody thead body head html input button form label section \
            article strong summary details svg path width height type name content value target";
        let frequent: Vec<&str> = frequent.split_whitespace().collect();
        let places: BTreeSet<usize> = frequent.iter().map(|name| place(name.as_bytes())).collect();
        assert!(places.len() * 10 >= frequent.len() * 7, "{} places for {} names", places.len(), frequent.len());
    }
}
