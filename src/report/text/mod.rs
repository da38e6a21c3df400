//! Text for people.

pub mod build;
pub mod cache;
pub mod catalog;
pub mod changes;
pub mod conflict;
pub mod explain;
pub mod facts;
pub mod frontier;
pub mod inspect;
pub mod limits;
pub mod resolution;
pub mod table;
pub mod words;

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::environment::Environment;

use super::{BaseLabel, provenance_note};

/// What a person should see first.
pub const HEADING: Style = Style::new().bold();
/// Good news.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Bad news.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What deserves a second look.
pub const CAUTION: Style = AnsiColor::Yellow.on_default();
/// What can be skipped.
pub const ASIDE: Style = Style::new().dimmed();

/// The last lines of an answer: on what it rests.
#[must_use]
pub fn footer(base: &BaseLabel, environment: &Environment) -> String {
    let mut text = format!(
        "\n{ASIDE}Base: {}, Python {}, {}{ASIDE:#}\n",
        base.reference,
        environment.interpreter.version,
        words::count(environment.distributions.len(), "distribution"),
    );
    if let Some(end) = base.index_end() {
        let _ = writeln!(text, "{ASIDE}Index: files uploaded before {end}.{ASIDE:#}");
    }
    if let Some(note) = provenance_note(environment) {
        let _ = writeln!(text, "{ASIDE}Read {note}.{ASIDE:#}");
    }
    text
}
