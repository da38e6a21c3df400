//! A resolution for a person.

use std::fmt::Write as _;

use crate::environment::Environment;
use crate::report::BaseLabel;
use crate::resolution::Resolution;
use crate::resolution::solution::Requirer;

use super::table::table;
use super::{GOOD, changes, footer, words};

/// How many requested projects the headline names.
const REQUESTS_SHOWN: usize = 8;
/// How many requirers a row names.
const REQUIRERS_SHOWN: usize = 4;

/// Writes what must be added, why, and what of the base it leans on. `width` is that of the terminal, in cells.
#[must_use]
pub fn resolution(
    resolution: &Resolution,
    base: &BaseLabel,
    environment: &Environment,
    width: Option<usize>,
) -> String {
    let mut text = String::new();
    let mut asked: Vec<String> = Vec::new();
    for satisfied in &resolution.requested {
        let text = format!("{} {}", satisfied.requirement.name, satisfied.version);
        if !asked.contains(&text) {
            asked.push(text);
        }
    }
    let verb = if asked.len() == 1 { "fits" } else { "fit" };
    if asked.is_empty() {
        let _ = writeln!(
            text,
            "{GOOD}nothing to add to {}:{GOOD:#} no requirement applies to it",
            base.reference
        );
    } else if resolution.added.is_empty() && resolution.changes() == 0 {
        let _ = writeln!(
            text,
            "{GOOD}{} {verb} {}:{GOOD:#} the base has all of it, nothing to add",
            words::list(&asked, REQUESTS_SHOWN),
            base.reference,
        );
    } else {
        let _ = writeln!(
            text,
            "{GOOD}{} {verb} {}:{GOOD:#} {}",
            words::list(&asked, REQUESTS_SHOWN),
            base.reference,
            what_it_takes(resolution),
        );
    }
    text.push_str(&changes::tables(resolution, width));
    if !resolution.added.is_empty() {
        let rows: Vec<[String; 3]> = resolution
            .added
            .iter()
            .map(|added| {
                let name = if added.extras.is_empty() {
                    added.name.to_string()
                } else {
                    let extras: Vec<String> =
                        added.extras.iter().map(ToString::to_string).collect();
                    format!("{}[{}]", added.name, extras.join(","))
                };
                [name, added.version.to_string(), why(&added.required_by)]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(["Added", "Version", "Required by"], &rows, width));
    }
    if !resolution.held.is_empty() {
        let rows: Vec<[String; 3]> = resolution
            .held
            .iter()
            .map(|held| {
                [
                    held.name.to_string(),
                    held.version.to_string(),
                    why(&held.required_by),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(
            ["Held by the base", "Version", "Required by"],
            &rows,
            width,
        ));
    }
    text.push_str(&footer(base, environment));
    text
}

/// How much is added, changed and removed.
fn what_it_takes(resolution: &Resolution) -> String {
    let added = resolution.added.len();
    if resolution.changes() == 0 {
        return format!(
            "{} to add, nothing of the base changes",
            words::count(added, "distribution")
        );
    }
    // The first part says what is counted, and which base is meant.
    let mut parts = Vec::new();
    if added > 0 {
        parts.push(format!("{} to add", words::count(added, "distribution")));
    }
    for (number, verb) in [
        (resolution.changed.len(), "change"),
        (resolution.removed.len(), "remove"),
    ] {
        if number == 0 {
            continue;
        }
        parts.push(match parts.len() {
            0 => format!(
                "{} of the base to {verb}",
                words::count(number, "distribution")
            ),
            _ if verb == "remove" && !resolution.changed.is_empty() => {
                format!("{number} to {verb}")
            }
            _ => format!("{number} of the base to {verb}"),
        });
    }
    let proven = if resolution.proven_smallest {
        " (proven fewest)"
    } else {
        ""
    };
    format!("{}{proven}", parts.join(", "))
}

pub(super) fn why(required_by: &[Requirer]) -> String {
    // One that requires it several times is named once, with all bounds.
    let mut requirers: Vec<(String, Vec<String>)> = Vec::new();
    for requirer in required_by {
        let name = requirer
            .name
            .as_ref()
            .map_or_else(|| "the request".to_owned(), ToString::to_string);
        let position = requirers
            .iter()
            .position(|(known, _)| *known == name)
            .unwrap_or_else(|| {
                requirers.push((name, Vec::new()));
                requirers.len() - 1
            });
        let bounds = &mut requirers[position].1;
        let bound = words::bounds(&requirer.requirement);
        if !requirer.requirement.specifiers.is_empty() && !bounds.contains(&bound) {
            bounds.push(bound);
        }
    }
    let requirers: Vec<String> = requirers
        .into_iter()
        .map(|(name, bounds)| match bounds.as_slice() {
            [] => name,
            bounds => format!("{name} ({})", bounds.join(",")),
        })
        .collect();
    words::list(&requirers, REQUIRERS_SHOWN)
}
