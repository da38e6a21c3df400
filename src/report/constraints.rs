//! The environment that a resolution leads to as a constraints file, for `pip install -c FILE`: every distribution of
//! the base and everything that comes in, at the version that it has in the end.
//!
//! Format: <https://pip.pypa.io/en/stable/user_guide/#constraints-files>. A constraint installs nothing: it says which
//! version a distribution has if it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::environment::Environment;
use crate::packaging::requirement::presentable;
use crate::packaging::{PackageName, Version};
use crate::resolution::Resolution;

use super::annotations::Annotations;
use super::{BaseLabel, provenance_note};

/// Writes `name==version` for each distribution of the result, in the order of their names. A version that no installer
/// takes is a comment.
#[must_use]
pub fn constraints(
    resolution: &Resolution,
    base: &BaseLabel,
    environment: &Environment,
    annotations: Option<&Annotations>,
) -> String {
    let removed: BTreeSet<&PackageName> = resolution
        .removed
        .iter()
        .map(|removal| &removal.name)
        .collect();
    let mut result: BTreeMap<&PackageName, Result<Version, &str>> = environment
        .distributions
        .iter()
        .filter(|(name, _)| !removed.contains(name))
        .map(|(name, installed)| {
            let written = installed.version_text.trim();
            (name, written.parse::<Version>().map_err(|_| written))
        })
        .collect();
    for pin in resolution.pins() {
        result.insert(&pin.name, Ok(pin.version.clone()));
    }

    let mut text = String::new();
    let asked: Vec<String> = resolution
        .requested
        .iter()
        .map(|satisfied| satisfied.requirement.to_string())
        .collect();
    let reference = presentable(&base.reference);
    let _ = if asked.is_empty() {
        writeln!(text, "# What is in {reference}.")
    } else {
        writeln!(
            text,
            "# What is in {reference} once it has {}.",
            asked.join(" ")
        )
    };
    if let Some(note) = provenance_note(environment) {
        let _ = writeln!(text, "# The base is known {}.", presentable(&note));
    }
    let _ = writeln!(
        text,
        "# Python {}. Constraints, for: pip install -c FILE REQUIREMENT",
        presentable(&environment.interpreter.version)
    );
    for (name, version) in result {
        match version {
            Ok(version) => {
                let _ = writeln!(text, "{name}=={version}");
                if let Some(annotations) = annotations {
                    text.push_str(&annotations.comment(name));
                }
            }
            Err(written) => {
                let _ = writeln!(
                    text,
                    "# {name} {} has a version that no installer takes",
                    presentable(written)
                );
            }
        }
    }
    text
}
