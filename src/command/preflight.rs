//! Whether what the user lets change can be changed at all, before anything is solved for.

use std::collections::{BTreeMap, BTreeSet};

use crate::environment::{Environment, Obstacle, Provenance, obstacles};
use crate::packaging::{PackageName, Version};
use crate::report::BaseLabel;
use crate::resolution::{Aim, Policy};
use crate::rootfs::RootFs;
use crate::transport::reference::nearest;

use super::Talk;

/// How many distributions a note names for each reason.
const MAX_NAMED: usize = 3;

/// What the user says of distributions of the base and cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Two options contradict each other.
    #[error("`{name}` is named by `--hold` and by `{option}`")]
    HeldAndAllowed {
        /// The distribution.
        name: PackageName,
        /// The other option.
        option: &'static str,
    },
    /// The base has no such distribution.
    #[error("`{option} {name}`: {base} has no distribution {name}")]
    NotInBase {
        /// The option.
        option: &'static str,
        /// The distribution.
        name: PackageName,
        /// The base.
        base: String,
        /// A distribution of the base with a similar name.
        similar: Option<String>,
    },
    /// No installer could change it.
    #[error("`{option} {name}`: {name} {version} of {base} cannot be changed: {obstacle}")]
    Fixed {
        /// The option.
        option: &'static str,
        /// The distribution.
        name: PackageName,
        /// Its version.
        version: Version,
        /// The base.
        base: String,
        /// Why not.
        obstacle: Obstacle,
    },
}

impl PolicyError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::HeldAndAllowed { name, .. } => {
                format!("leave {name} to one of the two")
            }
            Self::NotInBase { similar, base, .. } => match similar {
                Some(similar) => format!("did you mean `{similar}`?"),
                None => format!("`imgtool inspect {base}` lists what it has"),
            },
            Self::Fixed { name, obstacle, .. } => match obstacle {
                Obstacle::Owned { manager, package } => format!(
                    "change it with {manager}{} in the base itself, or install {name} into a virtual environment on top",
                    match package {
                        Some(package) => format!(" (its package is {package})"),
                        None => String::new(),
                    }
                ),
                Obstacle::Editable => format!(
                    "change its source folder where the base is built, or install {name} there from a wheel"
                ),
                Obstacle::NoRecord | Obstacle::Distutils => format!(
                    "nobody knows which files to remove: install {name} from a wheel where the base is built, or into a \
                     virtual environment on top"
                ),
            },
        }
    }
}

/// The names that the options of a policy give, each with its option.
fn named(policy: &Policy) -> [(&'static str, &BTreeSet<PackageName>); 3] {
    [
        ("--hold", &policy.held),
        ("--allow-change", &policy.may_change),
        ("--allow-remove", &policy.may_leave),
    ]
}

/// Checks what needs no base.
///
/// # Errors
/// [`PolicyError::HeldAndAllowed`].
pub(super) fn check_options(policy: &Policy) -> Result<(), PolicyError> {
    for (option, names) in &named(policy)[1..] {
        if let Some(name) = names.intersection(&policy.held).next() {
            return Err(PolicyError::HeldAndAllowed {
                name: name.clone(),
                option,
            });
        }
    }
    Ok(())
}

/// The policy with what cannot be changed in the base held, and what a person should know of that.
///
/// # Errors
/// [`PolicyError::NotInBase`] and [`PolicyError::Fixed`]: what is named must be there, and what is to change must be such
/// that it can.
pub(super) fn preflight(
    policy: &Policy,
    base: &BaseLabel,
    environment: &Environment,
    root: Option<&dyn RootFs>,
) -> Result<(Policy, Vec<Talk>), PolicyError> {
    let fixed = obstacles(root, environment);
    for (option, names) in named(policy) {
        for name in names {
            let Some(distribution) = environment.distributions.get(name) else {
                let known = environment.distributions.keys().map(AsRef::as_ref);
                return Err(PolicyError::NotInBase {
                    option,
                    name: name.clone(),
                    base: base.reference.clone(),
                    similar: nearest(name.as_ref(), known).map(str::to_owned),
                });
            };
            if let Some(obstacle) = fixed.get(name)
                && option != "--hold"
            {
                return Err(PolicyError::Fixed {
                    option,
                    name: name.clone(),
                    version: distribution.version.clone(),
                    base: base.reference.clone(),
                    obstacle: obstacle.clone(),
                });
            }
        }
    }
    let mut talk = Vec::new();
    let changes = policy.aim != Aim::Hold || !policy.may_change.is_empty();
    if changes || !policy.may_leave.is_empty() {
        if let Provenance::Snapshot { .. } = environment.provenance {
            talk.push(Talk::Note(format!(
                "that every distribution of {} can be changed is assumed: a snapshot does not say how they were \
                 installed",
                base.reference
            )));
        }
        if policy.aim != Aim::Hold {
            talk.extend(fixed_note(&fixed));
        }
    }
    let policy = Policy {
        fixed,
        ..policy.clone()
    };
    Ok((policy, talk))
}

/// Which distributions are held although the policy would let them change, by reason.
fn fixed_note(fixed: &BTreeMap<PackageName, Obstacle>) -> Option<Talk> {
    let mut reasons: BTreeMap<String, Vec<&PackageName>> = BTreeMap::new();
    for (name, obstacle) in fixed {
        // Packages have many names, and their managers few.
        let reason = match obstacle {
            Obstacle::Owned { manager, .. } => Obstacle::Owned {
                manager: manager.clone(),
                package: None,
            }
            .to_string(),
            other => other.to_string(),
        };
        reasons.entry(reason).or_default().push(name);
    }
    if reasons.is_empty() {
        return None;
    }
    let told: Vec<String> = reasons
        .iter()
        .map(|(reason, names)| {
            let shown: Vec<&str> = names.iter().take(MAX_NAMED).map(AsRef::as_ref).collect();
            let more = match names.len().saturating_sub(MAX_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{}{more} ({reason})", shown.join(", "))
        })
        .collect();
    Some(Talk::Note(format!(
        "held, as they cannot be changed in an image: {}",
        told.join("; ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PackageName {
        text.parse().expect("a name")
    }

    #[test]
    fn options_do_not_contradict_each_other() {
        let mut policy = Policy {
            held: [name("six")].into(),
            may_leave: [name("six")].into(),
            ..Policy::default()
        };
        let error = check_options(&policy).expect_err("a contradiction");
        assert_eq!(
            error.to_string(),
            "`six` is named by `--hold` and by `--allow-remove`"
        );
        policy.held.clear();
        assert_eq!(check_options(&policy), Ok(()));
    }

    #[test]
    fn what_is_held_is_told_by_reason() {
        let owned = |package: &str| Obstacle::Owned {
            manager: "dpkg".to_owned(),
            package: Some(package.to_owned()),
        };
        assert!(fixed_note(&BTreeMap::new()).is_none());
        let fixed = [
            ("blinker", owned("python3-blinker")),
            ("yaml", owned("python3-yaml")),
            ("six", owned("python3-six")),
            ("dbus", owned("python3-dbus")),
            ("app", Obstacle::Editable),
        ]
        .map(|(text, obstacle)| (name(text), obstacle))
        .into();
        let Some(Talk::Note(note)) = fixed_note(&fixed) else {
            panic!("no note");
        };
        assert_eq!(
            note,
            "held, as they cannot be changed in an image: blinker, dbus, six and 1 more (dpkg owns it); app (it is \
             installed from a source folder)"
        );
    }
}
