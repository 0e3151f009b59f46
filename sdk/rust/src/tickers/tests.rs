//! Titles of calls and of what is none.

use super::*;

fn companies() -> Vec<Company> {
    let of = [
        ("AA", "Arlen Alloys"),
        ("AAL", "Aalbury Airways"),
        ("T", "Telmark Networks"),
        ("TXN", "Texelnor Instruments"),
        ("LOW", "Lowther Homes"),
        ("CAT", "Catterick Machines, Inc."),
        ("GE", "Gelder Energy"),
        ("MRDN", "Marden Optics plc"),
        ("MOON", "Moon Crash Repairs"),
        ("BRK.B", "Brock"),
    ];
    of.iter().map(|(symbol, name)| Company::new(symbol, name)).collect()
}

fn of(title: &str) -> Result<String, NoCall> {
    let companies = companies();
    let titles = Titles::of(&companies).by_name().by_symbol();
    titles.call_of(title).map(|company| company.symbol.clone())
}

#[test]
fn q01_a_title_names_one_company_and_says_earnings() {
    assert_eq!(of("Marden Optics ($MRDN) Q3 2025 Earnings Call"), Ok("MRDN".to_owned()));
    assert_eq!(of("$MRDN earnings call"), Ok("MRDN".to_owned()));
    assert_eq!(of("$MRDN Q3 2025 conference call"), Err(NoCall::NoEarnings));
    assert_eq!(of("Somebody's earnings call"), Err(NoCall::NoCompany));
    let companies = companies();
    let strict = Titles::of(&companies);
    assert_eq!(strict.call_of("Marden Optics earnings call"), Err(NoCall::NoCompany), "names are a choice");
    assert_eq!(strict.call_of("MRDN earnings call"), Err(NoCall::NoCompany), "bare symbols are a choice");
}

#[test]
fn q01_commentary_is_rejected_in_each_of_its_forms() {
    for (title, word) in [
        ("$MRDN Earnings SHOCK! What nobody tells you", "shock"),
        ("$MRDN earnings: shocking", "shock"),
        ("Marden Optics earnings breakdown", "breakdown"),
        ("Marden Optics earnings: my live reaction", "reaction"),
        ("Marden Optics earnings reactions", "reaction"),
        ("$MRDN crashes after earnings", "crash"),
        ("$MRDN to the moon after earnings?", "moon"),
        ("$MRDN earnings, the short squeeze", "squeeze"),
        ("$MRDN earnings are squeezing them all", "squeeze"),
    ] {
        assert_eq!(of(title), Err(NoCall::Commentary(word.to_owned())), "{title}");
    }
    assert_eq!(of("$MRDN Earnings Call, by moonlight"), Ok("MRDN".to_owned()));
    assert_eq!(of("Moon Crash Repairs Q1 2025 Earnings Call"), Ok("MOON".to_owned()), "a name of such words");
}

#[test]
fn q01_a_round_up_is_of_nobody() {
    let several = |symbols: &[&str]| Err(NoCall::RoundUp(symbols.iter().map(|s| (*s).to_owned()).collect()));
    assert_eq!(of("$T, $GE and $NWLL earnings this week"), several(&["T", "GE", "NWLL"]));
    assert_eq!(of("Marden Optics and Gelder Energy earnings calls"), several(&["GE", "MRDN"]));
    assert_eq!(of("$MRDN, $NWLL earnings"), several(&["MRDN", "NWLL"]), "one that isn't known counts");
    assert_eq!(of("$MRDN (Marden Optics, MRDN) earnings call"), Ok("MRDN".to_owned()), "the same one three times");
}

#[test]
fn q01_more_phrases_can_be_rejected() {
    let companies = companies();
    let titles = Titles::of(&companies).reject(["earnings season", "Preview"]);
    let rejected = |phrase: &str| Err(NoCall::Commentary(phrase.to_owned()));
    assert_eq!(titles.call_of("Why $AAL flies before earnings season"), rejected("earnings season"));
    assert_eq!(titles.call_of("$AAL earnings preview"), rejected("preview"));
    assert!(titles.call_of("$AAL earnings call of the season").is_ok());
}

#[test]
fn q02_a_short_symbol_needs_its_dollar_or_the_name() {
    for title in ["How LOW can prices go: earnings", "My CAT watches earnings", "GE and other noises of earnings"] {
        assert_eq!(of(title), Err(NoCall::NoCompany), "{title}");
    }
    for (title, symbol) in
        [("$LOW earnings call", "LOW"), ("Catterick Machines earnings call", "CAT"), ("MRDN earnings call", "MRDN")]
    {
        assert_eq!(of(title), Ok(symbol.to_owned()), "{title}");
    }
    assert_eq!(of("mrdn earnings call"), Err(NoCall::NoCompany), "a bare symbol is in capitals");
}

#[test]
fn q03_a_symbol_ends_where_its_word_does() {
    for (title, symbol) in [
        ("$AAL earnings call", "AAL"),
        ("$AA earnings call", "AA"),
        ("$aa: earnings call", "AA"),
        ("$AA-linked earnings call", "AA"),
        ("$TXN earnings call", "TXN"),
        ("$BRK.B earnings call", "BRK.B"),
        ("$BRK-B earnings call", "BRK.B"),
        ("Earnings call of $T.", "T"),
        ("Arlen Alloys' earnings call", "AA"),
    ] {
        assert_eq!(of(title), Ok(symbol.to_owned()), "{title}");
    }
    for title in [
        "$AALX earnings",
        "$TXNM earnings",
        "US$AA earnings",
        "$AA_old earnings",
        "Arlen Alloyset earnings",
        "$MRDNX and MRDNX earnings",
        "$5 of earnings",
    ] {
        assert_eq!(of(title), Err(NoCall::NoCompany), "{title}");
    }
}

#[test]
fn q03_a_name_within_another_ones_is_not_named() {
    let mut companies = [Company::new("MRDN", "Marden Optics"), Company::new("MDN", "Marden")];
    companies[0].also = vec!["$MRDA".to_owned(), "Marden Lens Works".to_owned()];
    let titles = Titles::of(&companies).by_name();
    let of = |title: &str| titles.call_of(title).map(|company| company.symbol.as_str());
    assert_eq!(of("Marden Optics earnings call"), Ok("MRDN"));
    assert_eq!(of("Marden earnings call"), Ok("MDN"));
    assert_eq!(of("Marden Lens Works ($MRDA) earnings call"), Ok("MRDN"), "its other name and symbol");
}
