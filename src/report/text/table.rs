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

/// How the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// To the left.
    Left,
    /// To the right: numbers.
    Right,
    /// To the left, dimmed, and cut where the line would run over the terminal: remarks, the last column.
    Remark,
}

/// As [`table`], of as many columns as there are titles, with a last row that sums up.
#[must_use]
pub fn columns(
    header: &[(&str, Align)],
    rows: &[Vec<String>],
    sum: Option<&[String]>,
    width: Option<usize>,
) -> String {
    let titles: Vec<String> = header
        .iter()
        .map(|(title, _)| (*title).to_owned())
        .collect();
    let all = || {
        std::iter::once(titles.as_slice())
            .chain(rows.iter().map(Vec::as_slice))
            .chain(sum)
    };
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = all().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0)
        })
        .collect();
    let before_last: usize = widths
        .iter()
        .rev()
        .skip(1)
        .map(|width| width + 2)
        .sum::<usize>();
    let last = width.map(|width| width.saturating_sub(before_last).max(10));
    let mut text = String::new();
    for (number, row) in all().enumerate() {
        let is_heading = number == 0 || number > rows.len();
        // Nothing stands behind the last cell that has anything in it.
        let filled = row.iter().rposition(|cell| !cell.is_empty());
        let end = filled.map_or(0, |at| at + 1);
        for (position, cell) in row[..end].iter().enumerate() {
            let align = header[position].1;
            let style = match align {
                _ if is_heading => HEADING,
                Align::Remark => ASIDE,
                Align::Left | Align::Right => anstyle::Style::new(),
            };
            let cell = match last {
                Some(last) if align == Align::Remark => cut(cell, last),
                _ => cell.clone(),
            };
            let padding = " ".repeat(widths[position].saturating_sub(cell.width()));
            let _ = match align {
                Align::Right => write!(text, "{padding}{style}{cell}{style:#}"),
                _ if position + 1 == end => write!(text, "{style}{cell}{style:#}"),
                Align::Left | Align::Remark => write!(text, "{style}{cell}{style:#}{padding}"),
            };
            if position + 1 < end {
                text.push_str("  ");
            }
        }
        text.push('\n');
    }
    text
}

pub(super) fn cut(text: &str, width: usize) -> String {
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

/// Breaks a text at its spaces into lines of at most `width` terminal cells; a word that is longer is cut. `width` of
/// `None` breaks nothing.
pub(super) fn wrap(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else {
        return vec![text.to_owned()];
    };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let word = cut(word, width);
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_only_words_are_cut() {
        assert_eq!(wrap("one two three", None), ["one two three"]);
        assert_eq!(wrap("one two three", Some(7)), ["one two", "three"]);
        assert_eq!(wrap("one 日本日本 x", Some(6)), ["one", "日本…", "x"]);
        assert_eq!(wrap("", Some(6)), [""]);
    }

    #[test]
    fn columns_align_by_terminal_cells_and_the_last_is_cut() {
        let rows = [
            ["é".to_owned(), "a long explanation".to_owned()],
            ["日本".to_owned(), "b".to_owned()],
        ];
        let text = anstream::adapter::strip_str(&table(["x", "why"], &rows, Some(16))).to_string();
        assert_eq!(text, "x     why\né     a long ex…\n日本  b\n");
    }

    #[test]
    fn numbers_stand_to_the_right_and_nothing_stands_behind_the_last_cell() {
        let row = |cells: [&str; 3]| cells.map(ToOwned::to_owned).to_vec();
        let header = [
            ("name", Align::Left),
            ("size", Align::Right),
            ("note", Align::Remark),
        ];
        let rows = [
            row(["a", "9 kB", ""]),
            row(["long", "12 kB", "a long explanation"]),
        ];
        let sum = row(["total", "21 kB", ""]);
        let text = columns(&header, &rows, Some(&sum), Some(24));
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "name    size  note\na       9 kB\nlong   12 kB  a long ex…\ntotal  21 kB\n"
        );
    }
}
