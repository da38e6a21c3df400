//! Changes of the base for a person: what moves, from which version to which, and why.

use crate::packaging::{PackageName, Requirement, Version};
use crate::resolution::Resolution;
use crate::resolution::solution::{Change, Reason, Removal};

use super::table::{cut, table, wrap};
use super::{HEADING, words};

/// How many reasons are given for one change.
const REASONS_SHOWN: usize = 3;
/// Cells that a reason needs to say anything; a terminal with less left gets the reasons below the names.
const NARROWEST_REASON: usize = 28;

/// The change as a person would write it: `8.4.0 -> 5.2.0 (downgrade)`.
#[must_use]
pub fn step(change: &Change) -> String {
    let downgrade = if change.is_downgrade() {
        " (downgrade)"
    } else {
        ""
    };
    format!("{} -> {}{downgrade}", change.from, change.to.version)
}

/// All changes in one clause, the first `most` of them by name: `protobuf 3.20.3 -> 4.25.3, docker leaves and 2 more`.
#[must_use]
pub fn summary(resolution: &Resolution, most: usize) -> String {
    let changed = resolution
        .changed
        .iter()
        .map(|change| format!("{} {}", change.to.name, step(change)));
    let removed = resolution
        .removed
        .iter()
        .map(|removal| format!("{} leaves", removal.name));
    let all: Vec<String> = changed.chain(removed).collect();
    if all.is_empty() {
        "nothing".to_owned()
    } else {
        words::list(&all, most)
    }
}

/// The tables of what changes in the base and of what leaves it, each after an empty line; nothing where nothing does.
#[must_use]
pub fn tables(resolution: &Resolution, width: Option<usize>) -> String {
    let mut text = String::new();
    let changed: Vec<Moved> = resolution
        .changed
        .iter()
        .map(|change| Moved::changed(change, resolution))
        .collect();
    let removed: Vec<Moved> = resolution
        .removed
        .iter()
        .map(|removal| Moved::removed(removal, resolution))
        .collect();
    for (title, rows) in [
        ("Changed in the base", changed),
        ("Removed from the base", removed),
    ] {
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&layout(title, &rows, width));
        }
    }
    text
}

/// A distribution of the base that does not stay as it is.
struct Moved {
    name: String,
    version: String,
    reasons: Vec<String>,
}

impl Moved {
    fn changed(change: &Change, resolution: &Resolution) -> Self {
        Self {
            name: change.to.name.to_string(),
            version: step(change),
            reasons: sentences(&change.reasons, "moves along: ", resolution),
        }
    }

    fn removed(removal: &Removal, resolution: &Resolution) -> Self {
        Self {
            name: removal.name.to_string(),
            version: removal.version.to_string(),
            reasons: sentences(&removal.reasons, "", resolution),
        }
    }
}

/// The reasons as clauses; one that lies in what the distribution itself requires begins with `along`.
fn sentences(reasons: &[Reason], along: &str, resolution: &Resolution) -> Vec<String> {
    if reasons.is_empty() {
        return vec!["it could stay".to_owned()];
    }
    let mut all: Vec<String> = Vec::new();
    for reason in reasons {
        let sentence = sentence(reason, along, resolution);
        if !all.contains(&sentence) {
            all.push(sentence);
        }
    }
    // One that is left over takes no more room than saying so.
    if all.len() > REASONS_SHOWN + 1 {
        let rest = all.len() - REASONS_SHOWN;
        all.truncate(REASONS_SHOWN);
        all.push(format!("and {}", words::count(rest, "further reason")));
    }
    all
}

/// Why an installed distribution cannot stay, as a clause.
fn sentence(reason: &Reason, along: &str, resolution: &Resolution) -> String {
    match reason {
        Reason::Required { by, version } => {
            let needs = needs(&by.requirement);
            match (&by.name, version) {
                (None, _) => format!("you ask for {}", short(&by.requirement)),
                (Some(name), Some(version)) => format!("{name} {version} needs {needs}"),
                (Some(name), None) => format!("{name} needs {needs}"),
            }
        }
        Reason::Requires {
            requirement,
            version,
        } => format!(
            "{along}needs {}, which {}",
            short(requirement),
            whereabouts(&requirement.name, version.as_ref(), resolution)
        ),
    }
}

/// What becomes of a project that a moving distribution required.
fn whereabouts(name: &PackageName, version: Option<&Version>, resolution: &Resolution) -> String {
    match version {
        None => "leaves".to_owned(),
        Some(version) if resolution.changed.iter().any(|it| it.to.name == *name) => {
            format!("goes to {version}")
        }
        Some(version) if resolution.added.iter().any(|it| it.name == *name) => {
            format!("comes in at {version}")
        }
        Some(version) => format!("is {version}"),
    }
}

/// The bounds of a requirement on what the row is about, with its extras where it has some.
fn needs(requirement: &Requirement) -> String {
    if requirement.specifiers.is_empty() || !requirement.extras.is_empty() {
        short(requirement)
    } else {
        words::bounds(requirement)
    }
}

/// A requirement without spaces: `importlib-metadata>=6,<8.5`.
fn short(requirement: &Requirement) -> String {
    let extras: Vec<String> = requirement.extras.iter().map(ToString::to_string).collect();
    let extras = if extras.is_empty() {
        String::new()
    } else {
        format!("[{}]", extras.join(","))
    };
    let bounds = if requirement.specifiers.is_empty() {
        String::new()
    } else {
        words::bounds(requirement)
    };
    format!("{}{extras}{bounds}", requirement.name)
}

/// Rows with one reason a line, beside the names or, where the terminal is too narrow for that, below them.
fn layout(title: &str, rows: &[Moved], width: Option<usize>) -> String {
    let names = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let versions = rows.iter().map(|row| row.version.len()).max().unwrap_or(0);
    let before_reasons = names.max(title.len()) + versions + 4;
    if let Some(width) = width
        && width < before_reasons + NARROWEST_REASON
    {
        return stacked(title, rows, width);
    }
    let mut lines: Vec<[String; 3]> = Vec::new();
    for row in rows {
        let (mut name, mut version) = (row.name.clone(), row.version.clone());
        let room = width.map(|width| width - before_reasons);
        for line in row.reasons.iter().flat_map(|reason| wrap(reason, room)) {
            lines.push([
                std::mem::take(&mut name),
                std::mem::take(&mut version),
                line,
            ]);
        }
    }
    table([title, "Version", "Why"], &lines, width)
}

fn stacked(title: &str, rows: &[Moved], width: usize) -> String {
    let mut text = format!("{HEADING}{title}{HEADING:#}\n");
    for row in rows {
        text.push_str(&cut(&format!("{} {}", row.name, row.version), width));
        text.push('\n');
        let room = Some(width.saturating_sub(2).max(10));
        for line in row.reasons.iter().flat_map(|reason| wrap(reason, room)) {
            text.push_str("  ");
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}
