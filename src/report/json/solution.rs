//! The JSON shapes of what a resolution consists of, for every document that has one in it.

use serde::Serialize;

use crate::environment::Obstacle;
use crate::resolution::base::BrokenRequirement;
use crate::resolution::solution::{Addition, Change, Reason, Removal, Requirer};
use crate::resolution::{Aim, Policy, Resolution};

/// What satisfies a request, and what that takes.
#[derive(Debug, Serialize)]
pub(super) struct Solution {
    pub(super) requested: Vec<Requested>,
    pub(super) added: Vec<Added>,
    pub(super) changed: Vec<Changed>,
    pub(super) removed: Vec<Removed>,
    pub(super) held: Vec<Held>,
    pub(super) proven_smallest: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Requested {
    pub(super) name: String,
    pub(super) requirement: String,
    pub(super) version: Option<String>,
    /// Whether the base has it.
    pub(super) held: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Added {
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

/// A distribution of the base that gets another version.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    name: String,
    /// The version that the base has.
    from: String,
    /// The version that takes its place.
    to: String,
    /// Whether `to` is the older one.
    downgrade: bool,
    extras: Vec<String>,
    required_by: Vec<By>,
    wheel: Wheel,
    /// As in an addition.
    sha256: Vec<String>,
    /// Why the installed version cannot stay.
    reasons: Vec<ReasonLine>,
}

/// A distribution that leaves the base.
#[derive(Debug, Serialize)]
pub(super) struct Removed {
    name: String,
    version: String,
    reasons: Vec<ReasonLine>,
}

/// Why an installed distribution cannot stay as it is.
#[derive(Debug, Serialize)]
struct ReasonLine {
    /// `asked`: the request wants another version. `required`: a distribution of the result does. `requires`: the
    /// installed version itself requires something that the result has in another version, or no longer.
    kind: &'static str,
    /// Who has the requirement; null for the request.
    by: Option<String>,
    requirement: String,
    /// Of `required`, the version of `by` in the result; of `requires`, the version of what is required in the result,
    /// null where that has left; of `asked`, null.
    version: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Held {
    name: String,
    version: String,
    required_by: Vec<By>,
}

#[derive(Debug, Serialize)]
pub(super) struct By {
    /// Null for the request.
    pub(super) name: Option<String>,
    pub(super) requirement: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Violation {
    distribution: String,
    version: String,
    requirement: String,
    /// Null where the project is not installed.
    installed: Option<String>,
}

/// What of the base might change.
#[derive(Debug, Serialize)]
pub(super) struct PolicyShape {
    /// `hold`, `minimal` or `upgrade`.
    aim: &'static str,
    may_change: Vec<String>,
    held: Vec<String>,
    may_leave: Vec<String>,
    /// Distributions that no installer could change, each with the reason.
    fixed: Vec<Fixed>,
}

/// A distribution of the base that no installer could change.
#[derive(Debug, Serialize)]
pub(super) struct Fixed {
    name: String,
    /// `no-record`, `distutils`, `editable` or `owned`.
    kind: &'static str,
    /// The reason as a clause: `it has no RECORD of its files`.
    reason: String,
    /// The package manager that owns it; null for other kinds.
    manager: Option<String>,
    /// That manager's package, where it is known.
    package: Option<String>,
}

impl Solution {
    pub(super) fn of(resolution: &Resolution) -> Self {
        Self {
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
            added: resolution.added.iter().map(Added::of).collect(),
            changed: resolution.changed.iter().map(Changed::of).collect(),
            removed: resolution.removed.iter().map(Removed::of).collect(),
            held: resolution
                .held
                .iter()
                .map(|held| Held {
                    name: held.name.to_string(),
                    version: held.version.to_string(),
                    required_by: By::list(&held.required_by),
                })
                .collect(),
            proven_smallest: resolution.proven_smallest,
        }
    }
}

impl Added {
    fn of(added: &Addition) -> Self {
        Self {
            name: added.name.to_string(),
            version: added.version.to_string(),
            extras: extras(added),
            required_by: By::list(&added.required_by),
            wheel: Wheel::of(added),
            sha256: hashes(added),
        }
    }
}

impl Wheel {
    fn of(added: &Addition) -> Self {
        Self {
            filename: added.wheel.filename.clone(),
            url: added.wheel.url.clone(),
            sha256: added.wheel.sha256.clone(),
            size: added.wheel.size,
        }
    }
}

fn extras(added: &Addition) -> Vec<String> {
    added.extras.iter().map(ToString::to_string).collect()
}

fn hashes(added: &Addition) -> Vec<String> {
    added
        .compatible
        .iter()
        .filter_map(|wheel| wheel.sha256.clone())
        .collect()
}

impl Changed {
    pub(super) fn of(change: &Change) -> Self {
        Self {
            name: change.to.name.to_string(),
            from: change.from.to_string(),
            to: change.to.version.to_string(),
            downgrade: change.is_downgrade(),
            extras: extras(&change.to),
            required_by: By::list(&change.to.required_by),
            wheel: Wheel::of(&change.to),
            sha256: hashes(&change.to),
            reasons: reasons(change.to.name.as_ref(), &change.reasons),
        }
    }
}

impl Removed {
    pub(super) fn of(removal: &Removal) -> Self {
        Self {
            name: removal.name.to_string(),
            version: removal.version.to_string(),
            reasons: reasons(removal.name.as_ref(), &removal.reasons),
        }
    }
}

/// Why the distribution `name` cannot stay as it is.
fn reasons(name: &str, reasons: &[Reason]) -> Vec<ReasonLine> {
    reasons
        .iter()
        .map(|reason| match reason {
            Reason::Required { by, version } => ReasonLine {
                kind: if by.name.is_some() {
                    "required"
                } else {
                    "asked"
                },
                by: by.name.as_ref().map(ToString::to_string),
                requirement: by.requirement.to_string(),
                version: version.as_ref().map(ToString::to_string),
            },
            Reason::Requires {
                requirement,
                version,
            } => ReasonLine {
                kind: "requires",
                by: Some(name.to_owned()),
                requirement: requirement.to_string(),
                version: version.as_ref().map(ToString::to_string),
            },
        })
        .collect()
}

impl By {
    fn list(requirers: &[Requirer]) -> Vec<Self> {
        requirers
            .iter()
            .map(|requirer| Self {
                name: requirer.name.as_ref().map(ToString::to_string),
                requirement: requirer.requirement.to_string(),
            })
            .collect()
    }
}

impl Violation {
    pub(super) fn list(broken: &[BrokenRequirement]) -> Vec<Self> {
        broken
            .iter()
            .map(|broken| Self {
                distribution: broken.by.requirer.to_string(),
                version: broken.by.requirer_version.to_string(),
                requirement: broken.by.requirement.to_string(),
                installed: broken.installed.as_ref().map(ToString::to_string),
            })
            .collect()
    }
}

impl PolicyShape {
    pub(super) fn of(policy: &Policy) -> Self {
        let names = |names: &std::collections::BTreeSet<crate::packaging::PackageName>| {
            names.iter().map(ToString::to_string).collect()
        };
        Self {
            aim: match policy.aim {
                Aim::Hold => "hold",
                Aim::Minimal => "minimal",
                Aim::Upgrade => "upgrade",
            },
            may_change: names(&policy.may_change),
            held: names(&policy.held),
            may_leave: names(&policy.may_leave),
            fixed: policy
                .fixed
                .iter()
                .map(|(name, obstacle)| Fixed::of(name.as_ref(), obstacle))
                .collect(),
        }
    }
}

impl Fixed {
    pub(super) fn of(name: &str, obstacle: &Obstacle) -> Self {
        let (kind, manager, package) = match obstacle {
            Obstacle::NoRecord => ("no-record", None, None),
            Obstacle::Distutils => ("distutils", None, None),
            Obstacle::Editable => ("editable", None, None),
            Obstacle::Owned { manager, package } => {
                ("owned", Some(manager.clone()), package.clone())
            }
        };
        Self {
            name: name.to_owned(),
            kind,
            reason: obstacle.to_string(),
            manager,
            package,
        }
    }
}
