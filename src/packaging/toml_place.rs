//! Where in a TOML file something stands, for messages that people read.

use std::fmt;
use std::ops::Range;

/// A line and a column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset` of `text`.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The place where `span` begins; the beginning of the file where there is none.
    #[must_use]
    pub fn of_span(text: &str, span: Option<Range<usize>>) -> Self {
        Self::of(text, span.map_or(0, |span| span.start))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A TOML file that cannot be used, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct TomlError {
    /// Where.
    pub place: Place,
    /// What is wrong, in one line.
    pub reason: String,
}

impl TomlError {
    /// What the parser says of `text`.
    #[must_use]
    pub fn of(text: &str, error: &toml::de::Error) -> Self {
        Self {
            place: Place::of_span(text, error.span()),
            reason: error
                .message()
                .lines()
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_from_one_and_in_characters() {
        let text = "a = 1\nä = ü\n";
        assert_eq!(Place::of(text, 0), Place { line: 1, column: 1 });
        assert_eq!(Place::of(text, 6), Place { line: 2, column: 1 });
        let offset = text.find('ü').expect("there");
        assert_eq!(Place::of(text, offset).to_string(), "line 2, column 5");
        assert_eq!(Place::of(text, offset + 1).to_string(), "line 2, column 5");
        assert_eq!(Place::of(text, 1000), Place { line: 3, column: 1 });
        assert_eq!(Place::of_span(text, None), Place { line: 1, column: 1 });
    }

    #[test]
    fn what_the_parser_says_is_one_line() {
        let text = "a = 1\nb = [\n";
        let error = toml::from_str::<toml::Table>(text).expect_err("broken");
        let error = TomlError::of(text, &error);
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(error.to_string().starts_with("line "), "{error}");
    }
}
