//! Version 1 of the JSON shapes. Fields may be added; none is renamed, removed or changes its meaning.

use serde::Serialize;

use crate::environment::{Environment, Provenance};
use crate::packaging::Version;
use crate::report::text::conflict::sentence;
use crate::report::{BaseLabel, provenance_note};
use crate::resolution::base::{BaseRequirement, BrokenRequirement};
use crate::resolution::conflict::Fact;
use crate::resolution::solution::Requirer;
use crate::resolution::{Conflict, Outcome};

/// The answer of `imgtool resolve`.
#[derive(Debug, Serialize)]
pub struct Resolve {
    /// Always `imgtool.resolve/v1`.
    schema: &'static str,
    /// Whether the request fits.
    solvable: bool,
    base: Base,
    /// What was asked for; `version` is null where the request does not fit.
    requested: Vec<Requested>,
    /// What must be added to the base; empty where the request does not fit.
    added: Vec<Added>,
    /// Distributions of the base that the answer leans on.
    held: Vec<Held>,
    /// Why the request does not fit; empty where it does.
    facts: Vec<FactLine>,
    /// The newest versions that would fit; empty where the request fits.
    fitting: Vec<Fitting>,
    /// What the requested projects come to without the constraints, where that helps.
    without_constraints: Vec<Pin>,
    /// What the base violates by itself.
    base_violations: Vec<Violation>,
    /// What a person should know before using the answer.
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Base {
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
struct Requested {
    name: String,
    requirement: String,
    version: Option<String>,
    /// Whether the base has it.
    held: bool,
}

#[derive(Debug, Serialize)]
struct Added {
    name: String,
    version: String,
    extras: Vec<String>,
    required_by: Vec<By>,
    wheel: Wheel,
    /// SHA-256 of every wheel of this version that fits the base, lower-case hexadecimal.
    sha256: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Wheel {
    filename: String,
    url: String,
    sha256: Option<String>,
    /// Bytes.
    size: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Held {
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

#[derive(Debug, Default, Serialize)]
struct FactLine {
    kind: &'static str,
    /// The fact as a sentence.
    text: String,
    /// The project that it is about.
    project: String,
    /// The extra of the project, where the fact is about one.
    extra: Option<String>,
    /// The versions of the project that it is about, newest first; of a held one, that of the base.
    versions: Vec<String>,
    /// What is required, one for each group of versions.
    requirements: Vec<String>,
    /// The distributions of the base that have a requirement on the project, or rule it out.
    required_by: Vec<By>,
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

#[derive(Debug, Serialize)]
struct Violation {
    distribution: String,
    version: String,
    requirement: String,
    /// Null where the project is not installed.
    installed: Option<String>,
}

/// Writes an outcome as one JSON document with a final newline.
#[must_use]
pub fn resolve(
    outcome: &Outcome,
    requested: &[String],
    base: &BaseLabel,
    environment: &Environment,
    warnings: &[String],
) -> String {
    let shape = match outcome {
        Outcome::Resolution(resolution) => Resolve {
            schema: "imgtool.resolve/v1",
            solvable: true,
            base: base_shape(base, environment),
            requested: resolution
                .requested
                .iter()
                .map(|satisfied| Requested {
                    name: satisfied.requirement.name.to_string(),
                    requirement: satisfied.requirement.to_string(),
                    version: Some(satisfied.version.to_string()),
                    held: satisfied.held,
                })
                .collect(),
            added: resolution
                .added
                .iter()
                .map(|added| Added {
                    name: added.name.to_string(),
                    version: added.version.to_string(),
                    extras: added.extras.iter().map(ToString::to_string).collect(),
                    required_by: by(&added.required_by),
                    wheel: Wheel {
                        filename: added.wheel.filename.clone(),
                        url: added.wheel.url.clone(),
                        sha256: added.wheel.sha256.clone(),
                        size: added.wheel.size,
                    },
                    sha256: added
                        .compatible
                        .iter()
                        .filter_map(|wheel| wheel.sha256.clone())
                        .collect(),
                })
                .collect(),
            held: resolution
                .held
                .iter()
                .map(|held| Held {
                    name: held.name.to_string(),
                    version: held.version.to_string(),
                    required_by: by(&held.required_by),
                })
                .collect(),
            facts: Vec::new(),
            fitting: Vec::new(),
            without_constraints: Vec::new(),
            base_violations: violations(&resolution.broken_base),
            warnings: warnings.to_vec(),
        },
        Outcome::Conflict(conflict) => unsolvable(conflict, requested, base, environment, warnings),
    };
    let mut text = serde_json::to_string_pretty(&shape).unwrap_or_default();
    text.push('\n');
    text
}

fn unsolvable(
    conflict: &Conflict,
    requested: &[String],
    base: &BaseLabel,
    environment: &Environment,
    warnings: &[String],
) -> Resolve {
    Resolve {
        schema: "imgtool.resolve/v1",
        solvable: false,
        base: base_shape(base, environment),
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
        added: Vec::new(),
        held: Vec::new(),
        facts: conflict
            .facts
            .iter()
            .map(|fact| fact_line(fact, environment))
            .collect(),
        fitting: conflict
            .fitting
            .iter()
            .map(|fitting| Fitting {
                name: fitting.requested.name.to_string(),
                requirement: fitting.requested.without_marker().to_string(),
                version: fitting.version.as_ref().map(ToString::to_string),
            })
            .collect(),
        without_constraints: conflict
            .without_constraints
            .iter()
            .map(|(name, version)| Pin {
                name: name.to_string(),
                version: version.to_string(),
            })
            .collect(),
        base_violations: violations(&conflict.broken_base),
        warnings: warnings.to_vec(),
    }
}

fn base_shape(base: &BaseLabel, environment: &Environment) -> Base {
    let (source, made_from) = match &environment.provenance {
        Provenance::Directory { .. } => ("directory", None),
        Provenance::Image { .. } => ("image", None),
        Provenance::Snapshot { made_from, .. } => ("snapshot", Some(made_from.clone())),
    };
    let (image, digest) = match &environment.provenance {
        Provenance::Image { reference, digest } => (Some(reference.clone()), digest.clone()),
        Provenance::Directory { .. } | Provenance::Snapshot { .. } => (None, None),
    };
    Base {
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

fn by(requirers: &[Requirer]) -> Vec<By> {
    requirers
        .iter()
        .map(|requirer| By {
            name: requirer.name.as_ref().map(ToString::to_string),
            requirement: requirer.requirement.to_string(),
        })
        .collect()
}

fn violations(broken: &[BrokenRequirement]) -> Vec<Violation> {
    broken
        .iter()
        .map(|broken| Violation {
            distribution: broken.by.requirer.to_string(),
            version: broken.by.requirer_version.to_string(),
            requirement: broken.by.requirement.to_string(),
            installed: broken.installed.as_ref().map(ToString::to_string),
        })
        .collect()
}

fn fact_line(fact: &Fact, environment: &Environment) -> FactLine {
    let texts = |versions: &[Version]| versions.iter().map(ToString::to_string).collect();
    let of_base = |by: &BaseRequirement| By {
        name: Some(by.requirer.to_string()),
        requirement: by.requirement.to_string(),
    };
    let line = FactLine {
        kind: kind(fact),
        text: sentence(fact, environment),
        ..FactLine::default()
    };
    match fact {
        Fact::Asked { requirement, .. } => FactLine {
            project: requirement.name.to_string(),
            requirements: vec![requirement.to_string()],
            ..line
        },
        Fact::Requires {
            project,
            extra,
            bounds,
            ..
        } => FactLine {
            project: project.to_string(),
            extra: extra.as_ref().map(ToString::to_string),
            versions: bounds
                .iter()
                .flat_map(|bound| bound.versions.iter().map(ToString::to_string))
                .collect(),
            requirements: bounds
                .iter()
                .map(|bound| bound.requirement.to_string())
                .collect(),
            ..line
        },
        Fact::Held {
            name,
            version,
            required_by,
            ..
        } => FactLine {
            project: name.to_string(),
            versions: vec![version.to_string()],
            required_by: required_by.iter().map(of_base).collect(),
            ..line
        },
        Fact::BaseRequires { by, ruled_out } => FactLine {
            project: by.requirement.name.to_string(),
            versions: texts(ruled_out),
            required_by: vec![of_base(by)],
            ..line
        },
        Fact::UnknownProject { name } => FactLine {
            project: name.to_string(),
            ..line
        },
        Fact::NoCandidate { name, excluded, .. } => FactLine {
            project: name.to_string(),
            versions: excluded
                .iter()
                .flat_map(|(_, versions)| versions.iter().map(ToString::to_string))
                .collect(),
            ..line
        },
        Fact::Unusable { name, versions, .. } => FactLine {
            project: name.to_string(),
            versions: texts(versions),
            ..line
        },
    }
}

fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Asked { .. } => "asked",
        Fact::Requires { .. } => "requires",
        Fact::Held { .. } => "held",
        Fact::BaseRequires { .. } => "base-requires",
        Fact::UnknownProject { .. } => "unknown-project",
        Fact::NoCandidate { .. } => "no-candidate",
        Fact::Unusable { .. } => "unusable",
    }
}
