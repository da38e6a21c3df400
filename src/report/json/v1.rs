//! Version 1 of the JSON shapes. Fields may be added; none is renamed, removed or changes its meaning.

use serde::Serialize;

use crate::environment::{Environment, Provenance};
use crate::packaging::{PackageName, Version};
use crate::report::text::facts::Speaker;
use crate::report::{BaseLabel, provenance_note};
use crate::resolution::{Outcome, Policy};

use super::facts::{self, BesidesLine, FactLine};
use super::solution::{
    Added, Changed, Fixed, Held, PolicyShape, Removed, Requested, Solution, Violation,
};

/// The answer of `imgtool resolve`.
#[derive(Debug, Serialize)]
pub struct Resolve {
    /// Always `imgtool.resolve/v1`.
    schema: &'static str,
    /// Whether the request fits.
    solvable: bool,
    base: Base,
    /// The time, RFC 3339, from which on files of the index were left out; null where there is none.
    exclude_newer: Option<String>,
    /// What was asked for; `version` is null where the request does not fit.
    requested: Vec<Requested>,
    /// What must be added to the base; empty where the request does not fit.
    added: Vec<Added>,
    /// What of the base gets another version; empty where the request does not fit.
    changed: Vec<Changed>,
    /// What leaves the base; empty where the request does not fit.
    removed: Vec<Removed>,
    /// Distributions of the base that the answer leans on.
    held: Vec<Held>,
    /// What of the base might change.
    policy: PolicyShape,
    /// Whether no answer changes less of the base; null where the request does not fit.
    proven_smallest: Option<bool>,
    /// Why the request does not fit; empty where it does.
    facts: Vec<FactLine>,
    /// What would keep it out as well, were the facts different.
    besides: Vec<BesidesLine>,
    /// The newest versions that would fit; empty where the request fits.
    fitting: Vec<Fitting>,
    /// What the requested projects come to without the constraints, where that helps.
    without_constraints: Vec<Pin>,
    /// Each constraint without which the request would fit, dropped by itself.
    relaxed_constraints: Vec<Relaxed>,
    /// The smallest change of the base with which the request would fit; null where it fits, or where none would help.
    smallest_change: Option<Solution>,
    /// What the "no" rests on and no installer could change.
    obstacles: Vec<Fixed>,
    /// Distributions of the base of which the removal of one would let the request fit.
    removals: Vec<String>,
    /// Whether changes and removals that would help were searched to the end; null where the request fits.
    searched: Option<bool>,
    /// What the base violates by itself.
    base_violations: Vec<Violation>,
    /// What a person should know before using the answer.
    warnings: Vec<String>,
}

/// On what an answer rests.
#[derive(Debug, Serialize)]
pub(super) struct Base {
    reference: String,
    asked: String,
    /// `snapshot`, `directory` or `image`.
    source: &'static str,
    /// What a snapshot was made from; null where the base was read.
    made_from: Option<String>,
    /// The image that was read, as a person would name it again; null for anything else.
    image: Option<String>,
    /// Digest of that image's manifest.
    digest: Option<String>,
    note: Option<String>,
    python: String,
    prefix: String,
    architecture: String,
    libc: Option<String>,
    distributions: usize,
}

#[derive(Debug, Serialize)]
struct Relaxed {
    constraint: String,
    /// The file and line it stands in.
    origin: Option<String>,
    versions: Vec<Pin>,
}

#[derive(Debug, Serialize)]
struct Pin {
    name: String,
    version: String,
}

#[derive(Debug, Serialize)]
struct Fitting {
    name: String,
    requirement: String,
    /// Null where no version fits.
    version: Option<String>,
}

/// Writes an outcome as one JSON document with a final newline.
#[must_use]
pub fn resolve(
    outcome: &Outcome,
    requested: &[String],
    policy: &Policy,
    base: &BaseLabel,
    environment: &Environment,
    warnings: &[String],
) -> String {
    let shape = match outcome {
        Outcome::Resolution(resolution) => {
            let Solution {
                requested,
                added,
                changed,
                removed,
                held,
                proven_smallest,
            } = Solution::of(resolution);
            Resolve {
                requested,
                added,
                changed,
                removed,
                held,
                proven_smallest: Some(proven_smallest),
                base_violations: Violation::list(&resolution.broken_base),
                ..Resolve::new(true, policy, base, environment, warnings)
            }
        }
        Outcome::Conflict(conflict) => Resolve {
            requested: conflict
                .fitting
                .iter()
                .zip(requested)
                .map(|(fitting, requirement)| Requested {
                    name: fitting.requested.name.to_string(),
                    requirement: requirement.clone(),
                    version: None,
                    held: fitting.held,
                })
                .collect(),
            facts: facts::lines(&Speaker { base, environment }, &conflict.facts),
            besides: facts::besides(&Speaker { base, environment }, &conflict.besides),
            fitting: conflict
                .fitting
                .iter()
                .map(|fitting| Fitting {
                    name: fitting.requested.name.to_string(),
                    requirement: fitting.requested.without_marker().to_string(),
                    version: fitting.version.as_ref().map(ToString::to_string),
                })
                .collect(),
            without_constraints: pins(&conflict.without_constraints),
            relaxed_constraints: conflict
                .relaxed
                .iter()
                .map(|relaxed| Relaxed {
                    constraint: relaxed.constraint.requirement.without_marker().to_string(),
                    origin: relaxed.constraint.origin.clone(),
                    versions: pins(&relaxed.versions),
                })
                .collect(),
            smallest_change: conflict.smallest_change.as_deref().map(Solution::of),
            obstacles: conflict
                .obstacles
                .iter()
                .map(|(name, obstacle)| Fixed::of(name.as_ref(), obstacle))
                .collect(),
            removals: conflict.removals.iter().map(ToString::to_string).collect(),
            searched: Some(conflict.is_searched),
            base_violations: Violation::list(&conflict.broken_base),
            ..Resolve::new(false, policy, base, environment, warnings)
        },
    };
    super::document(&shape)
}

impl Resolve {
    /// An answer of which nothing is known yet.
    fn new(
        solvable: bool,
        policy: &Policy,
        base: &BaseLabel,
        environment: &Environment,
        warnings: &[String],
    ) -> Self {
        Self {
            schema: "imgtool.resolve/v1",
            solvable,
            base: Base::of(base, environment),
            exclude_newer: base.index_end.map(|end| end.to_string()),
            requested: Vec::new(),
            added: Vec::new(),
            changed: Vec::new(),
            removed: Vec::new(),
            held: Vec::new(),
            policy: PolicyShape::of(policy),
            proven_smallest: None,
            facts: Vec::new(),
            besides: Vec::new(),
            fitting: Vec::new(),
            without_constraints: Vec::new(),
            relaxed_constraints: Vec::new(),
            smallest_change: None,
            obstacles: Vec::new(),
            removals: Vec::new(),
            searched: None,
            base_violations: Vec::new(),
            warnings: warnings.to_vec(),
        }
    }
}

impl Base {
    pub(super) fn of(base: &BaseLabel, environment: &Environment) -> Self {
        let (source, made_from) = match &environment.provenance {
            Provenance::Directory { .. } => ("directory", None),
            Provenance::Image { .. } => ("image", None),
            Provenance::Snapshot { made_from, .. } => ("snapshot", Some(made_from.clone())),
        };
        let (image, digest) = match &environment.provenance {
            Provenance::Image { reference, digest } => (Some(reference.clone()), digest.clone()),
            Provenance::Directory { .. } | Provenance::Snapshot { .. } => (None, None),
        };
        Self {
            reference: base.reference.clone(),
            asked: base.asked.clone(),
            source,
            made_from,
            image,
            digest,
            note: provenance_note(environment),
            python: environment.interpreter.version.clone(),
            prefix: environment.interpreter.prefix.clone(),
            architecture: environment.platform.architecture.clone(),
            libc: environment.platform.libc.map(|libc| libc.to_string()),
            distributions: environment.distributions.len(),
        }
    }
}

fn pins(versions: &[(PackageName, Version)]) -> Vec<Pin> {
    versions
        .iter()
        .map(|(name, version)| Pin {
            name: name.to_string(),
            version: version.to_string(),
        })
        .collect()
}
