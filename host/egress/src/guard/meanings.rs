//! What words mean to guards. The words themselves stand in `words.txt`.

/// The words, by meaning and language.
const WORDS: &str = include_str!("words.txt");

/// What a word may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Meaning {
    /// Speaks to the visitor.
    You,
    /// Robots, and what tells them from people.
    Robot,
    /// Asks for a proof, or looks at the visitor.
    Prove,
    /// A check of the visitor, in a whole phrase.
    Challenge,
    /// Took the visitor for a robot or an attack.
    Suspect,
    /// A refusal of the visitor, as the whole of a line. "Forbidden" by itself says no more than its status,
    /// and that of one address.
    Denied,
    /// A word of refusal.
    Refusing,
    /// Something that a refusal is reported by.
    Reference,
    /// Asks to switch something on or off.
    SwitchOn,
    /// What a browser has to have for a check.
    BrowserPart,
    /// The visitor's country, or one that isn't served.
    Country,
    /// Something that is had, or isn't.
    Available,
    /// That the visitor can't have it.
    Shut,
    /// A VPN or proxy of the visitor's.
    Vpn,
    /// Too many.
    TooMany,
    /// What there can be too many of.
    Requests,
    /// To wait, to try again.
    Again,
    /// A limit, and that it was reached.
    Limit,
    /// A place in a queue.
    Queue,
    /// Work on the site.
    Maintenance,
    /// What is worked on: the site itself.
    SiteItself,
    /// More is asked of the site than it can do.
    Overload,
    /// The visitor's own request, as the subject of a heading.
    YourRequest,
    /// To sign in or sign up.
    SignIn,
    /// What one signs in for.
    ToSee,
    /// A session that is over, or never was.
    SessionOver,
    /// For members or subscribers alone.
    MembersOnly,
    /// The part of a text that is free, or isn't.
    FreePart,
    /// Where one signs in: parts of addresses and of fields.
    SignInPlace,
    /// Where one is sent who asks too often.
    LimitPlace,
    /// How a line begins that is about the page itself.
    ThisOne,
    /// A page, or what one is about.
    Thing,
    /// That it isn't there.
    Missing,
    /// A page that isn't there, in a whole phrase.
    PageMissing,
    /// A domain that is for sale.
    Parked,
    /// What comes before the page.
    BeforeYou,
    /// Cookies, partners, consent.
    Consent,
    /// To pay, or to accept advertising.
    PayOrAccept,
    /// The visitor's age.
    Age,
    /// A browser that is too old.
    OldBrowser,
    /// A page that is on its way.
    Loading,
    /// A proxy's own trouble.
    ProxyTrouble,
}

impl Meaning {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "you" => Self::You,
            "robot" => Self::Robot,
            "prove" => Self::Prove,
            "challenge" => Self::Challenge,
            "suspect" => Self::Suspect,
            "denied" => Self::Denied,
            "refusing" => Self::Refusing,
            "reference" => Self::Reference,
            "switch-on" => Self::SwitchOn,
            "browser-part" => Self::BrowserPart,
            "country" => Self::Country,
            "available" => Self::Available,
            "shut" => Self::Shut,
            "vpn" => Self::Vpn,
            "too-many" => Self::TooMany,
            "requests" => Self::Requests,
            "again" => Self::Again,
            "limit" => Self::Limit,
            "queue" => Self::Queue,
            "maintenance" => Self::Maintenance,
            "site-itself" => Self::SiteItself,
            "overload" => Self::Overload,
            "your-request" => Self::YourRequest,
            "sign-in" => Self::SignIn,
            "to-see" => Self::ToSee,
            "session-over" => Self::SessionOver,
            "members-only" => Self::MembersOnly,
            "free-part" => Self::FreePart,
            "sign-in-place" => Self::SignInPlace,
            "limit-place" => Self::LimitPlace,
            "this-one" => Self::ThisOne,
            "thing" => Self::Thing,
            "missing" => Self::Missing,
            "page-missing" => Self::PageMissing,
            "parked" => Self::Parked,
            "before-you" => Self::BeforeYou,
            "consent" => Self::Consent,
            "pay-or-accept" => Self::PayOrAccept,
            "age" => Self::Age,
            "old-browser" => Self::OldBrowser,
            "loading" => Self::Loading,
            "proxy-trouble" => Self::ProxyTrouble,
            _ => return None,
        })
    }
}

/// All words with what they mean, in the file's order. What stands under no known meaning is left out: a test sees to
/// it that there is no such thing.
pub(super) fn words() -> impl Iterator<Item = (Meaning, &'static str)> {
    let mut meaning = None;
    WORDS.lines().filter(|line| !line.starts_with('#')).flat_map(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            meaning = Meaning::from_name(name);
        }
        let words = line.split_once(": ").map_or("", |(_, words)| words);
        let under = meaning;
        words.split(", ").filter(|word| !word.is_empty()).filter_map(move |word| Some((under?, word)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::text::normalised;

    #[test]
    fn every_word_stands_under_a_meaning_as_it_is_compared() {
        let sections =
            WORDS.lines().filter_map(|line| line.strip_prefix('[')).filter_map(|line| line.strip_suffix(']'));
        let sections: Vec<&str> = sections.collect();
        assert!(sections.len() <= 64, "a set of meanings has 64 places");
        for section in &sections {
            let meaning = Meaning::from_name(section).unwrap_or_else(|| panic!("{section}"));
            assert!(words().any(|(known, _)| known == meaning), "{section} has no words");
        }
        assert!(words().count() > 500);
        for (meaning, word) in words() {
            assert_eq!(word, normalised(word), "{meaning:?}");
        }
    }
}
