//! From the solver's decisions to what a person and an installer need to know.

use std::collections::{BTreeMap, BTreeSet};

use crate::environment::InstalledDistribution;
use crate::package_index::{IndexError, IndexFile};
use crate::packaging::{ExtraName, PackageName, Requirement, Version, VersionSet, specifiers};

use super::base::BrokenRequirement;
use super::package::SolverPackage;
use super::provider::Provider;

/// A request satisfied on a base.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// What was asked for, in the order of the request, with the version that satisfies it.
    pub requested: Vec<Satisfied>,
    /// What must be added to the base, by name.
    pub added: Vec<Addition>,
    /// What of the base gets another version, by name; empty where the base is held.
    pub changed: Vec<Change>,
    /// What leaves the base, by name; empty unless the policy lets something leave.
    pub removed: Vec<Removal>,
    /// The installed distributions that satisfy a requirement of the request or of an addition, by name.
    pub held: Vec<Held>,
    /// What the base itself violates and the answer does not mend.
    pub broken_base: Vec<BrokenRequirement>,
    /// Whether the number of changes is proven to be the smallest: always, but for [`Aim::Upgrade`](super::policy::Aim).
    pub proven_smallest: bool,
    /// What a person should know before using the answer, one sentence each.
    pub warnings: Vec<String>,
    /// The requested projects that are not the newest, in the order of the request.
    pub behind: Vec<Behind>,
}

/// A requested project of which the index has a newer version that the request would have taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The project.
    pub name: PackageName,
    /// The extras of it that the request asks for.
    pub extras: Vec<ExtraName>,
    /// The version that was chosen.
    pub version: Version,
    /// The newest stable version that the request allows.
    pub newest: Version,
}

/// A requirement of the request and what satisfies it.
#[derive(Debug, Clone)]
pub struct Satisfied {
    /// The requirement.
    pub requirement: Requirement,
    /// The version that satisfies it.
    pub version: Version,
    /// Whether the base had it already.
    pub held: bool,
}

/// A distribution that must be added.
#[derive(Debug, Clone)]
pub struct Addition {
    /// Normalized name of the project.
    pub name: PackageName,
    /// Chosen version.
    pub version: Version,
    /// Extras of it that somebody asks for.
    pub extras: BTreeSet<ExtraName>,
    /// Who requires it.
    pub required_by: Vec<Requirer>,
    /// The wheel that suits the interpreter best.
    pub wheel: IndexFile,
    /// Every wheel of the version that the interpreter could install, best first.
    pub compatible: Vec<IndexFile>,
}

/// An installed distribution that gets another version.
#[derive(Debug, Clone)]
pub struct Change {
    /// The version that the base has.
    pub from: Version,
    /// What takes its place.
    pub to: Addition,
    /// Why the installed version cannot stay: what others of the result require of it, and what it requires of them.
    /// Empty where it could stay and nobody looked for the smallest change.
    pub reasons: Vec<Reason>,
}

impl Change {
    /// Whether the new version is older than the installed one.
    #[must_use]
    pub fn is_downgrade(&self) -> bool {
        self.to.version < self.from
    }
}

/// An installed distribution that leaves the base.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Normalized name.
    pub name: PackageName,
    /// The version that the base has.
    pub version: Version,
    /// Why it cannot stay.
    pub reasons: Vec<Reason>,
}

/// Why an installed distribution cannot stay as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Somebody of the result requires another version of it.
    Required {
        /// Who: the request, an addition, or a distribution of the base that moves or stays.
        by: Requirer,
        /// The version of that distribution in the result; `None` for the request.
        version: Option<Version>,
    },
    /// It requires something that the result has in another version: it moves along.
    Requires {
        /// What the installed version requires.
        requirement: Requirement,
        /// The version of that in the result; `None` where it has left.
        version: Option<Version>,
    },
}

/// An installed distribution that the answer leans on.
#[derive(Debug, Clone)]
pub struct Held {
    /// Normalized name.
    pub name: PackageName,
    /// Installed version.
    pub version: Version,
    /// Who requires it, of the request and the additions.
    pub required_by: Vec<Requirer>,
}

/// Who requires something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirer {
    /// The distribution that requires it; `None` for the request.
    pub name: Option<PackageName>,
    /// The requirement, without its marker.
    pub requirement: Requirement,
}

impl Resolution {
    /// All that must be installed, additions and changes, by name.
    #[must_use]
    pub fn pins(&self) -> Vec<&Addition> {
        let changed = self.changed.iter().map(|change| &change.to);
        let mut pins: Vec<&Addition> = self.added.iter().chain(changed).collect();
        pins.sort_by(|a, b| a.name.cmp(&b.name));
        pins
    }

    /// As [`Resolution::pins`], in no order, for who knows more of the wheels than the index said.
    pub fn pins_mut(&mut self) -> impl Iterator<Item = &mut Addition> {
        let changed = self.changed.iter_mut().map(|change| &mut change.to);
        self.added.iter_mut().chain(changed)
    }

    /// How many distributions of the base change or leave.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changed.len() + self.removed.len()
    }
}

/// Describes a solution.
///
/// # Errors
/// When metadata that the solver has seen cannot be asked for again.
pub fn describe(
    provider: &Provider<'_>,
    decisions: &BTreeMap<SolverPackage, Version>,
) -> Result<Resolution, IndexError> {
    let result = Outlook {
        provider,
        decisions,
    };
    let mut requirers = requirers(provider, decisions)?;
    let mut extras: BTreeMap<&PackageName, BTreeSet<ExtraName>> = BTreeMap::new();
    for package in decisions.keys() {
        if let (Some(name), Some(extra)) = (package.project(), package.extra()) {
            extras.entry(name).or_default().insert(extra.clone());
        }
    }
    let mut warnings = Vec::new();
    let mut added = Vec::new();
    let mut changed = Vec::new();
    let mut held = Vec::new();
    for (package, version) in decisions {
        let SolverPackage::Project(name) = package else {
            continue;
        };
        let required_by = requirers.remove(name).unwrap_or_default();
        let extras = extras.remove(name).unwrap_or_default();
        let of_base = provider.environment.distributions.get(name);
        if let Some(distribution) = of_base
            && distribution.version == *version
        {
            if !required_by.is_empty() {
                warn_of_unknown_extras(
                    name,
                    version,
                    &distribution.provides_extra,
                    &extras,
                    &mut warnings,
                );
                held.push(Held {
                    name: name.clone(),
                    version: version.clone(),
                    required_by,
                });
            }
            continue;
        }
        let Some(mut addition) =
            addition(provider, name, version, extras, required_by, &mut warnings)?
        else {
            continue;
        };
        match of_base {
            None => added.push(addition),
            Some(distribution) => {
                let reasons = result.reasons(distribution, &addition.required_by);
                addition
                    .required_by
                    .extend(result.requirers_that_stay(name));
                changed.push(Change {
                    from: distribution.version.clone(),
                    reasons,
                    to: addition,
                });
            }
        }
    }
    let removed = result.removed();
    Ok(Resolution {
        requested: requested(provider, decisions),
        broken_base: result.broken_base(),
        added,
        changed,
        removed,
        held,
        proven_smallest: true,
        warnings,
        behind: behind(provider, decisions)?,
    })
}

/// What must be installed for `version` of `name`; `None` for what is no candidate.
fn addition(
    provider: &Provider<'_>,
    name: &PackageName,
    version: &Version,
    extras: BTreeSet<ExtraName>,
    required_by: Vec<Requirer>,
    warnings: &mut Vec<String>,
) -> Result<Option<Addition>, IndexError> {
    let Some(installable) = provider.candidates(name)?.installable(version) else {
        return Ok(None);
    };
    if let Ok(metadata) = provider.metadata(name, version)? {
        let offered: Vec<String> = metadata
            .provides_extra
            .iter()
            .map(ToString::to_string)
            .collect();
        warn_of_unknown_extras(name, version, &offered, &extras, warnings);
    }
    let is_requested = required_by.iter().any(|requirer| requirer.name.is_none());
    if is_requested && version.any_prerelease() {
        warnings.push(format!(
            "{name} {version} is a pre-release: no stable version fits"
        ));
    }
    if let Some(reason) = &installable.wheel.yanked {
        let reason = if reason.is_empty() {
            String::new()
        } else {
            format!(": {reason}")
        };
        warnings.push(format!(
            "{name} {version} was yanked from the index{reason}"
        ));
    }
    Ok(Some(Addition {
        name: name.clone(),
        version: version.clone(),
        extras,
        required_by,
        wheel: installable.wheel.clone(),
        compatible: installable.compatible.clone(),
    }))
}

/// The environment that a solution leads to.
struct Outlook<'a> {
    provider: &'a Provider<'a>,
    decisions: &'a BTreeMap<SolverPackage, Version>,
}

impl<'a> Outlook<'a> {
    /// The version of a project in the result; `None` where it is not there.
    fn version(&self, name: &PackageName) -> Option<&'a Version> {
        let decided = self.decisions.get(&SolverPackage::Project(name.clone()));
        if decided.is_some() || self.provider.may_leave(name) {
            return decided;
        }
        self.provider.installed(name).map(|it| &it.version)
    }

    /// Whether an installed distribution is in the result as it is.
    fn stays(&self, name: &PackageName) -> bool {
        let installed = self.provider.environment.distributions.get(name);
        installed.is_some_and(|installed| self.version(name) == Some(&installed.version))
    }

    /// The requirements on `name` of distributions of the base that stay.
    fn requirers_that_stay(&self, name: &PackageName) -> Vec<Requirer> {
        let mut requirers = Vec::new();
        for requirer in self.provider.base.requiring(name) {
            if !self.stays(requirer) {
                continue;
            }
            for required in self.provider.base.in_force(requirer) {
                if required.requirement.name == *name && required.holds {
                    requirers.push(Requirer {
                        name: Some(requirer.clone()),
                        requirement: required.requirement.clone(),
                    });
                }
            }
        }
        requirers
    }

    /// Why an installed distribution cannot stay as it is: requirements of newcomers on it that its version does not
    /// satisfy, and its own that the result does not.
    fn reasons(&self, installed: &InstalledDistribution, required_by: &[Requirer]) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = required_by
            .iter()
            .filter(|by| {
                let accepted = self.provider.accepted(&by.requirement);
                !accepted.contains(&installed.version)
            })
            .map(|by| Reason::Required {
                version: by
                    .name
                    .as_ref()
                    .and_then(|name| self.version(name))
                    .cloned(),
                by: by.clone(),
            })
            .collect();
        for required in self.provider.base.in_force(&installed.name) {
            let requirement = &required.requirement;
            // What the base violates is no reason, unless that is only because it does not have the project at all.
            let of_base = self
                .provider
                .environment
                .distributions
                .get(&requirement.name);
            if requirement.url.is_some() || (!required.holds && of_base.is_some()) {
                continue;
            }
            let version = self.version(&requirement.name);
            let is_violated = match version {
                Some(version) => !specifiers::allows(&requirement.specifiers, version),
                None => of_base.is_some(),
            };
            if is_violated {
                reasons.push(Reason::Requires {
                    requirement: requirement.clone(),
                    version: version.cloned(),
                });
            }
        }
        reasons
    }

    /// The installed distributions that leave.
    fn removed(&self) -> Vec<Removal> {
        let base = self.provider.environment.distributions.values();
        base.filter(|installed| self.version(&installed.name).is_none())
            .map(|installed| Removal {
                name: installed.name.clone(),
                version: installed.version.clone(),
                reasons: self.reasons(installed, &[]),
            })
            .collect()
    }

    /// What the base violates and goes on to violate.
    fn broken_base(&self) -> Vec<BrokenRequirement> {
        let broken = self.provider.base.broken.iter();
        broken
            .filter(|broken| {
                let by = &broken.by;
                self.stays(&by.requirer)
                    && self.version(&by.requirement.name).is_none_or(|version| {
                        !specifiers::allows(&by.requirement.specifiers, version)
                    })
            })
            .map(|broken| BrokenRequirement {
                by: broken.by.clone(),
                installed: self.version(&broken.by.requirement.name).cloned(),
            })
            .collect()
    }
}

fn requested(
    provider: &Provider<'_>,
    decisions: &BTreeMap<SolverPackage, Version>,
) -> Vec<Satisfied> {
    provider
        .request
        .requirements
        .iter()
        .filter_map(|asked| {
            let requirement = asked.requirement.without_marker();
            let version = decisions.get(&SolverPackage::Project(requirement.name.clone()))?;
            Some(Satisfied {
                version: version.clone(),
                held: provider.is_installed(&requirement.name, version),
                requirement,
            })
        })
        .collect()
}

/// The requested projects that are not the newest that the request allows.
fn behind(
    provider: &Provider<'_>,
    decisions: &BTreeMap<SolverPackage, Version>,
) -> Result<Vec<Behind>, IndexError> {
    let mut behind: Vec<Behind> = Vec::new();
    for asked in &provider.request.requirements {
        let name = &asked.requirement.name;
        let Some(version) = decisions.get(&SolverPackage::Project(name.clone())) else {
            continue;
        };
        if provider.is_installed(name, version) || behind.iter().any(|known| known.name == *name) {
            continue;
        }
        let candidates = provider.candidates(name)?;
        let mut allowed = VersionSet::full();
        for also in &provider.request.requirements {
            if also.requirement.name == *name {
                allowed = allowed.intersection(&also.requirement.version_set());
            }
        }
        // What a later index has is not preferred, where the user has its versions tried last.
        let rank = candidates.rank_of(version);
        let newest = candidates.known_versions().find(|known| {
            !known.any_prerelease() && allowed.contains(known) && candidates.rank_of(known) <= rank
        });
        if let Some(newest) = newest
            && newest > version
        {
            behind.push(Behind {
                name: name.clone(),
                extras: asked.requirement.extras.clone(),
                version: version.clone(),
                newest: newest.clone(),
            });
        }
    }
    Ok(behind)
}

/// Who, of the request and of what was decided, requires each project.
fn requirers(
    provider: &Provider<'_>,
    decisions: &BTreeMap<SolverPackage, Version>,
) -> Result<BTreeMap<PackageName, Vec<Requirer>>, IndexError> {
    let mut requirers: BTreeMap<PackageName, Vec<Requirer>> = BTreeMap::new();
    let mut add = |name: Option<&PackageName>, requirement: &Requirement| {
        let of_one = requirers.entry(requirement.name.clone()).or_default();
        let requirer = Requirer {
            name: name.cloned(),
            requirement: requirement.without_marker(),
        };
        if !of_one.contains(&requirer) {
            of_one.push(requirer);
        }
    };
    for asked in &provider.request.requirements {
        add(None, &asked.requirement);
    }
    for (package, version) in decisions {
        let (name, extra) = match package {
            SolverPackage::Root | SolverPackage::ExtraInForce(..) | SolverPackage::Binding(..) => {
                continue;
            }
            // What stays in the base is no news, unless somebody new asks for an extra of it.
            SolverPackage::Project(name) if provider.is_installed(name, version) => continue,
            SolverPackage::Project(name) => (name, None),
            SolverPackage::Extra(name, extra) => (name, Some(extra)),
        };
        let requirements = provider
            .requirements(name, version, extra)?
            .unwrap_or_default();
        for requirement in requirements
            .iter()
            .filter(|requirement| requirement.name != *name)
        {
            add(Some(name), requirement);
        }
    }
    Ok(requirers)
}

/// Asking for an extra that is not offered is allowed, and mostly a slip of the pen.
fn warn_of_unknown_extras(
    name: &PackageName,
    version: &Version,
    offered: &[String],
    asked: &BTreeSet<ExtraName>,
    warnings: &mut Vec<String>,
) {
    let offered: BTreeSet<ExtraName> = offered
        .iter()
        .filter_map(|extra| extra.parse().ok())
        .collect();
    for extra in asked {
        if !offered.contains(extra) {
            warnings.push(format!("{name} {version} has no extra `{extra}`"));
        }
    }
}
