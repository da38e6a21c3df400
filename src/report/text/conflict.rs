//! A conflict for a person: numbered facts, then what would fit.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::environment::Environment;
use crate::packaging::{PackageName, Requirement, Version};
use crate::report::BaseLabel;
use crate::report::invocation::Invocation;
use crate::resolution::candidates::Exclusion;
use crate::resolution::conflict::{Besides, Fact, Fitting};
use crate::resolution::request::{Request, Requested};
use crate::resolution::{Aim, Conflict, Policy};

use super::facts::Speaker;
use super::{BAD, HEADING, footer, words};

/// How many requirements of the request the headline names.
const REQUESTS_SHOWN: usize = 8;
/// How many answers to what would fit are given.
const FITTING_SHOWN: usize = 5;
/// How many changes of the base are spelled out.
const CHANGES_SHOWN: usize = 4;
/// How many pins that a version meets besides are spelled out.
const BESIDES_SHOWN: usize = 6;

/// Writes why `request` cannot be satisfied under `policy`, and what could be.
#[must_use]
pub fn conflict(
    conflict: &Conflict,
    request: &Request,
    policy: &Policy,
    invocation: &Invocation,
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
        let as_long = match policy.aim {
            Aim::Hold if policy.may_change.is_empty() && policy.may_leave.is_empty() => {
                "as long as nothing of the base changes"
            }
            Aim::Hold => "as long as nothing else of the base changes",
            Aim::Minimal | Aim::Upgrade => "whatever of the base changes that may",
        };
        writeln!(
            text,
            "{BAD}{subject} {verb} not fit {}{BAD:#} {as_long}:\n",
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
    let speaker = Speaker { base, environment };
    text.push_str(&numbered(&speaker, &conflict.facts));
    text.push_str(&also(&speaker, &conflict.besides));
    if !conflict.obstacles.is_empty() {
        let _ = writeln!(text, "\n{HEADING}What cannot change{HEADING:#}");
        for (name, obstacle) in &conflict.obstacles {
            let _ = writeln!(text, "  {name} cannot be replaced: {obstacle}");
        }
    }
    text.push('\n');
    let _ = writeln!(
        text,
        "{HEADING}What would fit{HEADING:#} (found by solving)"
    );
    for sentence in ways_out(conflict, policy, invocation, base) {
        let _ = writeln!(text, "  {sentence}");
    }
    text.push_str(&footer(base, environment));
    text
}

/// Facts, one a line, with their numbers.
pub(super) fn numbered(speaker: &Speaker<'_>, facts: &[Fact]) -> String {
    let mut text = String::new();
    let indent = facts.len().to_string().len();
    for (position, sentence) in speaker.sentences(facts).into_iter().enumerate() {
        let _ = writeln!(text, "  {:>indent$}. {sentence}", position + 1);
    }
    text
}

/// What keeps the same versions out besides.
pub(super) fn also(speaker: &Speaker<'_>, besides: &[Besides]) -> String {
    if besides.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{HEADING}Without that there would still be{HEADING:#}\n");
    for one in besides.iter().take(BESIDES_SHOWN) {
        let _ = writeln!(text, "  {}", speaker.besides(one));
    }
    if besides.len() > BESIDES_SHOWN {
        let rest = words::count(besides.len() - BESIDES_SHOWN, "further distribution");
        let _ = writeln!(
            text,
            "  {rest} of the base in another version than is needed"
        );
    }
    text
}

/// Whether another base could make a difference to this.
fn is_about_the_base(fact: &Fact) -> bool {
    match fact {
        Fact::Held { .. } | Fact::BaseRequires { .. } | Fact::Stays { .. } => true,
        Fact::NoCandidate { excluded, .. } => excluded.iter().any(|(exclusion, _)| {
            matches!(
                exclusion,
                Exclusion::RequiresPython(_) | Exclusion::NoCompatibleWheel { .. }
            )
        }),
        _ => false,
    }
}

/// What would fit: each relaxation of the request, and each change of the base, that helps; or that none does.
/// A sentence each, without a full stop.
#[must_use]
pub fn ways_out(
    conflict: &Conflict,
    policy: &Policy,
    invocation: &Invocation,
    base: &BaseLabel,
) -> Vec<String> {
    let projects: BTreeSet<&PackageName> = conflict
        .fitting
        .iter()
        .map(|fitting| &fitting.requested.name)
        .collect();
    let with_others = projects.len() > 1;
    let mut sentences: Vec<String> = conflict
        .fitting
        .iter()
        .filter_map(|fitting| fitting_sentence(fitting, invocation, base, with_others))
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
    let pins = |versions: &[(PackageName, Version)]| {
        let versions: Vec<String> = versions
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        words::list(&versions, FITTING_SHOWN)
    };
    for relaxed in conflict.relaxed.iter().take(FITTING_SHOWN) {
        sentences.push(format!(
            "{}, without the constraint {}",
            pins(&relaxed.versions),
            constraint(&relaxed.constraint)
        ));
    }
    if !conflict.without_constraints.is_empty() {
        sentences.push(format!(
            "{}, without the constraints",
            pins(&conflict.without_constraints)
        ));
    }
    if let Some(change) = &conflict.smallest_change {
        let moves = change
            .changed
            .iter()
            .map(|it| format!("{} {} -> {}", it.to.name, it.from, it.to.version));
        let leaves = change
            .removed
            .iter()
            .map(|it| format!("{} {} leaves", it.name, it.version));
        let moves: Vec<String> = moves.chain(leaves).collect();
        let verb = if moves.len() == 1 {
            "changes"
        } else {
            "change"
        };
        sentences.push(format!(
            "the request as it is, where {} of the base {verb} ({}): {}",
            words::count(moves.len(), "distribution"),
            words::list(&moves, CHANGES_SHOWN),
            invocation.under(base, "minimal", &[])
        ));
    }
    for name in conflict.removals.iter().take(FITTING_SHOWN) {
        sentences.push(format!(
            "the request as it is, without {name} in the base: {}",
            match policy.aim {
                Aim::Hold =>
                    invocation.under(base, "minimal", &[("--allow-remove", name.as_ref())]),
                Aim::Minimal | Aim::Upgrade => {
                    invocation.with(base, &[("--allow-remove", name.as_ref())])
                }
            }
        ));
    }
    if sentences.is_empty() {
        sentences.push(match conflict.fitting.as_slice() {
            [one] => format!("no version of {}", with_extras(&one.requested)),
            _ => "nothing, whichever of the requirements is left without bounds".to_owned(),
        });
    }
    if !conflict.is_searched {
        sentences.push(format!(
            "whether changes of the base would help was not searched to the end: {} tells",
            match policy.aim {
                Aim::Hold => invocation.under(base, "minimal", &[]),
                Aim::Minimal | Aim::Upgrade => invocation.same("explain", base),
            }
        ));
    }
    sentences
}

/// `protobuf<4` (c.txt:3).
fn constraint(constraint: &Requested) -> String {
    let text = constraint.requirement.without_marker();
    match &constraint.origin {
        Some(origin) => format!("{text} ({origin})"),
        None => text.to_string(),
    }
}

fn with_extras(requirement: &Requirement) -> String {
    let extras: Vec<String> = requirement.extras.iter().map(ToString::to_string).collect();
    if extras.is_empty() {
        requirement.name.to_string()
    } else {
        format!("{}[{}]", requirement.name, extras.join(","))
    }
}

fn fitting_sentence(
    fitting: &Fitting,
    invocation: &Invocation,
    base: &BaseLabel,
    with_others: bool,
) -> Option<String> {
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
            "{asked} {version}, the newest that fits: {}",
            invocation.asking(base, &format!("{asked}=={version}"))
        )
    })
}

/// That versions are no candidates, and why, as a sentence without a full stop.
pub(super) fn exclusion_sentence(
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
    let (has, were, them) = if versions.len() == 1 {
        ("has", "was", "it")
    } else {
        ("have", "were", "them")
    };
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
        Exclusion::TooNew(end) => format!(
            "{subject} {were} not uploaded before {end}, so `--exclude-newer` leaves {them} out"
        ),
        Exclusion::UploadTimeUnknown => format!(
            "the index does not say when {subject} {were} uploaded, so `--exclude-newer` leaves {them} out"
        ),
    }
}
