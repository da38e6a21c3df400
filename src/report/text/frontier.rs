//! A frontier for a person: what more there is to have for more changes of the base.

use std::fmt::Write as _;

use crate::environment::Environment;
use crate::packaging::Version;
use crate::report::BaseLabel;
use crate::resolution::frontier::Frontier;

use super::table::{Align, columns};
use super::{BAD, GOOD, changes, footer, words};

/// How many projects have a column of their own.
const COLUMNS_SHOWN: usize = 4;
/// How many changes a row names.
const CHANGES_SHOWN: usize = 3;
/// How many projects one line names.
const PROJECTS_SHOWN: usize = 8;

/// Writes the table of answers. `width` is that of the terminal, in cells.
#[must_use]
pub fn frontier(
    frontier: &Frontier,
    base: &BaseLabel,
    environment: &Environment,
    width: Option<usize>,
) -> String {
    let mut text = String::new();
    let names: Vec<String> = frontier.projects.iter().map(ToString::to_string).collect();
    let subject = words::list(&names, PROJECTS_SHOWN);
    let Some(last) = frontier.rows.last() else {
        let verb = if names.len() == 1 { "does" } else { "do" };
        let _ = writeln!(
            text,
            "{BAD}{subject} {verb} not fit {}{BAD:#}, whatever may change; without `--frontier` the reason is told",
            base.reference
        );
        text.push_str(&footer(base, environment));
        return text;
    };
    let _ = writeln!(
        text,
        "{GOOD}What there is of {subject} on {}{GOOD:#}, by changes of the base\n",
        base.reference
    );
    let shown = projects_with_columns(frontier);
    let mut header = vec![("Changes", Align::Right)];
    header.extend(shown.iter().map(|&at| (names[at].as_str(), Align::Left)));
    header.push(("What changes", Align::Remark));
    let rows: Vec<Vec<String>> = frontier
        .rows
        .iter()
        .map(|row| {
            let mut cells = vec![row.resolution.changes().to_string()];
            cells.extend(shown.iter().map(|&at| cell(row.versions.get(at))));
            cells.push(changes::summary(&row.resolution, CHANGES_SHOWN));
            cells
        })
        .collect();
    text.push_str(&columns(&header, &rows, None, width));
    text.push('\n');

    let same: Vec<String> = (0..names.len())
        .filter(|at| !shown.contains(at) && !differs(frontier, *at))
        .map(|at| format!("{} {}", names[at], cell(last.versions.get(at))))
        .collect();
    if !same.is_empty() {
        let _ = writeln!(
            text,
            "In every row: {}.",
            words::list(&same, PROJECTS_SHOWN)
        );
    }
    let newer: Vec<String> = names
        .iter()
        .zip(&last.versions)
        .zip(&frontier.newest)
        .filter_map(|((name, version), newest)| {
            let newest = newest.as_ref().filter(|newest| *newest > version)?;
            Some(format!("{name} {newest}"))
        })
        .collect();
    if !newer.is_empty() {
        let _ = writeln!(
            text,
            "The newest on the index: {}.",
            words::list(&newer, PROJECTS_SHOWN)
        );
    }
    text.push_str(
        "Each row is solved, with the fewest changes for its versions; ask for these with `--policy minimal` to see all \
         of it.\n",
    );
    text.push_str(&footer(base, environment));
    text
}

/// The positions of the projects that get a column: those whose version is not the same in every row, or, where there
/// is but one row or all are the same, the first.
fn projects_with_columns(frontier: &Frontier) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..frontier.projects.len())
        .filter(|at| differs(frontier, *at))
        .take(COLUMNS_SHOWN)
        .collect();
    if shown.is_empty() {
        shown = (0..frontier.projects.len().min(COLUMNS_SHOWN)).collect();
    }
    shown
}

fn differs(frontier: &Frontier, at: usize) -> bool {
    let mut versions = frontier.rows.iter().map(|row| row.versions.get(at));
    let first = versions.next();
    versions.any(|version| Some(version) != first)
}

fn cell(version: Option<&Version>) -> String {
    version.map_or_else(String::new, ToString::to_string)
}
