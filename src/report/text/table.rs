//! Columns of text.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use super::{ASIDE, HEADING};

/// Lays out `rows` under `header`, columns two spaces apart; the last column is not padded and, where it would run
/// over `width` terminal cells, is cut with an ellipsis. `width` of `None` cuts nothing.
#[must_use]
pub fn table<const N: usize>(
    header: [&str; N],
    rows: &[[String; N]],
    width: Option<usize>,
) -> String {
    let mut widths = header.map(UnicodeWidthStr::width);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let before_last: usize = widths[..N - 1].iter().map(|width| width + 2).sum();
    let last = width.map(|width| width.saturating_sub(before_last).max(10));
    let mut text = String::new();
    let mut line = |cells: [&str; N], heading: bool| {
        let style = if heading {
            HEADING
        } else {
            anstyle::Style::new()
        };
        for (position, cell) in cells.iter().enumerate() {
            if position == N - 1 {
                let cell = last.map_or_else(|| (*cell).to_owned(), |last| cut(cell, last));
                let style = if heading { HEADING } else { ASIDE };
                let _ = write!(text, "{style}{cell}{style:#}");
            } else {
                let padding = " ".repeat(widths[position] + 2 - cell.width());
                let _ = write!(text, "{style}{cell}{style:#}{padding}");
            }
        }
        text.push('\n');
    };
    line(header, true);
    for row in rows {
        line(row.each_ref().map(String::as_str), false);
    }
    text
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for character in text.chars() {
        if kept.width() + unicode_width::UnicodeWidthChar::width(character).unwrap_or(0) + 1 > width
        {
            break;
        }
        kept.push(character);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_terminal_cells_and_the_last_is_cut() {
        let rows = [
            ["é".to_owned(), "a long explanation".to_owned()],
            ["日本".to_owned(), "b".to_owned()],
        ];
        let text = anstream::adapter::strip_str(&table(["x", "why"], &rows, Some(16))).to_string();
        assert_eq!(text, "x     why\né     a long ex…\n日本  b\n");
    }
}
