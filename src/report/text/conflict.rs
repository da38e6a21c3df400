//! A conflict for a person: numbered facts, then what would fit.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::environment::Environment;
use crate::packaging::{PackageName, Requirement, Version};
use crate::report::BaseLabel;
use crate::resolution::Conflict;
use crate::resolution::base::BaseRequirement;
use crate::resolution::candidates::Exclusion;
use crate::resolution::conflict::{Bound, Fact, Fitting};
use crate::resolution::request::Request;

use super::{BAD, HEADING, footer, words};

/// How many distributions of the base a sentence names.
const REQUIRERS_SHOWN: usize = 4;
/// How many different bounds of one project on another are spelled out.
const BOUNDS_SHOWN: usize = 3;
/// How many requirements of the request the headline names.
const REQUESTS_SHOWN: usize = 8;
/// How many answers to what would fit are given.
const FITTING_SHOWN: usize = 5;
/// How many reasons why versions are no candidates are spelled out.
const REASONS_SHOWN: usize = 4;

/// Writes why `request` cannot be satisfied, and what could be.
#[must_use]
pub fn conflict(
    conflict: &Conflict,
    request: &Request,
    base: &BaseLabel,
    environment: &Environment,
) -> String {
    let mut text = String::new();
    let asked: Vec<String> = request
        .requirements
        .iter()
        .map(|requested| requested.requirement.without_marker().to_string())
        .collect();
    let subject = words::list(&asked, REQUESTS_SHOWN);
    let _ = if conflict.facts.iter().any(is_about_the_base) {
        let verb = if asked.len() == 1 { "does" } else { "do" };
        writeln!(
            text,
            "{BAD}{subject} {verb} not fit {}{BAD:#} as long as nothing of the base changes:\n",
            base.reference
        )
    } else {
        // Whatever the base has: another one would not help.
        writeln!(
            text,
            "{BAD}{subject} cannot be added to {}{BAD:#}:\n",
            base.reference
        )
    };
    let indent = conflict.facts.len().to_string().len();
    for (position, fact) in conflict.facts.iter().enumerate() {
        let _ = writeln!(
            text,
            "  {:>indent$}. {}",
            position + 1,
            sentence(fact, environment)
        );
    }
    text.push('\n');
    let _ = writeln!(
        text,
        "{HEADING}What would fit{HEADING:#} (found by solving)"
    );
    for sentence in fitting_sentences(conflict, base) {
        let _ = writeln!(text, "  {sentence}");
    }
    text.push_str(&footer(base, environment));
    text
}

/// Whether another base could make a difference to this.
fn is_about_the_base(fact: &Fact) -> bool {
    match fact {
        Fact::Held { .. } | Fact::BaseRequires { .. } => true,
        Fact::NoCandidate { excluded, .. } => excluded.iter().any(|(exclusion, _)| {
            matches!(
                exclusion,
                Exclusion::RequiresPython(_) | Exclusion::NoCompatibleWheel { .. }
            )
        }),
        _ => false,
    }
}

/// What would fit: each relaxation of the request that helps, or that none does.
fn fitting_sentences(conflict: &Conflict, base: &BaseLabel) -> Vec<String> {
    let projects: BTreeSet<&PackageName> = conflict
        .fitting
        .iter()
        .map(|fitting| &fitting.requested.name)
        .collect();
    let with_others = projects.len() > 1;
    let mut sentences: Vec<String> = conflict
        .fitting
        .iter()
        .filter_map(|fitting| fitting_sentence(fitting, base, with_others))
        .collect();
    // Several requirements on one project have one answer.
    sentences.dedup();
    if sentences.len() > FITTING_SHOWN {
        let rest = sentences.len() - FITTING_SHOWN;
        sentences.truncate(FITTING_SHOWN);
        sentences.push(format!(
            "{} of the same kind",
            words::count(rest, "further answer")
        ));
    }
    if !conflict.without_constraints.is_empty() {
        let versions: Vec<String> = conflict
            .without_constraints
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        sentences.push(format!(
            "{}, without the constraints",
            words::list(&versions, FITTING_SHOWN)
        ));
    }
    if sentences.is_empty() {
        sentences.push(match conflict.fitting.as_slice() {
            [one] => format!("no version of {}", with_extras(&one.requested)),
            _ => "nothing, whichever of the requirements is left without bounds".to_owned(),
        });
    }
    sentences
}

fn with_extras(requirement: &Requirement) -> String {
    let extras: Vec<String> = requirement.extras.iter().map(ToString::to_string).collect();
    if extras.is_empty() {
        requirement.name.to_string()
    } else {
        format!("{}[{}]", requirement.name, extras.join(","))
    }
}

fn fitting_sentence(fitting: &Fitting, base: &BaseLabel, with_others: bool) -> Option<String> {
    let version = fitting.version.as_ref()?;
    let asked = with_extras(&fitting.requested);
    let beside = if with_others {
        ", with the rest of the request as it is"
    } else {
        ""
    };
    Some(if fitting.held {
        format!("{asked} {version}, which the base has{beside}")
    } else if with_others {
        format!("{asked} {version}, the newest that fits{beside}")
    } else {
        format!(
            "{asked} {version}, the newest that fits: imgtool resolve {} '{asked}=={version}'",
            base.reference
        )
    })
}

/// One fact as a sentence without a full stop.
#[must_use]
pub fn sentence(fact: &Fact, environment: &Environment) -> String {
    match fact {
        Fact::Asked {
            requirement,
            origin,
        } => {
            let asks = match origin {
                Some(origin) => format!("{origin} asks for {requirement}"),
                None => format!("you ask for {requirement}"),
            };
            if requirement.version_set().is_empty() {
                format!("{asks}, which no version can satisfy")
            } else {
                asks
            }
        }
        Fact::Requires {
            project,
            extra,
            required,
            bounds,
        } => {
            let subject = match extra {
                Some(extra) => format!("{project}[{extra}]"),
                None => project.to_string(),
            };
            requires(&subject, required, bounds)
        }
        Fact::Held {
            name,
            version,
            required_by,
            constraints,
        } => held(name, version, required_by, constraints),
        Fact::BaseRequires { by, ruled_out } => format!(
            "the base has {} {}, which requires {} and so rules out {} {}",
            by.requirer,
            by.requirer_version,
            by.requirement,
            by.requirement.name,
            words::versions(ruled_out)
        ),
        Fact::UnknownProject { name } => {
            format!("no index has a project named {name}, and the base does not have it")
        }
        Fact::NoCandidate {
            name,
            excluded,
            newest,
        } => no_candidate(name, excluded, newest.as_ref(), environment),
        Fact::Unusable {
            name,
            versions,
            reason,
        } => {
            format!(
                "{name} {} cannot be used: {}",
                words::versions(versions),
                words::one_line(reason)
            )
        }
    }
}

fn requires(subject: &str, required: &PackageName, bounds: &[Bound]) -> String {
    let needs = |requirement: &Requirement| {
        if requirement.specifiers.is_empty() {
            requirement.to_string()
        } else {
            let extras: Vec<String> = requirement.extras.iter().map(ToString::to_string).collect();
            let extras = if extras.is_empty() {
                String::new()
            } else {
                format!("[{}]", extras.join(","))
            };
            format!("{required}{extras}{}", words::bounds(requirement))
        }
    };
    let mut parts: Vec<String> = bounds
        .iter()
        .take(BOUNDS_SHOWN)
        .map(|bound| format!("{} {}", requirer(subject, bound), needs(&bound.requirement)))
        .collect();
    if bounds.len() > BOUNDS_SHOWN {
        let rest: usize = bounds[BOUNDS_SHOWN..]
            .iter()
            .map(|bound| bound.versions.len())
            .sum();
        parts.push(format!(
            "{} of {subject} set other bounds on {required}",
            words::count(rest, "further version")
        ));
    }
    parts.join("; ")
}

/// "mlflow 2.1.0 requires", "mlflow 2.0 to 2.1 (3 versions) require".
fn requirer(subject: &str, bound: &Bound) -> String {
    match bound.versions.as_slice() {
        [one] => format!("{subject} {one} requires"),
        several => format!("{subject} {} require", words::versions(several)),
    }
}

fn held(
    name: &PackageName,
    version: &Version,
    required_by: &[BaseRequirement],
    constraints: &[String],
) -> String {
    let mut text = format!("the base has {name} {version}");
    if !required_by.is_empty() {
        let requirers: Vec<String> = required_by
            .iter()
            .map(|by| {
                if by.requirement.specifiers.is_empty() {
                    format!("{} {}", by.requirer, by.requirer_version)
                } else {
                    format!(
                        "{} {} ({})",
                        by.requirer,
                        by.requirer_version,
                        words::bounds(&by.requirement)
                    )
                }
            })
            .collect();
        let _ = write!(
            text,
            ", required there by {}",
            words::list(&requirers, REQUIRERS_SHOWN)
        );
    }
    for constraint in constraints {
        let _ = write!(text, "; the constraint {constraint} rules that out");
    }
    text
}

fn no_candidate(
    name: &PackageName,
    excluded: &[(Exclusion, Vec<Version>)],
    newest: Option<&Version>,
    environment: &Environment,
) -> String {
    if excluded.is_empty() {
        return match newest {
            Some(newest) => {
                format!("the index has no such version of {name}; its newest is {newest}")
            }
            None => format!("the index has no files of {name}"),
        };
    }
    let mut parts: Vec<String> = excluded
        .iter()
        .take(REASONS_SHOWN)
        .map(|(exclusion, versions)| exclusion_sentence(name, exclusion, versions, environment))
        .collect();
    if excluded.len() > REASONS_SHOWN {
        let rest: usize = excluded[REASONS_SHOWN..]
            .iter()
            .map(|(_, versions)| versions.len())
            .sum();
        parts.push(format!(
            "{} of {name} cannot be installed for reasons of the same kind",
            words::count(rest, "further version")
        ));
    }
    parts.join("; ")
}

fn exclusion_sentence(
    name: &PackageName,
    exclusion: &Exclusion,
    versions: &[Version],
    environment: &Environment,
) -> String {
    let subject = format!("{name} {}", words::versions(versions));
    let (verb, are) = if versions.len() == 1 {
        ("requires", "is")
    } else {
        ("require", "are")
    };
    let has = if versions.len() == 1 { "has" } else { "have" };
    match exclusion {
        Exclusion::RequiresPython(specifiers) => format!(
            "{subject} {verb} Python {}, the base has {}",
            words::one_line(specifiers),
            environment.interpreter.version
        ),
        Exclusion::OnlySource => format!(
            "{subject} {has} no wheel, only a source distribution, which would have to be built inside the image"
        ),
        Exclusion::NoCompatibleWheel { source } => {
            let libc = environment
                .platform
                .libc
                .map_or_else(String::new, |libc| format!(", {libc}"));
            let (major, minor) = environment.platform.python;
            let source = if *source {
                "; the source distribution would have to be built inside the image"
            } else {
                ""
            };
            format!(
                "{subject} {has} no wheel for CPython {major}.{minor} on {}{libc}{source}",
                environment.platform.architecture
            )
        }
        Exclusion::Yanked(reason) if reason.is_empty() => {
            format!("{subject} {are} yanked from the index")
        }
        Exclusion::Yanked(reason) => format!(
            "{subject} {are} yanked from the index ({})",
            words::one_line(reason)
        ),
        Exclusion::Constraint(constraint) => {
            format!("{subject} {are} ruled out by the constraint {constraint}")
        }
    }
}
