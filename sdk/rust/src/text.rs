//! What pages say in words and handlers want as values: numbers, and tables of names and values.

use std::collections::BTreeMap;

/// The first number of a text: `1,234.50 EUR` is 1234.5. A comma parts thousands, a point the fraction; what can't be
/// read so, such as `1.2.3`, is none.
///
/// ```
/// use tollgate_sdk::text;
///
/// assert_eq!(text::number("EUR 1,234.50 each"), Some(1234.5));
/// assert_eq!(text::number("sold out"), None);
/// ```
#[must_use]
pub fn number(text: &str) -> Option<f64> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let sign = if text[..start].ends_with(['-', '\u{2212}']) { -1.0 } else { 1.0 };
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, ',' | '.');
    let end = text[start..].find(|c| !is_of_number(c)).map_or(text.len(), |at| start + at);
    let digits = text[start..end].trim_end_matches(['.', ',']).replace(',', "");
    digits.parse::<f64>().ok().map(|number| sign * number)
}

/// Rows of a name and a value as a map, such as the specs of a product: `text::pairs(table.rows())`. Rows of another
/// length, and those with an empty cell, are left out; of rows with one name the last counts.
///
/// ```
/// use tollgate_sdk::text;
///
/// let rows = vec![vec!["Width".to_owned(), "3 cm".to_owned()], vec!["Specs".to_owned()]];
/// assert_eq!(text::pairs(rows)["Width"], "3 cm");
/// ```
#[must_use]
pub fn pairs(rows: Vec<Vec<String>>) -> BTreeMap<String, String> {
    let pair =
        |row: Vec<String>| <[String; 2]>::try_from(row).ok().filter(|pair| pair.iter().all(|cell| !cell.is_empty()));
    rows.into_iter().filter_map(pair).map(|[name, value]| (name, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        assert_eq!(number("EUR 1,234.50 each"), Some(1234.5));
        assert_eq!(number("\u{2212}3."), Some(-3.0));
        assert_eq!(number("none"), None);
        assert_eq!(number("1.2.3"), None);
    }

    #[test]
    fn pairs_leave_out_what_is_none() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let pairs = pairs(vec![row(&["A", "1"]), row(&["B", ""]), row(&["C", "1", "2"]), row(&["A", "3"])]);
        assert_eq!(pairs, BTreeMap::from([("A".to_owned(), "3".to_owned())]));
    }
}
