//! A page's signature: what stays of it when it is served again, so that two items that were served
//! one page are seen (S11).
//!
//! A pure function. An exact hash won't do: tokens, dates and counters differ each time that a page is served.

use tollgate_core::Digest;

use super::{charset, markup, text};

/// Letters that a page must show, beside what varies, to have a signature. A shorter page says little but its
/// navigation: "nothing here yet" may well be true of many items. What is wrong with such a page other guards say.
pub const SIGNED_LETTERS_MIN: usize = 200;
/// Letters in a row that no language has, but tokens do.
const WORD_LETTERS_MAX: usize = 24;
/// Of a page's words, one in so many may be a figure: pages of figures are told apart by those, which are left out.
const FIGURES_ONE_IN: usize = 3;

/// The signature of a page of HTML; absent for anything else, for one that shows too little, and for one of figures.
///
/// Two pages have one signature where they show the same words in the same order. Left out are: words with a figure in
/// them (dates, counters, tokens), names of months and days, words of relative times, very long words, and all that
/// isn't shown: hidden fields, scripts, addresses, the title.
#[must_use]
pub fn signature(content_type: &str, body: &[u8]) -> Option<Digest> {
    let content_type = content_type.to_ascii_lowercase();
    if !content_type.contains("html") || body.is_empty() {
        return None;
    }
    let page = charset::decode(body, &content_type);
    if page.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let shown = markup::shown(&page);
    let (kept, figures) = words(&shown);
    let letters: usize = kept.iter().map(|word| text::weight(word)).sum::<usize>() / 2;
    (letters >= SIGNED_LETTERS_MIN && figures * FIGURES_ONE_IN <= kept.len() + figures)
        // The length stands before the text: that of what stays, as the whole has its varying parts in it.
        .then(|| Digest::of(format!("{letters} {}", kept.join(" ")).as_bytes()))
}

/// The words that stay, and how many had a figure in them.
fn words(shown: &str) -> (Vec<&str>, usize) {
    let (mut kept, mut figures) = (Vec::new(), 0);
    for chunk in shown.split_whitespace() {
        if chunk.contains(text::is_unparted) {
            // Words of one sentence, with nothing between them.
            kept.extend(chunk.split(|char: char| !char.is_alphabetic()).filter(|part| !part.is_empty()));
        } else if chunk.contains(char::is_numeric) {
            figures += 1;
        } else {
            let parts = chunk.split(|char: char| !char.is_alphabetic()).filter(|part| !part.is_empty());
            kept.extend(parts.filter(|part| part.chars().count() <= WORD_LETTERS_MAX && !is_time(part)));
        }
    }
    (kept, figures)
}

/// Whether a word belongs to a date or a time. What such a word may mean besides is left out from every page alike.
fn is_time(word: &str) -> bool {
    const NAMES: &[&str] = &[
        // Months: English, German, French, Spanish, as they are written out and cut short.
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "januar",
        "februar",
        "märz",
        "mai",
        "juni",
        "juli",
        "oktober",
        "dezember",
        "janvier",
        "février",
        "mars",
        "avril",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
        // Days.
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "mon",
        "tue",
        "tues",
        "wed",
        "thu",
        "thur",
        "thurs",
        "fri",
        "sat",
        "sun",
        "montag",
        "dienstag",
        "mittwoch",
        "donnerstag",
        "freitag",
        "samstag",
        "sonntag",
        "lundi",
        "mardi",
        "mercredi",
        "jeudi",
        "vendredi",
        "samedi",
        "dimanche",
        "lunes",
        "martes",
        "miércoles",
        "jueves",
        "viernes",
        "sábado",
        "domingo",
        // Clocks, zones, and how long ago.
        "am",
        "pm",
        "utc",
        "gmt",
        "est",
        "edt",
        "pst",
        "pdt",
        "cet",
        "cest",
        "ago",
        "now",
        "just",
        "today",
        "yesterday",
        "second",
        "seconds",
        "minute",
        "minutes",
        "hour",
        "hours",
        "day",
        "days",
        "week",
        "weeks",
        "month",
        "months",
        "year",
        "years",
        "a",
        "an",
        "few",
    ];
    NAMES.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTML: &str = "text/html; charset=utf-8";

    /// A page with a token, a date and a body.
    fn page(token: &str, date: &str, body: &str) -> String {
        format!(
            "<html><head><title>{token}</title><meta name=csrf content={token}></head><body><nav><a \
             href=/?t={token}>Ideas</a> <a href=/about>About us</a></nav><form><input type=hidden name=csrf \
             value={token}></form><article>{body}</article>\
             <p>Served on {date}, request {token}</p><script>var t = '{token}';</script></body></html>"
        )
    }

    fn of(page: &str) -> Option<Digest> {
        signature(HTML, page.as_bytes())
    }

    const TEASER: &str = "<h1>Members only</h1><p>The whole thesis is for members of the club. Sign in to read on, or \
                          apply for a membership: each application is read by two members, who say yes or no within a \
                          few weeks. Guests may read what is older than that, with no word about its author.</p>";
    const IDEA: &str = "<h1>Acme Widgets</h1><p>The company makes widgets for plants that nobody else can serve, and \
                        owns the land below them. Management bought shares again. At nine times its earnings one pays \
                        nothing for the growth of its second line, which has doubled each year since it was begun.</p>";

    #[test]
    fn s11_one_page_served_twice_has_one_signature() {
        let one = of(&page("a8f03c77d1", "Monday, 3 March 2025 at 10:04 am", TEASER));
        let other = of(&page("QmFzZTY0IHRva2VuIQ9", "Tuesday, 14 October 2026 at 9:31 pm", TEASER));
        assert!(one.is_some());
        assert_eq!(one, other);
        let ago = |when: &str| of(&page("x1", &format!("a date: posted {when}, 1,204 views"), TEASER));
        assert_eq!(ago("3 minutes ago"), ago("an hour ago"), "relative times");
        let letters = |token: &str| of(&page(token, "2025-03-03T10:04:00Z", TEASER));
        assert_eq!(letters(&"abcdefgh".repeat(4)), letters(&"hgfedcba".repeat(5)), "a token without figures");
    }

    #[test]
    fn s11_pages_of_two_ideas_differ_however_much_they_share() {
        let one = page("t1", "3 March 2025", IDEA);
        let other = page("t1", "3 March 2025", &IDEA.replace("widgets", "valves"));
        assert_ne!(of(&one), of(&other));
        // Longer than what guards read of prose: a foreword that all share.
        let foreword = format!("<p>{}</p>", "What you read here is no advice to anybody. ".repeat(200));
        let with = |body: &str| of(&page("t1", "3 March 2025", &format!("{foreword}{body}")));
        assert_ne!(with(IDEA), with(&IDEA.replace("widgets", "valves")));
        assert_eq!(with(IDEA), with(IDEA));
        assert_ne!(of(&one), of(&page("t1", "3 March 2025", TEASER)));
    }

    #[test]
    fn s11_what_says_too_little_and_what_is_no_page_of_words_has_none() {
        assert_eq!(of("<p>Nothing here yet.</p>"), None);
        assert_eq!(signature("application/json", page("t", "today", IDEA).as_bytes()), None);
        assert_eq!(signature(HTML, format!("{{\"html\": \"{IDEA}\"}}").as_bytes()), None);
        let row =
            |number: u32| format!("<tr><td>Turnover of the period</td><td>{number}</td><td>{}</td></tr>", number * 7);
        let table: String = (1..60).map(row).collect();
        let words = "<p>All figures are in thousands, as the company gave them, and were looked through by nobody.</p>";
        let figures: String = (1..200).map(|number| format!("<td>{number}.{number}</td>")).collect();
        assert_eq!(of(&format!("<table>{table}{figures}</table>{words}")), None, "told apart by its figures alone");
    }

    #[test]
    fn s11_a_page_in_a_script_without_spaces_has_one_too() {
        let idea = "この会社は他の誰にも作れない部品を作っている。経営陣は自社株を買い増した。".repeat(4);
        let other = idea.replace("部品", "機械");
        let with = |date: &str, body: &str| of(&format!("<article><p>{body}</p><p>{date}に更新</p></article>"));
        assert!(with("2025年3月3日", &idea).is_some());
        assert_eq!(with("2025年3月3日", &idea), with("2026年10月14日", &idea));
        assert_ne!(with("2025年3月3日", &idea), with("2025年3月3日", &other));
    }
}
