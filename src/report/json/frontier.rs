//! A frontier as `imgtool.frontier/v1`. Fields may be added; none is renamed, removed or changes its meaning.

use serde::Serialize;

use crate::environment::Environment;
use crate::report::BaseLabel;
use crate::resolution::Policy;
use crate::resolution::base::BrokenRequirement;
use crate::resolution::frontier::{Frontier, Row};

use super::solution::{PolicyShape, Solution, Violation};
use super::v1::Base;

/// The answer of `imgtool resolve --frontier`.
#[derive(Debug, Serialize)]
struct FrontierShape {
    /// Always `imgtool.frontier/v1`.
    schema: &'static str,
    base: Base,
    /// The time, RFC 3339, from which on files of the index were left out; null where there is none.
    exclude_newer: Option<String>,
    policy: PolicyShape,
    /// The projects that are compared.
    projects: Vec<Project>,
    /// Fewest changes first; empty where nothing fits, whatever changes.
    rows: Vec<RowShape>,
    base_violations: Vec<Violation>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Project {
    name: String,
    /// The newest version that the index has.
    newest: Option<String>,
}

#[derive(Debug, Serialize)]
struct RowShape {
    /// How many distributions of the base change or leave.
    changes: usize,
    /// The version of each project, in the order of `projects`.
    versions: Vec<String>,
    #[serde(flatten)]
    solution: Solution,
}

impl RowShape {
    fn of(row: &Row) -> Self {
        Self {
            changes: row.resolution.changes(),
            versions: row.versions.iter().map(ToString::to_string).collect(),
            solution: Solution::of(&row.resolution),
        }
    }
}

/// Writes a frontier as one JSON document with a final newline.
#[must_use]
pub fn frontier(
    frontier: &Frontier,
    policy: &Policy,
    base: &BaseLabel,
    environment: &Environment,
    broken_base: &[BrokenRequirement],
    warnings: &[String],
) -> String {
    let newest = frontier
        .newest
        .iter()
        .map(Some)
        .chain(std::iter::repeat(None));
    super::document(&FrontierShape {
        schema: "imgtool.frontier/v1",
        base: Base::of(base, environment),
        exclude_newer: base.index_end.map(|end| end.to_string()),
        policy: PolicyShape::of(policy),
        projects: frontier
            .projects
            .iter()
            .zip(newest)
            .map(|(name, newest)| Project {
                name: name.to_string(),
                newest: newest.and_then(Option::as_ref).map(ToString::to_string),
            })
            .collect(),
        rows: frontier.rows.iter().map(RowShape::of).collect(),
        base_violations: Violation::list(broken_base),
        warnings: warnings.to_vec(),
    })
}
