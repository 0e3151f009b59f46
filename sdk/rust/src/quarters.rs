//! Which quarter a company reports on: as a title says, else by the month of its call.
//!
//! A call is about the last quarter that had ended before its month began. Where the year is the calendar's:
//!
//! | call in | is about |
//! |---|---|
//! | January, February, March | Q4 of the year before |
//! | April, May, June | Q1 |
//! | July, August, September | Q2 |
//! | October, November, December | Q3 |
//!
//! A fiscal year that ends in another month moves the table by as many: one that ends in January (offset 1) has its Q4
//! in calls of February to April, one that ends in September (offset 9) in calls of October to December. It is named by
//! the year in which it ends, or, as some retailers do, by the one in which it begins:
//!
//! | call | year ends in | is about |
//! |---|---|---|
//! | February 2026 | December | Q4 2025 |
//! | February 2026 | January | Q4 2026, or 2025 by its beginning |
//! | November 2025 | January | Q3 2026, or 2025 by its beginning |
//! | October 2025 | September | Q4 2025 |
//! | January 2026 | September | Q1 2026 |
//! | December 2025 | May | Q2 2026 |
//!
//! ```
//! use tollgate_sdk::quarters::{FiscalYear, Quarter};
//!
//! assert_eq!(Quarter::reported_in(2026, 1, FiscalYear::CALENDAR), Some(Quarter { year: 2025, number: 4 }));
//! assert_eq!(Quarter::of_title("Fiscal Third Quarter 2025 Earnings Call").unwrap().to_string(), "Q3 2025");
//! ```

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Words between a quarter and its year that a title may have.
const BETWEEN: [&str; 5] = ["fiscal", "fy", "of", "year", "the"];
const ORDINALS: [&[&str]; 4] = [&["first", "1st"], &["second", "2nd"], &["third", "3rd"], &["fourth", "4th"]];

/// A quarter of a fiscal year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Quarter {
    /// The fiscal year, as the company names it.
    pub year: u16,
    /// 1 to 4.
    #[schemars(range(min = 1, max = 4))]
    pub number: u8,
}

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Q{} {}", self.number, self.year)
    }
}

/// When a company's fiscal year ends, and after which calendar year it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FiscalYear {
    /// 1 to 12.
    ends: u8,
    is_named_by_beginning: bool,
}

impl FiscalYear {
    /// January to December.
    pub const CALENDAR: Self = Self { ends: 12, is_named_by_beginning: false };

    /// One that ends in this month, 1 to 12, and is named by the year in which it ends; none for another number.
    #[must_use]
    pub fn ending_in(month: u8) -> Option<Self> {
        (1..=12).contains(&month).then_some(Self { ends: month, is_named_by_beginning: false })
    }

    /// Names it by the year in which it begins.
    #[must_use]
    pub fn named_by_beginning(mut self) -> Self {
        self.is_named_by_beginning = true;
        self
    }
}

impl Quarter {
    /// The quarter that a call in this month, 1 to 12, is about; none for another number.
    #[must_use]
    pub fn reported_in(year: u16, month: u8, fiscal: FiscalYear) -> Option<Self> {
        if !(1..=12).contains(&month) {
            return None;
        }
        // Months since the fiscal year's end, 1 to 12: a quarter that ends in the month of the call hasn't ended.
        let since = (month + 11 - fiscal.ends % 12) % 12 + 1;
        let ended = (since - 1) / 3;
        let under_way = if month <= fiscal.ends { year } else { year.checked_add(1)? };
        let (of_year, number) = if ended == 0 { (under_way.checked_sub(1)?, 4) } else { (under_way, ended) };
        let is_named_before = fiscal.is_named_by_beginning && fiscal.ends != 12;
        Some(Self { year: of_year.checked_sub(u16::from(is_named_before))?, number })
    }

    /// The quarter that a title names, as `Q3 2025`, `Q3 FY25`, `2025 Q3` or `third quarter of fiscal 2025`; none where
    /// it names none, or several.
    #[must_use]
    pub fn of_title(title: &str) -> Option<Self> {
        let words: Vec<String> = title
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        let mut found: Option<Self> = None;
        for at in 0..words.len() {
            let Some((number, behind)) = number_at(&words, at) else { continue };
            let after = words[behind..].iter().find(|word| !BETWEEN.contains(&word.as_str()));
            let before = words[..at].iter().rev().find(|word| !BETWEEN.contains(&word.as_str()));
            let Some(year) = after.and_then(|word| year_of(word)).or_else(|| before.and_then(|word| year_of(word)))
            else {
                continue;
            };
            let quarter = Self { year, number };
            if found.is_some_and(|found| found != quarter) {
                return None;
            }
            found = Some(quarter);
        }
        found
    }
}

/// The number of a quarter that begins at this word, and where it ends.
fn number_at(words: &[String], at: usize) -> Option<(u8, usize)> {
    let word = words[at].as_str();
    if let Some(number) = word.strip_prefix('q').and_then(|number| number.parse().ok()) {
        return (1..=4).contains(&number).then_some((number, at + 1));
    }
    let is_quarter = words.get(at + 1).is_some_and(|next| next == "quarter");
    let number = (1..=4).zip(ORDINALS).find_map(|(number, names)| names.contains(&word).then_some(number));
    number.filter(|_| is_quarter).map(|number| (number, at + 2))
}

/// `2025`, `fy2025` or `fy25`.
fn year_of(word: &str) -> Option<u16> {
    let of_fiscal = word.strip_prefix("fy");
    let digits = of_fiscal.unwrap_or(word);
    let year: u16 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()?;
    match digits.len() {
        4 => (1990..=2100).contains(&year).then_some(year),
        2 if of_fiscal.is_some() => Some(2000 + year),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(year: u16, month: u8, ends: u8) -> (u16, u8) {
        let quarter = Quarter::reported_in(year, month, FiscalYear::ending_in(ends).unwrap()).unwrap();
        (quarter.year, quarter.number)
    }

    #[test]
    fn q04_a_call_in_january_is_about_the_fourth_quarter_of_the_year_before() {
        let table = [4, 4, 4, 1, 1, 1, 2, 2, 2, 3, 3, 3];
        for (month, number) in (1..).zip(table) {
            let year = if month <= 3 { 2025 } else { 2026 };
            assert_eq!(reported(2026, month, 12), (year, number), "month {month}");
        }
    }

    #[test]
    fn q04_a_fiscal_year_that_ends_elsewhere_moves_the_table() {
        for ((year, month, ends), expected) in [
            ((2026, 2, 1), (2026, 4)),
            ((2025, 11, 1), (2026, 3)),
            ((2026, 1, 1), (2026, 3)),
            ((2025, 5, 1), (2026, 1)),
            ((2025, 10, 9), (2025, 4)),
            ((2026, 1, 9), (2026, 1)),
            ((2025, 12, 5), (2026, 2)),
            ((2025, 6, 5), (2025, 4)),
            ((2025, 7, 6), (2025, 4)),
        ] {
            assert_eq!(reported(year, month, ends), expected, "{year}-{month}, ends in {ends}");
        }
        let retailer = FiscalYear::ending_in(1).unwrap().named_by_beginning();
        assert_eq!(Quarter::reported_in(2026, 2, retailer), Some(Quarter { year: 2025, number: 4 }));
        let calendar = FiscalYear::CALENDAR.named_by_beginning();
        assert_eq!(Quarter::reported_in(2026, 2, calendar), Some(Quarter { year: 2025, number: 4 }));
    }

    #[test]
    fn q04_every_month_of_every_fiscal_year_is_about_a_quarter_that_has_ended_and_the_next_one_follows() {
        for ends in 1..=12 {
            let mut last = None;
            for at in 0..36 {
                let (year, number) = reported(2024 + at / 12, u8::try_from(at % 12).unwrap() + 1, ends);
                let place = u32::from(year) * 4 + u32::from(number);
                let step = last.map_or(0, |last: u32| place - last);
                assert!(step <= 1, "ends in {ends}, month {at}: {step} quarters on");
                last = Some(place);
            }
        }
    }

    #[test]
    fn q04_a_month_that_there_is_not_gives_none() {
        assert_eq!(Quarter::reported_in(2026, 0, FiscalYear::CALENDAR), None);
        assert_eq!(Quarter::reported_in(2026, 13, FiscalYear::CALENDAR), None);
        assert_eq!((FiscalYear::ending_in(0), FiscalYear::ending_in(13)), (None, None));
    }

    #[test]
    fn q04_a_title_that_names_its_quarter_is_taken_at_its_word() {
        for title in [
            "Marden Optics ($MRDN) Q3 2025 Earnings Call",
            "Q3 FY25 earnings",
            "Q3 FY2025 earnings",
            "2025 Q3 earnings",
            "Earnings, third quarter of fiscal year 2025",
            "3rd Quarter 2025 (Q3 2025) Earnings",
        ] {
            assert_eq!(Quarter::of_title(title), Some(Quarter { year: 2025, number: 3 }), "{title}");
        }
        for title in ["$MRDN Earnings Call", "Q5 2025", "Q3 2025 and Q4 2025", "Q3 earnings at 2500", "first 2025 call"]
        {
            assert_eq!(Quarter::of_title(title), None, "{title}");
        }
    }
}
