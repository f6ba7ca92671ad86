//! Columns for people.

use std::fmt::Write as _;
use std::io::{self, Write};

/// Writes rows under a head, each column as wide as its widest cell; the last one is not padded.
pub(super) fn write(to: &mut dyn Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|name| name.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to memory can't fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        writeln!(to, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut text = Vec::new();
        let rows = [
            vec!["a".to_owned(), "long cell".to_owned(), "x".to_owned()],
            vec!["äöü".to_owned(), String::new(), String::new()],
        ];
        write(&mut text, &["ID", "B", "C"], &rows).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "ID   B          C\na    long cell  x\näöü\n");
    }
}
