//! From the solver's decisions to what a person and an installer need to know.

use std::collections::{BTreeMap, BTreeSet};

use crate::package_index::{IndexError, IndexFile};
use crate::packaging::{ExtraName, PackageName, Requirement, Version, VersionSet};

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
    /// The installed distributions that satisfy a requirement of the request or of an addition, by name.
    pub held: Vec<Held>,
    /// What the base itself violates, with or without the additions.
    pub broken_base: Vec<BrokenRequirement>,
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

/// Describes a solution.
///
/// # Errors
/// When metadata that the solver has seen cannot be asked for again.
pub fn describe(
    provider: &Provider<'_>,
    decisions: &BTreeMap<SolverPackage, Version>,
) -> Result<Resolution, IndexError> {
    let mut requirers = requirers(provider, decisions)?;
    let mut extras: BTreeMap<&PackageName, BTreeSet<ExtraName>> = BTreeMap::new();
    for package in decisions.keys() {
        if let SolverPackage::Extra(name, extra) = package {
            extras.entry(name).or_default().insert(extra.clone());
        }
    }
    let mut warnings = Vec::new();
    let mut added = Vec::new();
    let mut held = Vec::new();
    for (package, version) in decisions {
        let SolverPackage::Project(name) = package else {
            continue;
        };
        let required_by = requirers.remove(name).unwrap_or_default();
        let extras = extras.remove(name).unwrap_or_default();
        if let Some(distribution) = provider.held(name) {
            warn_of_unknown_extras(
                name,
                version,
                &distribution.provides_extra,
                &extras,
                &mut warnings,
            );
            if !required_by.is_empty() {
                held.push(Held {
                    name: name.clone(),
                    version: version.clone(),
                    required_by,
                });
            }
            continue;
        }
        let Some(installable) = provider.candidates(name)?.installable(version) else {
            continue;
        };
        if let Ok(metadata) = provider.metadata(name, version)? {
            let offered: Vec<String> = metadata
                .provides_extra
                .iter()
                .map(ToString::to_string)
                .collect();
            warn_of_unknown_extras(name, version, &offered, &extras, &mut warnings);
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
        added.push(Addition {
            name: name.clone(),
            version: version.clone(),
            extras,
            required_by,
            wheel: installable.wheel.clone(),
            compatible: installable.compatible.clone(),
        });
    }
    Ok(Resolution {
        requested: requested(provider, decisions),
        added,
        held,
        broken_base: provider.base.broken.clone(),
        warnings,
        behind: behind(provider, decisions)?,
    })
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
                held: provider.held(&requirement.name).is_some(),
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
        if provider.held(name).is_some() || behind.iter().any(|known| known.name == *name) {
            continue;
        }
        let candidates = provider.candidates(name)?;
        let mut allowed = VersionSet::full();
        for also in &provider.request.requirements {
            if also.requirement.name == *name {
                allowed = allowed.intersection(&also.requirement.version_set());
            }
        }
        let newest = candidates
            .known_versions()
            .find(|known| !known.any_prerelease() && allowed.contains(known));
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
            SolverPackage::Root => continue,
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
