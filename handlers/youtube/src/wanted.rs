//! Which titles are wanted: those of the companies' own earnings calls.

use tollgate_sdk::{
    prelude::*,
    tickers::{Company, Titles},
};

/// Whose calls, and how their titles name them.
#[params]
pub(crate) struct Wanted {
    /// Whose calls.
    companies: Vec<Company>,
    /// Whether a company's name stands for its `$SYM`.
    #[serde(default = "yes")]
    by_name: bool,
    /// Whether a bare symbol of four letters or more does.
    #[serde(default)]
    by_symbol: bool,
    /// Words and phrases by which a title is of something else, beside those that stand for commentary.
    #[serde(default)]
    reject: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Wanted {
    /// The rules for titles.
    pub(crate) fn titles(&self) -> Titles<'_> {
        let titles = Titles::of(&self.companies).reject(&self.reject);
        let titles = if self.by_name { titles.by_name() } else { titles };
        if self.by_symbol { titles.by_symbol() } else { titles }
    }
}
