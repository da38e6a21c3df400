//! The answer of `imgtool explain`, version 1. Fields may be added; none is renamed, removed or changes its meaning.

use serde::Serialize;

use crate::report::explanation::Answered;
use crate::report::invocation::Invocation;
use crate::report::text;
use crate::report::text::facts::Speaker;
use crate::resolution::conflict::KeptOut;
use crate::resolution::{Conflict, Policy};

use super::facts::{self, BesidesLine, FactLine};
use super::solution::{Changed, Removed};

/// The answer.
#[derive(Debug, Default, Serialize)]
struct Explain {
    /// Always `imgtool.explain/v1`.
    schema: &'static str,
    /// Whether the request fits.
    solvable: bool,
    /// The base, patterns resolved.
    base: String,
    /// What was asked for.
    requested: Vec<String>,
    /// Why the request does not fit; empty where it does.
    facts: Vec<FactLine>,
    /// What would keep it out as well.
    besides: Vec<BesidesLine>,
    /// What of the base no installer could change.
    obstacles: Vec<Fixed>,
    /// What would fit, a sentence each; empty where the request fits.
    would_fit: Vec<String>,
    /// Which of the requested projects are not the newest, and why; empty where the request does not fit.
    behind: Vec<Behind>,
    /// What must be added, and who needs it; empty where the request does not fit.
    added: Vec<Added>,
    /// What of the base gets another version, and why; empty where the request does not fit.
    changed: Vec<Changed>,
    /// What leaves the base, and why; empty where the request does not fit.
    removed: Vec<Removed>,
    /// The time, RFC 3339, from which on files of the index were left out; null where there is none.
    exclude_newer: Option<String>,
    /// Whether changes of the base that would help were searched to the end; null where the request fits.
    searched: Option<bool>,
    /// What a person should know.
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Behind {
    name: String,
    version: String,
    newest: String,
    /// What keeps the newest out; empty where it would fit, if others of the request were in other versions.
    facts: Vec<FactLine>,
    besides: Vec<BesidesLine>,
    /// What the other requested projects would be beside the newest of this one.
    others: Vec<Pin>,
}

#[derive(Debug, Serialize)]
struct Fixed {
    name: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Pin {
    name: String,
    version: String,
}

#[derive(Debug, Serialize)]
struct Added {
    name: String,
    version: String,
    required_by: Vec<By>,
}

#[derive(Debug, Serialize)]
struct By {
    /// Null for the request.
    name: Option<String>,
    requirement: String,
}

/// Why a request does not fit, as one JSON document with a final newline.
#[must_use]
pub fn conflict(
    conflict: &Conflict,
    policy: &Policy,
    invocation: &Invocation,
    requested: &[String],
    speaker: &Speaker<'_>,
    warnings: &[String],
) -> String {
    super::document(&Explain {
        schema: SCHEMA,
        solvable: false,
        base: speaker.base.reference.clone(),
        requested: requested.to_vec(),
        facts: facts::lines(speaker, &conflict.facts),
        besides: facts::besides(speaker, &conflict.besides),
        obstacles: conflict
            .obstacles
            .iter()
            .map(|(name, obstacle)| Fixed {
                name: name.to_string(),
                reason: obstacle.to_string(),
            })
            .collect(),
        would_fit: text::conflict::ways_out(conflict, policy, invocation, speaker.base),
        exclude_newer: speaker.base.index_end.map(|end| end.to_string()),
        searched: Some(conflict.is_searched),
        warnings: warnings.to_vec(),
        ..Explain::default()
    })
}

/// Why an answer is what it is, as one JSON document with a final newline.
#[must_use]
pub fn answer(
    answered: &Answered<'_>,
    requested: &[String],
    speaker: &Speaker<'_>,
    warnings: &[String],
) -> String {
    let behind = answered.kept.iter().map(|kept| {
        let (facts, besides, others) = match &kept.out {
            KeptOut::Facts(explanation) => (
                facts::lines(speaker, &explanation.facts),
                facts::besides(speaker, &explanation.besides),
                Vec::new(),
            ),
            KeptOut::Others(others) => {
                let pins = others.iter().map(|(name, version)| Pin {
                    name: name.to_string(),
                    version: version.to_string(),
                });
                (Vec::new(), Vec::new(), pins.collect())
            }
        };
        Behind {
            name: kept.behind.name.to_string(),
            version: kept.behind.version.to_string(),
            newest: kept.behind.newest.to_string(),
            facts,
            besides,
            others,
        }
    });
    let resolution = answered.resolution;
    let added = resolution.added.iter().map(|added| Added {
        name: added.name.to_string(),
        version: added.version.to_string(),
        required_by: added
            .required_by
            .iter()
            .map(|requirer| By {
                name: requirer.name.as_ref().map(ToString::to_string),
                requirement: requirer.requirement.to_string(),
            })
            .collect(),
    });
    super::document(&Explain {
        schema: SCHEMA,
        solvable: true,
        base: speaker.base.reference.clone(),
        requested: requested.to_vec(),
        behind: behind.collect(),
        added: added.collect(),
        changed: resolution.changed.iter().map(Changed::of).collect(),
        removed: resolution.removed.iter().map(Removed::of).collect(),
        exclude_newer: speaker.base.index_end.map(|end| end.to_string()),
        warnings: warnings.to_vec(),
        ..Explain::default()
    })
}

const SCHEMA: &str = "imgtool.explain/v1";
