//! Printing: tables for people, JSON for programs. A reader that goes away early is no error.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::{CliError, args::Format};

/// Longest text of a cell, in characters; the rest is a `tollgate item show` or a `-o json` away.
const CELL_CHARS_MAX: usize = 80;

/// Prints text to stdout.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Prints a list: as a table that `table` makes, or as JSON.
pub(crate) fn list<T: Serialize>(
    format: Format,
    entries: &[T],
    table: impl FnOnce(&[T]) -> String,
) -> Result<(), CliError> {
    match format {
        Format::Table => print(&table(entries)),
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(entries)?)),
        Format::Jsonl => entries.iter().try_for_each(|entry| print(&format!("{}\n", serde_json::to_string(entry)?))),
    }
}

/// Prints one thing: as text that `text` makes, or as JSON.
pub(crate) fn one<T: Serialize>(format: Format, entry: &T, text: impl FnOnce(&T) -> String) -> Result<(), CliError> {
    match format {
        Format::Table => print(&text(entry)),
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(entry)?)),
        Format::Jsonl => print(&format!("{}\n", serde_json::to_string(entry)?)),
    }
}

/// A table as text.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let header = header.iter().map(|name| (*name).to_owned()).collect();
    wide_table(header, rows.into_iter().map(Vec::from))
}

/// A table of any width as text.
pub(crate) fn wide_table(header: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| short(cell)).collect::<Vec<_>>());
    }
    format!("{table}\n")
}

/// A text cut to a cell's length, on one line.
pub(crate) fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= CELL_CHARS_MAX {
        return line;
    }
    let cut: String = line.chars().take(CELL_CHARS_MAX - 1).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d06_long_texts_do_not_break_a_table() {
        let table = table(["a", "b"], [["x".repeat(500), "y\nz".to_owned()]]);
        assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
        assert!(table.contains("y z"));
    }
}
